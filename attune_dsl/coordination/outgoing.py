"""What is checked of a signal before it is sent, and what the store's answer means to its sender."""

from __future__ import annotations

from typing import Any, NamedTuple

from attune_dsl import tracing
from attune_dsl.coordination.terms import check_ttl
from attune_dsl.exceptions import MailboxFull
from attune_dsl.hub.commands import Request
from attune_dsl.store import codec, limits, scripts
from attune_dsl.store.keys import Keys
from attune_dsl.store.names import check_name
from attune_dsl.store.scripts import Command, Told


class Outgoing(NamedTuple):
    """A signal as the store takes it, for one agent or for all (``target=None``).

    ``ttl_ms`` is how long it waits for its receiver, in milliseconds.
    """

    source: str
    target: str | None
    signal: bytes
    ttl_ms: int
    late: bool
    key: str | None
    told: Told

    def command(self, keys: Keys, request: Request, owner: str) -> Command:
        """Return the command that stores it, under the number of the request."""
        if self.target is None:
            return scripts.broadcast(
                keys,
                self.source,
                owner=owner,
                lane=request.lane,
                seq=request.seq,
                signal_id=request.id,
                ttl_ms=self.ttl_ms,
                signal=self.signal,
                late=self.late,
                key=self.key,
                told=self.told,
            )
        return scripts.send(
            keys,
            self.source,
            self.target,
            owner=owner,
            lane=request.lane,
            seq=request.seq,
            signal_id=request.id,
            ttl_ms=self.ttl_ms,
            signal=self.signal,
            key=self.key,
            told=self.told,
        )


def encode(
    source: str,
    type_: str,
    target: str | None,
    payload: Any,
    *,
    ttl: float,
    key: str | None,
    late: bool = True,
    stage: str | None = None,
) -> Outgoing:
    """Check and encode a signal that a ``stage`` sends; ``ttl`` is in seconds.

    Raises :class:`InvalidName`, :class:`NotAJsonValue`, :class:`PayloadTooLarge`, and ``ValueError`` for a bad ``ttl``.
    """
    check_name("signal type", type_)
    if key is not None:
        check_name("key", key)
    check_ttl(ttl)
    signal = codec.encode_envelope(type_, source, target, payload, tracing.traceparent())
    short = codec.encode_short(type_, target, len(signal)) if len(signal) > limits.TOLD_BYTES else b""
    return Outgoing(source, target, signal, max(1, int(ttl * 1000)), late, key, Told(stage or "", short))


def stored_id(reply: Any, target: str | None, namespace: str) -> str | None:
    """Return the id of a signal that was stored, ``""`` for no answer, ``None`` if the sender was not the owner.

    Raises :class:`MailboxFull`.
    """
    if reply is None:
        return ""
    outcome, signal_id = reply
    if outcome == b"full":
        where = f"the broadcast stream of namespace {namespace!r}" if target is None else f"the mailbox of {target!r}"
        raise MailboxFull(f"{where} is full (10,000 signals or 64 MiB); nothing was stored. Is its agent taking them?")
    return None if outcome == b"fenced" else str(signal_id.decode())
