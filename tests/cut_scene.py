"""What the tests of cut connections share: two agents, one behind a proxy that cuts, and one call under the cut."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from awaiting import Awaited
from cutting import CuttingProxy, Point
from peers import Peer, Peers
from waiting import wait_until

from attune_dsl.hub import link
from attune_dsl.model import Signal
from attune_dsl.store import scripts

if TYPE_CHECKING:
    from conftest import Store

MARGIN = 3.0
"""Seconds beyond the grace time that a call may take on a machine with much else to do."""
XREAD = b"\r\nXREAD\r\n"
"""As a command's name stands on the wire; in the texts of scripts, which are sent too, it stands otherwise."""
GRACE = link.GRACE
"""The usual grace time."""
REQUEST_POINTS = (Point.BEFORE, Point.INSIDE_REQUEST, Point.UNREAD)


def sha(script: scripts._Script) -> bytes:
    """How a script's command is known on the wire."""
    return script.sha.encode()


class Blocking:
    """Calls the facade that blocks."""

    name = "blocking"

    def __call__(self, peer: Peer, name: str, *args: Any, **how: Any) -> Any:
        signals = peer.agent.signals(is_alone=lambda: True)
        if name == "listen":
            count = how.pop("count")
            return list(itertools.islice(signals.listen(*args, **how), count))
        return getattr(signals, name)(*args, **how)


class Awaiting:
    """Calls the facade that is awaited, each call in a loop of its own."""

    name = "awaited"

    def __call__(self, peer: Peer, name: str, *args: Any, **how: Any) -> Any:
        return asyncio.run(self._call(peer, name, *args, **how))

    async def _call(self, peer: Peer, name: str, *args: Any, **how: Any) -> Any:
        signals = peer.agent.async_signals(is_alone=lambda: True)
        if name != "listen":
            return await getattr(signals, name)(*args, **how)
        count, found = how.pop("count"), []
        async for signal in signals.listen(*args, **how):
            found.append(signal)
            if len(found) == count:
                break
        return found


Facade = Blocking | Awaiting
FACADES = (Blocking(), Awaiting())

BOTH_WAYS = pytest.mark.parametrize(
    ("point", "facade"),
    [
        pytest.param(point, facade, id=f"{point}-{facade.name}")
        for facade in FACADES
        for point in Point
        if facade is FACADES[0] or point is Point.BEFORE_REPLY
    ],
)
"""Each point for the facade that blocks; one for the one that is awaited, which differs only in who reads."""

AWAY = pytest.mark.parametrize("point", [Point.BEFORE, Point.UNREAD, Point.AFTER_REPLY])
"""Where the store stays away: it was not asked, it has not answered, or it has."""


class Scene:
    """``victim`` behind the proxy, ``friend`` beside it."""

    def __init__(self, store: Store, peers: Peers, proxy: CuttingProxy) -> None:
        self.store, self.peers, self.proxy = store, peers, proxy
        self.friend = peers.join("friend", url=peers.elsewhere())
        self.victim = peers.join("victim", url=proxy.url)
        self.epoch = self.victim.member.epoch
        self.link = self.victim.hub.commands.link
        """The victim's first one."""
        self._asked = itertools.count(1)

    # What is done

    def quiet(self, peer: Peer | None = None) -> None:
        """Wait until the hub has nothing on its way but the read."""
        hub = (peer or self.victim).hub
        wait_until(
            lambda: (
                hub.link.up
                and hub.keeper._beater.next_look < float("inf")
                and not hub.commands._unanswered
                and not hub.reader._owed
                and not hub.keeper._marking
            )
        )

    def under_cut(
        self,
        act: Callable[[], Any],
        point: Point,
        *marks: bytes,
        away: bool = False,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Any:
        """Return what ``act`` returns, or raises, where a connection is cut; it has to be over in the grace time."""
        self.proxy.cut_at(point, *marks, away=away)
        call = Awaited(outcome, act)
        try:
            meanwhile()
            result = call.result(within=link.GRACE + MARGIN)
        finally:
            if not call.is_over:
                self.proxy.revive()
        wait_until(self.proxy.has_cut.is_set, what="the cut")
        return result

    def blocked(self) -> None:
        """Wait until a wait of the victim blocks."""
        wait_until(lambda: self.victim.member.waits)

    def send(self, *payloads: Any, type_: str = "job") -> None:
        """Let the friend send to the victim."""
        for payload in payloads:
            assert self.friend.signals.send(type_, "victim", payload) != ""

    def send_to_one_that_waits(self, *payloads: Any, ends_read: bool) -> None:
        """Send to the victim once it waits; ``ends_read`` where the next read is cut, not this."""
        self.blocked()
        if ends_read:
            self.send(0, type_="noise")
            wait_until(self.proxy.has_cut.is_set, what="the cut")
        self.send(*payloads)

    def back(self) -> None:
        """Let the store be reached again, if it was away."""
        self.proxy.revive()
        # A short one was for the time without a store; the test's monkeypatch takes back what this sets.
        link.GRACE = max(link.GRACE, GRACE)
        wait_until(lambda: self.victim.hub.link.up)

    def reconnected(self) -> None:
        """Wait until the victim's hub has another link than at first."""
        wait_until(lambda: self.victim.hub.link.up and self.victim.hub.commands.link != self.link)

    # What has to hold

    def mail(self, agent_id: str, type_: str = "job") -> list[str]:
        """The ids of an agent's signals of one type in the store, as they lie there."""
        return _ids(self.store, f"mail:{agent_id}", type_)

    def broadcasts(self, type_: str = "job") -> list[str]:
        """The ids of the broadcasts of one type in the store."""
        return _ids(self.store, "broadcast", type_)

    def rest(self, peer: Peer, type_: str = "job") -> list[Any]:
        """Take what is left of one type; return the payloads."""
        found = []
        while (signal := peer.signals.check(type_)) is not None:
            found.append(signal.payload)
        return found

    def still_works(self) -> None:
        """Mail goes both ways, over the same incarnation."""
        assert self.victim.member.epoch == self.epoch
        # Again and again under one key: on a busy machine a short grace time may be over before the answer.
        key = f"still-{next(self._asked)}"
        wait_until(lambda: self.victim.signals.send("after", "friend", "to", key=key))
        got = self.friend.signals.wait("after", source="victim", timeout=5)
        assert got
        wait_until(lambda: self.friend.signals.send("after", "victim", "fro", key=key))
        back = self.victim.signals.wait("after", source="friend", timeout=5)
        assert back
        assert (got.payload, back.payload) == ("to", "fro")
        assert self.friend.signals.check("after") is None
        assert self.victim.signals.check("after") is None


def outcome(act: Callable[[], Any]) -> Any:
    """Return what a call returns, or the error that it raises."""
    try:
        return act()
    except Exception as error:
        return error


def payloads(signals: Any) -> list[Any]:
    """The payloads of signals, in order."""
    assert all(isinstance(signal, Signal) for signal in signals)
    return [signal.payload for signal in signals]


def _ids(store: Store, key: str, type_: str) -> list[str]:
    entries: Any = store.redis.xrange(f"{store.prefix}{key}")
    wanted = f'"type":"{type_}"'.encode()
    return [fields[b"head"].decode().split(" ")[4] for _, fields in entries if wanted in fields[b"signal"]]
