"""§5.9 with real processes: aborted, killed before they noticed, and started again."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from aborting import field
from cli_support import Ended, Running
from following import timeline
from liveness_support import Processes, processes  # noqa: F401 (a fixture)
from waiting import wait_until

from attune_dsl import join
from attune_dsl.coordination.join import Joined
from attune_dsl.model import ChangeKind

if TYPE_CHECKING:
    from conftest import Store

pytestmark = [
    pytest.mark.parametrize("store", ["embedded"], indirect=True),
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="a dead owner gives way at once only where pids tell"),
]

WHY = "RunAborted: enough (asked by ops)"


@pytest.fixture
def ops(store: Store) -> Iterator[Joined]:
    """Who asks."""
    with join("ops", store.address, store.namespace) as ops:
        yield ops


def assert_aborted(ended: Ended) -> None:
    assert (ended.code, ended.json["status"], ended.json["error"]) == (3, "aborted", WHY)


def kill(process: Running) -> None:
    process.interrupt(signal.SIGKILL)
    assert process.end().code == -signal.SIGKILL


@pytest.mark.parametrize("is_lost", [False, True])
def test_it_outlives_a_process_that_is_killed(
    store: Store,
    processes: Processes,  # noqa: F811
    ops: Joined,
    is_lost: bool,
) -> None:
    """§5.9: one that computes notices nothing; its next start ends at once, the one after that runs.

    Whether it is started again at once, when its pid proves it dead, or when it was declared lost.
    """
    first = processes.run("computing", "--agent-id", "me", "seconds=600")
    assert ops.signals.abort("enough", "me") == ["me"]
    kill(first)
    if is_lost:
        wait_until(lambda: timeline(store, ChangeKind.LOST))

    second = processes.begin("computing", "--agent-id", "me", "seconds=600").end()
    assert_aborted(second)
    assert "building" not in second.out
    assert (field(store, "me", "status"), field(store, "me", "error")) == ("aborted", WHY)

    third = processes.begin("computing", "--agent-id", "me", "seconds=0").end()
    assert (third.code, third.json["status"], third.json["value"]) == (0, "completed", "computed")


def test_it_outlives_several_kills(store: Store, processes: Processes, ops: Joined) -> None:  # noqa: F811
    """§5.9: until one of them comes to its end."""
    program = """
        import sys, time
        from attune_dsl import join
        with join("me", *sys.argv[1:3]) as me:
            print("joined", me.aborted, flush=True)
            time.sleep(600)
    """
    first = processes.program(program)
    first.says("joined")
    assert ops.signals.abort("enough", "me") == ["me"]
    kill(first)
    for _ in range(2):
        again = processes.program(program)
        assert again.says("joined") == "joined enough (asked by ops)"
        kill(again)

    assert_aborted(processes.begin("calm", "--agent-id", "me").end())
    with join("me", store.address, store.namespace) as me:
        assert me.aborted == ""


@pytest.mark.parametrize("flow", ["building", "calm_async", "sending"])
def test_a_run_ends_soon_whatever_it_asked_for(
    store: Store,
    processes: Processes,  # noqa: F811
    ops: Joined,
    flow: str,
) -> None:
    """§5.9: with a heartbeat alone it is asked as well, sync and async, also one that beats once a minute."""
    running = processes.run(flow)
    if flow == "sending":
        processes.allow()

    assert ops.signals.abort("enough", flow) == [flow]

    assert_aborted(running.end())
    assert (field(store, flow, "status"), field(store, flow, "error")) == ("aborted", WHY)


def test_all_processes_of_the_namespace_are_asked(store: Store, processes: Processes, ops: Joined) -> None:  # noqa: F811
    """§5.9: at once, and nobody who is started afterwards."""
    names = ("one", "two", "three")
    running = [processes.run("calm_async", "--agent-id", name) for name in names]

    assert sorted(ops.signals.abort("enough")) == sorted(names)

    for one in running:
        assert_aborted(one.end())
    late = processes.begin("computing", "--agent-id", "one", "seconds=0").end()
    assert (late.code, late.json["status"]) == (0, "completed")
    assert ops.aborted == ""
