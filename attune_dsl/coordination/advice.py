"""What a wait that timed out can tell its caller beyond that it did."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from attune_dsl.model import NoSignal, Reason


def describe(types: Sequence[str]) -> str:
    """Return the types of a wait as a reader would say them."""
    return " or ".join(repr(type_) for type_ in types) or "of any type"


def on_timeout(types: Sequence[str], source: str | None, timeout: float | None, live: list[str] | None) -> NoSignal:
    """Return a time-out that names a source which was never seen, and near misses among the ``live`` agents.

    ``live`` is ``None`` if the source is known, or was not asked for.
    """
    sender = "" if source is None else f" from {source!r}"
    detail = f"no signal {describe(types)}{sender} within {timeout:g} s"
    if live is not None and source is not None:
        detail += f"; no agent {source!r} was ever seen"
        near = difflib.get_close_matches(source, live, n=3, cutoff=0.6)
        if near:
            detail += ", did you mean " + " or ".join(repr(name) for name in near) + "?"
    return NoSignal(reason=Reason.TIMEOUT, detail=detail)
