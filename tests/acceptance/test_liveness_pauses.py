"""§5.10 with real processes that stand still for longer than their ttl and go on: one of them, or the whole machine."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from following import Follow, passed, timeline
from liveness_support import (  # noqa: F401 (fixtures)
    TTL,
    Processes,
    follow,
    go_on,
    pause,
    processes,
    state_of,
)
from waiting import wait_until

from attune_dsl import join
from attune_dsl.model import AgentStatus, ChangeKind

if TYPE_CHECKING:
    from conftest import Store

pytestmark = [
    pytest.mark.parametrize("store", ["embedded"], indirect=True),
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]


def test_one_that_was_paused_rejoins_where_nobody_took_its_id(
    store: Store,
    processes: Processes,  # noqa: F811
    follow: Follow,  # noqa: F811
) -> None:
    """§5.10: it was lost, is a new incarnation, knows it, and its run completes."""
    follower = follow()
    paused = processes.run("building")
    first = follower.until(ChangeKind.JOINED, "building").agent.epoch

    pause(paused)
    assert follower.until(ChangeKind.LOST, "building").agent.epoch == first
    go_on(paused)
    second = follower.until(ChangeKind.JOINED, "building", count=2).agent.epoch
    processes.allow()
    ended = paused.end()
    follower.until(ChangeKind.ENDED, "building")

    assert (ended.code, ended.json["value"], ended.json["degraded"]) == (0, "built", True)
    told = [ChangeKind.JOINED, ChangeKind.LOST, ChangeKind.JOINED, ChangeKind.ENDED]
    assert follower.kinds("building") == told
    assert second > first
    record = follower.monitor.agent("building")
    assert record is not None
    assert (record.epoch, record.status) == (second, AgentStatus.COMPLETED)


@pytest.mark.parametrize("flow", ["building", "sending"])
def test_one_that_was_paused_and_lost_its_id_is_aborted(
    store: Store,
    processes: Processes,  # noqa: F811
    follow: Follow,  # noqa: F811
    flow: str,
) -> None:
    """§5.10: it says who took it; what it writes as soon as it goes on is refused."""
    follower = follow()
    paused = processes.run(flow, "--agent-id", "me")
    pause(paused)
    lost = follower.until(ChangeKind.LOST, "me").agent

    with join("sink", store.address, store.namespace) as sink, join("me", store.address, store.namespace):
        if flow == "sending":
            processes.allow()  # the stage sends at once, before its process has beaten
        go_on(paused)
        ended = paused.end()
        assert sink.signals.pending() == []
        record = follower.monitor.agent("me")
        assert record is not None
        assert (record.pid, record.status) == (os.getpid(), AgentStatus.RUNNING)

    assert ended.code == 3
    assert ended.json["status"] == "aborted"
    assert f"the agent id 'me' was taken over by pid {os.getpid()} on " in ended.json["error"]
    assert timeline(store, ChangeKind.LOST, ChangeKind.FENCED) == [("lost", ("me", lost.epoch))]


def test_one_that_ends_as_soon_as_it_goes_on_says_that_it_was_lost(
    store: Store,
    processes: Processes,  # noqa: F811
    follow: Follow,  # noqa: F811
) -> None:
    """§5.10: before any beat could tell it; its end is refused, because the loss is final."""
    follower = follow()
    paused = processes.run("building", "--agent-id", "me")
    pause(paused)
    lost = follower.until(ChangeKind.LOST, "me").agent
    processes.allow()
    go_on(paused)
    ended = paused.end()

    told = [("lost", ("me", lost.epoch))]
    if len(timeline(store, ChangeKind.JOINED)) == 2:  # or its beat was faster
        told.append(("ended", ("me", lost.epoch + 1)))
    assert (ended.code, ended.json["degraded"]) == (0, True)
    assert timeline(store, ChangeKind.LOST, ChangeKind.ENDED) == told


@pytest.mark.parametrize("server_too", [False, True], ids=["processes", "server too"])
def test_when_the_whole_machine_slept_nobody_is_lost(store: Store, processes: Processes, server_too: bool) -> None:  # noqa: F811
    """§5.10: those who watch stood still as well, and so did the server."""
    names = [f"w-{n}" for n in range(3)]
    group = [processes.run("building", "--agent-id", name) for name in names]
    watcher = processes.watch()
    server: int = store.redis.info("server")["process_id"]  # type: ignore[index, assignment]

    pause(*group, watcher)
    if server_too:
        os.kill(server, signal.SIGSTOP)
    try:
        wait_until(passed(3 * TTL))
    finally:
        if server_too:
            os.kill(server, signal.SIGCONT)
    go_on(*group, watcher)
    processes.run("calm", "--agent-id", "after")
    watcher.says("joined after")
    processes.allow()
    ends = [process.end() for process in group]

    assert timeline(store, ChangeKind.LOST) == []
    assert [ended.code for ended in ends] == [0] * 3
    for _ in names:
        watcher.says("ended")
    assert [line for line in watcher.heard if "lost" in line] == []


@pytest.mark.parametrize("seconds", [1.5, 4.0])
def test_a_server_that_hung_loses_nobody(store: Store, processes: Processes, seconds: float) -> None:  # noqa: F811
    """§5.10: shorter and longer than its clients are patient; they beat again as soon as it goes on."""
    group = [processes.run("building", "--agent-id", f"w-{n}") for n in range(3)]
    watcher = processes.watch()
    server: int = store.redis.info("server")["process_id"]  # type: ignore[index, assignment]

    os.kill(server, signal.SIGSTOP)
    try:
        wait_until(lambda: state_of(server) == "T")
        wait_until(passed(seconds))
    finally:
        os.kill(server, signal.SIGCONT)
    processes.run("calm", "--agent-id", "after")
    wait_until(lambda: ("joined", "after") in [(kind, one[0]) for kind, one in timeline(store)])
    wait_until(passed(2 * TTL))
    processes.allow()
    ends = [process.end() for process in group]

    assert [ended.code for ended in ends] == [0] * 3
    assert timeline(store, ChangeKind.LOST) == []
    watcher.interrupt(signal.SIGKILL)


def test_one_that_died_while_the_machine_slept_is_found(store: Store, processes: Processes) -> None:  # noqa: F811
    """§5.10: once, and after it has had the time of another ttl."""
    group = [processes.run("building", "--agent-id", name) for name in ("stays", "dies")]
    watcher = processes.watch()

    pause(*group, watcher)
    group[1].interrupt(signal.SIGKILL)
    wait_until(passed(2 * TTL))
    go_on(group[0], watcher)
    watcher.says("lost dies")
    processes.allow()

    assert group[0].end().code == 0
    assert [one[0] for _, one in timeline(store, ChangeKind.LOST)] == ["dies"]
