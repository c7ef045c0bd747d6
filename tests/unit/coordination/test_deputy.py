"""Acting for an agent of another process by its token."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from peers import Peer, Peers

from attune_dsl.coordination.deputy import Deputy
from attune_dsl.coordination.monitor import Monitor
from attune_dsl.exceptions import InvalidName, MailboxFull, NotAJsonValue, StoreUnavailable, UsageError
from attune_dsl.hub import hub as hub_module
from attune_dsl.hub.drive import drive
from attune_dsl.model import AgentRecord, Coordination, Heartbeat
from attune_dsl.store import scripts

if TYPE_CHECKING:
    from conftest import Store

WaitUntil = Callable[..., Any]


@pytest.fixture
def job(peers: Peers) -> Peer:
    """The agent that is acted for; it has said where it stands."""
    job = peers.join("job")
    job.agent.touch(None, 0.25, note="began")
    return job


@pytest.fixture
def deputy(peers: Peers, job: Peer) -> Iterator[Deputy]:
    """One over a link of its own, as another process has."""
    deputy = drive(opened(peers, job.agent.token))
    yield deputy
    drive(deputy.close())


async def opened(peers: Peers, token: str, agent_id: str = "job", **options: Any) -> Deputy:
    return await Deputy.open(agent_id, token, peers.elsewhere(), peers.store.namespace, **options)


def record_of(store: Store, agent_id: str = "job") -> AgentRecord:
    with Monitor(store.url, store.namespace) as monitor:
        record = monitor.agent(agent_id)
    assert record is not None
    return record


def test_it_says_how_far_the_agent_is(store: Store, deputy: Deputy, wait_until: WaitUntil) -> None:
    drive(deputy.progress(0.5, "half"))

    wait_until(lambda: record_of(store).progress == 0.5)
    assert record_of(store).note == "half"


def test_either_a_fraction_or_a_note_is_enough(store: Store, deputy: Deputy, wait_until: WaitUntil) -> None:
    drive(deputy.progress(note="reading"))
    wait_until(lambda: record_of(store).note == "reading")
    assert record_of(store).progress == 0.25

    drive(deputy.progress(1))
    wait_until(lambda: record_of(store).progress == 1.0)
    assert record_of(store).note == "reading"


def test_progress_never_moves_back(store: Store, deputy: Deputy, wait_until: WaitUntil) -> None:
    drive(deputy.progress(0.1, "earlier"))

    wait_until(lambda: record_of(store).note == "earlier")
    assert record_of(store).progress == 0.25


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_a_fraction_is_from_0_to_1(deputy: Deputy, fraction: float) -> None:
    with pytest.raises(ValueError, match="a fraction from 0 to 1"):
        drive(deputy.progress(fraction))


def test_what_it_sends_comes_from_the_agent(peers: Peers, deputy: Deputy) -> None:
    bob = peers.join("bob")

    signal_id = drive(deputy.send("go", "bob", {"n": 1}, ttl=5))
    signal = bob.signals.wait("go", timeout=10)

    assert signal
    assert (signal.id, signal.source, signal.target, signal.payload) == (signal_id, "job", "bob", {"n": 1})
    assert signal.expires_at - signal.sent_at == pytest.approx(5)


def test_what_it_broadcasts_comes_from_the_agent(peers: Peers, job: Peer, deputy: Deputy) -> None:
    bob = peers.join("bob")

    drive(deputy.broadcast("go", [1], late=False))
    signal = bob.signals.wait("go", timeout=10)

    assert signal
    assert (signal.source, signal.target, signal.payload) == ("job", None, [1])
    assert job.signals.check() is None
    assert peers.join("cid").signals.check() is None


def test_a_send_is_proof_of_work(store: Store, peers: Peers, wait_until: WaitUntil) -> None:
    idle = peers.join("idle", heartbeat=Heartbeat(interval=60, ttl=120, stall_after=0.05))
    idle.agent.touch(None, 0.0)
    wait_until(lambda: record_of(store, "idle").is_stalled)
    deputy = drive(opened(peers, idle.agent.token, "idle"))

    wait_until(lambda: drive(deputy.send("go", "bob")) and not record_of(store, "idle").is_stalled)
    drive(deputy.close())

    assert record_of(store, "idle").activity == "sent go to bob"


def test_words_that_make_no_sense_are_skipped_alone(peers: Peers, job: Peer, wait_until: WaitUntil) -> None:
    """§5.12: what somebody else writes into the inbox stops nobody."""
    hub = job.hub
    for field, data in (("did", b"7"), ("did", b'["a", 1]'), ("progress", b"[2, null]"), ("progress", b"{")):
        drive(
            hub.ask(
                [
                    hub.request(
                        lambda _, f=field, d=data: (
                            "XADD",
                            hub.keys.inbox(hub.commands.link),
                            "*",
                            "agent",
                            "job",
                            f,
                            d,
                        )
                    )
                ]
            )
        )

    wait_until(lambda: hub.entries.skipped == 4)
    assert job.signals.send("still", "here")


def test_the_policy_says_how_long_a_signal_waits(peers: Peers, job: Peer) -> None:
    bob = peers.join("bob")
    deputy = drive(opened(peers, job.agent.token, coordination=Coordination(ttl=7)))

    drive(deputy.send("go", "bob"))
    drive(deputy.close())
    signal = bob.signals.wait("go", timeout=10)

    assert signal
    assert signal.expires_at - signal.sent_at == pytest.approx(7)


def test_a_key_makes_two_sends_one(peers: Peers, job: Peer, deputy: Deputy) -> None:
    """Also when two processes act for the agent."""
    other = drive(opened(peers, job.agent.token))
    bob = peers.join("bob")

    first = drive(deputy.send("go", "bob", key="once"))
    assert drive(other.send("go", "bob", key="once")) == first
    assert drive(other.send("go", "bob")) != first
    drive(other.close())

    assert len(bob.signals.pending()) == 2


def test_several_act_at_once_with_the_agent_itself(peers: Peers, job: Peer, deputy: Deputy) -> None:
    bob = peers.join("bob")

    for turn in range(5):
        assert drive(deputy.send("theirs", "bob", turn))
        assert job.signals.send("own", "bob", turn)

    assert [signal.payload for signal in bob.signals.pending("own")] == list(range(5))
    assert [signal.payload for signal in bob.signals.pending("theirs")] == list(range(5))


def test_it_asks_others_to_stop_in_the_agents_name(
    peers: Peers, job: Peer, deputy: Deputy, wait_until: WaitUntil
) -> None:
    """§5.9: one, or all others that live now."""
    bob, carol = peers.join("bob"), peers.join("carol")

    assert drive(deputy.abort("too late", "bob")) == ["bob"]
    assert drive(deputy.abort("too late", "nobody")) == []
    wait_until(lambda: bob.agent.aborted)
    assert (bob.agent.aborted, carol.agent.aborted) == ("too late (asked by job)", "")

    assert sorted(drive(deputy.abort("at last", None)) or ()) == ["bob", "carol"]
    wait_until(lambda: carol.agent.aborted)
    assert (bob.agent.aborted, job.agent.aborted) == ("too late (asked by job)", "")


@pytest.mark.parametrize(("reason", "target"), [("", "bob"), ("no", "")])
def test_it_does_not_say_that_it_asked_before_it_may(
    deputy: Deputy, monkeypatch: pytest.MonkeyPatch, reason: str, target: str
) -> None:
    """§5.9: the reason and the name are checked first."""
    told: list[object] = []
    monkeypatch.setattr(deputy, "_tell", told.append)
    with pytest.raises((ValueError, InvalidName)):
        drive(deputy.abort(reason, target))
    assert told == []


@pytest.mark.parametrize("token", ["", "0" * 32])
def test_a_wrong_token_is_refused(peers: Peers, job: Peer, token: str) -> None:
    deputy = drive(opened(peers, token))
    bob = peers.join("bob")

    for act in (deputy.progress(0.5), deputy.send("go", "bob"), deputy.broadcast("go"), deputy.abort("no", "bob")):
        with pytest.raises(UsageError, match="not, or no longer, that of a live agent 'job'"):
            drive(act)
    drive(deputy.close())

    assert bob.signals.pending() == []
    assert record_of(peers.store, "bob").abort is None


def test_a_token_is_no_longer_valid_once_the_agent_has_ended(job: Peer, deputy: Deputy) -> None:
    job.leave()

    with pytest.raises(UsageError, match="it has ended, was lost, or has another owner"):
        drive(deputy.progress(0.5))
    with pytest.raises(UsageError, match="no longer"):
        drive(deputy.send("go", "bob"))


def test_a_token_is_no_longer_valid_once_the_agent_has_another_owner(peers: Peers, deputy: Deputy) -> None:
    peers.join("job", url=peers.elsewhere(), takeover=True)

    with pytest.raises(UsageError, match="has another owner"):
        drive(deputy.progress(0.5))


def test_an_agent_whose_process_has_no_inbox_may_still_have_signals_sent(
    store: Store, job: Peer, deputy: Deputy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process is just reconnecting: progress has to reach it, a signal has not."""
    monkeypatch.setattr("attune_dsl.coordination.deputy.GRACE", 0.1)
    store.redis.delete(job.hub.keys.inbox(job.hub.commands.link))

    assert drive(deputy.send("go", "bob"))
    with pytest.raises(StoreUnavailable, match="the process of agent 'job' has no link to the store"):
        drive(deputy.progress(0.5))


def test_a_send_is_repeated_when_the_agents_link_changes_meanwhile(
    peers: Peers, job: Peer, deputy: Deputy, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = peers.join("bob")
    owners: list[str] = []
    send = scripts.send

    def stale_at_first(*args: Any, owner: str, **options: Any) -> Any:
        owners.append(owner if owners else f"{owner}-of-yesterday")
        return send(*args, owner=owners[-1], **options)

    monkeypatch.setattr(scripts, "send", stale_at_first)

    assert drive(deputy.send("go", "bob"))
    assert len(owners) == 2
    assert len(bob.signals.pending()) == 1


def test_what_cannot_be_sent_is_told(deputy: Deputy, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong, error in (
        (lambda: deputy.send("", "bob"), InvalidName),
        (lambda: deputy.send("go", ""), InvalidName),
        (lambda: deputy.send("go", "bob", key="\n"), InvalidName),
        (lambda: deputy.send("go", "bob", {1}), NotAJsonValue),
        (lambda: deputy.send("go", "bob", ttl=0), ValueError),
        (lambda: deputy.broadcast("go", ttl=-1), ValueError),
    ):
        with pytest.raises(error):
            drive(wrong())


def test_a_full_mailbox_refuses(store: Store, deputy: Deputy) -> None:
    """The mailbox is filled behind everybody's back."""
    keys = f"{store.prefix}mail-info:bob"
    store.redis.hset(keys, mapping={"bytes": 64 * 1024 * 1024, "due": 10**15})
    store.redis.expire(keys, 60)

    with pytest.raises(MailboxFull, match="the mailbox of 'bob' is full"):
        drive(deputy.send("go", "bob"))


def test_without_a_store_it_cannot_act() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"redis://127.0.0.1:{server.getsockname()[1]}/0"

    with pytest.raises(StoreUnavailable, match=url):
        drive(Deputy.open("job", "token", url))
    with pytest.raises(InvalidName):
        drive(Deputy.open("", "token", url))


def test_a_store_that_goes_away_is_told(deputy: Deputy, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: object, requests: object) -> None:
        return None

    monkeypatch.setattr(hub_module.Hub, "ask", nothing)

    with pytest.raises(StoreUnavailable, match="did not answer"):
        drive(deputy.progress(0.5))


async def test_it_works_in_a_loop_as_well(peers: Peers, store: Store) -> None:
    job, bob = await peers.ajoin("job"), await peers.ajoin("bob")
    deputy = await opened(peers, job.agent.token)
    try:
        await deputy.progress(0.5)
        assert await deputy.send("go", "bob")
        assert await bob.async_signals.wait("go", timeout=10)
    finally:
        await deputy.close()
        await bob.aleave()
        await job.aleave()
