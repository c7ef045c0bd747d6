"""What ``agents --check`` says of each agent in trouble."""

from __future__ import annotations

from attune_dsl import clock
from attune_dsl.cli import formats
from attune_dsl.model import AgentRecord

_LONG = 1_000
"""Characters of the longest line; names and notes are short of that by far."""


def trouble_line(agent: AgentRecord) -> str:
    """Say on one line which agent is in trouble, on which stage, since when, and what it last did."""
    name = "" if agent.display_name is None else f" ({agent.display_name})"
    stage = "" if agent.stage is None else f", on stage {agent.stage}"
    did = agent.activity or (agent.note and f"said: {agent.note}")
    last = f"; last {did}" if did else ""
    return formats.one_line(f"{agent.agent_id}{name}: {_what(agent)}{_since(agent)}{stage}{last}", _LONG)


def _what(agent: AgentRecord) -> str:
    state = agent.state
    return state if state in ("lost", "stalled") else f"{state} without progress"


def _since(agent: AgentRecord) -> str:
    """Since the last beat of a lost agent, and since the last progress of one that lives."""
    age = agent.beat_age if agent.state == "lost" else agent.progress_age
    if age is None:
        return ""
    at = agent.stalled_at if agent.stalled_at is not None and agent.is_stalled else clock.wall() - age
    return f" since {formats.moment(at)} ({formats.age(age)} ago)"
