"""From stream entries to signals. What is malformed or hostile is skipped alone, counted and logged (§5.12)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from attune_dsl import log
from attune_dsl.hub.mailbox import Entry
from attune_dsl.model import Signal
from attune_dsl.store import codec, limits
from attune_dsl.store.names import check_name

_AHEAD: Final = 10_000
"""How far a copy's order may be ahead of the namespace's counter when that was last seen, before it is doubted."""
_LARGEST: Final = 2**53
"""No order and no time is as large; scripts could not reckon with it."""
_REMEMBERED: Final = 10_000
"""Entries known to be malformed, so that each look at them does not log them again."""

_SHOWN: Final = 500
"""Characters of an error that are logged; it may quote what somebody else has sent."""


class EntryReader:
    """Reads entries for agents; ``skipped`` counts those that could not be read."""

    def __init__(self) -> None:
        self.skipped = 0
        self.credible_order = 0
        """A copy of a higher order is not taken for true before a look has found it in the store.

        It would let the agent take all that follows for known already.
        """
        self._malformed: set[tuple[str, bytes]] = set()
        self._unfit: set[tuple[str, str]] = set()

    def fields(self, raw: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return an entry's fields by name."""
        return dict(zip(raw[::2], raw[1::2], strict=True))

    def look(self, reply: Sequence[Any], agent_id: str, epoch: int, died_at: int) -> list[Entry]:
        """Return the entries of a look's reply that concern the agent."""
        _, counter, mail, broadcasts = reply
        highest = int(counter)
        self.credible_order = highest + _AHEAD
        found = [self.mail(agent_id, fields, died_at, highest) for fields in self._stored(agent_id, mail)]
        found += [
            self.broadcast(agent_id, epoch, fields, died_at, highest) for fields in self._stored(agent_id, broadcasts)
        ]
        return [entry for entry in found if entry is not None]

    def _stored(self, agent_id: str, entries: Sequence[Any]) -> list[dict[bytes, bytes]]:
        return [self.fields(raw) | {b"at": at} for at, raw in entries if (agent_id, at) not in self._malformed]

    def mail(self, agent_id: str, fields: dict[bytes, bytes], died_at: int, highest: int = _LARGEST) -> Entry | None:
        """Read a targeted signal; ``None`` if it is malformed, not for this agent, or numbered above ``highest``."""
        try:
            entry = _entry(fields, fields[b"at"].decode(), died_at, highest)
            if entry.signal.target != agent_id:
                raise ValueError(f"addressed to {entry.signal.target!r}")
        except Exception as error:  # whatever is wrong with it, it is wrong with it alone
            self.skip(agent_id, fields, str(error))
            return None
        return entry

    def broadcast(
        self, agent_id: str, epoch: int, fields: dict[bytes, bytes], died_at: int, highest: int = _LARGEST
    ) -> Entry | None:
        """Read a broadcast; ``None`` if it is malformed, the agent's own, or was not meant for newcomers like it."""
        try:
            entry = _entry(fields, None, died_at, highest)
            if entry.signal.target is not None:
                raise ValueError(f"addressed to {entry.signal.target!r}")
        except Exception as error:
            self.skip(agent_id, fields, str(error))
            return None
        if entry.signal.source == agent_id:
            return None
        if not entry.for_newcomers and entry.signal.order < epoch:
            return None
        return entry

    def skip(self, agent_id: str, fields: dict[bytes, bytes], error: str) -> None:
        """Count and log an entry that is of no use."""
        if len(self._malformed) >= _REMEMBERED:
            self._malformed.clear()
        self._malformed.add((agent_id, fields.get(b"at", b"")))
        self.skipped += 1
        log.warning("signal.skipped", agent_id=agent_id, error=error, skipped=self.skipped)

    def unfit(self, agent_id: str, signal: Signal, error: str) -> None:
        """Count and log, once, a signal whose payload is not what its receiver takes under that type."""
        if len(self._unfit) >= _REMEMBERED:
            self._unfit.clear()
        if (agent_id, signal.id) in self._unfit:
            return
        self._unfit.add((agent_id, signal.id))
        self.skipped += 1
        shown = error if len(error) <= _SHOWN else f"{error[:_SHOWN]}…"
        log.warning("signal.skipped", agent_id=agent_id, source=signal.source, error=shown, skipped=self.skipped)


def _entry(fields: dict[bytes, bytes], at: str | None, died_at: int, highest: int) -> Entry:
    data = fields[b"signal"]
    if len(data) > limits.SIGNAL_BYTES:
        raise ValueError(f"{len(data):,} bytes, more than a signal can have")
    envelope = codec.decode_envelope(data)
    order, sent, expires, late, signal_id = fields[b"head"].decode().split(" ")
    number, sent_ms, expires_ms = int(order), int(sent), int(expires)
    if not (0 < number <= highest and 0 <= sent_ms < _LARGEST and 0 <= expires_ms < _LARGEST):
        raise ValueError("its numbers are out of range")
    signal = Signal(
        id=signal_id,
        type=check_name("the signal's type", envelope.type),
        source=check_name("the signal's source", envelope.source),
        target=envelope.target,
        payload=envelope.payload,
        sent_at=sent_ms / 1000,
        expires_at=expires_ms / 1000,
        order=number,
        redelivered=sent_ms <= died_at,
        traceparent=envelope.trace,
    )
    return Entry(signal, at, len(data), expires_ms, late == "1")
