"""Asking agents to stop: what is told of it where the store does not answer."""

from __future__ import annotations

from typing import Any

import pytest

from attune_dsl.coordination.aborting import abort
from attune_dsl.hub.drive import drive
from attune_dsl.store import limits
from attune_dsl.store.keys import Keys

LEASES = [f"agent-{n}#{n + 1}".encode() for n in range(limits.ABORT_CHUNK + 1)]
ASKED = [lease.partition(b"#")[0] for lease in LEASES]


class Hub:
    """A hub whose store gives certain answers, one after the other."""

    def __init__(self, *replies: Any) -> None:
        self.keys = Keys("team")
        self.replies = list(replies)

    def server_ms(self) -> float:
        return 1.0

    def request(self, render: Any) -> Any:
        return render(None)

    async def ask(self, requests: Any) -> Any:
        return self.replies.pop(0)


@pytest.mark.parametrize(
    ("replies", "asked"),
    [
        ([LEASES, ASKED[:-1], ASKED[-1:]], [name.decode() for name in ASKED]),
        ([LEASES, ASKED[:-1], None], None),
        ([LEASES, ASKED[:-1], b"fenced"], None),
        ([LEASES, None], None),
        ([None], None),
        ([[]], []),
    ],
    ids=["all", "half", "fenced", "none", "nobody known", "nobody lives"],
)
def test_all_who_live_are_asked_only_if_all_chunks_are_confirmed(replies: list[Any], asked: list[str] | None) -> None:
    """§5.9: a part of them would look like all; asking once more does no harm."""
    hub: Any = Hub(*replies)
    assert drive(abort(hub, "why", None, sender=None, by="ops")) == asked
    assert hub.replies == []
