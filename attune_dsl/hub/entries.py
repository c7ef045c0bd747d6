"""From stream entries to signals. What is malformed or hostile is skipped alone, counted and logged (§5.12)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attune_dsl import log
from attune_dsl.hub.mailbox import Entry
from attune_dsl.model import Signal
from attune_dsl.store import codec
from attune_dsl.store.names import check_name


class EntryReader:
    """Reads entries for agents; ``skipped`` counts those that could not be read."""

    def __init__(self) -> None:
        self.skipped = 0

    def fields(self, raw: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return an entry's fields by name."""
        return dict(zip(raw[::2], raw[1::2], strict=True))

    def look(self, reply: Sequence[Any], agent_id: str, epoch: int, died_at: int) -> list[Entry]:
        """Return the entries of a look's reply that concern the agent."""
        _, mail, broadcasts = reply
        found = [self.mail(agent_id, self.fields(raw) | {b"at": at}, died_at) for at, raw in mail]
        found += [self.broadcast(agent_id, epoch, self.fields(raw), died_at) for _, raw in broadcasts]
        return [entry for entry in found if entry is not None]

    def mail(self, agent_id: str, fields: dict[bytes, bytes], died_at: int) -> Entry | None:
        """Read a targeted signal; ``None`` if it is malformed or not for this agent."""
        try:
            entry = _entry(fields, fields[b"at"].decode(), died_at)
            if entry.signal.target != agent_id:
                raise ValueError(f"addressed to {entry.signal.target!r}")
        except (ValueError, KeyError, TypeError) as error:
            self._skip(agent_id, error)
            return None
        return entry

    def broadcast(self, agent_id: str, epoch: int, fields: dict[bytes, bytes], died_at: int) -> Entry | None:
        """Read a broadcast; ``None`` if it is malformed, the agent's own, or was not meant for newcomers like it."""
        try:
            entry = _entry(fields, None, died_at)
            if entry.signal.target is not None:
                raise ValueError(f"addressed to {entry.signal.target!r}")
        except (ValueError, KeyError, TypeError) as error:
            self._skip(agent_id, error)
            return None
        if entry.signal.source == agent_id:
            return None
        if not entry.for_newcomers and entry.signal.order < epoch:
            return None
        return entry

    def _skip(self, agent_id: str, error: Exception) -> None:
        self.skipped += 1
        log.warning("signal.skipped", agent_id=agent_id, error=str(error), skipped=self.skipped)


def _entry(fields: dict[bytes, bytes], at: str | None, died_at: int) -> Entry:
    envelope = codec.decode_envelope(fields[b"signal"])
    order, sent, expires, late, signal_id = fields[b"head"].decode().split(" ")
    signal = Signal(
        id=signal_id,
        type=check_name("the signal's type", envelope.type),
        source=check_name("the signal's source", envelope.source),
        target=envelope.target,
        payload=envelope.payload,
        sent_at=int(sent) / 1000,
        expires_at=int(expires) / 1000,
        order=int(order),
        redelivered=int(sent) <= died_at,
    )
    return Entry(signal, at, len(fields[b"signal"]), int(expires), late == "1")
