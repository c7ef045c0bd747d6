"""Signals as JSON, for programs."""

from __future__ import annotations

from typing import Any

import msgspec

from attune_dsl.model import Signal


def signal_object(signal: Signal) -> dict[str, Any]:
    """Return what programs are shown of a signal, in the order in which it is documented. Times are seconds."""
    names = ("id", "type", "source", "target", "payload", "sent_at", "expires_at")
    return {name: getattr(signal, name) for name in names}


def encode(value: Any, *, pretty: bool = False) -> bytes:
    """Return JSON: on one line for streams of objects, indented for a list."""
    encoded = msgspec.json.encode(value)
    return msgspec.json.format(encoded, indent=2) if pretty else encoded
