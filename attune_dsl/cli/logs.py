"""The logging of the command line, which is an application: the package's own lines, and structlog's of the user.

Nothing here is imported or done where somebody else's program runs workflows.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import click

from attune_dsl.cli.formats import one_line
from attune_dsl.cli.log_lines import in_order, json_line, logs_are_json
from attune_dsl.cli.options import write
from attune_dsl.log import FIELDS

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

_LONG = 2_000
"""Characters of a value on a line for people."""


class _OneLine(logging.Handler):
    """Writes a record as one line on standard error, above a live view if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        if logs_are_json():
            fields = dict(getattr(record, FIELDS, None) or {"event": record.getMessage()})
            write(json_line(str(fields.pop("event", "")), **(fields | {"level": record.levelname.lower()})))
            return
        text = record.getMessage().removeprefix("event=")
        label = click.style(f"{record.levelname.lower()}:", fg="yellow")
        write(f"{label} {one_line(text, 500)}")


def show_warnings(*, quiet: bool = False) -> None:
    """Show the package's warnings as ``warning: …`` lines, or as JSON; ``quiet`` leaves them out.

    Where the user's code configured logging, that stays as it is.
    """
    logger = logging.getLogger("attune_dsl")
    if quiet:
        logger.setLevel(logging.CRITICAL)
    elif not logger.handlers and not logging.getLogger().handlers:
        logger.addHandler(_OneLine())
        logger.propagate = False


class _Lines:
    """What structlog writes to: one line a call, on what is standard error at this moment."""

    def msg(self, message: str) -> None:
        """Write one line."""
        write(message)

    log = debug = info = warn = warning = error = err = critical = fatal = failure = exception = msg


def configure_structlog(*, quiet: bool = False) -> None:
    """Send what the user's code logs by structlog to standard error; ``quiet`` leaves only errors.

    Where structlog is configured in this process already, that stays as it is; whoever configures it later has the last
    word.
    """
    import structlog

    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            *([_as_json] if logs_are_json() else _for_people()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR if quiet else logging.NOTSET),
        logger_factory=lambda *_: _Lines(),
    )


def _as_json(_: WrappedLogger, __: str, values: EventDict) -> str:
    fields = dict(values)
    return json_line(str(fields.pop("event", "")), str(fields.pop("level", "info")), **in_order(fields))


def _for_people() -> list[Any]:
    import structlog

    return [
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        _harmless,
        # Not rich's tracebacks, which show local variables. Where colours are not wanted, they are taken out later.
        structlog.dev.ConsoleRenderer(colors=True, sort_keys=False, exception_formatter=structlog.dev.plain_traceback),
    ]


def _harmless(_: WrappedLogger, __: str, values: EventDict) -> EventDict:
    """Keep others' text from moving the cursor, and leave out the stage where there is none."""
    if values.get("stage", "") is None:
        del values["stage"]
    return {name: _shown(name, value) for name, value in in_order(dict(values)).items()}


def _shown(name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else repr(value)
    if name in ("exception", "stack"):
        return "\n".join(one_line(line, _LONG) if not line.isprintable() else line for line in text.splitlines())
    return one_line(text, _LONG)
