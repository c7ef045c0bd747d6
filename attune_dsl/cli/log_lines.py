"""Lines of the log on standard error: for people on a terminal, else one JSON object each."""

from __future__ import annotations

import json
import math
import sys
from typing import Any, Final, Literal

from attune_dsl import clock

Format = Literal["human", "json"]
FORMATS: Final = ("human", "json")

WHERE: Final = ("agent_id", "workflow", "stage", "attempt", "run_id")
"""What every line of a run carries; it comes last, because it is the same on most lines."""

_asked: Format | None = None
_run: dict[str, Any] = {}


def ask_for(chosen: Format | None) -> None:
    """Remember what ``--log-format`` says; ``None`` leaves it to where standard error goes."""
    global _asked  # noqa: PLW0603 (a process has one standard error, and errors are reported after the options are gone)
    _asked = chosen
    _run.clear()


def belong_to(run: dict[str, Any]) -> None:
    """What the command itself says from here on is about this run."""
    _run.update(run)


def own_line(event: str, level: str, **fields: Any) -> str:
    """Return a line of what the command itself says."""
    return json_line(event, level, **fields, **_run)


def in_order(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields with those that say where it was at the end."""
    where = {name: fields[name] for name in WHERE if name in fields}
    return {name: value for name, value in fields.items() if name not in where} | where


def all_is_json() -> bool:
    """Whether everything on standard error has to be a line of JSON, because somebody asked for that."""
    return _asked == "json"


def logs_are_json() -> bool:
    """Whether lines of the log are JSON: asked for, or nobody sits there."""
    return _asked == "json" or (_asked is None and not sys.stderr.isatty())


def json_line(event: str, level: str, **fields: Any) -> str:
    """Return an object on one line of plain ASCII. What JSON does not know is shown as Python shows it; never raises.

    ``timestamp`` is UTC by this machine's clock, unless the fields have one.
    """
    line = {"event": event, "level": level, "timestamp": None, **fields}
    line["timestamp"] = line["timestamp"] or _moment()
    try:
        return json.dumps(line, default=repr, allow_nan=False)
    except Exception:  # whatever the user's class does, a log line must not end the stage
        return json.dumps({str(key): _scalar(value) for key, value in line.items()})


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__}: {type(error).__name__}>"


def _moment() -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(clock.wall(), UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
