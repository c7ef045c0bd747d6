"""What a name may look like: agents, signal types, keys, namespaces; an event's id; the reason of an abort."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from attune_dsl.exceptions import InvalidName
from attune_dsl.store import limits

NAME_LENGTH: Final = 128
"""Longest name, in characters."""

_EVENT_ID: Final = re.compile(r"[0-9]{1,20}(-[0-9]{1,20})?")


def check_name(what: str, name: object) -> str:
    """Return ``name`` if it is 1-128 characters without control characters.

    ``what`` says in the error what is being named (``"agent id"``). Raises :class:`InvalidName`.
    """
    if not isinstance(name, str):
        raise InvalidName(f"{what} must be a string, not {type(name).__name__}")
    return _checked(what, name)


@lru_cache(4096)
def _checked(what: str, name: str) -> str:
    if not 1 <= len(name) <= NAME_LENGTH or not (name.isprintable() or _is_clean(name)):
        raise InvalidName(f"{what} {name!r} must be 1-{NAME_LENGTH} characters without control characters")
    return name


def check_namespace(name: object) -> str:
    """Return ``name`` if it can be a namespace: a name without braces, which mark the hash tag in every key.

    Raises :class:`InvalidName`.
    """
    checked = check_name("namespace", name)
    if "{" in checked or "}" in checked:
        raise InvalidName(f"namespace {name!r} must not contain '{{' or '}}'")
    return checked


def is_event_id(text: str) -> bool:
    """Whether this may be the id of an event, such as ``1763971918123-0``; the number may be left out."""
    return _EVENT_ID.fullmatch(text) is not None


def check_reason(reason: str) -> str:
    """Return the reason of an abort. Raises ``ValueError`` for one that is empty, too long or not encodable."""
    if not isinstance(reason, str) or not reason.strip() or len(reason) > limits.REASON_LENGTH:
        shown = f"{len(reason):,}" if isinstance(reason, str) and reason.strip() else repr(reason)
        raise ValueError(f"the reason of an abort is a text of 1 to {limits.REASON_LENGTH:,} characters, not {shown}")
    reason.encode()  # a lone surrogate could not be sent: UnicodeEncodeError is a ValueError
    return reason


def _is_clean(name: str) -> bool:
    """Whether a name that is not plainly printable has neither control characters nor lone surrogates."""
    return not any(
        character < " " or "\x7f" <= character <= "\x9f" or "\ud800" <= character <= "\udfff" for character in name
    )
