"""Agents in processes that can crash, lose their link and come back, for the state machine of mailboxes.

What a process does by itself, at times of its own, is not done here: marks travel with the agent's next command alone,
nobody beats. So a model can know what the store knows.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from blocking import Awaited
from peers import Peer, Peers
from waiting import wait_until

from attune_dsl.hub.hub import Hub
from attune_dsl.hub.keeper import Keeper
from attune_dsl.store import scripts
from attune_dsl.store.connection import ConnectionLost
from attune_dsl.store.keys import Keys
from attune_dsl.store.scripts import Witness

if TYPE_CHECKING:
    from conftest import Store

PATIENCE = 10.0
"""Seconds for whatever shall happen at once."""


def hold_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let marks travel with an agent's next command, and never by themselves."""
    monkeypatch.setattr(Keeper, "marks_soon", lambda *_: None)


class LoopThread:
    """An event loop on a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="test-loop")
        self._thread.start()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class Pending:
    """A wait on a loop, as :class:`Awaited` is one on a thread."""

    def __init__(self, future: Any) -> None:
        self._future = future

    @property
    def is_over(self) -> bool:
        return bool(self._future.done())

    def result(self, within: float = PATIENCE) -> Any:
        return self._future.result(within)


class Actor:
    """An agent that works with one of the facades; what it does, it does from a thread that no loop runs on."""

    def __init__(self, peer: Peer, loop: asyncio.AbstractEventLoop | None) -> None:
        self.peer = peer
        self._loop = loop

    def does(self, operation: str, *args: Any, **how: Any) -> Any:
        """Do something and return what came of it."""
        if self._loop is None:
            return getattr(self.peer.signals, operation)(*args, **how)
        return self._started(operation, *args, **how).result()

    def starts(self, operation: str, *args: Any, **how: Any) -> Awaited | Pending:
        """Begin something that may block."""
        if self._loop is None:
            return Awaited(getattr(self.peer.signals, operation), *args, **how)
        return self._started(operation, *args, **how)

    def listens(self, *types: str, **how: Any) -> list[Any]:
        """Take what comes, until nothing does."""
        if self._loop is None:
            return list(self.peer.signals.listen(*types, **how))

        async def listen() -> list[Any]:
            return [signal async for signal in self.peer.async_signals.listen(*types, **how)]

        return Pending(asyncio.run_coroutine_threadsafe(listen(), self._loop)).result()  # type: ignore[no-any-return]

    def _started(self, operation: str, *args: Any, **how: Any) -> Pending:
        assert self._loop is not None
        call: Callable[..., Any] = getattr(self.peer.async_signals, operation)
        return Pending(asyncio.run_coroutine_threadsafe(call(*args, **how), self._loop))

    # What its process has received

    @property
    def waiting(self) -> int:
        """How many waits are registered."""
        return len(self.peer.member.mailbox._waiters)

    def has_received(self, order: int) -> bool:
        """Whether what has this place in the order has arrived, so far as it is for this agent."""
        mailbox = self.peer.member.mailbox
        return max(mailbox.mail_order, mailbox.broadcast_order) >= order

    @property
    def is_settled(self) -> bool:
        """Whether its link is up, and its mailbox has been read over it."""
        return self.peer.hub.link.up and not self.peer.member.mailbox.is_held


class Stage:
    """The processes of one namespace, each with a hub of its own, and those who live in them."""

    def __init__(self, store: Store, loop: asyncio.AbstractEventLoop) -> None:
        self.store, self.keys = store, Keys(store.namespace)
        self._loop = loop
        self.peers = Peers(store)
        self._urls: dict[int, str] = {}
        self.where: dict[str, int] = {}
        """In which process each living agent is."""
        self.actors: dict[str, Actor] = {}
        for command in scripts.load_commands():
            store.redis.execute_command(*command)

    # What happens to agents

    def join(self, name: str, process: int, *, is_async: bool, takeover: bool = False) -> Actor:
        if process not in self._urls:
            self._urls[process] = self.peers.elsewhere()
        peer = self.peers.join(name, self._urls[process], takeover=takeover)
        self.actors[name] = Actor(peer, self._loop if is_async else None)
        self.where[name] = process
        return self.actors[name]

    def leave(self, name: str) -> None:
        del self.where[name]
        self.actors.pop(name).peer.leave()

    def forget(self, name: str) -> Actor:
        """The agent is none any more."""
        del self.where[name]
        return self.actors.pop(name)

    def in_process(self, process: int) -> list[str]:
        return [name for name, where in self.where.items() if where == process]

    def crash(self, process: int) -> None:
        """The process is gone: its connections end, and it comes to nothing more. Its leases stay."""
        names = self.in_process(process)
        hub = self.actors[names[0]].peer.hub
        hub.keeper._connector._dial = _refuse  # type: ignore[method-assign]
        _cut(hub)
        wait_until(lambda: not hub.link.up)
        for name in names:
            peer = self.forget(name).peer
            peer.member.gone = "its process has crashed"
            peer.member.mailbox.end_waits()
            peer.leave()
        del self._urls[process]

    def cut(self, process: int) -> None:
        """The process loses its link; it makes a new one by itself, and reads its mailboxes anew."""
        actors = [self.actors[name] for name in self.in_process(process)]
        hub = actors[0].peer.hub
        outages = hub.link.outages
        _cut(hub)
        wait_until(lambda: hub.link.outages > outages and all(actor.is_settled for actor in actors))

    def lapse(self, name: str) -> None:
        """The lease of a crashed agent runs out, and somebody notices."""
        now = self.pass_time()
        (lease,) = [
            m for m in self.store.redis.zrange(self.keys.leases, 0, -1) if m.rpartition(b"#")[0] == name.encode()
        ]  # type: ignore[union-attr]
        self.store.redis.zadd(self.keys.leases, {lease: now - 1})
        found = scripts.sweep(self.keys, Witness(interval=60_000, own_at=0, down_at=0, asked_at=now))
        self.store.redis.execute_command(*found)

    # Time

    def now_ms(self) -> int:
        seconds, micros = self.store.redis.time()  # type: ignore[misc]
        return int(seconds) * 1000 + int(micros) // 1000

    def pass_time(self, until: int = 0) -> int:
        """Return once the server's clock has passed ``until``, or gone on at all; what comes then has a later time."""
        until = until or self.now_ms()
        wait_until(lambda: self.now_ms() > until)
        return until + 1

    def close(self) -> None:
        self.peers.close()
        for_ever = self.store.keys_for_ever()
        self.store.clear()
        assert for_ever == []


def _refuse() -> Any:
    raise ConnectionLost("the process has crashed")


def _cut(hub: Hub) -> None:
    connections = hub.keeper._connector._connections
    assert connections is not None
    for connection in connections:
        with suppress(OSError):  # the hub may have noticed the end of the first, and closed the second
            connection._sock.shutdown(socket.SHUT_RDWR)
