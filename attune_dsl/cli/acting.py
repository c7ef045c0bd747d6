"""In whose name ``signals`` acts: as the agent that runs this command under ``exec``, or as one of the moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attune_dsl.cli.errors import CliError, Unavailable, UsageError
from attune_dsl.exceptions import AgentIdTaken, AttuneError, StoreUnavailable

if TYPE_CHECKING:
    from attune_dsl.cli.options import Common
    from attune_dsl.coordination.agent import Agent
    from attune_dsl.coordination.deputy_mail import DeputyMail

PASSER_BY_KEEP = 5.0
"""Seconds that an agent that only did one thing stays listed."""


def token_for(agent_id: str | None) -> tuple[str, str] | None:
    """Return id and token of the agent that this process acts for, if ``agent_id`` does not name another one."""
    from attune_dsl.store.settings import acting_for

    agent = acting_for()
    return agent if agent is not None and agent_id in (None, agent[0]) else None


def named(agent_id: str | None, option: str = "--agent-id") -> str:
    """Return whose mailbox is meant: the one that is named, else that of the agent that this process acts for."""
    agent = token_for(agent_id)
    if agent is not None:
        return agent[0]
    if agent_id is None:
        raise UsageError(
            f"whose mailbox? Name the agent: {option} NAME (under attune-dsl exec it is the command's own)"
        )
    return agent_id


async def entered(agent_id: str, common: Common) -> Agent:
    """Join as an agent for the moment; a store is required. Raises :class:`AgentIdTaken`, :class:`StoreUnavailable`."""
    from attrs import evolve

    from attune_dsl.coordination.agent import AgentInfo, enter
    from attune_dsl.store.settings import coordination_policy, heartbeat_policy

    coordination, heartbeat = coordination_policy(True), heartbeat_policy(True)
    assert coordination is not None
    assert heartbeat is not None
    return await enter(
        agent_id,
        store=common.store,
        namespace=common.namespace,
        heartbeat=evolve(heartbeat, keep=min(heartbeat.keep, PASSER_BY_KEEP)),
        coordination=evolve(coordination, required=True),
        info=AgentInfo(),
    )


@contextmanager
def deputy(agent_id: str, token: str, common: Common) -> Iterator[DeputyMail]:
    """Connect, to act for an agent that lives in another process."""
    from attune_dsl.coordination.deputy_mail import DeputyMail
    from attune_dsl.hub.drive import drive
    from attune_dsl.store.settings import coordination_policy

    policy = coordination_policy(True)
    opened = drive(DeputyMail.open(agent_id, token, common.store, common.namespace, coordination=policy))
    try:
        yield opened
    finally:
        drive(opened.close())


@contextmanager
def explained(failed: str, may: str) -> Iterator[None]:
    """Turn what goes wrong into the one line of an error: what ``failed``, and what only the live owner ``may``."""
    try:
        yield
    except StoreUnavailable as error:
        raise Unavailable(f"{failed}: {error}") from error
    except AgentIdTaken as error:
        raise CliError(
            f"agent id {error.agent_id!r} is taken by a live agent (pid {error.pid} on {error.host}), which alone can "
            f"{may}"
        ) from None
    except AttuneError:
        raise
    except ValueError as error:
        raise UsageError(str(error)) from error
