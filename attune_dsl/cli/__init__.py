"""The command line: ``attune-dsl``, or ``python -m attune_dsl``."""

from __future__ import annotations

from typing import NoReturn

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line with ``arguments`` (those of the process by default) and exit with its code."""
    from attune_dsl.cli.app import call

    call(arguments)
