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
    from structlog.typing import FilteringBoundLogger


@cache
def logger() -> FilteringBoundLogger:
    """Return the package's logger, made on first use."""
    import logging

    import structlog

    wrapped: Any = structlog.wrap_logger(
        logging.getLogger("attune_dsl"),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event"], repr_native_str=False),
        ],
    )
    return wrapped  # type: ignore[no-any-return]


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
