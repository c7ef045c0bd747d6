"""Errors of the command line: one clear line each, with the exit code that a script can act on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

OK, FAILED, USAGE, ABORTED = 0, 1, 2, 3
"""Exit codes: completed; failed; the command line is wrong; a participant aborted the run."""

TIMED_OUT, PEER_GONE, DEADLOCK = 4, 5, 6
"""Exit codes of a wait without a signal: none came in time; its sender has ended; it would have waited in a circle."""

UNAVAILABLE = 7
"""Exit code of a command that could do nothing because the store did not answer; trying again may help."""

INTERRUPTED, TERMINATED = 130, 143
"""Exit codes after SIGINT and SIGTERM, as shells number them (128 + signal)."""


class CliError(Exception):
    """Something the user should know, as one line. ``exit_code`` is what the process ends with."""

    exit_code = FAILED


class UsageError(CliError):
    """The command line itself is wrong; nothing was run."""

    exit_code = USAGE


class Unavailable(CliError):
    """The store did not answer."""

    exit_code = UNAVAILABLE


class UserCodeError(CliError):
    """The user's own code raised ``__cause__``; it is shown from the user's frames on, then this line."""


def did_you_mean(wrong: str, known: Iterable[str], *, show: str = "{}") -> str:
    """Return ``"; did you mean …?"`` for the nearest names, or an empty string."""
    from difflib import get_close_matches

    close = get_close_matches(wrong, list(dict.fromkeys(known)), n=3, cutoff=0.6)
    return f"; did you mean {either([show.format(name) for name in close])}?" if close else ""


def either(names: Sequence[str]) -> str:
    """Return ``a``, ``a or b``, ``a, b or c``."""
    if len(names) < 2:  # noqa: PLR2004
        return "".join(names)
    return f"{', '.join(names[:-1])} or {names[-1]}"
