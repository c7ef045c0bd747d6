"""Everything that is read from the environment or from pyproject.toml. All times are seconds.

| variable | what it sets |
|---|---|
| ``ATTUNE_STORE_URL`` | the store (``redis:// rediss:// unix:// memory://``); without it the embedded server |
| ``ATTUNE_NAMESPACE`` | the namespace; without it ``[tool.attune_dsl] namespace`` in the nearest pyproject.toml |
| ``ATTUNE_HOME`` | where the embedded server keeps its files |
| ``ATTUNE_FSYNC`` | ``no`` (default: survives any killed process) or ``always`` (power cuts too) |
| ``ATTUNE_HEARTBEAT_INTERVAL``, ``ATTUNE_HEARTBEAT_TTL``, ``ATTUNE_STALL_AFTER`` | what ``heartbeat=True`` means |
| ``ATTUNE_HEARTBEAT_KEEP`` | how long an ended agent stays listed |
| ``ATTUNE_COORDINATION_TTL``, ``ATTUNE_COORDINATION_REQUIRED`` | what ``coordination=True`` means |
| ``ATTUNE_AGENT_ID``, ``ATTUNE_AGENT_TOKEN`` | whom a process acts for; set by ``attune-dsl exec`` for its command |
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any, Literal

from attune_dsl.exceptions import StoreConfigError
from attune_dsl.model import Coordination, Heartbeat
from attune_dsl.store.names import check_namespace

DEFAULT_NAMESPACE = "default"

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"", "0", "false", "no", "off"})


def store_url(explicit: str | None) -> str | None:
    """Return the store that was asked for: ``explicit``, else ``ATTUNE_STORE_URL``, else ``None`` (the default)."""
    return explicit or os.environ.get("ATTUNE_STORE_URL") or None


def namespace_of(explicit: str | None) -> str:
    """Return the namespace to use.

    ``explicit``, else ``ATTUNE_NAMESPACE``, else ``[tool.attune_dsl] namespace`` in the nearest pyproject.toml at or
    above the current directory, else ``"default"``. Raises :class:`~attune_dsl.exceptions.InvalidName`, or
    :class:`~attune_dsl.exceptions.StoreConfigError` for a pyproject.toml that cannot be read.
    """
    if explicit is not None:
        return check_namespace(explicit)
    return check_namespace(os.environ.get("ATTUNE_NAMESPACE") or _project_namespace() or DEFAULT_NAMESPACE)


def acting_for() -> tuple[str, str] | None:
    """Return the agent id and the token of the agent that this process acts for, ``None`` where there is none."""
    agent_id = os.environ.get("ATTUNE_AGENT_ID")
    return (agent_id, os.environ.get("ATTUNE_AGENT_TOKEN", "")) if agent_id else None


def home() -> Path:
    """Return the folder of the embedded server's files: ``ATTUNE_HOME``, else the platform's place for state.

    Raises :class:`~attune_dsl.exceptions.StoreConfigError` where no home directory is known.
    """
    try:
        if explicit := os.environ.get("ATTUNE_HOME"):
            return Path(explicit).expanduser().absolute()
        return _state_folder() / "attune_dsl"
    except RuntimeError as error:
        raise StoreConfigError(f"no place for the embedded store: {error}; set ATTUNE_HOME to a folder") from error


def fsync() -> Literal["no", "always"]:
    """Return when the embedded server forces its append-only file to the disk (``ATTUNE_FSYNC``).

    Raises :class:`~attune_dsl.exceptions.StoreConfigError` for anything but ``no`` and ``always``.
    """
    value = os.environ.get("ATTUNE_FSYNC") or "no"
    if value == "always":
        return "always"
    if value == "no":
        return "no"
    raise StoreConfigError(f"ATTUNE_FSYNC must be 'no' or 'always', not {value!r}")


def heartbeat_policy(value: bool | Heartbeat) -> Heartbeat | None:
    """Return the policy that ``heartbeat=value`` stands for, ``None`` for off.

    Raises :class:`~attune_dsl.exceptions.StoreConfigError` for times that cannot work.
    """
    if value is False:
        return None
    policy = value if isinstance(value, Heartbeat) else _heartbeat_from_environment()
    for name in ("interval", "ttl"):
        _require_positive(f"Heartbeat {name}", getattr(policy, name))
    if policy.ttl <= policy.interval:
        raise StoreConfigError(
            f"Heartbeat ttl ({policy.ttl:g} s) must be longer than its interval ({policy.interval:g} s), "
            "or a living agent would be lost between two beats"
        )
    _require_positive("Heartbeat keep", policy.keep)
    if policy.stall_after is not None:
        _require_positive("Heartbeat stall_after", policy.stall_after)
    return policy


def idle_interval() -> float:
    """Return the seconds between two beats of a process without agents: those that ``heartbeat=True`` stands for.

    Raises :class:`~attune_dsl.exceptions.StoreConfigError` for times that cannot work.
    """
    policy = heartbeat_policy(True)
    assert policy is not None
    return policy.interval


def coordination_policy(value: bool | Coordination) -> Coordination | None:
    """Return the policy that ``coordination=value`` stands for, ``None`` for off.

    Raises :class:`~attune_dsl.exceptions.StoreConfigError` for a ttl that cannot work.
    """
    if value is False:
        return None
    if isinstance(value, Coordination):
        policy = value
    else:
        policy = Coordination(
            **_given(ttl=_seconds("ATTUNE_COORDINATION_TTL"), required=_flag("ATTUNE_COORDINATION_REQUIRED"))
        )
    _require_positive("Coordination ttl", policy.ttl)
    return policy


def _heartbeat_from_environment() -> Heartbeat:
    interval = _seconds("ATTUNE_HEARTBEAT_INTERVAL")
    ttl = _seconds("ATTUNE_HEARTBEAT_TTL")
    # Whoever sets one of the two asks for the other to follow: three beats fit into one lease.
    if interval is None and ttl is not None:
        interval = min(Heartbeat().interval, ttl / 3)
    elif ttl is None and interval is not None:
        ttl = max(Heartbeat().ttl, interval * 3)
    return Heartbeat(
        **_given(
            interval=interval,
            ttl=ttl,
            stall_after=_seconds("ATTUNE_STALL_AFTER"),
            keep=_seconds("ATTUNE_HEARTBEAT_KEEP"),
        )
    )


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _seconds(variable: str) -> float | None:
    text = os.environ.get(variable)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise StoreConfigError(f"{variable} must be a number of seconds, not {text!r}") from None
    return _require_positive(variable, value)


def _flag(variable: str) -> bool | None:
    text = os.environ.get(variable)
    if text is None:
        return None
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise StoreConfigError(f"{variable} must be 1 or 0, not {text!r}")


def _require_positive(what: str, seconds: float) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        raise StoreConfigError(f"{what} must be a number of seconds above 0, not {seconds!r}")
    return seconds


def _state_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    xdg = os.environ.get("XDG_STATE_HOME")
    # The XDG specification says that a relative path is to be ignored.
    return Path(xdg) if xdg and xdg.startswith("/") else Path.home() / ".local" / "state"


def _project_namespace() -> str | None:
    here = Path.cwd()
    for folder in (here, *here.parents):
        file = folder / "pyproject.toml"
        try:
            content = file.read_bytes()
        except OSError:
            continue
        return _namespace_in(file, content)
    return None


def _namespace_in(file: Path, content: bytes) -> str | None:
    if b"attune_dsl" not in content:
        return None
    import tomllib

    try:
        table = tomllib.loads(content.decode()).get("tool", {}).get("attune_dsl", {})
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StoreConfigError(f"{file} cannot be read: {error}") from error
    namespace = table.get("namespace")
    if namespace is not None and not isinstance(namespace, str):
        raise StoreConfigError(f"[tool.attune_dsl] namespace in {file} must be a string, not {namespace!r}")
    return namespace
