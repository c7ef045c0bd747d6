"""Options are checked where they are written: a mistake shows at its own line, before anything runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from attune_dsl.exceptions import DeclarationError

Check = Callable[[Any], Any]

_TIERS = ("cheap", "capable", "premium")
_MAX_NAME = 128


class Wrong(Exception):
    """What is wrong with one option's value."""


def checked(where: str, options: Mapping[str, Any], checks: Mapping[str, Check]) -> dict[str, Any]:
    """Return ``options`` in their normal form; ``where`` is what the user wrote, as in ``@stage``.

    Raises :class:`DeclarationError` for an option that does not exist or whose value cannot work.
    """
    normal = {}
    for option, value in options.items():
        check = checks.get(option)
        if check is None:
            raise DeclarationError(_unknown(where, option, checks))
        try:
            normal[option] = check(value)
        except Wrong as wrong:
            raise DeclarationError(f"{where}({option}={value!r}): {wrong}") from None
    return normal


def _unknown(where: str, option: str, checks: Mapping[str, Check]) -> str:
    import difflib

    near = difflib.get_close_matches(option, checks, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? It takes" if near else "it takes"
    return f"{where} has no option {option!r}: {hint} {', '.join(checks)}"


def name(value: Any) -> str:
    """Accept what may name a stage or a workflow."""
    text = identifier(value)
    if "/" in text or "#" in text:
        raise Wrong("'/' and '#' are reserved for the names of nested workflows; use '-', '_' or '.' instead")
    return text


def identifier(value: Any) -> str:
    """Accept 1-128 characters without control characters."""
    if not isinstance(value, str):
        raise Wrong("write a name as a string")
    if not 1 <= len(value) <= _MAX_NAME:
        raise Wrong(f"a name has 1 to {_MAX_NAME} characters, this one has {len(value)}")
    if any(char < " " or "\x7f" <= char <= "\x9f" for char in value):
        raise Wrong("a name has no control characters such as newlines or tabs")
    return value


def optional(check: Check) -> Check:
    """Accept ``None`` and whatever ``check`` accepts."""
    return lambda value: None if value is None else check(value)


def text(value: Any) -> str:
    """Accept a string that is not empty."""
    if not isinstance(value, str) or not value:
        raise Wrong("write a string that is not empty, or leave the option out")
    return value


def flag(value: Any) -> bool:
    """Accept ``True`` and ``False`` alone."""
    if not isinstance(value, bool):
        raise Wrong("write True or False")
    return value


def tier(value: Any) -> str:
    """Accept the name of a tier, or the member of ``Tier``."""
    if value == "auto":
        raise Wrong("choosing the tier automatically is not available yet; write 'cheap', 'capable' or 'premium'")
    if not isinstance(value, str) or value not in _TIERS:
        raise Wrong("a tier is 'cheap', 'capable' or 'premium'")
    return str(value)


def retries(value: Any) -> int:
    """Accept a count of further attempts."""
    if not _is_whole(value) or value < 0:
        raise Wrong("write how often a failed attempt is repeated, as a whole number of 0 or more")
    return int(value)


def limit(value: Any) -> int:
    """Accept how many items may run at the same time."""
    if not _is_whole(value) or value < 1:
        raise Wrong("write how many items may run at the same time, as a whole number of 1 or more")
    return int(value)


def pause(value: Any) -> float:
    """Accept seconds, zero included."""
    if not _is_number(value) or not 0 <= value < float("inf"):
        raise Wrong("write seconds, as a number of 0 or more")
    return float(value)


def timeout(value: Any) -> float:
    """Accept seconds, zero excluded."""
    if not _is_number(value) or not 0 < value < float("inf"):
        raise Wrong("write seconds, as a number above 0, or None for no limit")
    return float(value)


def stall_after(value: Any) -> float:
    """Accept seconds, zero excluded."""
    if not _is_number(value) or not 0 < value < float("inf"):
        raise Wrong("write seconds, as a number above 0, or None for what the workflow's heartbeat says")
    return float(value)


def metadata(value: Any) -> Mapping[str, Any]:
    """Accept a mapping with string keys, and return a copy that later changes of it do not reach.

    Whether all of it is JSON is seen when a run joins: saying so here would cost the import of an encoder.
    """
    if not isinstance(value, Mapping):
        raise Wrong("write a mapping, as in metadata={'team': 'data'}")
    for key in value:
        if not isinstance(key, str):
            raise Wrong(f"its keys are strings, and {key!r} is none")
    try:
        return MappingProxyType(_copied(value))
    except RecursionError:
        raise Wrong("it is nested too deeply, or contains itself") from None


def _copied(value: Any) -> Any:
    """Copy what JSON is made of; leave the rest as it is, to be refused with its place when a run joins."""
    if isinstance(value, Mapping):
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list | tuple) else value


def retry_on(value: Any) -> tuple[type[Exception], ...]:
    """Accept one class of exceptions or several."""
    classes = tuple(value) if isinstance(value, tuple | list | set | frozenset) else (value,)
    if not classes:
        raise Wrong("write at least one class of exceptions; to repeat nothing write retries=0")
    for each in classes:
        if not isinstance(each, type) or not issubclass(each, Exception):
            raise Wrong("write a class of exceptions or a tuple of them, as in retry_on=(TimeoutError, OSError)")
    return classes


def on_error(value: Any) -> str:
    """Accept what a ``map`` does with items that failed."""
    if value not in ("raise", "collect"):
        raise Wrong("write 'raise' (a MapError after all items) or 'collect' (outcomes instead of values)")
    return str(value)


def policy(class_name: str, example: str) -> Check:
    """Return a check for ``True``, ``False`` or a policy of the class ``class_name`` of the model.

    The model is not imported for this: nobody can have made a policy who has not imported it.
    """

    def check(value: Any) -> Any:
        model = sys.modules.get("attune_dsl.model")
        if isinstance(value, bool) or (model is not None and isinstance(value, getattr(model, class_name))):
            return value
        raise Wrong(f"write True, False or a policy such as {class_name}({example})")

    return check


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
