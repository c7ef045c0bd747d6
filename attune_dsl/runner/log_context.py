"""What every log line of a run carries, whoever writes it: ``run_id agent_id workflow stage attempt``.

structlog merges each context variable whose name begins with ``structlog_`` into its lines, by
``structlog.contextvars.merge_contextvars``, which is in its default configuration and in every recommended one. So a
run sets variables of these names, and nobody imports structlog until somebody logs.
"""

from __future__ import annotations

from contextvars import ContextVar, Token, copy_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attune_dsl.runner.run import Run

RUN_ID: ContextVar[Any] = ContextVar("structlog_run_id")
AGENT_ID: ContextVar[Any] = ContextVar("structlog_agent_id")
WORKFLOW: ContextVar[Any] = ContextVar("structlog_workflow")
STAGE: ContextVar[Any] = ContextVar("structlog_stage")
"""The name of the stage within the run; ``None`` in the body of a workflow."""
ATTEMPT: ContextVar[Any] = ContextVar("structlog_attempt")
"""Left alone by a call until an attempt of the run was the second one, because setting it costs as much as the rest."""

OURS = (RUN_ID, AGENT_ID, WORKFLOW, STAGE, ATTEMPT)
_NAMES = frozenset(variable.name for variable in OURS)


def enter(run: Run) -> list[Token[Any]]:
    """The code that follows is the body of a workflow within ``run``; the tokens undo it."""
    values = (run.run_id, run.agent_id, run.workflow.name, None, 1)
    # A host that has bound one of these names itself would otherwise win or lose by chance.
    foreign = [variable for variable in copy_context() if variable.name in _NAMES and variable not in OURS]
    tokens = [variable.set(...) for variable in foreign]  # structlog's own sign for a name that is not bound
    tokens += [variable.set(value) for variable, value in zip(OURS, values, strict=True)]
    return tokens


def leave(tokens: list[Token[Any]]) -> None:
    """Put back what the tokens stand for."""
    try:
        while tokens:
            token = tokens.pop()
            token.var.reset(token)
    except ValueError:  # a coroutine that nobody finished is closed in another context
        tokens.clear()
