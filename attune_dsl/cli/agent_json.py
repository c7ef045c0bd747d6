"""Agents, their stages and their changes as JSON, for programs."""

from __future__ import annotations

from typing import Any

import msgspec
from attrs import fields

from attune_dsl.model import AgentRecord, StageSummary


def agent_object(agent: AgentRecord) -> dict[str, Any]:
    """Return all fields of the record, and the ``state`` that people are shown."""
    return _fields(agent) | {"state": agent.state}


def stage_object(summary: StageSummary) -> dict[str, Any]:
    """Return all fields of a summary, in the order in which they are documented."""
    return _fields(summary)


def _fields(record: AgentRecord | StageSummary) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(type(record))}


def encode(value: Any, *, pretty: bool = False) -> bytes:
    """Return JSON: on one line for streams of objects, indented for a single one."""
    encoded = msgspec.json.encode(value)
    return msgspec.json.format(encoded, indent=2) if pretty else encoded
