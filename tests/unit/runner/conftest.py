"""What the runner's tests share."""

from __future__ import annotations

import pytest
from fake_agents import FakeAgent

from attune_dsl import AgentIdTaken
from attune_dsl.coordination import agent as agent_module


@pytest.fixture
def agents(monkeypatch):
    """The agents that runs entered as; ``taken`` ids are refused."""
    entered = []

    async def enter(agent_id, **options):
        if agent_id == "taken":
            if options["alternative"] is None:
                raise AgentIdTaken(agent_id, "host", 1)
            agent_id = options["alternative"]
        entered.append(FakeAgent(agent_id, options))
        return entered[-1]

    monkeypatch.setattr(agent_module, "enter", enter)
    return entered
