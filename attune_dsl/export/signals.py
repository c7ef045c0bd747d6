"""Which signal that was received is which that was sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attune_dsl.events import Event, SignalExpired, SignalReceived, SignalSent
from attune_dsl.export.scene import Arrow


def arrows(events: Sequence[Event]) -> Iterator[Arrow]:
    """Yield an arrow for each time that a signal was taken, or was not; in the order of these ends."""
    sent: dict[str, int] = {}
    for index, event in enumerate(events):
        if isinstance(event.data, SignalSent):
            sent.setdefault(event.data.id, index)
    ended: set[str] = set()
    for index, event in enumerate(events):
        if isinstance(event.data, SignalReceived | SignalExpired):
            ended.add(event.data.id)
            yield _arrived(index, event, event.data, sent.get(event.data.id))
    for index in sent.values():
        event = events[index]
        if isinstance(event.data, SignalSent) and event.data.id not in ended:
            yield Arrow(
                type=event.data.type,
                source=event.agent or "",
                target=event.data.target,
                sent=index,
                received=None,
                end="open",
            )


def _arrived(index: int, event: Event, data: SignalReceived | SignalExpired, sent: int | None) -> Arrow:
    is_received = isinstance(data, SignalReceived)
    return Arrow(
        type=data.type,
        source=data.source,
        target=event.agent,
        sent=sent,
        received=index,
        end="received" if is_received else "expired",
    )
