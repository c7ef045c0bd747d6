"""What a name may look like: agents, signal types, keys, namespaces; and what the id of an event looks like."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from attune_dsl.exceptions import InvalidName

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


def _is_clean(name: str) -> bool:
    """Whether a name that is not plainly printable has neither control characters nor lone surrogates."""
    return not any(
        character < " " or "\x7f" <= character <= "\x9f" or "\ud800" <= character <= "\udfff" for character in name
    )
