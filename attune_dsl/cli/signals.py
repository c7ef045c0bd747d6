"""``attune-dsl signals``: signals from the command line."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import click

from attune_dsl.cli import signals_look, signals_tail, signals_wait
from attune_dsl.cli.acting import entered, explained, token_for
from attune_dsl.cli.errors import OK, Unavailable, UsageError
from attune_dsl.cli.options import Common, common_options, require_subcommand

if TYPE_CHECKING:
    from attune_dsl.coordination.async_signals import AsyncSignals
    from attune_dsl.coordination.deputy import Deputy

    Sender = AsyncSignals | Deputy
    Send = Callable[[Sender], Awaitable[str]]


@click.group("signals", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Send signals to agents, wait for them, and see what waits.

    Under "attune-dsl exec" all of these act as the agent that the command runs as; elsewhere as --agent-id, for the
    moment, or for sending under a name made up.
    """
    require_subcommand(ctx)


command.add_command(signals_wait.wait)
for _each in (signals_look.pending, signals_tail.tail, signals_look.clear):
    command.add_command(_each)


_payload = click.option("--payload", metavar="JSON", help="What it carries, such as '{\"n\": 1}' or '\"text\"'.")
_ttl = click.option("--ttl", type=float, metavar="S", help="Seconds that it waits for its receiver; else 60.")
_key = click.option("--key", metavar="KEY", help="A second send with the same key is the same signal.")
_agent_id = click.option("--agent-id", metavar="ME", help="The name under which it is sent.")


@command.command(short_help="Send a signal to one agent.")
@click.argument("type_", metavar="TYPE")
@click.option("--target", metavar="AGENT", required=True, help="Whom it is for; the agent need not exist yet.")
@_payload
@_ttl
@_key
@_agent_id
@common_options
def send(  # noqa: PLR0917 (click passes them all by name)
    common: Common,
    type_: str,
    target: str,
    payload: str | None,
    ttl: float | None,
    key: str | None,
    agent_id: str | None,
) -> int:
    """Send a signal to one agent and print its id.

    Exit codes: 0 stored, 1 refused, 2 wrong usage, 7 the store did not confirm it.
    """
    value = _read(payload)
    described = {"type": type_, "target": target}
    return _send(common, agent_id, described, lambda sender: sender.send(type_, target, value, ttl=ttl, key=key))


@command.command(short_help="Send a signal to all agents.")
@click.argument("type_", metavar="TYPE")
@_payload
@_ttl
@click.option("--no-late", is_flag=True, help="Only to those alive now, not to those that join within its ttl.")
@_key
@_agent_id
@common_options
def broadcast(  # noqa: PLR0917
    common: Common,
    type_: str,
    payload: str | None,
    ttl: float | None,
    no_late: bool,
    key: str | None,
    agent_id: str | None,
) -> int:
    """Send a signal to every other agent of the namespace and print its id.

    Exit codes: 0 stored, 1 refused, 2 wrong usage, 7 the store did not confirm it.
    """
    value = _read(payload)
    described = {"type": type_, "target": None}
    return _send(
        common, agent_id, described, lambda sender: sender.broadcast(type_, value, ttl=ttl, late=not no_late, key=key)
    )


def _read(payload: str | None) -> Any:
    import json

    try:
        return None if payload is None else json.loads(payload, parse_constant=_refuse)
    except ValueError as error:
        raise UsageError(f"--payload is not JSON: {error}; text is written as '\"text\"'") from None


def _refuse(constant: str) -> None:
    """Python's reader knows more numbers than JSON."""
    raise ValueError(f"there is no number {constant}")


def _send(common: Common, agent_id: str | None, described: dict[str, Any], send: Send) -> int:
    from attune_dsl.cli.logs import show_warnings
    from attune_dsl.hub.drive import drive

    show_warnings(quiet=not common.verbose)  # what goes wrong is said by this command itself
    with explained("the signal was not sent", "send under its name; choose another --agent-id"):
        source, signal_id = drive(_sent(common, agent_id, send))
    if not signal_id:
        raise Unavailable("the store did not confirm the signal; it may or may not have been stored")
    _print({"id": signal_id, "source": source} | described, as_json=common.as_json)
    return OK


async def _sent(common: Common, agent_id: str | None, send: Send) -> tuple[str, str]:
    """Send in the name of the agent that this process acts for, or as an agent of its own; return the name and id."""
    agent = token_for(agent_id)
    if agent is not None:
        return agent[0], await _as_deputy(*agent, common, send)
    return await _as_passer_by(agent_id, common, send)


async def _as_deputy(agent_id: str, token: str, common: Common, send: Send) -> str:
    from attune_dsl.coordination.deputy import Deputy
    from attune_dsl.store.settings import coordination_policy

    policy = coordination_policy(True)
    deputy = await Deputy.open(agent_id, token, common.store, common.namespace, coordination=policy)
    try:
        return await send(deputy)
    finally:
        await deputy.close()


async def _as_passer_by(agent_id: str | None, common: Common, send: Send) -> tuple[str, str]:
    import uuid

    from attune_dsl.model import AgentStatus

    agent = await entered(f"cli-{uuid.uuid4().hex[:8]}" if agent_id is None else agent_id, common)
    status = AgentStatus.FAILED
    try:
        signal_id = await send(agent.async_signals())
        status = AgentStatus.COMPLETED
    finally:
        await agent.leave(status)
    return agent.agent_id, signal_id


def _print(described: dict[str, Any], *, as_json: bool) -> None:
    import msgspec

    click.echo(msgspec.json.encode(described) if as_json else described["id"])
