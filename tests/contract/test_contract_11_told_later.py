"""§5.11: what agents do while there is no store is told when there is one, in the order of causes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from awaiting import Awaited
from peers import Peer, Peers
from proxy import Proxy

from attune_dsl.store import event_codec

if TYPE_CHECKING:
    from conftest import Store

WaitUntil = Callable[..., Any]


def emit(peer: Peer, data: Any) -> None:
    """Emit something, as the code of a run does."""
    peer.member.recorder.emitted(None, "note", data, event_codec.encode(data))


def told(store: Store, peer: Peer) -> list[Any]:
    """What the timeline tells of an agent: what it has emitted, and the types of what it has sent."""
    found: list[Any] = []
    for entry_id, fields in store.redis.xrange(f"{store.prefix}timeline"):  # type: ignore[union-attr]
        raw = [part for pair in fields.items() for part in pair]
        event = event_codec.decode(entry_id.decode(), raw, store.namespace)
        if event is not None and event.agent == peer.id and event.kind in {"emit", "signal.sent", "timeline.gap"}:
            found.append(getattr(event.data, {"emit": "data", "signal.sent": "type"}.get(event.kind, "why")))
    return found


def is_sending(peer: Peer) -> bool:
    """Whether a signal of its waits for the store."""
    return any(request.numbered for request in list(peer.hub.commands._unanswered))


def test_a_signal_of_an_outage_is_told_behind_its_causes(
    store: Store, peers: Peers, proxy: Proxy, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.1, §5.11: a send that waits for the store to come back takes along what was done before it."""
    monkeypatch.setattr("attune_dsl.hub.link.GRACE", 30.0)
    me = peers.join("me", url=proxy.url)
    proxy.die()
    wait_until(lambda: not me.hub.link.up)
    emit(me, "before")
    sending = Awaited(me.signals.send, "done", "you")
    wait_until(lambda: is_sending(me))
    emit(me, "meanwhile")  # on another thread: nothing says when
    proxy.revive()

    assert sending.result() != ""
    wait_until(lambda: len(told(store, me)) == 3)
    assert [one for one in told(store, me) if one != "meanwhile"] == ["before", "done"]


def test_what_is_done_in_an_outage_is_told_once_and_does_not_pile_up(
    store: Store, peers: Peers, proxy: Proxy, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.11, §5.12: sends that are not confirmed leave what was done before them to be told later, in its order."""
    me = peers.join("me", url=proxy.url)
    emit(me, 0)
    proxy.die()
    wait_until(lambda: not me.hub.link.up)
    monkeypatch.setattr("attune_dsl.hub.link.GRACE", 0.0)
    for number in range(1, 600):
        emit(me, number)
        assert me.signals.send("done", "you") == ""
    queued = len(me.hub.commands._unanswered)
    monkeypatch.setattr("attune_dsl.hub.link.GRACE", 30.0)
    proxy.revive()
    wait_until(lambda: me.hub.link.up)
    assert me.signals.send("again", "you") != ""

    assert told(store, me) == [*range(600), "again"]
    assert queued < 10


def test_what_is_written_again_takes_nothing_newer_along(
    peers: Peers, proxy: Proxy, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.7, §5.11: else the numbers of what waits behind it would be behind, and it would be taken for told."""
    monkeypatch.setattr("attune_dsl.hub.keeper.TICK", 3600.0)
    me = peers.join("me", url=proxy.url)
    me.signals.send("job", "me")
    assert me.signals.wait("job", timeout=5)
    proxy.die()
    wait_until(lambda: not me.hub.link.up)
    me.member.recorder.pop()
    (mark,) = me.member.notes()
    written = mark.render(mark)
    emit(me, "older")
    (record,) = me.member.notes()
    assert '"older"' in str(record.render(record))
    emit(me, "newer")

    assert mark.render(mark) == written
    assert '"newer"' not in str(record.render(record))
    assert (mark.keep, record.keep) == (True, True)
