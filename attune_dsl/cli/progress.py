"""``attune-dsl progress``: how far a command under ``exec`` is."""

from __future__ import annotations

import re
from typing import NamedTuple

import click

from attune_dsl.cli.errors import OK, CliError, Unavailable, UsageError
from attune_dsl.cli.options import Common, common_options
from attune_dsl.exceptions import StoreUnavailable
from attune_dsl.exceptions import UsageError as Refused


class Said(NamedTuple):
    """What was said: a fraction from 0 to 1, words, or both."""

    fraction: float | None
    note: str | None


@click.command()
@click.argument("words", metavar="[FRACTION] [NOTE]", nargs=-1)
@common_options
def command(common: Common, words: tuple[str, ...]) -> int:
    """Say how far the command is, as the agent that it runs as under "attune-dsl exec".

    FRACTION is a number from 0 to 1, or a percentage such as 40%; NOTE is what it does now, in words. The fraction
    never moves back; either may be left out, and both count as progress.

    Exit codes: 0 said, 1 refused, 2 wrong usage, 7 the store cannot be reached.
    """
    from attune_dsl.store.settings import acting_for

    said = read(words)
    agent = acting_for()
    if agent is None:
        raise CliError(
            "this process does not run as an agent; run it under: attune-dsl exec --agent-id NAME -- COMMAND"
        )
    _tell(*agent, said, common)
    return OK


def read(words: tuple[str, ...]) -> Said:
    """Read a fraction, a note, or both. Raises :class:`UsageError`."""
    if not 1 <= len(words) <= 2:  # noqa: PLR2004
        raise UsageError('progress takes a fraction, a note, or both: attune-dsl progress 0.4 "parsed all files"')
    fraction = _fraction(words[0])
    if len(words) == 1:
        return Said(fraction, words[0] if fraction is None else None)
    if fraction is None:
        raise UsageError(f"{words[0]!r} is no fraction from 0 to 1; write a note of several words in quotes")
    return Said(fraction, words[1])


def _fraction(word: str) -> float | None:
    """Return the fraction that a word means, ``None`` if it is no number."""
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)%?", word.strip(), re.ASCII):
        return None
    is_percentage = word.strip().endswith("%")
    number = float(word.strip().removesuffix("%"))
    fraction = number / 100 if is_percentage else number
    if not 0 <= fraction <= 1:
        hint = f"; did you mean {number:g}%?" if not is_percentage and 1 < number <= 100 else ""  # noqa: PLR2004
        raise UsageError(f"progress takes a fraction from 0 to 1 or a percentage, not {word!r}{hint}")
    return fraction


def _tell(agent_id: str, token: str, said: Said, common: Common) -> None:
    from attune_dsl.cli.logs import show_warnings
    from attune_dsl.coordination.deputy import Deputy
    from attune_dsl.hub.drive import drive

    async def tell() -> None:
        deputy = await Deputy.open(agent_id, token, common.store, common.namespace)
        try:
            await deputy.progress(said.fraction, said.note)
        finally:
            await deputy.close()

    show_warnings(quiet=not common.verbose)  # what goes wrong is said by this command itself
    try:
        drive(tell())
    except StoreUnavailable as error:
        raise Unavailable(str(error)) from error
    except Refused as error:
        raise CliError(f"{error}; run the command under: attune-dsl exec --agent-id NAME -- COMMAND") from error
