"""An event as JSON, in the one form that exports and the web API share.

An object with the fields of :class:`attune_dsl.events.Event`, all of them and in their order, ``null`` where there is
none; ``data`` has all fields of the kind's class, in any order. A later version may add fields and kinds; it renames
and removes none. Of a kind that this version does not know, what was found stands in ``data.fields``.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from attune_dsl.events import Event, Unknown

_ENCODER: Final = msgspec.json.Encoder()


def event_json(event: Event) -> bytes:
    """Return an event as JSON on one line, in UTF-8.

    Data that JSON cannot say (nested too deeply, text that is no Unicode) is replaced by the reason why: one event
    must not keep all others from being read.
    """
    try:
        return _ENCODER.encode(_head(event) | {"data": event.data})
    except (msgspec.MsgspecError, OverflowError, RecursionError, TypeError, ValueError) as error:
        return _ENCODER.encode(_head(event) | {"data": Unknown(fields={"unreadable": type(error).__name__})})


def event_dict(event: Event) -> dict[str, Any]:
    """Return an event as what :func:`event_json` says, read back as plain Python values."""
    told: dict[str, Any] = msgspec.json.decode(event_json(event))
    return told


def _head(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "kind": event.kind,
        "at": event.at,
        "namespace": event.namespace,
        "agent": event.agent,
        "run": event.run,
        "workflow": event.workflow,
        "stage": event.stage,
    }
