"""Commands that run as agents: ``attune-dsl exec`` with a Python script as its command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
from cli_support import Cli, cli  # noqa: F401 (a fixture)

from attune_dsl.coordination.monitor import Monitor
from attune_dsl.model import AgentRecord

if TYPE_CHECKING:
    from conftest import Store


class Exec:
    """``exec`` on the command line, and a look at its agents from outside."""

    def __init__(self, cli: Cli, store: Store, wait_until: Callable[..., Any]) -> None:  # noqa: F811
        self.cli = cli
        self.store = store
        self._wait_until = wait_until

    def __call__(self, *command: str, agent_id: str = "job", options: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return the arguments that run a command as an agent."""
        return ("exec", "--agent-id", agent_id, *options, "--", *command)

    def script(self, source: str, agent_id: str = "job", options: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return the arguments that run a Python script as an agent."""
        return self(sys.executable, "-c", dedent(source), agent_id=agent_id, options=options)

    def record(self, agent_id: str = "job") -> AgentRecord | None:
        with Monitor(self.store.address, self.store.namespace) as monitor:
            return monitor.agent(agent_id)

    def until(self, holds: Callable[[AgentRecord], bool], agent_id: str = "job") -> AgentRecord:
        """Wait until the agent is as ``holds`` says."""
        with Monitor(self.store.address, self.store.namespace) as monitor:

            def look() -> AgentRecord | None:
                record = monitor.agent(agent_id)
                return record if record is not None and holds(record) else None

            record: AgentRecord = self._wait_until(look, what=f"agent {agent_id}")
            return record


@pytest.fixture
def ex(cli: Cli, store: Store, wait_until: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Exec:  # noqa: F811
    """``exec`` in an empty folder, in the test's namespace."""
    monkeypatch.setenv("ATTUNE_STORE_URL", store.address)
    monkeypatch.setenv("ATTUNE_NAMESPACE", store.namespace)
    return Exec(cli, store, wait_until)
