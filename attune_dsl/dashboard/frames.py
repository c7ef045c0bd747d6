"""What clients are told, in the two forms in which it travels: messages of a WebSocket, and Server-Sent Events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import msgspec

from attune_dsl.events import Event

Frame: TypeAlias = str | bytes

Encoded: TypeAlias = tuple[Event, bytes]
"""An event, and the same as JSON."""


class Form(Protocol):
    """How something is written down."""

    name: str

    def events(self, events: Sequence[Encoded], last_id: str) -> Frame:
        """Events, oldest first; ``last_id`` is behind which a client goes on."""

    def live(self, last_id: str) -> Frame:
        """All that had happened was told; from here on it is told as it happens."""

    def mark(self, last_id: str) -> Frame:
        """Nothing to tell up to here."""

    def news(self, name: str, told: str) -> Frame:
        """The store is ``away`` or ``back``, or the connection is ``closing`` for a reason."""


class WebSocketForm:
    """One JSON object with a ``type`` is one message."""

    name = "ws"

    def events(self, events: Sequence[Encoded], last_id: str) -> str:
        """``{"type": "events", "events": [...], "last_id": ...}``."""
        listed = b",".join([encoded for _, encoded in events])
        return (b'{"type":"events","events":[%b],"last_id":"%b"}' % (listed, last_id.encode())).decode()

    def live(self, last_id: str) -> str:
        """``{"type": "live", "last_id": ...}``."""
        return _json({"type": "live", "last_id": last_id}).decode()

    def mark(self, last_id: str) -> str:
        """No events, and how far that holds."""
        return self.events((), last_id)

    def news(self, name: str, told: str) -> str:
        """``{"type": "store", "state": ...}`` or ``{"type": "closing", "reason": ...}``."""
        return _json({"type": name, _FIELD[name]: told}).decode()


class EventStreamForm:
    """An event is a message with its id, so that browsers resume behind it by themselves."""

    name = "sse"

    def events(self, events: Sequence[Encoded], last_id: str) -> bytes:
        """``id:`` and ``data:`` for each event."""
        told = [b"id: %b\ndata: %b\n\n" % (event.id.encode(), encoded) for event, encoded in events]
        if not events or events[-1][0].id != last_id:
            told.append(self.mark(last_id))
        return b"".join(told)

    def live(self, last_id: str) -> bytes:
        """A message of the type ``live``."""
        return b"id: %b\nevent: live\ndata: %b\n\n" % (last_id.encode(), _json({"last_id": last_id}))

    def mark(self, last_id: str) -> bytes:
        """An id without a message: browsers note it and tell nobody."""
        return b": \nid: %b\n\n" % last_id.encode()

    def news(self, name: str, told: str) -> bytes:
        """A message of the type ``store`` or ``closing``."""
        return b"event: %b\ndata: %b\n\n" % (name.encode(), _json({_FIELD[name]: told}))


_FIELD = {"store": "state", "closing": "reason"}

_json = msgspec.json.encode
WEB_SOCKET = WebSocketForm()
EVENT_STREAM = EventStreamForm()
