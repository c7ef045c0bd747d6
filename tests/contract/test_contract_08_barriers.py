"""§5.8: all who come to a barrier are released together, or all learn that it broke, and because of whom."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from awaiting import Awaited, end
from blocking import blocked, free, known
from meeting import broken, knows, meet, standing, stands
from peers import Peer, Peers, until
from proxy import Proxy
from waiting import wait_until

from attune_dsl import Monitor, Runner, Signals, UsageError, workflow
from attune_dsl.hub.pump import Pump
from attune_dsl.model import AgentStatus, Heartbeat, Reason, Released

if TYPE_CHECKING:
    from conftest import Store

SHORT = Heartbeat(interval=0.1, ttl=0.6)
"""Of agents that shall be found dead soon."""


@pytest.fixture
def ann(peers: Peers) -> Peer:
    return peers.join("ann", url=peers.elsewhere())


@pytest.fixture
def ben(peers: Peers) -> Peer:
    return peers.join("ben", url=peers.elsewhere())


@pytest.fixture
def cho(peers: Peers) -> Peer:
    return peers.join("cho", url=peers.elsewhere())


def left_clean(*peers: Peer) -> None:
    """Nothing stays behind of what is over."""
    for peer in peers:
        assert (peer.member.stands, peer.hub.sources._waits, peer.member.waits) == ({}, {}, 0)


# Released


@pytest.mark.parametrize("parties", [3, ["ann", "ben", "cho"]], ids=["counted", "named"])
def test_all_are_released_together(ann: Peer, ben: Peer, cho: Peer, parties: Any) -> None:
    """§5.8: with the last one, and each learns who they are in the order in which they came."""
    waiting = [stands(cho, parties), stands(ann, parties)]
    assert not any(meeting.is_over for meeting in waiting)

    last = ben.signals.barrier("gate", parties)

    assert last == Released(generation=1, agents=("cho", "ann", "ben"))
    assert [meeting.result() for meeting in waiting] == [last, last]
    assert last
    left_clean(ann, ben, cho)


def test_agents_of_one_process_meet_too(peers: Peers, ann: Peer) -> None:
    """§5.8: two of them over one link, one over another."""
    assert meet(peers.join("dan"), peers.join("eve"), ann) == 1


def test_one_alone_meets_itself_at_once(ann: Peer) -> None:
    """§5.8: as often as it likes."""
    assert [meet(ann), meet(ann)] == [1, 2]
    assert ann.signals.barrier("gate", ["ann"]) == Released(generation=3, agents=("ann",))


def test_it_is_used_again_and_again_by_those_who_run_ahead(ann: Peer, ben: Peer, cho: Peer) -> None:
    """§5.8: who is released first comes back before the others know; nobody is left in an earlier generation."""

    def rounds(peer: Peer) -> list[Any]:
        return [peer.signals.barrier("gate", 3, timeout=20) for _ in range(40)]

    found = [running.result(30) for running in [Awaited(rounds, peer) for peer in (ann, ben, cho)]]

    assert found[0] == found[1] == found[2]
    assert [one.generation for one in found[0]] == list(range(1, 41))
    assert {tuple(sorted(one.agents)) for one in found[0]} == {("ann", "ben", "cho")}


async def test_tasks_of_one_loop_meet_each_other_and_a_thread(peers: Peers) -> None:
    """§5.8: sync and async mixed, in one process and another."""
    mine = [await peers.ajoin(f"task-{n}") for n in range(3)]
    other = await peers.ajoin("other", url=peers.elsewhere())

    for generation in (1, 2):
        thread = asyncio.to_thread(other.signals.barrier, "gate", 4)
        found = await asyncio.gather(*(me.async_signals.barrier("gate", 4) for me in mine), thread)
        assert {one.generation for one in found} == {generation}
        assert len({one.agents for one in found}) == 1
    for peer in (*mine, other):
        await peer.aleave()


async def test_a_crowd_on_one_loop_meets(peers: Peers) -> None:
    """§5.8: more agents than one read of the inbox brings; each learns of it."""
    crowd = [await peers.ajoin(f"crowd-{n}") for n in range(150)]

    async with asyncio.timeout(30):
        found = await asyncio.gather(*(one.async_signals.barrier("gate", len(crowd)) for one in crowd))

    assert len({one.agents for one in found}) == 1
    assert set(found[0].agents) == {one.id for one in crowd}
    for one in crowd:
        await one.aleave()


def test_an_agent_waits_at_two_barriers_at_once(ann: Peer, ben: Peer, cho: Peer) -> None:
    """§5.8: on two threads; each ends by itself."""
    gate, door = stands(ann, name="gate"), stands(ann, name="door")

    assert ben.signals.barrier("door", 2) == door.result()
    assert not gate.is_over
    assert cho.signals.barrier("gate", 2) == gate.result()
    left_clean(ann)


def test_runs_meet_and_learn_of_a_run_that_failed(store: Store) -> None:
    """§5.8: in a workflow as in a script; the end of a run breaks what it stands at."""

    @workflow(coordination=True)
    def left(signals: Signals) -> Any:
        return [signals.barrier("gate", ["left", "right"]) for _ in range(2)]

    @workflow(coordination=True)
    def right(signals: Signals) -> None:
        assert signals.barrier("gate", ["left", "right"])
        raise RuntimeError("no disk")

    with Runner(store=store.url, namespace=store.namespace) as runner:
        one, other = runner.start(left), runner.start(right)
        met, second = one.wait(20).unwrap()
        assert not other.wait(20).success

    assert sorted(met.agents) == ["left", "right"]
    assert broken(second, Reason.PEER_GONE, "right") == "agent 'right' failed (RuntimeError: no disk)"


# Broken


def test_a_timeout_breaks_it_for_all(ann: Peer, ben: Peer) -> None:
    """§5.8: and each learns whose time was over."""
    waiting = stands(ann, 3)

    detail = broken(ben.signals.barrier("gate", 3, timeout=0.05), Reason.TIMEOUT, "ben")

    assert detail == "agent 'ben' waited 0.05 s for all 3 parties"
    assert broken(waiting, Reason.TIMEOUT, "ben") == detail
    assert not waiting.result()
    left_clean(ann, ben)


def test_without_time_to_wait_only_the_last_one_succeeds(ann: Peer, ben: Peer) -> None:
    """§5.8: a timeout of nothing asks whether all others are there."""
    broken(ben.signals.barrier("gate", 2, timeout=0), Reason.TIMEOUT, "ben")
    broken(ann.signals.barrier("gate", 2), Reason.TIMEOUT, "ben")
    waiting = stands(ann)

    assert ben.signals.barrier("gate", 2, timeout=0) == waiting.result()


def test_a_latecomer_that_was_there_learns_at_once_and_then_meets(ann: Peer, ben: Peer, cho: Peer) -> None:
    """§5.8: once; the next round is a new one for all three."""
    waiting = stands(ann, 3)
    broken(ben.signals.barrier("gate", 3, timeout=0), Reason.TIMEOUT, "ben")
    broken(waiting, Reason.TIMEOUT, "ben")

    broken(Awaited(cho.signals.barrier, "gate", 3, timeout=None), Reason.TIMEOUT, "ben")

    assert meet(cho, ann, ben) == 2


def test_a_newcomer_begins_a_new_generation(peers: Peers, ann: Peer, ben: Peer) -> None:
    """§5.8: what broke before it joined is nothing to it."""
    broken(ann.signals.barrier("gate", 2, timeout=0), Reason.TIMEOUT, "ann")
    new = peers.join("new", url=peers.elsewhere())

    waiting = stands(new)

    broken(ben.signals.barrier("gate", 2), Reason.TIMEOUT, "ann")
    assert ben.signals.barrier("gate", 2) == waiting.result() == Released(generation=2, agents=("new", "ben"))


@pytest.mark.parametrize(
    ("status", "detail"),
    [
        (AgentStatus.COMPLETED, "agent 'ben' completed"),
        (AgentStatus.FAILED, "agent 'ben' failed on stage 'build' (no)"),
        (AgentStatus.ABORTED, "agent 'ben' was aborted on stage 'build' (no)"),
        (AgentStatus.CANCELLED, "agent 'ben' was cancelled on stage 'build' (no)"),
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_the_end_of_one_that_stands_there_breaks_it(  # noqa: PLR0917
    ann: Peer, ben: Peer, cho: Peer, status: AgentStatus, detail: str, named: bool
) -> None:
    """§5.8: at once, whatever its status, with the stage and the error; it itself learns that it is gone."""
    ben.agent.touch("build", 0.5)
    parties = ["ann", "ben", "cho"] if named else 3
    waiting, own = stands(ann, parties), stands(ben, parties)

    end(ben, status, None if status is AgentStatus.COMPLETED else "no")

    assert broken(waiting, Reason.PEER_GONE, "ben") == detail
    assert not own.result()
    assert broken(cho.signals.barrier("gate", parties), Reason.PEER_GONE, "ben") == detail
    left_clean(ann, cho)


@pytest.mark.parametrize("named", [False, True])
def test_the_death_of_one_that_stands_there_breaks_it(store: Store, peers: Peers, proxy: Proxy, named: bool) -> None:
    """§5.8: as soon as its lease has lapsed; it learns the same when it comes back."""
    ann = peers.join("ann", url=peers.elsewhere(), heartbeat=Heartbeat(interval=0.1, ttl=10))
    dead = peers.join("dead", url=proxy.url, heartbeat=SHORT)
    dead.hub.link.patience = lambda: float("inf")  # type: ignore[method-assign]
    parties = ["ann", "dead", "cho"] if named else 3
    waiting, own = stands(ann, parties), stands(dead, parties)

    proxy.die()
    assert broken(waiting, Reason.PEER_GONE, "dead") == "agent 'dead' was lost"
    assert not own.is_over
    proxy.revive()

    assert broken(own, Reason.PEER_GONE, "dead") == "agent 'dead' was lost"
    assert (dead.member.was_lost, standing(store)) == (True, set())


def test_an_abort_of_one_that_stands_there_breaks_it(ann: Peer, ben: Peer, cho: Peer) -> None:
    """§5.8, §5.9: all learn why, and who asked; the one that was asked can stand nowhere any more."""
    waiting, own = stands(ann, 3), stands(ben, 3)

    assert cho.signals.abort("enough\nof it", "ben") == ["ben"]

    for meeting in (own, waiting):
        assert broken(meeting, Reason.ABORTED, "ben") == "enough\nof it (asked by cho)"
    broken(cho.signals.barrier("gate", 3), Reason.ABORTED, "ben")
    waiting = stands(ann, 3)
    broken(ben.signals.barrier("gate", 3), Reason.ABORTED, "ben")
    broken(waiting, Reason.ABORTED, "ben")


def test_a_takeover_of_one_that_stands_there_breaks_it(peers: Peers, ann: Peer, ben: Peer) -> None:
    """§5.8: the new owner of its id stands nowhere; it begins anew."""
    assert meet(ann, ben) == 1
    waiting, own = stands(ann, 3), stands(ben, 3)

    new = peers.join("ben", url=peers.elsewhere(), takeover=True)

    assert broken(waiting, Reason.PEER_GONE, "ben") == "agent 'ben' was taken over"
    assert "was taken over by pid" in broken(own, Reason.UNAVAILABLE, None)
    assert meet(new, ann) == 3


def test_a_named_party_that_ends_before_it_came_breaks_it(ann: Peer, ben: Peer, cho: Peer) -> None:
    """§5.8: at once for all who stand there, and for the one that comes later; nobody else's end does."""
    parties = ["ann", "ben", "cho"]
    waiting = stands(ann, parties)

    end(ben, AgentStatus.FAILED, "no")

    assert broken(waiting, Reason.PEER_GONE, "ben") == "agent 'ben' failed (no)"
    assert broken(cho.signals.barrier("gate", parties, timeout=None), Reason.PEER_GONE, "ben")
    broken(Awaited(cho.signals.barrier, "gate", parties, timeout=None), Reason.PEER_GONE, "ben")


def test_the_end_of_one_that_is_not_named_breaks_nothing(ann: Peer, ben: Peer, cho: Peer) -> None:
    """§5.8: nor, where parties are counted, of anybody that does not stand there."""
    counted, named = stands(ann, 2, name="door"), stands(ann, ["ann", "ben"])

    end(cho, AgentStatus.FAILED)

    assert ben.signals.barrier("gate", ["ann", "ben"]) == named.result()
    assert ben.signals.barrier("door", 2) == counted.result()


def test_a_named_party_that_has_not_started_is_waited_for(peers: Peers, ann: Peer) -> None:
    """§5.8: also where one of that name had ended before this agent joined."""
    peers.join("dan").leave(AgentStatus.FAILED)
    me = peers.join("me", url=peers.elsewhere())
    waiting = stands(me, ["me", "dan"])

    new = peers.join("dan", url=peers.elsewhere())

    assert new.signals.barrier("gate", ["dan", "me"]) == waiting.result()


# Cancelled


async def test_a_task_that_is_cancelled_breaks_it(store: Store, peers: Peers) -> None:
    """§5.8: the others do not wait for one that has gone on; it can come back at once."""
    me, other = await peers.ajoin("me"), await peers.ajoin("other", url=peers.elsewhere())
    task = asyncio.create_task(me.async_signals.barrier("gate", 3, timeout=None))
    waiting = asyncio.create_task(other.async_signals.barrier("gate", 3, timeout=None))
    await until(lambda: knows(me) and knows(other))

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert me.member.stands == {}
    again = asyncio.create_task(me.async_signals.barrier("gate", 2, timeout=None))

    async with asyncio.timeout(5):
        detail = broken(await waiting, Reason.UNAVAILABLE, "me")
        assert detail == "agent 'me' does not wait any more: its wait was ended by CancelledError"
        assert await other.async_signals.barrier("gate", 2) == await again
    for peer in (me, other):
        left_clean(peer)
        await peer.aleave()


@pytest.mark.parametrize("while_", ["arriving", "waiting"])
def test_an_interrupt_breaks_it(ann: Peer, ben: Peer, monkeypatch: pytest.MonkeyPatch, while_: str) -> None:
    """§5.8: a Ctrl-C; the others learn at once, and it meets them again."""
    waiting = stands(ann, 3)
    pump = ben.hub.reader.pump if while_ == "waiting" else ben.hub.commands.pump
    block = Pump.block

    def interrupt(self: Pump, ticket: Any) -> None:
        if self is pump and threading.current_thread().name == "interrupted":
            raise KeyboardInterrupt
        block(self, ticket)

    def come() -> bool:
        threading.current_thread().name = "interrupted"
        with pytest.raises(KeyboardInterrupt):
            ben.signals.barrier("gate", 3, timeout=None)
        return True

    monkeypatch.setattr(Pump, "block", interrupt)
    assert Awaited(come).result()

    detail = broken(waiting, Reason.UNAVAILABLE, "ben")
    assert detail == "agent 'ben' does not wait any more: its wait was ended by KeyboardInterrupt"
    left_clean(ann, ben)
    assert meet(ben, ann) == 2


# Beside it


def test_who_stands_there_is_seen_waiting(store: Store, peers: Peers) -> None:
    """§5.8, §5.10: and for what; when it is over it runs again."""
    me = peers.join("me", url=peers.elsewhere(), heartbeat=Heartbeat(interval=60, ttl=120))
    me.agent.touch("build", 0.5)
    with Monitor(store.address, store.namespace) as monitor:
        waiting = stands(me)
        wait_until(lambda: (seen := monitor.agent("me")) is not None and seen.status is AgentStatus.WAITING)
        seen = monitor.agent("me")
        assert seen is not None
        assert (seen.activity, seen.is_stalled) == ("waits for barrier gate", False)
        peers.join("other").signals.barrier("gate", 2)
        assert waiting.result()
        wait_until(lambda: (seen := monitor.agent("me")) is not None and seen.status is AgentStatus.RUNNING)


def test_who_waits_for_one_at_a_barrier_is_no_cycle(store: Store, ann: Peer, ben: Peer) -> None:
    """§5.8: the last party may still come, so there is no alarm; whoever waits elsewhere is not stuck for ever."""
    waiting = stands(ann, ["ann", "ben"])
    mail = blocked(store, ben, "ann", "x")
    assert known(store) == {"ben"}
    assert not mail.is_over

    free(ann, ben, "x", mail)
    assert ben.signals.barrier("gate", ["ann", "ben"]) == waiting.result()


def test_one_that_means_other_parties_is_refused_and_disturbs_nobody(ann: Peer, ben: Peer, cho: Peer) -> None:
    """§5.8: another number, other names, names instead of a number, and a stranger to names."""
    waiting = stands(ann, 2)
    with pytest.raises(UsageError, match="at the barrier 'gate' wait for 2 parties, not for 3"):
        ben.signals.barrier("gate", 3)
    with pytest.raises(UsageError, match=r"'gate' wait for 2 parties, .* not for the same"):
        ben.signals.barrier("gate", ["ann", "ben"])
    assert ben.signals.barrier("gate", 2) == waiting.result()

    waiting = stands(ann, ["ann", "ben"])
    for parties in (2, ["cho", "ben"]):
        with pytest.raises(UsageError, match=r"'gate' wait for 2 parties, .* not for the same"):
            cho.signals.barrier("gate", parties)
    assert ben.signals.barrier("gate", ("ben", "ann")) == waiting.result()
    left_clean(ann, ben, cho)


def test_without_coordination_nobody_waits(peers: Peers, ann: Peer) -> None:
    """§3, §5.11: it breaks at once, and the others are not disturbed."""
    inert = peers.join("inert", url=peers.elsewhere(), coordination=None)
    waiting = stands(ann)

    assert broken(inert.signals.barrier("gate", 2), Reason.UNAVAILABLE, None) == "coordination is off for inert"
    assert not waiting.is_over
    assert peers.join("dan").signals.barrier("gate", 2) == waiting.result()
