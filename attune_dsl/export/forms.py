"""The forms in which a story can be exported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from attune_dsl.events import Event
from attune_dsl.exceptions import UsageError

FORMS: Final = ("jsonl", "html", "mermaid", "perfetto")
"""What :func:`export` knows. Files of these forms mostly end in ``.jsonl``, ``.html``, ``.mmd`` and ``.json``."""


def export(events: Sequence[Event], form: str) -> bytes:
    """Return events, oldest first, as the content of a file in UTF-8.

    ``form`` is one of :data:`FORMS`: ``jsonl`` for programs, ``html`` a page to look at, ``mermaid`` a sequence
    diagram, ``perfetto`` a trace for ui.perfetto.dev and chrome://tracing. Raises :class:`UsageError` for another one.
    """
    writers = _writers()
    if form not in writers:
        raise UsageError(f"there is no export as {form!r}; write one of {', '.join(FORMS)}")
    return writers[form](events)


def _writers() -> Mapping[str, Callable[[Sequence[Event]], bytes]]:
    from attune_dsl.export.jsonl import jsonl
    from attune_dsl.export.mermaid import mermaid
    from attune_dsl.export.page import page
    from attune_dsl.export.perfetto import perfetto

    return {"jsonl": jsonl, "html": page, "mermaid": mermaid, "perfetto": perfetto}
