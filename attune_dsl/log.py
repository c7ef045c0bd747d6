"""The package's own log lines: structlog events handed to the standard library's logger ``attune_dsl``.

The library never configures logging. Without any configuration the standard library prints warnings on stderr; a host
application that configures ``logging`` gets our lines like any other library's.
structlog is imported at the first line that is logged, because it costs more than everything else we import.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

FIELDS = "fields"
"""The attribute of a log record that has what its message says, as a dictionary, for formatters."""


@cache
def logger() -> FilteringBoundLogger:
    """Return the package's logger, made on first use."""
    import logging

    import structlog

    as_text = structlog.processors.KeyValueRenderer(key_order=["event"], repr_native_str=False)

    def render(wrapped: WrappedLogger, method: str, values: EventDict) -> tuple[tuple[Any], dict[str, Any]]:
        fields = dict(values)  # the renderer takes out what it has written
        return (as_text(wrapped, method, values),), {"extra": {FIELDS: fields}}

    wrapped: Any = structlog.wrap_logger(
        logging.getLogger("attune_dsl"),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            render,
        ],
    )
    return wrapped  # type: ignore[no-any-return]


def of_the_application() -> FilteringBoundLogger:
    """Return the logger of whoever uses the package, where structlog is configured; else the package's own."""
    import structlog

    if not structlog.is_configured():
        return logger()
    configured: FilteringBoundLogger = structlog.get_logger()
    return configured


def warning(event: str, **values: object) -> None:
    """Log ``event`` (dotted, lower case) with its values at warning level."""
    logger().warning(event, **values)


def debug(event: str, **values: object) -> None:
    """Log ``event`` (dotted, lower case) with its values at debug level."""
    logging = sys.modules.get("logging")
    if logging is None or not hasattr(logging, "getLogger"):
        return  # without getLogger another thread is importing it at this moment
    if logging.getLogger("attune_dsl").isEnabledFor(logging.DEBUG):
        logger().debug(event, **values)  # not otherwise, because structlog is dear to import
