"""``attune-dsl exec``: any command as an agent."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from attune_dsl.cli.errors import ABORTED, OK, CliError, UsageError
from attune_dsl.cli.options import Common, common_options, say_error
from attune_dsl.exceptions import AgentIdTaken

if TYPE_CHECKING:
    from attune_dsl.cli.child import Ended
    from attune_dsl.cli.held_signals import HeldSignals
    from attune_dsl.coordination.agent import Agent, AgentInfo
    from attune_dsl.hub.hub import Hub
    from attune_dsl.model import AgentStatus, Heartbeat
    from attune_dsl.store.server import Server

GRACE: Final = 10.0
"""Seconds from SIGTERM to SIGKILL for a command whose agent was asked to stop, or lost its id to another owner."""

_LONG: Final = 2_000
"""Characters of the line that says why a command was ended."""


def _seconds(ctx: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise click.BadParameter("this is a number of seconds above 0, such as 15", ctx, parameter)
    return value


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("words", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--agent-id", metavar="ID", required=True, help="The name under which others see it.")
@click.option(
    "--ttl", type=float, callback=_seconds, metavar="S", help="Seconds without a beat after which it counts as lost."
)
@click.option("--interval", type=float, callback=_seconds, metavar="S", help="Seconds between two beats.")
@click.option(
    "--stall-after",
    type=float,
    callback=_seconds,
    metavar="S",
    help="Seconds without progress after which it is stalled.",
)
@click.option("--takeover", is_flag=True, help="Take the agent id from its live owner, whose work is ended.")
@click.option("--display-name", metavar="NAME", help="What people are shown beside the agent id.")
@click.option("--metadata", metavar="JSON", help="A JSON object that others see, up to 8 KiB.")
@common_options
def command(  # noqa: PLR0917 (click passes them all by name)
    common: Common,
    words: Sequence[str],
    agent_id: str,
    ttl: float | None,
    interval: float | None,
    stall_after: float | None,
    takeover: bool,
    display_name: str | None,
    metadata: str | None,
) -> int:
    """Run a command as an agent: attune-dsl exec --agent-id NAME -- COMMAND...

    Others see that it lives and how it ended, and can send it signals. Its input, output and exit code are its own,
    and it gets the signals that this process gets. Inside, "attune-dsl progress" and "attune-dsl signals" act as the
    agent.

    Exit codes: the command's; 128 + N if signal N killed it; 126 it cannot be executed, 127 it was not found; 1 the
    agent id is taken, 2 wrong usage, 3 the agent was asked to stop, or another owner took its id over.
    """
    from attune_dsl.cli.logs import show_warnings
    from attune_dsl.cli.metadata import read_metadata
    from attune_dsl.coordination.agent import AgentInfo

    if common.as_json:
        raise UsageError("exec prints nothing of its own, so there is no --json")
    if not hasattr(os, "posix_spawnp"):
        raise CliError("exec needs Linux or macOS; elsewhere let a Python script join: with attune_dsl.join(...)")
    info = AgentInfo(display_name=display_name, metadata=None if metadata is None else read_metadata(metadata))
    heartbeat = _heartbeat(ttl, interval, stall_after)
    show_warnings()
    return _run(words, common, agent_id, info, heartbeat, takeover=takeover)


def _heartbeat(ttl: float | None, interval: float | None, stall_after: float | None) -> Heartbeat:
    """Return the environment's policy, changed by the options. Raises :class:`StoreConfigError`."""
    from attrs import evolve

    from attune_dsl.store.settings import heartbeat_policy

    usual = heartbeat_policy(True)
    assert usual is not None
    # Whoever names one of the two asks for the other to follow: three beats fit into one lease.
    if interval is None:
        interval = usual.interval if ttl is None else min(usual.interval, ttl / 3)
    if ttl is None:
        ttl = max(usual.ttl, interval * 3) if interval != usual.interval else usual.ttl
    stall_after = usual.stall_after if stall_after is None else stall_after
    policy = heartbeat_policy(evolve(usual, ttl=ttl, interval=interval, stall_after=stall_after))
    assert policy is not None
    return policy


def _run(
    words: Sequence[str], common: Common, agent_id: str, info: AgentInfo, heartbeat: Heartbeat, *, takeover: bool
) -> int:
    from attune_dsl.cli.child import KILLED
    from attune_dsl.cli.held_signals import HeldSignals, Interrupted
    from attune_dsl.coordination.agent import enter
    from attune_dsl.hub.drive import drive
    from attune_dsl.model import AgentStatus
    from attune_dsl.store.settings import coordination_policy

    held, agent = HeldSignals(), None
    with _opened(common) as hub:  # its thread starts here, so that it inherits what is blocked
        try:
            with held.obeyed():
                agent = drive(
                    enter(
                        agent_id,
                        store=common.store,
                        namespace=common.namespace,
                        heartbeat=heartbeat,
                        coordination=coordination_policy(True),
                        takeover=takeover,
                        info=info,
                    )
                )
                agent.touch(None, 0.0)
                environment = os.environ | _exported(hub, agent)
        except Interrupted as error:
            if agent is not None:
                drive(agent.leave(AgentStatus.CANCELLED, f"cancelled by {error}", KILLED + error.number))
            say_error(f"{error} came before the command was started; it was not run")
            return KILLED + error.number
        except AgentIdTaken as error:
            raise CliError(
                f"agent id {agent_id!r} is taken by a live agent (pid {error.pid} on {error.host}): nothing was run; "
                "choose another --agent-id, wait for it to end, or pass --takeover"
            ) from None
        return _as_agent(agent, words, environment, held)


@contextmanager
def _opened(common: Common) -> Iterator[Hub]:
    from attune_dsl.hub.drive import drive
    from attune_dsl.hub.registry import open_hub, release_hub

    hub = open_hub(common.store, common.namespace)
    try:
        yield hub
    finally:
        drive(release_hub(hub))


def _exported(hub: Hub, agent: Agent) -> dict[str, str]:
    """Return what lets the command's processes act as the agent."""
    return _address(hub.server) | {
        "ATTUNE_NAMESPACE": hub.namespace,
        "ATTUNE_AGENT_ID": agent.agent_id,
        "ATTUNE_AGENT_TOKEN": agent.token,
    }


def _address(server: Server) -> dict[str, str]:
    """Return the settings under which other processes find the same server."""
    from attune_dsl.exceptions import StoreUnavailable
    from attune_dsl.store.settings import home

    if server.kind == "embedded":
        # Not its socket's URL: a process that names the embedded server uses it, and keeps it up.
        return {"ATTUNE_STORE_URL": "embedded://", "ATTUNE_HOME": str(home())}
    try:
        return {"ATTUNE_STORE_URL": server.url}
    except StoreUnavailable:
        return {"ATTUNE_STORE_URL": server.label}  # memory:// that could not be started


class _Ending(NamedTuple):
    """Why a command is ended, for the agent's record, and as people are told on one line."""

    why: str
    said: str


def _aborted(agent: Agent, why: str) -> _Ending:
    from attune_dsl.cli.formats import one_line

    return _Ending(why, one_line(f"agent {agent.agent_id!r} was aborted: {why}", _LONG))


def _as_agent(agent: Agent, words: Sequence[str], environment: Mapping[str, str], held: HeldSignals) -> int:
    from attune_dsl.cli.child import CannotStart, Child
    from attune_dsl.hub.drive import drive
    from attune_dsl.hub.notice import Notice
    from attune_dsl.model import AgentStatus

    if agent.aborted:  # the one before it had been asked to stop, and crashed
        drive(agent.leave(AgentStatus.ABORTED, agent.aborted))
        say_error(f"{_aborted(agent, agent.aborted).said}; the command was not run")
        return ABORTED
    try:
        child = Child(words, environment, held)
    except CannotStart as error:
        drive(agent.leave(AgentStatus.FAILED, str(error), error.exit_code))
        say_error(str(error))
        return error.exit_code
    over: Notice[_Ending] = Notice()  # once, however many want it ended
    over.on(lambda _: child.end(GRACE))
    agent.on_gone(lambda why: over.happen(_Ending(why, why)))
    agent.on_abort(lambda why: over.happen(_aborted(agent, why)))
    ended = child.wait()
    if over.value is not None:
        drive(agent.leave(AgentStatus.ABORTED, over.value.why, ended.exit_code))
        say_error(f"{over.value.said}; the command was ended: {ended}")
        return ABORTED
    drive(agent.leave(*_verdict(ended), ended.exit_code))
    return ended.exit_code


def _verdict(ended: Ended) -> tuple[AgentStatus, str | None]:
    """Return the agent's final status and its error. A command that ends with 0 has the last word."""
    from attune_dsl.cli.held_signals import name_of
    from attune_dsl.model import AgentStatus

    if ended.exit_code == OK:
        return AgentStatus.COMPLETED, None
    if ended.asked_by is not None and ended.asked_by != ended.killed_by:
        return AgentStatus.CANCELLED, f"cancelled by {name_of(ended.asked_by)}, {ended}"
    if ended.asked_by is not None:
        return AgentStatus.CANCELLED, f"cancelled by {name_of(ended.asked_by)}"
    return AgentStatus.FAILED, str(ended)
