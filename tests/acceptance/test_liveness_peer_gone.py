"""§5.8 with real processes: whoever waits for one that is killed, or ends, is told at once."""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest
from awaiting import Awaited
from liveness_support import STEADY_LOST_WITHIN, Processes, processes  # noqa: F401 (a fixture)
from waiting import wait_until

from attune_dsl import join

if TYPE_CHECKING:
    from conftest import Store

pytestmark = [pytest.mark.parametrize("store", ["embedded"], indirect=True), pytest.mark.timeout(60)]

WAITER = """
    import sys
    from attune_dsl import join
    with join("waiter-" + sys.argv[3], *sys.argv[1:3]) as me:
        print("building", flush=True)
        nothing = me.signals.wait("done", source=sys.argv[4], timeout=None)
        print(nothing.reason, nothing.detail, flush=True)
"""


def test_the_wait_for_one_that_is_killed_ends(store: Store, processes: Processes) -> None:  # noqa: F811
    """§5.8: as soon as it is lost, in three other processes; the detail names the stage where it stopped."""
    victim = processes.run("steady")
    waiters = [processes.program(WAITER, str(n), "steady") for n in range(3)]
    for waiter in waiters:
        waiter.says("building")
    with join("me", store.address, store.namespace) as me:
        waiting = Awaited(me.signals.wait, "done", source="steady", timeout=None)
        wait_until(lambda: store.redis.scard(f"{store.prefix}waited:steady") == 4)

        victim.interrupt(signal.SIGKILL)
        killed_at = time.monotonic()

        assert waiting.gone(10) == "agent 'steady' was lost on stage 'build'"
        assert time.monotonic() - killed_at <= STEADY_LOST_WITHIN
    for waiter in waiters:
        waiter.says("peer_gone agent 'steady' was lost on stage 'build'")


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals of the operating system")
def test_the_wait_for_a_run_that_is_cancelled_or_completes_ends(store: Store, processes: Processes) -> None:  # noqa: F811
    """§5.8: at once, and with its status."""
    cancelled, completed = processes.run("calm", "--agent-id", "first"), processes.run("calm", "--agent-id", "second")
    with join("me", store.address, store.namespace) as me:
        waits = [Awaited(me.signals.wait, "done", source=name, timeout=None) for name in ("first", "second")]
        for name in ("first", "second"):
            wait_until(lambda name=name: store.redis.exists(f"{store.prefix}waited:{name}"))  # type: ignore[misc]

        cancelled.interrupt(signal.SIGINT)
        assert waits[0].gone(10).startswith("agent 'first' was cancelled on stage 'build'")
        processes.allow()
        assert waits[1].gone(10) == "agent 'second' completed"
    completed.end()
