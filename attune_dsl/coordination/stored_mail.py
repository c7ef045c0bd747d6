"""What waits for an agent in the store, for those who are not that agent. Nothing is taken here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from attune_dsl.coordination.arrivals import Arrival
from attune_dsl.coordination.asking import ask
from attune_dsl.exceptions import StoreUnavailable
from attune_dsl.hub.hub import Hub
from attune_dsl.hub.mailbox import Entry
from attune_dsl.hub.registry import connect_hub, release_hub
from attune_dsl.model import Signal
from attune_dsl.store import scripts
from attune_dsl.store.connection import ReplyError
from attune_dsl.store.names import check_name


class Wanted(NamedTuple):
    """Which signals are meant: of these types (none: any), from this agent (``None``: anyone)."""

    types: frozenset[str]
    source: str | None

    def fits(self, signal: Signal) -> bool:
        """Whether a signal is one of these."""
        return (not self.types or signal.type in self.types) and self.source in {None, signal.source}


def wanted(types: Sequence[str], source: str | None) -> Wanted:
    """Check the names. Raises :class:`InvalidName`."""
    for type_ in types:
        check_name("signal type", type_)
    if source is not None:
        check_name("source", source)
    return Wanted(frozenset(types), source)


class Found(NamedTuple):
    """What a look found, oldest first; ``now`` is in seconds since the epoch by the server's clock."""

    entries: list[Entry]
    now: float


class StoredMail:
    """An agent's mailbox and its broadcasts, read from the store. The agent need not live. Neutral coroutines.

    All raise :class:`StoreUnavailable`.
    """

    def __init__(self, hub: Hub, agent_id: str) -> None:
        """Made by :meth:`open`, or over a hub that somebody else gives back."""
        self.hub = hub
        self.agent_id = agent_id
        self._epoch = self._died_at = 0

    @classmethod
    async def open(cls, agent_id: str, store: str | None = None, namespace: str | None = None) -> StoredMail:
        """Connect to the store. Raises :class:`StoreUnavailable`, :class:`StoreConfigError`, :class:`InvalidName`."""
        check_name("agent id", agent_id)
        return cls(await connect_hub(store, namespace), agent_id)

    async def close(self) -> None:
        """Disconnect."""
        await release_hub(self.hub)

    @property
    def streams(self) -> tuple[str, str]:
        """The keys of the streams that bring the agent's signals."""
        return self.hub.keys.mail(self.agent_id), self.hub.keys.broadcast

    async def look(self, these: Wanted) -> Found:
        """Return what waits for the agent, or for who joins next under its id; not what has expired."""
        hub, keys = self.hub, self.hub.keys
        held, reply = await ask(
            hub,
            [
                ("HMGET", keys.agent(self.agent_id), "epoch", "ended_at", "died_at"),
                scripts.look(keys, self.agent_id, after_mail=0, after_broadcast=0),
            ],
        )
        for refused in (held, reply):
            if isinstance(refused, ReplyError):
                raise StoreUnavailable(f"the store {hub.server.label} refused to be read: {refused}")
        epoch, ended_at, died_at = held
        # Who joins now gets the next number: broadcasts that are not for newcomers are not for it.
        self._epoch = number(reply[1]) + 1 if ended_at or not epoch else number(epoch)
        self._died_at = number(died_at)
        now = number(reply[0])
        entries = hub.entries.look(reply, self.agent_id, self._epoch, self._died_at)
        found = [entry for entry in entries if entry.expires_ms > now and these.fits(entry.signal)]
        return Found(sorted(found, key=lambda entry: entry.signal.order), now / 1000)

    def arrived(self, arrival: Arrival) -> Entry | None:
        """Read an entry that has come on one of :attr:`streams`; ``None`` if it is none of the agent's."""
        fields = self.hub.entries.fields(arrival.raw) | {b"at": arrival.at}
        if arrival.stream == self.hub.keys.broadcast:
            return self.hub.entries.broadcast(self.agent_id, self._epoch, fields, self._died_at)
        return self.hub.entries.mail(self.agent_id, fields, self._died_at)


def number(value: bytes | None) -> int:
    """Return what the store has as a whole number, 0 for anything else."""
    return int(value[:18]) if value and value.isdigit() else 0
