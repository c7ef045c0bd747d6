"""Tokens: made, read from a file or the environment, and refused where they protect nothing."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from attune_dsl.exceptions import StoreConfigError

SHORTEST: Final = 16
"""Characters that a token has at least."""

_RANDOM_BYTES: Final = 32


def new_token() -> str:
    """Return a token that nobody can guess: 32 random bytes as 43 characters."""
    return secrets.token_urlsafe(_RANDOM_BYTES)


def checked(token: str, origin: str) -> str:
    """Return a token that may be used. Raises :class:`StoreConfigError`, which says where it is from (``origin``) only.

    What it is stays untold: errors are shown, and logged.
    """
    if len(token) < SHORTEST:
        raise StoreConfigError(f"the token from {origin} is too short: it needs at least {SHORTEST} characters")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise StoreConfigError(f"the token from {origin} may have only printable ASCII characters, and no spaces")
    return token


def from_environment() -> str | None:
    """Return ``ATTUNE_TOKEN``, if it is set. Raises :class:`StoreConfigError` for one that may not be used."""
    token = os.environ.get("ATTUNE_TOKEN")
    return checked(token, "ATTUNE_TOKEN") if token else None


def from_file(path: Path) -> str:
    """Return the token in a file, without white space around it.

    Raises :class:`StoreConfigError` for a file that cannot be read, that others may read, or that holds no token.
    """
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            token = file.read(4096).strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise StoreConfigError(f"the token file {path} cannot be read: {why}") from error
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise StoreConfigError(f"others may read the token file {path}: chmod 600 {path}")
    return checked(token, f"the file {path}")
