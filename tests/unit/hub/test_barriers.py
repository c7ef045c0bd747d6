"""Agents of a process that stand at barriers: what is asked, in which order it is learnt, and what is skipped."""

from __future__ import annotations

from typing import Any

import pytest

from attune_dsl.hub.barriers import Barriers, Stand, read_outcome
from attune_dsl.hub.endings import Abort, Gone
from attune_dsl.hub.entries import EntryReader
from attune_dsl.hub.link import SLEEPING
from attune_dsl.model import Broken, Reason, Released
from attune_dsl.store.connection import ReplyError
from attune_dsl.store.keys import Keys

GONE = Gone("ben", 1, 2, "failed", "build", "no")
BOTH = Released(generation=1, agents=("ann", "ben"))
TIMED_OUT = Broken(reason=Reason.TIMEOUT, by="ben", detail="too long")


class Request:
    """A command that a test answers."""

    def __init__(self, render: Any, keep: bool) -> None:
        self.render, self.keep = render, keep
        self.then: Any = None
        self.given_up = False

    @property
    def command(self) -> list[Any]:
        """What is written: behind the script's keys."""
        head, _, count, *rest = self.render(self)
        return list(rest[count:]) if head == "EVALSHA" else [head]


class Hub:
    """A hub whose answers are the test's."""

    def __init__(self) -> None:
        self.keys = Keys("team")
        self.entries = EntryReader()
        self.members: dict[str, Any] = {}
        self.keeper = self.tick = self
        self.ticks = 0

    def soon(self) -> None:
        self.ticks += 1

    def request(self, render: Any, *, keep: bool = False) -> Request:
        return Request(render, keep)


class Member:
    """An agent that joined as number five."""

    def __init__(self, agent_id: str = "ann", epoch: int = 5) -> None:
        self.agent_id, self.epoch, self.since = agent_id, epoch, epoch
        self.owner = f"{epoch}@hub.1"
        self.stands: dict[str, Stand] = {}
        self.fared: dict[str, int] = {}

    def note_fared(self, name: str, order: int) -> None:
        self.fared[name] = order


class Place:
    """One agent that stands, or is about to, and its hub."""

    def __init__(self) -> None:
        self.hub, self.member = Hub(), Member()
        self.hub.members["ann"] = self.member
        self.barriers = Barriers(self.hub)  # type: ignore[arg-type]

    def stand(self, generation: int | None = None, parties: Any = 2) -> Stand:
        stand = Stand(SLEEPING, None, "gate", parties, frozenset())
        stand.generation = generation
        self.member.stands["gate"] = stand
        return stand

    def arrival(self, stand: Stand) -> Any:
        return self.barriers.arrival(self.member, stand)  # type: ignore[arg-type]

    def departure(self, stand: Stand) -> Any:
        broken = Broken(reason=Reason.TIMEOUT, by="ann", detail="too long")
        return self.barriers.departure(self.member, stand, broken)  # type: ignore[arg-type]

    def told(self, **fields: Any) -> None:
        """An inbox entry comes."""
        given = {"barrier": "gate", "of": "ann", "generation": 1, "outcome": "released\nann\nben"}
        told = {**given, "order": 9, **fields}
        self.barriers.told({k.encode(): v if isinstance(v, bytes) else str(v).encode() for k, v in told.items()})


@pytest.fixture
def place() -> Place:
    return Place()


# What is asked


def test_an_arrival_says_who_and_from_where(place: Place) -> None:
    """§5.8: what the agent knows of the barrier is from when it joined, or from how that last fared."""
    stand = place.stand()
    assert place.arrival(stand).command == ["5@hub.1", "ann", "gate", "2", 5, "", "attune:{team}:", 0]

    place.member.fared["gate"] = 8
    assert place.arrival(stand).command[4] == 8


def test_names_are_told_as_a_digest_in_no_order(place: Place) -> None:
    """§5.8: two that name the same parties mean the same."""
    meant = [place.arrival(place.stand(parties=frozenset(names))).command[3] for names in ("ab", "ba", "ac")]

    assert meant[0] == meant[1] != meant[2]
    assert meant[0].startswith("2:")


def test_an_arrival_that_is_written_again_says_so(place: Place) -> None:
    """§5.8: a link broke before its reply; it may have arrived, and have been released."""
    request = place.arrival(place.stand())

    assert (request.command[-1], request.command[4]) == (0, 5)
    place.told()
    assert (request.command[-1], request.command[4]) == (1, 5)  # by what it knew when it arrived


def test_behind_its_departure_an_agent_does_not_arrive(place: Place) -> None:
    """§5.8: the arrival may be written only now, or once more, over a new link."""
    stand = place.stand()
    arrival, departure = place.arrival(stand), place.departure(stand)

    assert departure.keep
    assert departure.command == ["5@hub.1", "ann", "gate", "", "attune:{team}:", "timeout", "ann", "too long"]
    assert arrival.command == ["HGET"]


def test_a_departure_because_of_an_end_says_how_that_was(place: Place) -> None:
    """§5.8: as the store itself tells it."""
    stand = place.stand(3)
    stand.break_off(GONE)

    assert place.departure(stand).command[-1] == "failed\nbuild\nno"


def test_a_departure_takes_the_place_of_an_earlier_one(place: Place) -> None:
    """§5.12: while the store is away, however often the agent comes and goes."""
    first, second = (place.departure(place.stand()) for _ in range(2))
    assert (first.given_up, second.given_up) == (True, False)

    second.then([b"over", b"1", b"", b"9"])
    assert not place.departure(place.stand()).given_up
    assert not second.given_up


# What is learnt


def test_the_reply_to_an_arrival_says_where_it_stands(place: Place) -> None:
    """§5.8: from then on the barrier's end is meant for it."""
    stand = place.stand()
    place.arrival(stand).then([b"waiting", b"1"])
    assert (stand.generation, stand.done) == (1, False)

    place.told()
    assert (stand.value, place.member.fared) == (BOTH, {"gate": 9})


def test_one_entry_tells_all_of_the_process(place: Place) -> None:
    """§5.8: who does not stand there is not meant."""
    ben, cho = Member("ben"), Member("cho")
    place.hub.members |= {"ben": ben, "cho": cho}
    stands = [place.stand(1)]
    for member in (ben, cho):
        member.stands["gate"] = Stand(SLEEPING, None, "gate", 2, frozenset())
        member.stands["gate"].generation = 1
        stands.append(member.stands["gate"])

    place.told(of="dan\nann\nben")

    assert [stand.value for stand in stands] == [BOTH, BOTH, None]


def test_what_is_told_before_the_reply_is_read_counts(place: Place) -> None:
    """§5.8: they come over two connections; nobody would be told again."""
    stand = place.stand()
    request = place.arrival(stand)

    place.told(generation=3, outcome="broken\ntimeout\nben\ntoo long")
    assert not stand.done
    request.then([b"waiting", b"3"])

    assert stand.value == TIMED_OUT
    assert place.member.fared == {"gate": 9}


def test_what_is_told_of_an_earlier_generation_does_not(place: Place) -> None:
    """§5.8: before the reply, and behind it."""
    stand = place.stand()
    place.told(generation=1)
    place.arrival(stand).then([b"waiting", b"2"])
    place.told(generation=1)
    place.told(generation=3)

    assert not stand.done


@pytest.mark.parametrize("fields", [{"of": "ben"}, {"of": ""}, {"barrier": "door"}, {"generation": 2}])
def test_what_is_told_to_another_is_not_for_it(place: Place, fields: dict[str, Any]) -> None:
    """§5.8: another agent, another barrier, another generation."""
    stand = place.stand(1)
    place.told(**fields)

    assert (stand.done, place.hub.entries.skipped) == (False, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"outcome": ""},
        {"outcome": "open"},
        {"outcome": "broken\ntimeout"},
        {"outcome": "broken\nboredom\nben\n"},
        {"outcome": "broken\npeer_gone\nben\nlost"},
        {"outcome": b"released\n\xff"},
        {"barrier": b"\xff"},
        {"of": b"\xff"},
        {"order": ""},
        {"order": "9" * 5000},
        {"generation": "1.5"},
    ],
)
def test_what_makes_no_sense_is_skipped_and_counted(place: Place, fields: dict[str, Any]) -> None:
    """§5.12: the wait goes on, and ends with the true one."""
    stand = place.stand(1)
    place.told(**fields)
    assert (stand.done, place.hub.entries.skipped) == (False, 1)

    place.told()
    assert stand.value == BOTH


@pytest.mark.parametrize("missing", ["of", "generation", "order", "outcome"])
def test_what_lacks_something_is_skipped(place: Place, missing: str) -> None:
    """§5.12: as whatever else is malformed."""
    stand = place.stand(1)
    fields = {b"barrier": b"gate", b"of": b"ann", b"generation": b"1", b"order": b"9"}
    fields[b"outcome"] = b"released\nann"
    del fields[missing.encode()]

    place.barriers.told(fields)

    assert (stand.done, place.hub.entries.skipped) == (False, 1)


def test_the_reply_may_be_that_all_is_over(place: Place) -> None:
    """§5.8: the last one, or one that comes too late."""
    stand = place.stand()
    place.arrival(stand).then([b"over", b"1", b"broken\npeer_gone\nben\nfailed\nbuild\nno", b"9"])

    assert stand.value == Broken(reason=Reason.PEER_GONE, by="ben", detail=str(GONE))
    assert place.member.fared == {"gate": 9}


def test_how_it_ended_may_not_be_known_any_more(place: Place) -> None:
    """§5.8: an answer all the same, which nobody takes for a release."""
    stand = place.stand(1)
    place.arrival(stand).then([b"over", b"1", b"", b""])

    assert stand.value == Broken(
        reason=Reason.UNAVAILABLE, by=None, detail="how the barrier has ended is not known any more"
    )


@pytest.mark.parametrize("parties", [b"7", b"7:0123"])
def test_the_others_may_mean_other_parties(place: Place, parties: bytes) -> None:
    """§5.8: it ends at once, without a value."""
    stand = place.stand()
    place.arrival(stand).then([b"parties", parties])

    assert (stand.done, stand.value, stand.parties_of_others) == (True, None, 7)


def test_one_that_is_fenced_waits_only_if_it_stands(place: Place) -> None:
    """§5.7, §5.8: an agent that joined again meanwhile is asked about again; one that never arrived is not."""
    standing, new = place.stand(1), place.stand()
    place.arrival(standing).then([b"fenced"])
    place.arrival(new).then([b"fenced"])

    assert (standing.done, new.done, new.value) == (False, True, None)


@pytest.mark.parametrize("reply", [ReplyError("WRONGTYPE"), None, b"1"])
def test_an_answer_that_says_nothing_changes_nothing(place: Place, reply: Any) -> None:
    """§5.11: the caller sees for itself that there was none."""
    stand = place.stand()
    place.arrival(stand).then(reply)

    assert (stand.generation, stand.done) == (None, False)


# Asking again


def test_all_that_stand_are_asked_about_again_once(place: Place) -> None:
    """§5.8: over a new link, or where the inbox ran over."""
    stand = place.stand(4)
    idle = Member("ben")
    place.barriers.ask_again([place.member, idle])  # type: ignore[list-item]

    (request,) = place.barriers.pop_unasked()
    assert request.render(request)[-3:-1] == (4, "attune:{team}:")
    assert (place.hub.ticks, place.barriers.pop_unasked(), stand.done) == (1, [], False)


def test_nobody_asks_where_nobody_stands(place: Place) -> None:
    """§5.8: nor where the arrival itself is still under way: that asks."""
    place.barriers.ask_again([place.member])  # type: ignore[list-item]
    assert place.hub.ticks == 0

    place.stand()
    place.barriers.ask_again([place.member])  # type: ignore[list-item]
    assert place.barriers.pop_unasked() == []


# The wait


def test_an_abort_counts_more_than_an_end(place: Place) -> None:
    """§5.9: whatever comes first."""
    stand, abort = place.stand(1), Abort("enough", "ops")
    stand.break_off(GONE)
    stand.break_off(abort)
    stand.break_off(GONE)

    assert stand.ending is abort
    assert (stand.remaining() or 0) <= 0


def test_outcomes_are_read_back() -> None:
    """§5.8: a detail may have several lines, and the agent because of which it broke be nobody."""
    assert read_outcome("released\nann\nben", 1) == BOTH
    assert read_outcome("broken\naborted\nben\nwhy\nnot\n", 1) == Broken(
        reason=Reason.ABORTED, by="ben", detail="why\nnot\n"
    )
    assert read_outcome("broken\nunavailable\n\n", 1) == Broken(reason=Reason.UNAVAILABLE, by=None, detail="")
