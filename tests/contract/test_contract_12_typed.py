"""§5.12: payloads of a declared type are looked at where they are sent and where they are received."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from peers import Peer, Peers
from waiting import wait_until

from attune_dsl import PayloadInvalid, SignalType
from attune_dsl.model import Reason, Signal

if TYPE_CHECKING:
    from conftest import Store


@attrs.frozen
class Vote:
    score: float


@attrs.frozen
class Decision:
    approved: bool
    votes: dict[str, Vote] = attrs.Factory(dict)


APPROVED = SignalType("approved", Decision)
GOOD = Decision(True, {"ann": Vote(0.5)})
BAD = {"approved": "yes"}


@pytest.fixture
def receiver(peers: Peers) -> Peer:
    return peers.join("receiver")


@pytest.fixture
def sender(peers: Peers) -> Peer:
    return peers.join("sender", url=peers.elsewhere())


def skipped(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record for record in caplog.records if "signal.skipped" in record.getMessage()]
    assert {record.levelno for record in found} <= {logging.WARNING}
    return [record.getMessage() for record in found]


def mixed(sender: Peer, good: int = 1) -> None:
    """One that does not fit, then as many as wanted that do; all under the type's name."""
    sender.signals.send("approved", "receiver", BAD)
    for number in range(good):
        sender.signals.send("approved", "receiver", {"approved": True, "votes": {"ann": {"score": number}}})


def mail_in_store(store: Store) -> int:
    return store.redis.xlen(f"{store.prefix}mail:receiver")  # type: ignore[return-value]


def test_what_was_sent_is_what_comes(sender: Peer, receiver: Peer) -> None:
    """Targeted and broadcast, for every way to take or to look."""
    signals = receiver.signals
    for _ in range(4):
        assert sender.signals.send(APPROVED, "receiver", GOOD) != ""
    assert sender.signals.send(APPROVED, payload=GOOD) != ""
    assert sender.signals.broadcast(APPROVED, GOOD) != ""

    peeked = signals.peek(APPROVED)
    assert peeked is not None
    assert (peeked.type, peeked.source, peeked.payload) == ("approved", "sender", GOOD)
    assert [each.payload for each in signals.pending(APPROVED)] == [GOOD] * 6
    waited, checked = signals.wait(APPROVED, timeout=5), signals.check(APPROVED)
    assert waited
    assert checked
    assert (waited.payload, checked.payload) == (GOOD, GOOD)
    assert [each.payload for each in signals.collect(APPROVED, count=2, timeout=5)] == [GOOD, GOOD]
    listened = signals.listen(APPROVED, timeout=5)
    assert [next(listened).payload, next(listened).payload] == [GOOD, GOOD]
    assert signals.pending() == []


async def test_what_was_sent_is_what_comes_awaited(peers: Peers) -> None:
    sender, receiver = await peers.ajoin("sender"), await peers.ajoin("receiver")
    await sender.async_signals.send(APPROVED, "receiver", GOOD)
    await sender.async_signals.broadcast(APPROVED, GOOD)

    collected = await receiver.async_signals.collect(APPROVED, count=2, timeout=5)

    assert [each.payload for each in collected] == [GOOD, GOOD]
    await sender.aleave()
    await receiver.aleave()


def test_by_its_name_a_type_has_plain_json(sender: Peer, receiver: Peer) -> None:
    """Who names a type by its name gets what is on the wire, and so does who names none."""
    plain = {"approved": True, "votes": {"ann": {"score": 0.5}}}
    for _ in range(3):
        sender.signals.send(APPROVED, "receiver", GOOD)

    by_name, by_nothing = receiver.signals.wait("approved", timeout=5), receiver.signals.wait(timeout=5)
    declared = receiver.signals.wait(APPROVED, "other", timeout=5)

    assert by_name
    assert by_nothing
    assert declared
    assert (by_name.payload, by_nothing.payload, declared.payload) == (plain, plain, GOOD)


def test_what_does_not_fit_is_not_sent(store: Store, sender: Peer, receiver: Peer) -> None:
    """Refused with the field named, before anything is stored."""
    wrong = Decision(True, {"ann": Vote(1.0), "ben": Vote("high")})  # type: ignore[arg-type]

    for send in (
        lambda: sender.signals.send(APPROVED, "receiver", wrong),
        lambda: sender.signals.broadcast(APPROVED, wrong),
    ):
        with pytest.raises(PayloadInvalid, match=r"'approved' is no Decision: \$\.votes\.ben\.score") as refused:
            send()
        assert refused.value.path == "$.votes.ben.score"

    assert mail_in_store(store) == 0
    assert receiver.signals.pending() == []


def take_by_wait(peer: Peer) -> Any:
    return peer.signals.wait(APPROVED, timeout=5)


def take_by_check(peer: Peer) -> Any:
    return peer.signals.check(APPROVED)


def take_by_collect(peer: Peer) -> Any:
    collected = peer.signals.collect(APPROVED, sources=["sender"], timeout=5)
    assert collected
    return collected.signals[0]


def take_by_listen(peer: Peer) -> Any:
    return next(peer.signals.listen(APPROVED, timeout=5))


@pytest.mark.parametrize("take", [take_by_wait, take_by_check, take_by_collect, take_by_listen])
def test_what_does_not_fit_is_skipped_alone(
    store: Store,
    sender: Peer,
    receiver: Peer,
    take: Callable[[Peer], Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The next one is taken instead; it is counted and logged, and gone, also for the next incarnation."""
    mixed(sender)
    counted = receiver.hub.entries.skipped

    assert take(receiver).payload == Decision(True, {"ann": Vote(0.0)})

    assert receiver.hub.entries.skipped == counted + 1
    (line,) = skipped(caplog)
    assert "is no Decision: $.approved: expected `bool`, got `str`" in line
    assert "agent_id=receiver" in line
    assert "source=sender" in line
    assert receiver.signals.pending() == []
    wait_until(lambda: mail_in_store(store) == 0)


def test_a_wait_goes_on_after_what_does_not_fit(sender: Peer, receiver: Peer) -> None:
    """It comes while the receiver waits, and so does the next one."""
    found: list[Any] = []
    waiting = threading.Thread(target=lambda: found.append(receiver.signals.wait(APPROVED, source="sender", timeout=8)))
    waiting.start()
    sender.signals.send("approved", "receiver", BAD)
    wait_until(lambda: receiver.hub.entries.skipped == 1)
    assert found == []

    sender.signals.send(APPROVED, "receiver", GOOD)
    waiting.join(5)

    assert [signal.payload for signal in found] == [GOOD]


def test_a_wait_for_what_never_fits_times_out(sender: Peer, receiver: Peer) -> None:
    sender.signals.send("approved", "receiver", BAD)

    nothing = receiver.signals.wait(APPROVED, timeout=0.2)
    missing = receiver.signals.collect(APPROVED, sources=["sender"], timeout=0)

    assert not nothing
    assert (nothing.reason, nothing.detail) == (Reason.TIMEOUT, "no signal 'approved' within 0.2 s")
    assert (missing.missing, missing.detail) == (("sender",), "0 of 1 signals 'approved' came within 0 s")
    assert receiver.signals.check(APPROVED) is None


def test_looking_leaves_what_does_not_fit_out_and_where_it_is(
    sender: Peer, receiver: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    """Counted and logged once, however often one looks; by its name it is still there."""
    mixed(sender, good=2)

    for _ in range(3):
        assert [each.payload.votes["ann"].score for each in receiver.signals.pending(APPROVED)] == [0.0, 1.0]
        peeked = receiver.signals.peek(APPROVED)
        assert peeked
        assert peeked.payload.votes["ann"].score == 0.0

    assert len(skipped(caplog)) == 1
    assert receiver.hub.entries.skipped == 1
    assert len(receiver.signals.pending("approved")) == 3
    by_name = receiver.signals.wait("approved", timeout=5)
    assert by_name
    assert by_name.payload == BAD


def test_a_broadcast_that_does_not_fit_is_skipped_by_each_for_itself(
    peers: Peers, sender: Peer, receiver: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    other = peers.join("other")
    sender.signals.broadcast("approved", BAD)
    sender.signals.broadcast(APPROVED, GOOD)

    for peer in (receiver, other):
        found = peer.signals.wait(APPROVED, timeout=5)
        assert found
        assert found.payload == GOOD
    assert len(skipped(caplog)) == 2


def test_what_was_skipped_does_not_come_again(
    peers: Peers, sender: Peer, receiver: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    """The next incarnation gets neither what was taken nor what was skipped."""
    mixed(sender)
    assert receiver.signals.wait(APPROVED, timeout=5)
    receiver.leave()

    again = peers.join("receiver")

    assert again.signals.pending() == []
    assert len(skipped(caplog)) == 1


def test_clear_goes_by_the_name(sender: Peer, receiver: Peer, caplog: pytest.LogCaptureFixture) -> None:
    mixed(sender, good=2)
    sender.signals.send("other", "receiver")

    assert receiver.signals.clear(APPROVED) == 3

    assert [each.type for each in receiver.signals.pending()] == ["other"]
    assert skipped(caplog) == []


def test_what_a_failed_attempt_took_can_be_taken_under_another_type(sender: Peer, receiver: Peer) -> None:
    """§5.7: it comes back as it was sent, not as the failed attempt saw it; what was skipped does not."""
    mixed(sender)
    taken: list[Signal] = []
    first = receiver.taking(taken).wait(APPROVED, timeout=5)
    assert first
    first.payload.votes.clear()

    receiver.agent.give_back(taken)

    (again,) = receiver.signals.pending()
    assert (again.payload, again.redelivered) == ({"approved": True, "votes": {"ann": {"score": 0}}}, True)
    declared = receiver.signals.wait(APPROVED, timeout=5)
    assert declared
    assert (declared.payload, declared.redelivered) == (Decision(True, {"ann": Vote(0.0)}), True)


def test_a_flood_of_what_does_not_fit_keeps_nobody_from_its_mail(sender: Peer, receiver: Peer) -> None:
    for _ in range(200):
        sender.signals.send("approved", "receiver", BAD)
    sender.signals.send(APPROVED, "receiver", GOOD)

    found = receiver.signals.check(APPROVED)

    assert found
    assert found.payload == GOOD
    assert receiver.signals.pending() == []
    assert receiver.hub.entries.skipped == 200


def test_the_error_that_is_logged_is_short(sender: Peer, receiver: Peer, caplog: pytest.LogCaptureFixture) -> None:
    """It may quote what somebody else has sent."""
    sender.signals.send("approved", "receiver", {"approved": True, "votes": {"k" * 100_000: 1}})

    assert receiver.signals.check(APPROVED) is None
    assert receiver.signals.check(SignalType("approved", Decision)) is None

    (line,) = skipped(caplog)
    assert len(line) < 1_000
