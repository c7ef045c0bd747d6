"""§5.10 with real processes: killed in a stage, started again at once, busy without end, taken over."""

from __future__ import annotations

import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

import pytest
from following import Follow, timeline
from liveness_support import (  # noqa: F401 (fixtures)
    STEADY_LOST_WITHIN,
    STEADY_TTL,
    TTL,
    Processes,
    follow,
    processes,
    state_of,
)
from waiting import wait_until

from attune_dsl import join
from attune_dsl.exceptions import AgentIdTaken
from attune_dsl.model import AgentStatus, ChangeKind

if TYPE_CHECKING:
    from conftest import Store

pytestmark = [
    pytest.mark.parametrize("store", ["embedded"], indirect=True),
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]


def test_one_that_is_killed_in_its_stage_is_lost_soon(store: Store, processes: Processes, follow: Follow) -> None:  # noqa: F811
    """§5.10: within ttl + interval of its last beat, with the stage where it stopped.

    Who looks later than an interval, on a busy machine, waits for a silent agent once more: hence that interval.
    """
    follower, limit = follow(), STEADY_LOST_WITHIN
    victim = processes.run("steady")
    wait_until(lambda: follower.monitor.agent("steady").progress)  # type: ignore[union-attr]

    victim.interrupt(signal.SIGKILL)
    killed_at = time.monotonic()
    lost = follower.until(ChangeKind.LOST, "steady")

    assert time.monotonic() - killed_at <= limit
    agent = lost.agent
    assert (agent.status, agent.stage, agent.pid) == (AgentStatus.LOST, "build", victim.pid)
    assert agent.progress is not None
    assert 0 < agent.progress < 1
    assert agent.beat_age is not None
    assert STEADY_TTL <= agent.beat_age <= limit
    assert timeline(store, ChangeKind.LOST) == [("lost", ("steady", agent.epoch))]


def test_one_that_is_started_again_at_once_takes_over(store: Store, processes: Processes, follow: Follow) -> None:  # noqa: F811
    """§3: its dead owner's pid is gone, so nobody waits for the lease; the loss is reported all the same, once."""
    follower = follow()
    first = processes.run("calm", "--agent-id", "me")
    follower.until(ChangeKind.JOINED, "me")
    wait_until(lambda: follower.monitor.agent("me").stage)  # type: ignore[union-attr]

    first.interrupt(signal.SIGKILL)
    first.end()
    second = processes.run("calm", "--agent-id", "me")
    follower.until(ChangeKind.JOINED, "me", count=2)
    processes.allow()
    ended = second.end()

    assert (ended.code, ended.json["degraded"]) == (0, False)
    follower.until(ChangeKind.ENDED, "me")
    told = [ChangeKind.JOINED, ChangeKind.LOST, ChangeKind.JOINED, ChangeKind.ENDED]
    assert follower.kinds("me") == told
    (lost,) = follower.told(ChangeKind.LOST)
    assert (lost.agent.pid, lost.agent.stage) == (first.pid, "build")
    assert len(timeline(store, ChangeKind.LOST)) == 1


def test_one_that_dies_unnoticed_and_is_not_collected_gives_way_too(
    store: Store,
    processes: Processes,  # noqa: F811
    follow: Follow,  # noqa: F811
) -> None:
    """§3: a zombie has ended, though its parent has not asked."""
    follower = follow()
    first = processes.run("calm", "--agent-id", "me")
    first.interrupt(signal.SIGKILL)
    wait_until(lambda: state_of(first.pid) == "Z")

    with join("me", store.address, store.namespace) as me:
        assert me.agent_id == "me"
    follower.until(ChangeKind.ENDED, "me")

    assert follower.kinds("me")[-3:] == [ChangeKind.LOST, ChangeKind.JOINED, ChangeKind.ENDED]


@pytest.mark.parametrize("flow", ["computing", "blocking"])
def test_a_busy_process_is_never_lost(store: Store, processes: Processes, follow: Follow, flow: str) -> None:  # noqa: F811
    """§5.10: pure Python in a sync stage, or an event loop that an async stage blocks, for three times the ttl."""
    follower = follow()
    busy = processes.run(flow, f"seconds={3 * TTL}")

    ended = busy.end()
    follower.until(ChangeKind.ENDED, flow)

    assert (ended.code, ended.json["degraded"]) == (0, False)
    assert follower.kinds(flow) == [ChangeKind.JOINED, ChangeKind.ENDED]


def test_a_second_live_owner_is_refused_by_name(store: Store, processes: Processes) -> None:  # noqa: F811
    """§3: the error names the agent id, the host and the pid of the owner."""
    first = processes.run("building", "--agent-id", "me")

    with pytest.raises(AgentIdTaken) as refused, join("me", store.address, store.namespace):
        pass

    error = refused.value
    assert (error.agent_id, error.host, error.pid) == ("me", socket.gethostname(), first.pid)
    assert str(first.pid) in str(error)


@pytest.mark.parametrize("flow", ["calm", "calm_async"])
def test_a_takeover_aborts_the_old_run_at_once(store: Store, processes: Processes, follow: Follow, flow: str) -> None:  # noqa: F811
    """§3: it beats only once a minute, and hears of it all the same."""
    follower = follow()
    old = processes.run(flow, "--agent-id", "me")
    follower.until(ChangeKind.JOINED, "me")

    with join("me", store.address, store.namespace, takeover=True) as me:
        taken_at = time.monotonic()
        ended = old.end()
        assert time.monotonic() - taken_at <= 5
        assert me.signals.send("alive", "me") != ""
    follower.until(ChangeKind.ENDED, "me")

    assert (ended.code, ended.json["status"]) == (3, "aborted")
    assert "the agent id 'me' was taken over by pid" in ended.json["error"]
    assert follower.kinds("me") == [ChangeKind.JOINED, ChangeKind.FENCED, ChangeKind.JOINED, ChangeKind.ENDED]
    assert follower.record("me").status is AgentStatus.COMPLETED
