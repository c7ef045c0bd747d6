"""Agents of this process that were asked to stop, by others or by their own process (§5.9)."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Final

from attune_dsl.hub.endings import Abort
from attune_dsl.store import limits, scripts
from attune_dsl.store.connection import Reply

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
        self._unasked = False

    def say(self, member: Member, abort: Abort) -> None:
        """The agent's own process has asked it to stop: let the store know soon, for others and for a successor."""
        with self._lock:
            self._unsaid.append((member, abort))
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
        if not fields.get(b"reason"):
            self._hub.entries.skip(member.agent_id, fields, "an abort without a reason")
            return
        _abort(member, [fields[b"reason"], fields.get(b"by")])

    def restart(self) -> None:
        """The inbox may not have told everything: ask about all agents."""
        self._unasked = True
        self._hub.keeper.tick.soon()

    def pop_unasked(self) -> list[Request]:
        """Return requests for what the store has to be told, or asked."""
        if not self._unsaid and not self._unasked:
            return []
        with self._lock:
            unsaid, self._unsaid = self._unsaid, []
        requests = [self._word(member, abort) for member, abort in unsaid if member.epoch]
        if self._unasked:
            self._unasked = False
            requests += [self._question(member) for member in list(self._hub.members.values()) if member.epoch]
        return requests

    def _word(self, member: Member, abort: Abort) -> Request:
        hub = self._hub
        return hub.request(
            lambda _: scripts.abort(
                hub.keys,
                [member.lease],
                sender=(member.agent_id, member.owner),
                by=abort.by or member.agent_id,
                reason=abort.why[: limits.REASON_LENGTH].encode(errors="replace"),
                leases=True,
            ),
            keep=True,  # a link that breaks now must not lose it
        )

    def _question(self, member: Member) -> Request:
        hub = self._hub
        request = hub.request(lambda _: ("HMGET", hub.keys.agent(member.agent_id), "abort_reason", "abort_by"))
        request.then = partial(_abort, member)
        return request


def _abort(member: Member, told: Reply) -> None:
    """Ask the agent to stop, if what the store has says so."""
    if isinstance(told, list) and told[0]:
        member.abort(Abort(_text(told[0]), _text(told[1] or b"")))


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
