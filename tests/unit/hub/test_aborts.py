"""What a hub does about aborts: of whom it is told, what it asks, and what it tells the store."""

from __future__ import annotations

from typing import Any

import pytest

from attune_dsl.hub.aborts import Aborts
from attune_dsl.hub.endings import Abort
from attune_dsl.hub.entries import EntryReader
from attune_dsl.hub.notice import Notice
from attune_dsl.store import limits
from attune_dsl.store.connection import ReplyError
from attune_dsl.store.keys import Keys


class Member:
    """An agent that notes why it was asked to stop."""

    def __init__(self, agent_id: str, epoch: int = 3) -> None:
        self.agent_id = agent_id
        self.epoch = epoch
        self.owner = f"{epoch}@hub.1"
        self.gone = ""
        self.aborted: Notice[Abort] = Notice()

    @property
    def lease(self) -> str:
        return f"{self.agent_id}#{self.epoch}"

    def abort(self, abort: Abort) -> bool:
        return self.aborted.happen(abort)


class Request:
    """A command that a test answers."""

    def __init__(self, render: Any, keep: bool) -> None:
        self.render, self.keep = render, keep
        self.then: Any = None

    @property
    def command(self) -> tuple[Any, ...]:
        """The command without what names the script."""
        command: tuple[Any, ...] = self.render(self)
        return command[3:] if command[0] == "EVALSHA" else command


class Hub:
    """A hub with nothing but what aborts need."""

    def __init__(self, *members: Member) -> None:
        self.keys = Keys("team")
        self.entries = EntryReader()
        self.members = {member.agent_id: member for member in members}
        self.keeper = self.tick = self
        self.ticks = 0
        self.is_foreign = False

    def soon(self) -> None:
        self.ticks += 1

    def request(self, render: Any, *, keep: bool = False) -> Request:
        return Request(render, keep)


@pytest.fixture
def ann() -> Member:
    return Member("ann")


@pytest.fixture
def hub(ann: Member) -> Hub:
    return Hub(ann, Member("ben", 4))


@pytest.fixture
def aborts(hub: Hub) -> Aborts:
    return Aborts(hub)  # type: ignore[arg-type]


def entry(**changes: str | None) -> dict[bytes, bytes]:
    fields = {"abort": "ann", "epoch": "3", "by": "ops", "reason": "why", **changes}
    return {name.encode(): value.encode() for name, value in fields.items() if value is not None}


def unasked(aborts: Aborts) -> list[Request]:
    return aborts.pop_unasked()  # type: ignore[return-value]


# Told


def test_an_entry_asks_its_agent_to_stop(aborts: Aborts, hub: Hub, ann: Member) -> None:
    """§5.9: and no other."""
    aborts.told(entry())

    assert ann.aborted.value == Abort("why", "ops")
    assert hub.members["ben"].aborted.value is None


@pytest.mark.parametrize("changes", [{"epoch": "2"}, {"epoch": "4"}, {"epoch": None}, {"epoch": "x"}, {"abort": "zoe"}])
def test_an_entry_for_another_incarnation_or_agent_is_none(
    aborts: Aborts, hub: Hub, ann: Member, changes: dict[str, Any]
) -> None:
    """§5.9: nothing is wrong with it; it came late."""
    aborts.told(entry(**changes))

    assert (ann.aborted.value, hub.entries.skipped) == (None, 0)


@pytest.mark.parametrize(
    ("epoch", "asks"), [("4", True), ("9" * 5_000, True), ("2", False), ("x", False), ("²", False)]
)
def test_one_for_a_later_incarnation_is_asked_about(aborts: Aborts, hub: Hub, epoch: str, asks: bool) -> None:
    """§5.9: the answer to its join may still be on its way."""
    aborts.told(entry(epoch=epoch))
    assert (len(unasked(aborts)), hub.ticks) == ((2, 1) if asks else (0, 0))


@pytest.mark.parametrize("reason", [None, ""])
def test_an_entry_without_a_reason_is_skipped_and_counted(
    aborts: Aborts, hub: Hub, ann: Member, reason: str | None
) -> None:
    """§5.12: alone; the next one counts."""
    aborts.told(entry(reason=reason))
    assert (ann.aborted.value, hub.entries.skipped) == (None, 1)

    aborts.told(entry())
    assert ann.aborted.value == Abort("why", "ops")


def test_an_entry_that_does_not_say_who_asked(aborts: Aborts, ann: Member) -> None:
    """§5.12: the reason is enough."""
    aborts.told(entry(by=None))
    assert ann.aborted.value == Abort("why")


def test_bytes_that_are_no_text_do_no_harm(aborts: Aborts, ann: Member) -> None:
    """§5.12: they are shown as what cannot be read."""
    aborts.told({**entry(), b"reason": b"\xff", b"abort": b"ann"})
    assert ann.aborted.value == Abort("\ufffd", "ops")
    aborts.told({**entry(), b"abort": b"\xff"})


# Asking


def test_all_agents_are_asked_about_once(aborts: Aborts, hub: Hub) -> None:
    """§5.9: what came through the inbox was incomplete."""
    assert unasked(aborts) == []

    aborts.restart()
    aborts.restart()

    assert hub.ticks == 2
    wanted = [("HMGET", hub.keys.agent(name), "abort_reason", "abort_by", "epoch") for name in ("ann", "ben")]
    assert [request.command for request in unasked(aborts)] == wanted
    assert unasked(aborts) == []


def test_one_that_has_not_joined_is_not_asked_about(aborts: Aborts, hub: Hub, ann: Member) -> None:
    """§5.9: the answer to its join will say it."""
    ann.epoch = 0
    aborts.restart()
    assert [request.command[1] for request in unasked(aborts)] == [hub.keys.agent("ben")]


@pytest.mark.parametrize(
    ("reply", "abort"),
    [
        ([b"why", b"ops", b"3"], Abort("why", "ops")),
        ([b"why", None, b"3"], Abort("why")),
        ([b"why", b"ops", b"4"], None),
        ([b"why", b"ops", None], None),
        ([None, None, b"3"], None),
        ([b"", b"", b"3"], None),
        (ReplyError("WRONGTYPE"), None),
        (None, None),
    ],
)
def test_what_the_store_answers(aborts: Aborts, ann: Member, reply: Any, abort: Abort | None) -> None:
    """§5.9, §5.12: what another owner of the id is asked is not meant, and a foreign type in its place is no abort."""
    aborts.restart()
    unasked(aborts)[0].then(reply)
    assert ann.aborted.value == abort


# Telling


def test_an_abort_of_the_process_itself_is_told_to_the_store_once(aborts: Aborts, hub: Hub, ann: Member) -> None:
    """§5.9: in the agent's own name, for this incarnation, and not lost with a link."""
    aborts.say(ann, Abort("why"))  # type: ignore[arg-type]

    assert hub.ticks == 1
    (request,) = unasked(aborts)
    names = (hub.keys.leases, hub.keys.timeline, hub.keys.agent("ann"))
    assert request.command == (*names, hub.keys.prefix, "3@hub.1", "ann", b"why", 1, "ann#3")
    assert request.keep
    assert unasked(aborts) == []


def test_it_is_told_in_the_name_of_the_owner_at_that_time(aborts: Aborts, ann: Member) -> None:
    """§5.9: over a new link the agent has joined again."""
    aborts.say(ann, Abort("why"))  # type: ignore[arg-type]
    (request,) = unasked(aborts)
    ann.epoch, ann.owner = 5, "5@hub.2"
    assert request.command[4] == "5@hub.2"
    assert request.command[-1] == "ann#5"


def test_one_that_never_joined_tells_nothing(aborts: Aborts, ann: Member) -> None:
    """§5.11: nobody knows it there."""
    ann.epoch = 0
    aborts.say(ann, Abort("why"))  # type: ignore[arg-type]
    assert unasked(aborts) == []


def test_one_that_has_ended_meanwhile_tells_nothing(aborts: Aborts, ann: Member) -> None:
    """§5.9: its end may not be confirmed, and whoever comes next would be asked to stop."""
    aborts.say(ann, Abort("why"))  # type: ignore[arg-type]
    ann.gone = "the agent 'ann' has left"
    assert unasked(aborts) == []


def test_one_that_ends_before_the_word_is_written_again_tells_nothing(aborts: Aborts, hub: Hub, ann: Member) -> None:
    """§5.9: it is kept for the next link, and does no harm there."""
    aborts.say(ann, Abort("why"))  # type: ignore[arg-type]
    (request,) = unasked(aborts)
    ann.gone = "the agent 'ann' has left"
    assert request.command == ("HMGET", hub.keys.agent("ann"), "abort_reason", "abort_by", "epoch")


def test_those_that_have_ended_are_not_kept_through_an_outage(aborts: Aborts, ann: Member) -> None:
    """§5.11: a process may abort any number of runs while the store is away."""
    aborts.say(ann, Abort("why"))  # type: ignore[arg-type]
    ann.gone = "the agent 'ann' has left"
    ben = Member("ben")
    aborts.say(ben, Abort("why"))  # type: ignore[arg-type]
    assert [member.agent_id for member, _ in aborts._unsaid] == ["ben"]


def test_a_copy_in_a_forked_child_says_nothing(aborts: Aborts, hub: Hub, ann: Member) -> None:
    """§5.11: the link is the parent's, and its thread does not run here."""
    hub.is_foreign = True
    aborts.say(ann, Abort("why"))  # type: ignore[arg-type]
    assert (hub.ticks, aborts._unsaid) == (0, [])


def test_a_long_or_odd_reason_is_told_as_far_as_it_can_be(aborts: Aborts, ann: Member) -> None:
    """§5.12: an error's text may be anything."""
    aborts.say(ann, Abort("x" * 5_000))  # type: ignore[arg-type]
    aborts.say(ann, Abort("a\ud800b"))  # type: ignore[arg-type]
    long, odd = [request.command[6] for request in unasked(aborts)]
    assert (long, odd) == (b"x" * limits.REASON_LENGTH, b"a?b")
