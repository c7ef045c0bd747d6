"""How the package's own log lines look on the command line."""

from __future__ import annotations

import logging

import click

from attune_dsl.cli.formats import one_line
from attune_dsl.cli.options import say


class _OneLine(logging.Handler):
    """Writes a record as one line on standard error, above a live view if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        text = record.getMessage().removeprefix("event=")
        label = click.style(f"{record.levelname.lower()}:", fg="yellow")
        say(f"{label} {one_line(text, 500)}")


def show_warnings(*, quiet: bool = False) -> None:
    """Show the package's warnings as ``warning: …`` lines; ``quiet`` leaves them out.

    Where the user's code configured logging, that stays as it is.
    """
    logger = logging.getLogger("attune_dsl")
    if quiet:
        logger.setLevel(logging.CRITICAL)
    elif not logger.handlers and not logging.getLogger().handlers:
        logger.addHandler(_OneLine())
        logger.propagate = False
