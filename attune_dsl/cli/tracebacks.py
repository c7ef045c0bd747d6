"""Tracebacks for the user's own errors: the frames that the user wrote, and the place where it went wrong."""

from __future__ import annotations

import os
import sysconfig
import traceback
from functools import cache
from pathlib import Path

_PACKAGE = str(Path(__file__).parents[1]) + os.sep


def user_traceback(error: BaseException) -> str:
    """Format ``error`` with the user's frames and, where it was raised inside a library, that last frame too."""
    formatted = traceback.TracebackException.from_exception(error)
    _shorten(formatted)
    return "".join(formatted.format()).rstrip("\n")


def full_traceback(error: BaseException) -> str:
    """Format ``error`` with every frame."""
    return "".join(traceback.format_exception(error)).rstrip("\n")


def _shorten(formatted: traceback.TracebackException | None) -> None:
    if formatted is None:
        return
    frames = _worth_showing(list(formatted.stack or ()))
    formatted.stack = traceback.StackSummary.from_list(frames) if frames else None  # type: ignore[assignment]
    _shorten(formatted.__cause__)
    _shorten(formatted.__context__)
    for inner in formatted.exceptions or ():
        _shorten(inner)


def _worth_showing(frames: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    own = [i for i, frame in enumerate(frames) if is_user_file(frame.filename)]
    if not own:
        return [frame for frame in frames if not _is_machinery(frame.filename)]
    deeper = [frame for frame in frames[own[-1] + 1 :] if not _is_machinery(frame.filename)]
    return [frames[i] for i in own] + deeper[-1:]


def is_user_file(name: str) -> bool:
    """Whether a file is the user's, rather than a library's, the interpreter's or this package's."""
    return not (_is_machinery(name) or name.startswith(_libraries()))


@cache
def _libraries() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple({paths[name] + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")})


@cache
def _machinery() -> tuple[str, ...]:
    """What runs the user's code: this package, imports, threads, event loops, retries."""
    paths = sysconfig.get_paths()
    standard = [str(Path(paths["stdlib"], name)) for name in ("importlib", "asyncio", "concurrent", "threading.py")]
    others = [str(Path(paths["purelib"], name)) for name in ("stamina", "tenacity")]
    return (_PACKAGE, "<frozen ", *standard, *others)


def _is_machinery(name: str) -> bool:
    return name.startswith(_machinery())
