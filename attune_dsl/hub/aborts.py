"""Agents of this process that were asked to stop, by others or by their own process (§5.9)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from attune_dsl.hub.endings import ABORT_FIELDS, Abort
from attune_dsl.store import limits, scripts
from attune_dsl.store.connection import Reply
from attune_dsl.store.scripts import Command

if TYPE_CHECKING:
    from attune_dsl.hub.commands import Request
    from attune_dsl.hub.hub import Hub
    from attune_dsl.hub.member import Member

_DIGITS: Final = 18
"""An epoch has no more."""


class Aborts:
    """An abort is kept in the store until its agent ends, so none is missed over a broken link or a full inbox."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._lock = threading.Lock()
        self._unsaid: list[tuple[Member, Abort]] = []
        self._is_unsure = False
        """Whether an abort may have been missed."""

    def say(self, member: Member, abort: Abort) -> None:
        """The agent's own process has asked it to stop: let the store know soon, for others and for a successor."""
        if self._hub.is_foreign:
            return
        with self._lock:
            self._unsaid = [*((each, why) for each, why in self._unsaid if not each.gone), (member, abort)]
        self._hub.keeper.tick.soon()

    def told(self, fields: dict[bytes, bytes]) -> None:
        """An inbox entry says that an agent is asked to stop."""
        member = self._hub.members.get(_text(fields[b"abort"]))
        if member is None:
            return
        epoch = fields.get(b"epoch", b"")
        if epoch != str(member.epoch).encode():
            if epoch.isdigit() and int(epoch[:_DIGITS]) > member.epoch:
                self.restart()  # the answer to its join is still on its way
            return
        abort = Abort.read(fields.get(b"reason"), fields.get(b"by"))
        if abort is None:
            self._hub.entries.skip(member.agent_id, fields, "an abort without a reason")
        else:
            member.abort(abort)

    def restart(self) -> None:
        """The inbox may not have told everything: ask about all agents."""
        self._is_unsure = True
        self._hub.keeper.tick.soon()

    def pop_unasked(self) -> list[Request]:
        """Return requests for what the store has to be told, or asked."""
        if not self._unsaid and not self._is_unsure:
            return []
        with self._lock:
            unsaid, self._unsaid = self._unsaid, []
        requests = [self._word(member, abort) for member, abort in unsaid if member.epoch and not member.gone]
        if self._is_unsure:
            self._is_unsure = False
            requests += [self._question(member) for member in list(self._hub.members.values()) if member.epoch]
        return requests

    def _word(self, member: Member, abort: Abort) -> Request:
        hub = self._hub

        def render(_: Request) -> Command:
            if member.gone:  # its end may not be confirmed, and what is kept now would reach whoever comes next
                return self._look(member)
            return scripts.abort(
                hub.keys,
                [member.lease],
                sender=(member.agent_id, member.owner),
                by=abort.by or member.agent_id,
                reason=abort.why[: limits.REASON_LENGTH].encode(errors="replace"),
                leases=True,
            )

        return hub.request(render, keep=True)  # a link that breaks now must not lose it

    def _question(self, member: Member) -> Request:
        request = self._hub.request(lambda _: self._look(member))

        def learn(told: Reply) -> None:
            if not isinstance(told, list):
                return
            why, by, epoch = told
            abort = Abort.read(why, by)
            if abort is not None and epoch == str(member.epoch).encode():  # or another owner of the id is meant
                member.abort(abort)

        request.then = learn
        return request

    def _look(self, member: Member) -> Command:
        return ("HMGET", self._hub.keys.agent(member.agent_id), *ABORT_FIELDS, "epoch")


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
