"""Followers for tests: what each has seen of a namespace's agents, and the timeline itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from attune_dsl import Monitor
from attune_dsl.exceptions import StoreUnavailable
from attune_dsl.model import AgentChange, AgentRecord, ChangeKind

if TYPE_CHECKING:
    from conftest import Store

Incarnation = tuple[str, int]


class Following:
    """One follower over a hub of its own, and every change that it was told of, in order."""

    def __init__(self, url: str, namespace: str) -> None:
        self.monitor = Monitor(url, namespace)
        self._changes = self.monitor.follow()
        self.seen: list[AgentChange] = []

    def until(self, kind: ChangeKind, agent_id: str, *, timeout: float = 10.0, count: int = 1) -> AgentChange:
        """Follow until that has happened ``count`` times; return the last of them."""
        deadline = time.monotonic() + timeout
        while len(found := self.told(kind, agent_id)) < count:
            left = deadline - time.monotonic()
            assert left > 0, f"{agent_id!r} was not {kind} {count} times: {[_short(c) for c in self.seen]}"
            self.hear(left)
        return found[count - 1]

    def hear(self, timeout: float) -> None:
        """Take in what comes next, if anything does within ``timeout`` seconds; a store that is away may come back."""
        with suppress(StoreUnavailable):
            self.seen += self._changes.next(timeout)

    def until_all(self, kind: ChangeKind, wanted: Iterable[Incarnation], timeout: float = 10.0) -> None:
        """Follow until each of these incarnations had such a change."""
        deadline, missing = time.monotonic() + timeout, set(wanted)
        while missing := missing - {(c.agent.agent_id, c.agent.epoch) for c in self.seen if c.kind is kind}:
            left = deadline - time.monotonic()
            assert left > 0, f"not {kind}: {sorted(missing)}"
            self.hear(left)

    def told(self, kind: ChangeKind, agent_id: str | None = None) -> list[AgentChange]:
        """Changes of that kind, of one agent or of all."""
        return [c for c in self.seen if c.kind is kind and agent_id in {None, c.agent.agent_id}]

    def kinds(self, agent_id: str) -> list[ChangeKind]:
        """What happened to one agent, without news of its stage and progress."""
        return [c.kind for c in self.seen if c.agent.agent_id == agent_id and c.kind is not ChangeKind.UPDATED]

    def record(self, agent_id: str) -> AgentRecord:
        """How the latest incarnation stands, by what was followed."""
        return max((a for a in self._changes.agents.values() if a.agent_id == agent_id), key=lambda a: a.epoch)

    def close(self) -> None:
        self._changes.close()
        self.monitor.close()


Follow = Callable[..., Following]
"""The fixture ``follow``: starts a follower over a hub of its own, at a URL if one is given."""


def _short(change: AgentChange) -> str:
    return f"{change.kind} {change.agent.agent_id}#{change.agent.epoch}"


def timeline(store: Store, *kinds: ChangeKind) -> list[tuple[str, Incarnation]]:
    """What the store itself has written down of agents, of all kinds or of some."""
    entries = store.redis.xrange(f"{store.prefix}timeline")
    found = [
        (fields[b"kind"].decode().removeprefix("agent."), (fields[b"agent"].decode(), int(fields[b"epoch"])))
        for _, fields in entries  # type: ignore[union-attr]
        if fields[b"kind"].startswith(b"agent.")
    ]
    return [entry for entry in found if not kinds or entry[0] in kinds]


def server_ms(store: Store) -> int:
    """The server's time in milliseconds."""
    seconds, microseconds = store.redis.time()  # type: ignore[misc]
    return int(seconds * 1000 + microseconds // 1000)


def passed(seconds: float) -> Callable[[], bool]:
    """Return what becomes true after so many seconds, for :func:`waiting.wait_until`."""
    due = time.monotonic() + seconds
    return lambda: time.monotonic() >= due
