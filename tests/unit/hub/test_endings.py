"""Why waits end: reading an abort as the store has it."""

from __future__ import annotations

import pytest

from attune_dsl.hub.endings import Abort


@pytest.mark.parametrize(
    ("why", "by", "abort"),
    [
        (b"why", b"ops", Abort("why", "ops")),
        (b"why", None, Abort("why")),
        (b"why", b"", Abort("why")),
        (b"\xff", b"\xff", Abort("\ufffd", "\ufffd")),
        (None, b"ops", None),
        (b"", b"ops", None),
    ],
)
def test_an_abort_as_it_is_stored(why: bytes | None, by: bytes | None, abort: Abort | None) -> None:
    """§5.9, §5.12: the reason makes it one; bytes that are no text are shown as what cannot be read."""
    assert Abort.read(why, by) == abort
