"""§5.9: aborts of agents: whom they reach, what they end, and that they are sticky."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aborting import WHY, aborted, field, is_told, waits
from awaiting import Awaited, end
from peers import Peer, Peers, until
from waiting import wait_until

from attune_dsl.exceptions import InvalidName
from attune_dsl.model import AgentStatus, Broken, Reason
from attune_dsl.store import limits, scripts

if TYPE_CHECKING:
    from conftest import Store


@pytest.fixture
def me(peers: Peers) -> Peer:
    """Who is asked."""
    return peers.join("me")


# What it ends


def test_a_wait_ends_at_once_and_says_why_and_who_asked(ops: Peer, me: Peer) -> None:
    """§5.9: a wait for ever, woken from another process."""
    waiting = waits(me, "x")

    assert ops.signals.abort("enough", "me") == ["me"]

    assert aborted(waiting.result()) == WHY
    assert me.agent.aborted == WHY


def test_all_waits_of_the_agent_end(ops: Peer, me: Peer) -> None:
    """§5.9: whatever they wait for."""
    waiting = [waits(me, "x"), waits(me, source="ops"), waits(me, "y", source="nobody", timeout=600)]
    ops.signals.abort("enough", "me")
    assert [aborted(one.result()) for one in waiting] == [WHY] * 3


def test_waits_of_others_go_on(ops: Peer, me: Peer, peers: Peers) -> None:
    """§5.9: also of agents of the same process."""
    other = peers.join("other")
    waiting = waits(other, "x")

    ops.signals.abort("enough", "me")
    wait_until(is_told(me))

    assert other.agent.aborted == ""
    assert ops.signals.send("x", "other")
    assert waiting.result()


async def test_an_awaited_wait_ends_too(peers: Peers) -> None:
    """§5.9: on an event loop, asked from that loop and from another link."""
    ops, me = await peers.ajoin("ops", url=peers.elsewhere()), await peers.ajoin("me")
    waiting = asyncio.create_task(me.async_signals.wait("x", timeout=None))
    await until(lambda: me.member.waits)

    assert await ops.async_signals.abort("enough", "me") == ["me"]

    assert aborted(await waiting) == WHY
    assert aborted(await me.async_signals.wait("x")) == WHY
    assert [signal async for signal in me.async_signals.listen()] == []
    await ops.aleave()
    await me.aleave(AgentStatus.ABORTED)


def test_gathering_ends_with_what_came(ops: Peer, me: Peer) -> None:
    """§5.9: and says why it is not all."""
    gathering = Awaited(me.signals.collect, "part", count=2, timeout=None)
    wait_until(lambda: me.member.waits)
    ops.signals.send("part", "me", 1)
    ops.signals.abort("enough", "me")

    got = gathering.result()
    assert [signal.payload for signal in got] == [1]
    assert (got.reason, got.detail) == (Reason.ABORTED, WHY)


def test_listening_ends(ops: Peer, me: Peer) -> None:
    """§5.9: after what was sent before."""
    listening = Awaited(lambda: [signal.payload for signal in me.signals.listen("part", timeout=None)])
    wait_until(lambda: me.member.waits)
    ops.signals.send("part", "me", 1)
    ops.signals.abort("enough", "me")

    assert listening.result() == [1]


def test_a_wait_at_a_barrier_ends_and_breaks_it_for_the_others(ops: Peer, me: Peer, peers: Peers) -> None:
    """§5.9: they learn because of whom."""
    other = peers.join("other", url=peers.elsewhere())
    standing = [Awaited(peer.signals.barrier, "gate", 3, timeout=None) for peer in (me, other)]
    wait_until(lambda: me.member.waits and other.member.waits)

    ops.signals.abort("enough", "me")

    broken = Broken(reason=Reason.ABORTED, by="me", detail=WHY)
    assert [one.result() for one in standing] == [broken, broken]


# Mail first


def test_mail_that_was_sent_before_is_delivered_first(ops: Peer, me: Peer) -> None:
    """§5.9: all of it, in order; then the abort."""
    for n in range(2):
        ops.signals.send("x", "me", n)
    ops.signals.abort("enough", "me")
    wait_until(is_told(me))

    heard = [me.signals.wait("x", timeout=None) for _ in range(3)]

    assert [signal.payload for signal in heard if signal] == [0, 1]
    assert aborted(heard[2]) == WHY


def test_mail_that_its_hub_has_not_heard_of_is_delivered_first(
    ops: Peer, me: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.9: the wait looks into the store before it ends."""
    monkeypatch.setattr(me.hub.reader, "_hand_on_to", lambda *_: None)  # no copy arrives
    waiting = waits(me, "x")
    ops.signals.send("x", "me", 1)

    ops.signals.abort("enough", "me")

    assert waiting.result().payload == 1
    assert aborted(me.signals.wait("x")) == WHY


def test_other_mail_stays_and_can_be_taken(ops: Peer, me: Peer) -> None:
    """§5.9: an agent that cleans up looks into its mailbox as ever, and sends."""
    ops.signals.send("other", "me", 1)
    ops.signals.abort("enough", "me")
    wait_until(is_told(me))

    assert aborted(me.signals.wait("x")) == WHY
    found = me.signals.check("other")
    assert found is not None
    assert found.payload == 1
    assert me.signals.send("sorry", "ops")
    assert ops.signals.wait("sorry")


# It is sticky


@pytest.mark.parametrize("timeout", [0, 600, None])
def test_later_waits_end_at_once(ops: Peer, me: Peer, timeout: float | None) -> None:
    """§5.9: each of them, whatever its timeout, also for one who was never seen."""
    ops.signals.abort("enough", "me")
    wait_until(is_told(me))

    for source in (None, "ops", "nobody"):
        assert aborted(Awaited(me.signals.wait, "x", source=source, timeout=timeout).result()) == WHY
    got = Awaited(me.signals.collect, "x", count=1, timeout=timeout).result()
    assert (got.reason, got.detail, len(got)) == (Reason.ABORTED, WHY, 0)
    assert Awaited(lambda: list(me.signals.listen(timeout=timeout))).result() == []
    broken = Awaited(me.signals.barrier, "gate", 2, timeout=timeout).result()
    assert broken == Broken(reason=Reason.ABORTED, by="me", detail=WHY)


def test_the_first_reason_counts(ops: Peer, me: Peer, store: Store) -> None:
    """§5.9: it may have been acted on; whoever asks again is told that the agent was asked."""
    ops.signals.abort("enough", "me")
    assert ops.signals.abort("too late", "me") == ["me"]
    wait_until(is_told(me))

    assert aborted(me.signals.wait("x")) == WHY
    assert (field(store, "me", "abort_reason"), field(store, "me", "abort_by")) == ("enough", "ops")


def test_an_agent_may_ask_itself(me: Peer) -> None:
    """§5.9: by its name."""
    assert me.signals.abort("enough", "me") == ["me"]
    wait_until(is_told(me))
    assert aborted(me.signals.wait("x")) == "enough (asked by me)"


# Whom it reaches


def test_without_a_target_all_that_live_are_asked_but_who_asks(ops: Peer, me: Peer, peers: Peers, store: Store) -> None:
    """§5.9: also who has only a heartbeat, and of the same process; not who has ended."""
    near = peers.join("near", url=None)
    beating = peers.join("beating", coordination=None)
    gone = peers.join("gone")
    end(gone)

    assert sorted(ops.signals.abort("enough")) == ["beating", "me", "near"]

    wait_until(lambda: all(is_told(peer)() for peer in (me, near, beating)))
    assert field(store, "ops", "abort_reason") is None
    assert ops.agent.aborted == ""


def test_newcomers_are_not_asked(ops: Peer, me: Peer, peers: Peers) -> None:
    """§5.9: it is no broadcast, and is not kept; also not for a new one under the id of one that was asked."""
    ops.signals.abort("enough")
    wait_until(is_told(me))
    end(me, AgentStatus.ABORTED)

    for name in ("new", "me"):
        newcomer = peers.join(name, url=peers.elsewhere())
        assert newcomer.agent.aborted == ""
        assert newcomer.signals.pending() == []
        assert newcomer.signals.wait("x", timeout=0).reason is Reason.TIMEOUT


def test_it_is_no_signal(ops: Peer, me: Peer, store: Store) -> None:
    """§5.9: nobody finds it in a mailbox or among the broadcasts."""
    ops.signals.abort("enough")
    assert me.signals.pending() == []
    kinds = {key.partition(":")[0] for key in iter(store.keys())}
    assert kinds.isdisjoint({"mail", "mail-info", "broadcast", "broadcast-info"})


def test_names_are_no_patterns(ops: Peer, me: Peer, peers: Peers) -> None:
    """§5.2, §5.9: who bears exactly that name is asked."""
    epoch = me.member.epoch
    for name in ("*", "m?", "[m]e", "m", f"me#{epoch}", "#"):
        assert ops.signals.abort("enough", name) == [], name
    assert me.agent.aborted == ""

    odd = peers.join(f"me#{epoch}", url=peers.elsewhere())
    assert ops.signals.abort("enough", odd.id) == [odd.id]
    assert me.agent.aborted == ""


def test_a_name_like_another_s_lease_takes_nobody_s_place(ops: Peer, me: Peer, peers: Peers) -> None:
    """§5.2, §5.9: without a target both are asked."""
    odd = peers.join(f"me#{me.member.epoch}", url=peers.elsewhere())
    assert sorted(ops.signals.abort("enough")) == ["me", odd.id]
    wait_until(lambda: is_told(me)() and is_told(odd)())


def test_nobody_of_that_name_lives(ops: Peer, me: Peer) -> None:
    """§5.9: never, or not any more; an empty list says so."""
    end(me)
    assert ops.signals.abort("enough", "me") == []
    assert ops.signals.abort("enough", "nobody") == []


@pytest.mark.parametrize("reason", ["", "  ", "x" * (limits.REASON_LENGTH + 1), "\ud800", None])
def test_a_reason_is_a_text_of_a_certain_length(ops: Peer, me: Peer, reason: Any) -> None:
    """§5.12: and is refused before anybody is asked."""
    ops.agent.touch("own", 0.0)
    before = ops.member.doing.fields()["activity"]
    with pytest.raises(ValueError, match=r"the reason of an abort|surrogates not allowed"):
        ops.signals.abort(reason, "me")
    with pytest.raises(InvalidName):
        ops.signals.abort("enough", "")
    assert ops.member.doing.fields()["activity"] == before
    assert ops.signals.abort("x" * limits.REASON_LENGTH, "me") == ["me"]


@pytest.mark.timeout(120)
def test_three_hundred_agents_are_asked_in_chunks(ops: Peer, peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    """§5.9: more than one script call asks; none is left out, none is asked twice."""
    many = [peers.join(f"agent-{n}") for n in range(300)]
    asking = called(ops, scripts._ABORT, monkeypatch)

    asked = ops.signals.abort("enough")

    assert sorted(asked) == sorted(peer.id for peer in many)
    assert len(asking) == 2
    wait_until(lambda: all(is_told(peer)() for peer in many))


def called(peer: Peer, script: Any, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The calls of one script that the agent's hub writes from here on, but for those of its own thread."""
    seen: list[bytes] = []
    original = peer.hub.commands._render

    def render(request: Any) -> bytes:
        data = original(request)
        if script.sha.encode() in data and not peer.hub.keeper.is_current:
            seen.append(data)
        return data

    monkeypatch.setattr(peer.hub.commands, "_render", render)
    return seen


def test_one_agent_is_asked_in_one_round_trip(ops: Peer, me: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """§5.9: and ends its wait with one more look."""
    waiting = waits(me, "x")
    asking, looking = called(ops, scripts._ABORT, monkeypatch), called(me, scripts._LOOK, monkeypatch)

    ops.signals.abort("enough", "me")
    waiting.result()

    assert (len(asking), len(looking)) == (1, 1)


# Who asks


def test_an_agent_whose_id_was_taken_over_asks_nobody(store: Store, ops: Peer, me: Peer, peers: Peers) -> None:
    """§5.2: here it knows that, and there it does not yet."""
    store.redis.hset(f"{store.prefix}agent:ops", "owner", "99@x.1")
    assert ops.signals.abort("enough", "me") == []
    assert ops.signals.abort("enough") == []

    new = peers.join("ops", url=peers.elsewhere(), takeover=True)
    ops.hub.expel(ops.member, "another")
    assert ops.signals.abort("enough", "me") == []
    assert me.agent.aborted == ""
    assert new.signals.abort("enough", "me") == ["me"]
