"""§5.9: aborts and barriers: a run that comes to one which an abort has broken was told to stop by that."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import TYPE_CHECKING, Any

from attune_dsl import AgentStatus, Broken, RunAborted, Runner, Signals, join, workflow
from attune_dsl.store.keys import Keys

if TYPE_CHECKING:
    from conftest import Store

PATIENCE = 20


def test_a_run_that_comes_to_a_barrier_which_an_abort_has_broken_is_aborted(
    store: Store, wait_until: Callable[..., Any]
) -> None:
    """§5.9: it returns because its wait ended as aborted, though another one's abort had broken the barrier before."""
    come = Event()
    answers: list[Any] = []
    keys = Keys(store.namespace)

    @workflow(coordination=True)
    def early(signals: Signals) -> bool:
        return bool(signals.barrier("gate", 2, timeout=PATIENCE))

    @workflow(coordination=True)
    def late(signals: Signals) -> bool:
        come.wait(PATIENCE)
        answers.append(signals.barrier("gate", 2, timeout=PATIENCE))
        return bool(answers[0])

    with join("ops", store.url, store.namespace) as ops, Runner(store=store.url, namespace=store.namespace) as runner:
        first, second = runner.start(early), runner.start(late)
        wait_until(
            lambda: store.redis.hexists(keys.barrier("gate"), "at:early") and store.redis.zcard(keys.leases) == 3
        )
        assert sorted(ops.signals.abort("no disk")) == ["early", "late"]
        assert first.wait(PATIENCE).status is AgentStatus.ABORTED
        come.set()
        result = second.wait(PATIENCE)

    (broken,) = answers
    assert isinstance(broken, Broken)
    assert (broken.by, broken.detail) == ("early", "no disk (asked by ops)")
    assert (result.status, result.value) == (AgentStatus.ABORTED, None)
    assert isinstance(result.error, RunAborted)
    assert result.error.reason == "no disk (asked by ops)"
