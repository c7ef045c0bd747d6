"""JSON in and out of the store. Nothing is ever unpickled."""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

from attune_dsl.exceptions import NotAJsonValue, PayloadTooLarge
from attune_dsl.store import limits


def _plain(value: Any) -> Any:
    """Return what msgspec knows instead of other mappings and of subclasses of str and int; checked before."""
    if isinstance(value, Mapping):
        return dict(value)
    return str.__str__(value) if isinstance(value, str) else int.__int__(value)


_TRACEPARENT: Final = re.compile(rb'"((?!ff)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})"')
_ENCODER: Final = msgspec.json.Encoder(enc_hook=_plain)
_DECODER: Final = msgspec.json.Decoder()
_LARGEST_EXACT: Final = 2**63
_TEXT_IN_JSON: Final = (bytes, bytearray, memoryview, datetime, date, time, timedelta, UUID, Decimal)


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a signal is on the wire, beside what the scripts add (id, order, sent, expires)."""

    type: str
    source: str
    target: str | None = None
    payload: Any = None
    traceparent: msgspec.Raw = msgspec.Raw()

    @property
    def trace(self) -> str | None:
        """The trace context of the sender, if it has the form of one; whatever else stands there is ignored."""
        found = _TRACEPARENT.fullmatch(self.traceparent)
        return None if found is None else found[1].decode()


_ENVELOPE: Final = msgspec.json.Decoder(Envelope)


def encode_envelope(type_: str, source: str, target: str | None, payload: Any, traceparent: str = "") -> bytes:
    """Encode one signal; ``payload`` may be anything that is JSON, ``traceparent`` the sender's trace context.

    Raises :class:`NotAJsonValue` with the path of the first value that is not, and :class:`PayloadTooLarge`.
    """
    encoded = msgspec.Raw(encode_payload(payload))
    envelope = Envelope(type=type_, source=source, target=target, payload=encoded)
    if traceparent:
        envelope = msgspec.structs.replace(envelope, traceparent=msgspec.Raw(_ENCODER.encode(traceparent)))
    return _ENCODER.encode(envelope)


def encode_short(type_: str, target: str | None, size: int) -> bytes:
    """Encode what the timeline tells of a long signal, of ``size`` bytes."""
    return _ENCODER.encode({"type": type_, "target": target, "size": size})


def decode_envelope(data: bytes) -> Envelope:
    """Decode one signal. Raises :class:`msgspec.MsgspecError` or ``ValueError`` for anything else."""
    return _ENVELOPE.decode(data)


def encode_payload(payload: Any) -> bytes:
    """Encode a payload as JSON, checking what it is made of.

    Raises :class:`NotAJsonValue` (``path`` such as ``$.items[3]``) and :class:`PayloadTooLarge` (over 256 KiB).
    """
    if payload is None:
        return b"null"
    try:
        check_json(payload)
        data = _ENCODER.encode(payload)
    except RecursionError:
        raise NotAJsonValue("$ is nested too deeply, or contains itself", "$") from None
    except UnicodeEncodeError as error:
        raise NotAJsonValue(f"$ contains text that is not Unicode ({error.reason})", "$") from None
    if len(data) > limits.PAYLOAD_BYTES:
        raise PayloadTooLarge(
            f"the payload is {len(data):,} bytes of JSON, the limit is {limits.PAYLOAD_BYTES:,}; "
            "store the data elsewhere and send where it is"
        )
    return data


def encode_metadata(metadata: Mapping[str, Any] | None) -> bytes:
    """Encode an agent's metadata, a JSON object; nothing for none.

    Raises :class:`NotAJsonValue` and :class:`PayloadTooLarge` (over 8 KiB).
    """
    if metadata is not None and not isinstance(metadata, Mapping):
        raise NotAJsonValue(
            f"write metadata as a mapping, {{'team': 'data'}} for one, not {reprlib.repr(metadata)}", "$"
        )
    if not metadata:
        return b""
    data = encode_payload(metadata)
    if len(data) > limits.METADATA_BYTES:
        raise PayloadTooLarge(
            f"the metadata is {len(data):,} bytes of JSON, the limit is {limits.METADATA_BYTES:,}; "
            "store the data elsewhere and say where it is"
        )
    return data


def encode_emit(data: Any) -> bytes:
    """Encode what a run emits, as JSON. Raises :class:`NotAJsonValue` and :class:`PayloadTooLarge` (over 8 KiB)."""
    encoded = encode_payload(data)
    if len(encoded) > limits.EMIT_BYTES:
        raise PayloadTooLarge(
            f"what was emitted is {len(encoded):,} bytes of JSON, the limit is {limits.EMIT_BYTES:,}; "
            "store the data elsewhere and emit where it is"
        )
    return encoded


def check_json(value: Any, path: str = "$") -> None:
    """Raise :class:`NotAJsonValue` unless ``value`` is made of None, bool, int, float, str, list, tuple and dict.

    Values that an encoder would change in silence are refused too: NaN and infinities, keys that are no strings,
    integers beyond 64 bits.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return
    if isinstance(value, int):  # members of IntEnum too
        if not -_LARGEST_EXACT <= value < 2 * _LARGEST_EXACT:
            raise NotAJsonValue(f"{path} is an integer beyond 64 bits; send it as a string", path)
    elif kind is float:
        if not math.isfinite(value):
            raise NotAJsonValue(f"{path} is {value}, which JSON does not have; send None or a string", path)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise NotAJsonValue(f"{path} has the key {key!r}; the keys of a JSON object are strings", path)
            check_json(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            check_json(item, f"{path}[{index}]")
    elif not isinstance(value, str):  # a subclass, such as a member of StrEnum, is fine
        raise NotAJsonValue(f"{path} is a {kind.__qualname__}, not a JSON value; convert it before", path)


def to_plain(value: Any, *, as_text: bool = True) -> Any:
    """Return the JSON value of attrs and dataclass instances, Structs, dates, enumerations, sets and the like.

    Dates, UUIDs, decimals and bytes become text, and so do keys that are numbers, unless ``as_text`` is false. What
    :func:`check_json` refuses besides is left to it. Raises :class:`NotAJsonValue` with the path of the first value
    that cannot be converted.
    """
    try:
        return _to_builtins(value, as_text)
    except RecursionError:
        raise NotAJsonValue("$ is nested too deeply, or contains itself", "$") from None
    except Exception:
        path, found = _first_foreign(value, "$", as_text)
    if isinstance(found, Mapping):
        raise NotAJsonValue(f"{path} has a key that cannot be one of a JSON object; those are strings", path)
    raise NotAJsonValue(f"{path} is a {type(found).__qualname__}, not a JSON value; convert it before", path)


def fit(value: Any, kind: Any, *, as_text: bool = True) -> Any:
    """Return the value of the class ``kind`` that :func:`to_plain` would turn into ``value``; nothing is coerced.

    Raises :class:`msgspec.ValidationError`, and whatever the code of the class raises.
    """
    return msgspec.convert(value, kind, strict=True, str_keys=as_text, builtin_types=() if as_text else _TEXT_IN_JSON)


def _to_builtins(value: Any, as_text: bool) -> Any:
    native = () if as_text else _TEXT_IN_JSON
    return msgspec.to_builtins(value, str_keys=as_text, builtin_types=native, enc_hook=_plain)


def _first_foreign(value: Any, path: str, as_text: bool) -> tuple[str, Any]:
    """Return where the first value is that cannot be converted, and the value."""
    for step, child in _children(value):
        try:
            _to_builtins(child, as_text)
        except Exception:
            return _first_foreign(child, path + step, as_text)
    return path, value


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((f".{key}", item) for key, item in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"[{index}]", item) for index, item in enumerate(value))
    else:
        names = getattr(value, "__struct_fields__", None) or getattr(value, "__dataclass_fields__", None)
        names = names or [field.name for field in getattr(value, "__attrs_attrs__", ())]
        yield from ((f".{name}", getattr(value, name, None)) for name in names)


def decode_payload(data: bytes) -> Any:
    """Decode JSON. Raises :class:`msgspec.DecodeError` for anything else."""
    return _DECODER.decode(data)


_WORDS: Final = msgspec.json.Decoder(list[str])
_PROGRESS: Final = msgspec.json.Decoder(tuple[float | None, str | None])


def decode_progress(data: bytes) -> tuple[float | None, str | None]:
    """Decode what a process says of an agent that it acts for: ``[fraction | null, note | null]``.

    Raises ``ValueError`` for anything else, and for a fraction outside of 0 to 1.
    """
    fraction, note = _PROGRESS.decode(data)
    if fraction is not None and not 0.0 <= fraction <= 1.0:
        raise ValueError(f"{fraction} is no progress from 0 to 1")
    return fraction, note


def decode_words(data: bytes) -> list[str]:
    """Decode what a process did that acts for an agent: ``["sent", type, "to", target]``. Raises ``ValueError``."""
    return _WORDS.decode(data)
