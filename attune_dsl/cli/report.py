"""What a run leaves on standard output and standard error, and the exit code that says how it ended."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from attune_dsl.cli import formats
from attune_dsl.cli.errors import ABORTED, FAILED, INTERRUPTED, OK, TERMINATED
from attune_dsl.cli.options import Common, say, say_error, show_traceback
from attune_dsl.exceptions import NotAJsonValue
from attune_dsl.model import AgentStatus, StageRecord, StageStatus
from attune_dsl.runner.outcome import Terminated, describe
from attune_dsl.runner.result import RunResult

_DEGRADED = (
    "degraded: the store was out of reach for some or all of the run, or the agent id was lost or taken over; "
    "signals and status may be missing"
)


def report(result: RunResult[Any], common: Common, interruption: BaseException | None = None, *, quiet: bool) -> int:
    """Write the value on standard output, everything else on standard error, and return the exit code.

    ``interruption`` is what the runner raised in place of returning ``result``.
    """
    if result.degraded and not quiet:
        say(_DEGRADED)
    if result.error is not None:
        _report_error(result, result.error, interruption, common)
    code = _exit_code(result.status, interruption)
    if common.as_json:
        return _print_object(result, interruption, code)
    if result.success:
        _print_value(result.value)
    return code


_NAMES: dict[type, str] = {KeyboardInterrupt: "Ctrl-C", Terminated: "SIGTERM"}


def _exit_code(status: AgentStatus, interruption: BaseException | None) -> int:
    if status is AgentStatus.COMPLETED:
        return OK
    if status is AgentStatus.ABORTED:
        return ABORTED
    if status is AgentStatus.CANCELLED and isinstance(interruption, KeyboardInterrupt):
        return INTERRUPTED
    if status is AgentStatus.CANCELLED and isinstance(interruption, Terminated):
        return TERMINATED
    return FAILED


def _print_value(value: Any) -> None:
    """Text as it is, JSON as JSON, anything else as Python shows it; nothing for ``None``."""
    if value is None:
        return
    text = value if isinstance(value, str) else _as_json(value)
    click.echo(repr(value) if text is None else text)


def _as_json(value: Any) -> str | None:
    import msgspec

    from attune_dsl.store.codec import check_json

    try:
        check_json(value)
        return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    except (NotAJsonValue, TypeError, ValueError, RecursionError):
        return None


def _print_object(result: RunResult[Any], interruption: BaseException | None, code: int) -> int:
    """Print the run as one JSON object: on one line in a pipe, so that it is the last line of all output."""
    import msgspec

    value, error = _checked(result.value)
    if error is not None:
        say_error(error)
        code = code or FAILED
    elif result.error is not None:
        error = _cause(result.status, result.error, interruption)
    record = {
        "run_id": result.run_id,
        "agent_id": result.agent_id,
        "workflow": result.workflow,
        "status": result.status,
        "value": value,
        "error": error,
        "stages": result.stages,
        "degraded": result.degraded,
        "started_at": result.started_at,
        "duration": result.duration,
    }
    encoded = msgspec.json.encode(record)
    click.echo(msgspec.json.format(encoded, indent=2) if sys.stdout.isatty() else encoded)
    return code


def _checked(value: Any) -> tuple[Any, str | None]:
    """Return the value as it can be put into an object, and what is wrong if it cannot."""
    import msgspec

    from attune_dsl.store.codec import check_json

    try:
        check_json(value)
        return msgspec.Raw(msgspec.json.encode(value)), None
    except NotAJsonValue as error:
        return None, f"NotAJsonValue: the run completed, but its value is not JSON: {error}"
    except (TypeError, ValueError, RecursionError) as error:
        return None, f"NotAJsonValue: the run completed, but its value is not JSON: {describe(error)}"


def _report_error(
    result: RunResult[Any], error: BaseException, interruption: BaseException | None, common: Common
) -> None:
    is_worth_a_traceback = result.status is AgentStatus.FAILED and not isinstance(error, SystemExit)
    if is_worth_a_traceback or common.verbose:
        show_traceback(error, full=common.verbose)
    say_error(f"{result.workflow} {_what_happened(result, error, interruption)}")


def _what_happened(result: RunResult[Any], error: BaseException, interruption: BaseException | None) -> str:
    if result.status is AgentStatus.CANCELLED:
        return f"was {_cause(result.status, error, interruption)}"
    if result.status is AgentStatus.ABORTED:
        return f"was aborted: {formats.one_line(str(error), 500)}"
    if isinstance(error, SystemExit):
        return f"failed: it called exit({'' if error.code is None else repr(error.code)})"
    return f"failed{_place(result.stages, error)}: {formats.one_line(describe(error), 500)}"


def _cause(status: AgentStatus, error: BaseException, interruption: BaseException | None) -> str:
    """Name what ended the run: the exception, or who cancelled it."""
    if status is AgentStatus.CANCELLED:
        return f"cancelled by {_NAMES.get(type(interruption), 'itself')}"
    return describe(error)


def _place(stages: Sequence[StageRecord], error: BaseException) -> str:
    """Say in which stage the error that ended the run was raised, if it was in one."""
    text = describe(error)
    for record in reversed(stages):
        if record.status is StageStatus.FAILED and record.error == text:
            item = "" if record.item is None else f" (item {record.item})"
            attempts = f" after {record.attempts} attempts" if record.attempts > 1 else ""
            return f" in stage {record.name}{item}{attempts}"
    return ""
