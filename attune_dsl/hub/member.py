"""One agent of this process: who it is towards the store, what it says of itself, and its mailbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from attrs import frozen

from attune_dsl import clock
from attune_dsl.exceptions import AgentIdTaken
from attune_dsl.hub.drive import Ticket
from attune_dsl.hub.link import SLEEPING
from attune_dsl.hub.mailbox import Entry, Mailbox
from attune_dsl.model import AgentStatus
from attune_dsl.store import scripts
from attune_dsl.store.keys import Keys
from attune_dsl.store.scripts import Command, Part

if TYPE_CHECKING:
    from attune_dsl.hub.commands import Request

Fields = dict[str, Part]


class Outlet(Protocol):
    """What a member needs of its hub."""

    keys: Keys

    def marks_soon(self, member: Member) -> None:
        """Send the member's marks soon, should it have nothing else to tell the store before."""

    def status_soon(self) -> None:
        """Publish soon what has changed of the members' status."""

    def server_ms(self) -> float:
        """The server's time in milliseconds."""

    def request(self, render: Callable[[Request], Command], *, numbered: bool = False, keep: bool = False) -> Request:
        """Make a request that is not sent yet."""


@frozen(kw_only=True)
class Profile:
    """What stays the same over an agent's life.

    ``ttl`` and ``interval`` are seconds; ``is_published`` says whether its status and progress are.
    """

    agent_id: str
    ttl: float
    interval: float
    takeover: bool
    fields: Fields
    has_mailbox: bool
    is_published: bool


class _Slot(NamedTuple):
    """The latest of what an agent does; an older one that was not sent yet is simply replaced."""

    stage: str | None = None
    progress: float = 0.0
    attempt: int = 1
    tier: str | None = None
    note: str | None = None
    stage_since: float | None = None


class Member:
    """An agent that lives in this process. Stays usable while the link is down; then nothing of it is published."""

    def __init__(self, hub: Outlet, profile: Profile, patience: float) -> None:
        """Make a member that has not joined yet; ``joining`` waits until ``patience`` (:func:`clock.monotonic`)."""
        self._hub = hub
        self.profile = profile
        self.agent_id = profile.agent_id
        self.epoch = 0
        self.owner = ""
        self.died_at = 0
        self.receives = False
        """Whether copies are for it; before it has joined they are not, because its epoch says what it may see.

        What came until then is found by its first look.
        """
        self.is_new = True
        self.joining: Ticket[AgentIdTaken | None] = Ticket(SLEEPING, patience)
        self.gone = ""
        """Why this member is no agent any more; empty while it is."""
        self.is_replaced = False
        """Whether that is because its id was taken over."""
        self.mailbox = Mailbox(hub.server_ms)
        self._slot = _Slot()
        self._began = False
        self._waiting = 0
        self._changed = False
        self._touched = False
        self._progressed = False
        self.is_listed = False
        """Whether the hub's thread knows already that there are marks to send."""

    @property
    def lease(self) -> str:
        """The member's name in the lease set."""
        return f"{self.agent_id}#{self.epoch}"

    def accept(self, epoch: int, link: str, died_at: int) -> None:
        """The store has made the member the owner of its id, over this link."""
        self.epoch, self.owner, self.died_at = epoch, f"{epoch}@{link}", died_at
        self.receives = self.profile.has_mailbox
        self.is_new = False

    def finish_joining(self, refused: AgentIdTaken | None) -> bool:
        """Tell who joins how it went; return whether anybody was still waiting for that."""
        if self.joining.done:
            return False
        self.is_new = self.is_new and refused is None
        self.joining.finish(refused)
        return True

    def say_again(self) -> None:
        """Tell the store once more, so that the agent's hash does not expire."""
        self._changed = True
        self._hub.status_soon()

    def touch(
        self,
        stage: str | None,
        progress: float,
        attempt: int = 1,
        tier: str | None = None,
        note: str | None = None,
    ) -> None:
        """Say what the agent does now: proof of work. Never blocks."""
        slot = self._slot
        since = slot.stage_since if stage == slot.stage and attempt == slot.attempt else clock.monotonic()
        self._slot = _Slot(stage, progress, attempt, tier, note, since)
        self._progressed = self._began = True
        self._say()
        self._touched = self._changed

    def wait_began(self) -> None:
        """A wait of the agent blocks; its status is ``waiting`` until :meth:`wait_ended`."""
        self._waiting += 1
        self._say()

    def wait_ended(self) -> None:
        """See :meth:`wait_began`."""
        self._waiting -= 1
        self._progressed = True
        self._say()

    def marked(self) -> None:
        """Something was taken: let the store know soon, should the agent have nothing else to tell it."""
        if not self.is_listed:
            self._hub.marks_soon(self)

    def _say(self) -> None:
        if not self._changed and self.profile.is_published:
            self._changed = True
            self._hub.status_soon()

    def unsaid(self) -> list[Request]:
        """Return requests for what the store has to know before the agent's next command: marks, then its stage."""
        requests = []
        if marks := self.mailbox.pop_marks():
            requests.append(self._take_request(marks))
        if self._touched:
            requests += self.news()
        return requests

    def news(self) -> list[Request]:
        """Return the request that publishes the present status, if it has changed."""
        if not self._changed:
            return []
        self._changed = self._touched = False
        progressed, self._progressed = self._progressed, False
        parts = _parts(self.fields())
        return [
            self._hub.request(
                lambda _: scripts.update(self._hub.keys, self.agent_id, self.owner, progressed=progressed, fields=parts)
            )
        ]

    def _take_request(self, marks: Sequence[Entry]) -> Request:
        mail = [(entry.at, entry.size) for entry in marks if entry.at is not None]
        seen = [(entry.signal.order, entry.expires_ms) for entry in marks if entry.at is None]
        request = self._hub.request(
            lambda _: scripts.take(self._hub.keys, self.agent_id, self.owner, mail=mail, broadcasts=seen),
            keep=True,
        )
        request.then = lambda _: self.mailbox.confirm(marks)
        return request

    def _status(self) -> AgentStatus:
        if self._waiting:
            return AgentStatus.WAITING
        is_starting = self.profile.is_published and not self._began
        return AgentStatus.STARTING if is_starting else AgentStatus.RUNNING

    def fields(self) -> Fields:
        """Return what changes over an agent's life, as it is now."""
        slot = self._slot
        fields: Fields = {
            "status": self._status(),
            "progress": repr(slot.progress),
            "attempt": slot.attempt,
            "stage": slot.stage or "",
            "tier": slot.tier or "",
            "note": slot.note or "",
        }
        if slot.stage_since is not None:
            age = clock.monotonic() - slot.stage_since
            fields["stage_started_at"] = int(self._hub.server_ms() - age * 1000)
        return fields

    def join_command(self, link: str, hub: str) -> Command:
        """Return the command by which the agent joins, or joins again, over a link."""
        profile = self.profile
        return scripts.join(
            self._hub.keys,
            self.agent_id,
            link,
            ttl_ms=int(profile.ttl * 1000),
            known_epoch=str(self.epoch),
            takeover=profile.takeover and not self.epoch,
            hub=hub,
            fields=_parts({**profile.fields, **self.fields()}),
        )

    def leave_request(self, status: AgentStatus, error: str | None) -> Request:
        """Return the request that ends the agent."""
        fields = {**self.fields(), "status": status, "error": error or ""}
        if status is AgentStatus.COMPLETED:
            fields["progress"] = repr(1.0)  # while it ran there was always something left
        return self._hub.request(
            lambda _: scripts.leave(self._hub.keys, self.agent_id, self.owner, str(self.epoch), fields=_parts(fields))
        )


def _parts(fields: Fields) -> list[Part]:
    return [part for pair in fields.items() for part in pair]
