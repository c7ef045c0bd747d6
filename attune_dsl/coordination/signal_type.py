"""The declaration of a signal type with its payload. As cheap to import as a stage; what it means is in ``typed``."""

from __future__ import annotations

from typing import Any, Final, Generic, TypeAlias, TypeVar, final

from attune_dsl.exceptions import DeclarationError
from attune_dsl.store.names import check_name

PayloadT = TypeVar("PayloadT")


@final
class SignalType(Generic[PayloadT]):
    """A type of signals whose payload is of the class ``payload``. It stands wherever the name of a type may stand.

    ``payload`` is an attrs class or a dataclass, a ``msgspec.Struct``, or something smaller such as ``int`` or
    ``list[str]``. What does not fit it is refused at a send, and skipped at the receipt: payloads are converted, but
    nothing is coerced. Whether the class can be had from JSON at all is looked at when it is first used.

    ``name`` is 1-128 characters without control characters, else :class:`InvalidName`. Raises :class:`DeclarationError`
    for a payload that is no type.

    >>> SignalType("retry_after", float)
    SignalType('retry_after', float)
    """

    __slots__ = ("name", "payload")

    def __init__(self, name: str, payload: type[PayloadT]) -> None:
        self.name: Final = check_name("signal type", name)
        self.payload: Final = payload
        if not callable(payload) and not hasattr(payload, "__args__"):  # unions are not callable
            hint = "type(None) for no payload" if payload is None else f"such as {type(payload).__qualname__}"
            raise DeclarationError(f"SignalType({name!r}, ...) takes the class of the payload, {hint}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SignalType):
            return NotImplemented
        return self.name == other.name and bool(self.payload == other.payload)

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"SignalType({self.name!r}, {label(self.payload)})"


Named: TypeAlias = str | SignalType[Any]
"""How a signal type is named: by its name, or by its declaration."""


def label(payload: Any) -> str:
    """Return the class of a payload as people write it."""
    return payload.__qualname__.rpartition("<locals>.")[2] if isinstance(payload, type) else repr(payload)
