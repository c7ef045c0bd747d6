"""One agent of this process: who it is towards the store, what it says of itself, and its mailbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from attrs import frozen

from attune_dsl.exceptions import AgentIdTaken
from attune_dsl.hub.barriers import Stand
from attune_dsl.hub.doing import Doing, Fields, Listener
from attune_dsl.hub.drive import Ticket
from attune_dsl.hub.endings import Abort
from attune_dsl.hub.link import SLEEPING
from attune_dsl.hub.mailbox import Entry, Mailbox, Waiter
from attune_dsl.hub.notice import Notice
from attune_dsl.hub.recorder import Recorder
from attune_dsl.model import AgentStatus
from attune_dsl.store import scripts
from attune_dsl.store.connection import Reply
from attune_dsl.store.keys import Keys
from attune_dsl.store.scripts import Command, Part, Story

if TYPE_CHECKING:
    from attune_dsl.hub.commands import Request

Rows = Mapping[str, bytes]

_REMEMBERED: Final = 10_000
"""Barriers of which an agent knows how they fared."""


class ReadStages(Protocol):
    """Returns the rows of the stages that have changed since it was last called; ``everything`` returns all."""

    def __call__(self, *, everything: bool) -> Rows:
        """Return rows by the stages' names."""


class Outlet(Listener, Protocol):
    """What a member needs of its hub."""

    keys: Keys

    def marks_soon(self, member: Member) -> None:
        """Send the member's marks soon, should it have nothing else to tell the store before."""

    def request(self, render: Callable[[Request], Command], *, numbered: bool = False, keep: bool = False) -> Request:
        """Make a request that is not sent yet."""


@frozen(kw_only=True)
class Profile:
    """What stays the same over an agent's life.

    ``ttl``, ``interval`` and ``stall_after`` are seconds; ``is_published`` says whether its status and progress are.
    """

    agent_id: str
    ttl: float
    interval: float
    stall_after: float | None = None
    takeover: bool
    fields: Fields
    has_mailbox: bool
    is_published: bool

    @property
    def where(self) -> str:
        """The process, for people."""
        return f"pid {self.fields['pid']!s} on {self.fields['host']!s}"


class Member:
    """An agent that lives in this process. Stays usable while the link is down; then nothing of it is published."""

    def __init__(self, hub: Outlet, profile: Profile, patience: float) -> None:
        """Make a member that has not joined yet; ``joining`` waits until ``patience`` (:func:`clock.monotonic`)."""
        self._hub, self.profile, self.agent_id = hub, profile, profile.agent_id
        self.epoch = 0
        self.owner = ""
        self.died_at = 0
        self.since = 0
        """The epoch under which it first joined: who ended before that is not missed by its waits."""
        self.receives = False
        """Whether copies are for it; before it has joined they are not, because its epoch says what it may see.

        What came until then is found by its first look.
        """
        self.is_new = True
        self.joining: Ticket[AgentIdTaken | None] = Ticket(SLEEPING, patience)
        self.gone = ""
        """Why this member is no agent any more; empty while it is."""
        self.replaced: Notice[str] = Notice()
        """That its id was taken over, and by whom."""
        self.aborted: Notice[Abort] = Notice()
        """That it was asked to stop."""
        self.has_heeded = False
        """Whether a wait of it has ended because of that."""
        self.was_lost = False
        """Whether the namespace took it for lost at some time, and it has joined again."""
        self.is_leaving = False
        """Whether its lease goes because it leaves, and not because anybody took it for lost."""
        self.dead_owner = ""
        """``#`` and the epoch of an owner of its id whose process is known to be gone."""
        self.mailbox = Mailbox(hub.server_ms)
        self.doing = Doing(hub, is_published=profile.is_published, stall_after=profile.stall_after)
        self.recorder = Recorder(
            *(profile.fields.get(name, "") for name in ("run_id", "workflow")),
            server_ms=hub.server_ms,
            soon=hub.status_soon,
            now=self.marked,
            blocked=lambda: (*self.mailbox.waiters, *list(self.stands.values())),
        )
        self.read_stages: ReadStages = _no_stages
        """Returns the rows of the stages that have changed since it was last called."""
        self._rows_are_sure = False
        self.waits = 0
        """Waits that block at present."""
        self.blocked_by: Waiter | None = None
        """The only wait, if the agent does nothing else meanwhile."""
        self.block_told: Waiter | None = None
        """The wait by which the store thinks that the agent is blocked, in the order of what was written to it."""
        self.block_number = 0
        """Which of the waits of this process began last."""
        self.block_telling: Waiter | None = None
        """One that is about to be told."""
        self.is_listed = False
        """Whether the hub's thread knows already that there are marks to send."""
        self.stands: dict[str, Stand] = {}
        """At which barriers it waits, by their names."""
        self.fared: dict[str, int] = {}
        """Up to where in the namespace's order it knows how a barrier fared, by the barriers' names."""
        self.replaced.on(self._give_up)
        self.aborted.on(self._break_off)

    @property
    def lease(self) -> str:
        """The member's name in the lease set."""
        return f"{self.agent_id}#{self.epoch}"

    def accept(self, epoch: int, link: str, died_at: int) -> None:
        """The store has made the member the owner of its id, over this link."""
        self.since = min(self.since or epoch, epoch)
        self.block_told = None
        if self.epoch not in {0, epoch}:
            self.was_lost = True
            self.doing.start_over()
        self.epoch, self.owner, self.died_at = epoch, f"{epoch}@{link}", died_at
        self.receives = self.profile.has_mailbox
        self.is_new = self._rows_are_sure = False

    def abort(self, abort: Abort) -> bool:
        """Ask the agent to stop. The first time counts; return whether this is it."""
        return self.aborted.happen(abort)

    def finish_joining(self, refused: AgentIdTaken | None) -> bool:
        """Tell who joins how it went; return whether anybody was still waiting for that."""
        if self.joining.done:
            return False
        self.is_new = self.is_new and refused is None
        self.joining.finish(refused)
        return True

    def _give_up(self, why: str) -> None:
        """Somebody else owns the id: this is no agent any more."""
        self.gone = self.gone or why
        self.end_waits()

    def _break_off(self, abort: Abort) -> None:
        self.mailbox.break_off(abort)
        for stand in list(self.stands.values()):
            stand.break_off(abort)

    def end_waits(self) -> None:
        """Wake all who wait, with nothing: there is no sense in waiting any longer."""
        self.mailbox.end_waits()
        for stand in list(self.stands.values()):
            stand.finish(None)

    def note_fared(self, barrier: str, order: int) -> None:
        """The agent knows how a barrier fared up to there. The oldest such knowledge goes first."""
        self.fared.pop(barrier, None)
        self.fared[barrier] = order
        if len(self.fared) > _REMEMBERED:
            del self.fared[next(iter(self.fared))]

    def advance(self, fraction: float | None, note: str | None) -> None:
        """Say how far the agent is, from 0 to 1, and in words: it never moves back, ``None`` is no news."""
        self.doing.advance(fraction, note)
        self.recorder.progressed(None, fraction, note, self.doing.progress)

    def marked(self) -> None:
        """Something was taken: let the store know soon, should the agent have nothing else to tell it."""
        if not self.is_listed:
            self._hub.marks_soon(self)

    def unsaid(self) -> list[Request]:
        """Return requests for what the store has to know before the agent's next command.

        What it took, what it did, and then its stage.
        """
        return [*self.notes(), *(self.news() if self.doing.is_touched else [])]

    def notes(self) -> list[Request]:
        """Return requests that tell the store what was taken, and what is for the timeline."""
        marks, records = self.mailbox.pop_marks(), self.records()
        return [self._note_request(marks), *records[1:]] if marks else records

    def records(self) -> list[Request]:
        """Return requests that tell the store what is for the timeline."""
        return [self._note_request(()) for _ in range(self.recorder.chunks)] if self.epoch else []

    def news(self) -> list[Request]:
        """Return the request that publishes the present status, if it has changed."""
        kind = self.doing.pop_kind()
        if not kind:
            return []
        stalled_at, rows = self.doing.stalled_at, self._pop_rows()

        def render(_: Request) -> Command:
            # All but what `kind` tells as it is now: when this is written again, over another link, the join of that
            # has told newer things already.
            parts = _parts(self.doing.fields() | {"stalled_at": stalled_at})
            return scripts.update(self._hub.keys, self.agent_id, self.owner, kind=kind, fields=parts, stages=rows)

        request = self._hub.request(render, keep=True)  # or those who follow over other links never hear of it
        request.then = self._note_stored
        return [request]

    def _pop_rows(self) -> Rows:
        everything, self._rows_are_sure = not self._rows_are_sure, True
        return self.read_stages(everything=everything)

    def _note_stored(self, reply: Reply) -> None:
        if reply != b"updated":
            self._rows_are_sure = False

    def _note_request(self, marks: Sequence[Entry]) -> Request:
        mail = [(entry.at, entry.size) for entry in marks if entry.at is not None]
        seen = [(entry.signal.order, entry.expires_ms) for entry in marks if entry.at is None]
        story: Story | None = None
        was_written = False

        def render(_: Request) -> Command:
            nonlocal story, was_written
            # Here, and not before: what is told has the order of what is written, whichever threads write. And only the
            # first time: when it is written again, others that are older may wait behind it.
            if not was_written:
                was_written, story = True, self.recorder.pop()
                if story is not None:
                    request.keep, request.fleeting = True, False  # nobody else has it any more
            return scripts.record(self._hub.keys, self.agent_id, self.owner, mail=mail, broadcasts=seen, story=story)

        def confirm(reply: Reply) -> None:
            self.mailbox.confirm(marks)
            if reply != b"noted" and story is not None:
                self.recorder.refused(story)

        request = self._hub.request(render, keep=bool(marks))
        request.then = confirm
        return request

    def join_command(self, link: str, hub: str) -> Command:
        """Return the command by which the agent joins, or joins again, over a link."""
        profile, doing = self.profile, self.doing.fields()
        del doing["stalled_at"]  # stays as it was told, so that the store knows what has been told already
        return scripts.join(
            self._hub.keys,
            self.agent_id,
            link,
            ttl_ms=int(profile.ttl * 1000),
            known_epoch=str(self.epoch),
            takeover="1" if profile.takeover and not self.epoch else self.dead_owner or "0",
            hub=hub,
            by=profile.where,
            token=str(profile.fields["token"]),
            fields=_parts({**profile.fields, **doing}),
        )

    def leave_request(self, status: AgentStatus, error: str | None, exit_code: int | None) -> Request:
        """Return the request that ends the agent."""
        fields = {**self.doing.fields(), "error": error or "", "stalled_at": ""}
        del fields["status"]
        if status is AgentStatus.COMPLETED:
            fields["progress"] = repr(1.0)  # while it ran there was always something left
        if exit_code is not None:
            fields["exit_code"] = exit_code
        parts, rows = _parts(fields), self._pop_rows()
        return self._hub.request(
            lambda _: scripts.leave(
                self._hub.keys, self.agent_id, self.owner, str(self.epoch), status=status, fields=parts, stages=rows
            )
        )


def _no_stages(*, everything: bool) -> Rows:
    """Return nothing: only runs have stages."""
    return {}


def _parts(fields: Fields) -> list[Part]:
    return [part for pair in fields.items() for part in pair]
