"""Proof of life: one write per interval renews the leases of all agents of the process."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from attune_dsl import clock, log
from attune_dsl.hub.drive import drive
from attune_dsl.store import limits, scripts
from attune_dsl.store.settings import idle_interval

if TYPE_CHECKING:
    from attune_dsl.hub.commands import Request
    from attune_dsl.hub.hub import Hub
    from attune_dsl.hub.member import Member

HUB_TTL: Final = 60.0
"""Seconds that a hub's own keys outlive its last beat, at least."""
REFRESH: Final = 3600.0
"""Seconds after which what agents say of themselves is said again, so that it does not expire."""


class Beater:
    """Beats when it is due; finds out which leases are gone, and looks for those of others that have lapsed."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._refresh_at = clock.monotonic() + REFRESH
        self._idle = idle_interval()
        self._own_at = 0
        self._was_wrong = False
        self._outages = hub.link.outages
        self.next_beat = 0.0
        self.next_look = math.inf
        """When the earliest lease of the namespace will have lapsed, if nobody renews it."""

    @staticmethod
    def hub_ttl_ms(members: list[Member]) -> int:
        """Return how long the hub's keys live without a beat, in milliseconds."""
        return int(1000 * max(HUB_TTL, *(4 * member.profile.ttl for member in members), 0.0))

    def begin(self) -> None:
        """The link is new: beat at once, because leases may have lapsed while nobody could look."""
        self.next_beat = clock.monotonic()

    def newcomer(self, member: Member) -> None:
        """An agent has just joined: its first beat may be due earlier than the others'."""
        self.next_beat = min(self.next_beat, clock.monotonic() + member.profile.interval)

    @property
    def due(self) -> float:
        """When to be called next (:func:`clock.monotonic`)."""
        return min(self.next_beat, self.next_look)

    def witness(self) -> scripts.Witness:
        """Return what this hub knows of times in which nobody beat."""
        hub, link = self._hub, self._hub.link
        down_at = 0.0
        if self._own_at and link.outages != self._outages:
            down_at = hub.server_ms() - (clock.monotonic() - link.down_since) * 1000
        interval = int(self._interval() * 1000)
        return scripts.Witness(interval, self._own_at, max(0, int(down_at)), int(hub.server_ms()))

    def beat_if_due(self) -> bool:
        """Beat if it is time; return ``False`` only if the store did not answer."""
        now = clock.monotonic()
        if now < self.next_beat:
            return now < self.next_look or self._beat([])
        self.next_beat = now + self._interval()
        members = list(self._hub.members.values())
        if now >= self._refresh_at:
            self._refresh_at = now + REFRESH
            for member in members:
                member.doing.say_again()
            self._hub.ask_again()
        return self._beat([member for member in members if member.epoch and not member.gone])

    def _interval(self) -> float:
        return min((m.profile.interval for m in list(self._hub.members.values())), default=self._idle)

    def _beat(self, members: list[Member]) -> bool:
        hub, outages = self._hub, self._hub.link.outages
        asked_at = clock.monotonic()
        chunks = [members[start : start + limits.BEAT_CHUNK] for start in range(0, len(members), limits.BEAT_CHUNK)]
        renewals = [self._renewal(chunk) for chunk in chunks]
        beat = hub.request(
            lambda _: scripts.beat(
                hub.keys,
                hub.commands.link,
                witness=self.witness(),
                hub_ttl_ms=self.hub_ttl_ms(members),
                read_up_to=hub.reader.read_up_to,
            )
        )
        reply = drive(hub.ask([*renewals, beat]))
        if not isinstance(reply, list):
            return False
        now, inbox_exists, earliest = reply
        self._was_wrong = abs(hub.learn_server_time(now, asked_at)) > limits.CLOCK_STEP
        if self._was_wrong:
            self.next_beat = asked_at  # a clock was set, or the machine slept: what it renewed ends too soon or late
        self._own_at, self._outages = int(now), outages
        self.next_look = hub.moment_of(float(earliest)) if earliest else math.inf
        if not inbox_exists:
            log.warning("inbox.gone", namespace=hub.namespace)
            return False
        for chunk, renewal in zip(chunks, renewals, strict=True):
            if renewal.value != len(chunk):  # those that were lost, or changed already within this millisecond
                self._find_lost(chunk)
        for member in members:
            if member.profile.has_mailbox and member.mailbox.is_held:
                hub.refresh(member)
            if member.doing.has_moved:
                member.doing.say_again()
        return True

    def _renewal(self, chunk: list[Member]) -> Request:
        """Renew by what this hub knows of the server's clock; should that be set, the script sees it."""
        hub = self._hub

        def render(_: Request) -> scripts.Command:
            now = hub.server_ms()
            leases = [(int(now + member.profile.ttl * 1000), member.lease) for member in chunk]
            return scripts.renew(hub.keys, leases, may_shorten=self._was_wrong)

        return hub.request(render)

    def _find_lost(self, chunk: list[Member]) -> None:
        hub = self._hub
        leases = [member.lease for member in chunk]
        present = drive(hub.ask([hub.request(lambda _: scripts.present(hub.keys, leases))]))
        for member, lease in zip(chunk, present or (), strict=False):
            if lease is None:
                hub.lease_lost(member)
