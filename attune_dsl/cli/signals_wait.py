"""``attune-dsl signals wait``: a shell script takes a signal.

A signal is printed first, and only then it counts as taken: if nobody reads what is printed, it stays in the mailbox.
"""

from __future__ import annotations

import math
import os
import signal as operating_system
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import click

from attune_dsl.cli.acting import deputy, entered, explained, named, token_for
from attune_dsl.cli.errors import ABORTED, DEADLOCK, OK, PEER_GONE, TERMINATED, TIMED_OUT, UNAVAILABLE, CliError
from attune_dsl.cli.errors import UsageError as WrongUse
from attune_dsl.cli.formats import one_line
from attune_dsl.cli.options import Common, common_options, say
from attune_dsl.exceptions import StoreUnavailable

if TYPE_CHECKING:
    from attune_dsl.model import NoSignal, Signal

_EXIT_CODES = {
    "timeout": TIMED_OUT,
    "peer_gone": PEER_GONE,
    "deadlock": DEADLOCK,
    "aborted": ABORTED,
    "unavailable": UNAVAILABLE,
}
_LONG = 10_000
"""Characters of the line that says why there is no signal; a long circle of agents has its room."""
_UNCONFIRMED = "warning: the store did not confirm that the signal was taken; it may come again"


@click.command(short_help="Wait for a signal, take it and print it as JSON.")
@click.argument("types", metavar="TYPE...", nargs=-1, required=True)
@click.option("--agent-id", metavar="NAME", help="Whose mailbox; under exec, the command's own.")
@click.option("--source", metavar="AGENT", help="Only from this agent; ends if that has ended.")
@click.option(
    "--timeout", type=float, default=30.0, metavar="S", help="Seconds to wait at most; else 30, for ever with inf."
)
@click.option("--require-alive", is_flag=True, help="Do not wait if --source does not live.")
@common_options
def wait(  # noqa: PLR0917 (click passes them all by name)
    common: Common,
    types: tuple[str, ...],
    agent_id: str | None,
    source: str | None,
    timeout: float,
    require_alive: bool,
) -> int:
    """Take the oldest signal of one of the types, now or when it comes, and print it as one JSON object.

    Outside of "attune-dsl exec" this joins as NAME, for the time of the wait. The signal counts as taken once it is
    printed; if that fails, it stays in the mailbox.

    Exit codes: 0 a signal was taken, 3 the agent was asked to stop, 4 none came in time, 5 the source has ended, 6 it
    would have been a deadlock, 7 the store cannot be reached; 1 the agent id is taken or printing failed, 2 wrong
    usage. Without a signal the reason is on standard error, and with --json an object with reason and detail on
    standard output.
    """
    from attune_dsl.cli.logs import show_warnings

    if math.isnan(timeout) or timeout < 0:
        raise WrongUse(f"--timeout is {timeout:g}; it must be a number of seconds from 0 up, or inf to wait for ever")
    if require_alive and source is None:
        raise WrongUse("--require-alive needs --source: who must be alive?")
    if sys.stdout is None:
        raise CliError("standard output is closed, so no signal could be printed; none was taken")
    agent_id = named(agent_id)
    show_warnings(quiet=not common.verbose)  # what goes wrong is said by this command itself
    how = {"source": source, "timeout": None if math.isinf(timeout) else timeout, "require_alive": require_alive}
    with explained("", "wait under its name; choose another --agent-id"), _ended_by_sigterm():
        outcome, is_confirmed = _waited(agent_id, common, types, how)
    if not is_confirmed:
        say(_UNCONFIRMED)
    return OK if outcome else _report(outcome, as_json=common.as_json)


def _waited(
    agent_id: str, common: Common, types: tuple[str, ...], how: dict[str, Any]
) -> tuple[Signal | NoSignal, bool]:
    """Wait, and return the outcome and whether the store knows of it."""
    from attune_dsl.hub.drive import drive
    from attune_dsl.model import NoSignal, Reason

    acted_for = token_for(agent_id)
    try:
        if acted_for is None:
            return drive(_as_agent(agent_id, common, types, how))
        with deputy(*acted_for, common) as opened:
            return opened.wait(types, hand=_print, **how), opened.is_confirmed
    except StoreUnavailable as error:
        return NoSignal(reason=Reason.UNAVAILABLE, detail=str(error)), True


async def _as_agent(
    agent_id: str, common: Common, types: tuple[str, ...], how: dict[str, Any]
) -> tuple[Signal | NoSignal, bool]:
    from attune_dsl.model import AgentStatus

    agent = await entered(agent_id, common)
    status, error, left = AgentStatus.CANCELLED, None, False
    try:
        agent.touch(None, 0.0)
        outcome: Signal | NoSignal = await agent.handing(_print).wait(*types, **how)
        error = agent.aborted if agent.has_heeded else None
        status = AgentStatus.ABORTED if error else AgentStatus.COMPLETED
    except Exception as failed:
        status, error = AgentStatus.FAILED, str(failed)
        raise
    finally:
        left = await agent.leave(status, error)  # which tells the store what was taken
    return outcome, left or not outcome


def _print(signal: Signal) -> None:
    """Write a signal to standard output. Raises :class:`CliError` if nobody takes it there."""
    from attune_dsl.cli.signal_json import encode, signal_object

    try:
        click.echo(encode(signal_object(signal) | {"redelivered": signal.redelivered}))
    except OSError as error:
        _drop_output()
        raise CliError(
            f"signal {signal.id} of type {signal.type!r} could not be printed ({error.strerror}); it was not taken"
        ) from None


def _drop_output() -> None:
    """Send what is still in the buffers of standard output nowhere, or Python would complain of it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _report(nothing: Signal | NoSignal, *, as_json: bool) -> int:
    assert not nothing
    if as_json:
        from attune_dsl.cli.signal_json import encode

        click.echo(encode({"reason": nothing.reason.value, "detail": nothing.detail}))
    say(one_line(f"{nothing.reason.value}: {nothing.detail}", _LONG))
    return _EXIT_CODES[nothing.reason.value]


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Within the block SIGTERM ends this process in good order, as Ctrl-C does: ``timeout`` of the shell sends it."""

    def end(number: int, frame: object) -> NoReturn:
        raise SystemExit(TERMINATED)

    before = operating_system.signal(operating_system.SIGTERM, end)
    try:
        yield
    finally:
        operating_system.signal(operating_system.SIGTERM, before)
