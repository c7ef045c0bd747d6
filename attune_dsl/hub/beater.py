"""Proof of life: one command per interval renews the leases of all agents of the process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attune_dsl import clock, log
from attune_dsl.hub.drive import drive
from attune_dsl.store import limits, scripts

if TYPE_CHECKING:
    from attune_dsl.hub.hub import Hub
    from attune_dsl.hub.member import Member

HUB_TTL: Final = 60.0
"""Seconds that a hub's own keys outlive its last beat, at least."""
IDLE_INTERVAL: Final = 5.0
"""Seconds between two beats of a hub without agents: its own keys are renewed."""
REFRESH: Final = 3600.0
"""Seconds after which what agents say of themselves is said again, so that it does not expire."""


class Beater:
    """Beats when it is due; finds out which leases are gone."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._refresh_at = clock.monotonic() + REFRESH
        self.next_beat = 0.0

    @staticmethod
    def hub_ttl_ms(members: list[Member]) -> int:
        """Return how long the hub's keys live without a beat, in milliseconds."""
        return int(1000 * max(HUB_TTL, *(4 * member.profile.ttl for member in members), 0.0))

    def begin(self) -> None:
        """All agents have just joined: the next beat is one interval away."""
        self.next_beat = clock.monotonic() + self._interval()

    def newcomer(self, member: Member) -> None:
        """An agent has just joined: its first beat may be due earlier than the others'."""
        self.next_beat = min(self.next_beat, clock.monotonic() + member.profile.interval)

    def beat_if_due(self) -> bool:
        """Beat if it is time; return ``False`` only if the store did not answer."""
        now = clock.monotonic()
        if now < self.next_beat:
            return True
        self.next_beat = now + self._interval()
        if now >= self._refresh_at:
            self._refresh_at = now + REFRESH
            for member in list(self._hub.members.values()):
                member.say_again()
        members = [member for member in list(self._hub.members.values()) if member.epoch and not member.gone]
        chunks = [members[start : start + limits.BEAT_CHUNK] for start in range(0, len(members), limits.BEAT_CHUNK)]
        return all(self._beat(chunk, members) for chunk in chunks or [[]])

    def _interval(self) -> float:
        return min((m.profile.interval for m in list(self._hub.members.values())), default=IDLE_INTERVAL)

    def _beat(self, chunk: list[Member], members: list[Member]) -> bool:
        hub = self._hub
        asked_at = clock.monotonic()
        leases = [(int(member.profile.ttl * 1000), member.lease) for member in chunk]
        request = hub.request(
            lambda _: scripts.beat(
                hub.keys,
                hub.commands.link,
                hub_ttl_ms=self.hub_ttl_ms(members),
                read_up_to=hub.reader.read_up_to,
                leases=leases,
            )
        )
        reply = drive(hub.ask([request]))
        if not isinstance(reply, list):
            return False
        now, inbox_exists, lost = reply
        hub.learn_server_time(now, asked_at)
        if not inbox_exists:
            log.warning("inbox.gone", namespace=hub.namespace)
            return False
        for position in lost:
            hub.lease_lost(chunk[position - 1])
        for member in members:
            if member.profile.has_mailbox and member.mailbox.is_held:
                hub.refresh(member)
        return True
