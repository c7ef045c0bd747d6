"""Ten thousand agents of one process that all wait: connections, memory, and a burst of one signal to each.

The floor of the memory is what asyncio itself needs: a task that awaits a future. The burst comes from another process
that has its signals encoded beforehand and keeps two batches in flight. It is over when every wait has returned and the
store has confirmed every mark.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Coroutine
from typing import Any

import redis

from attune_dsl import AsyncSignals, Heartbeat
from attune_dsl.coordination import outgoing
from attune_dsl.coordination.agent import Agent, AgentInfo, enter
from attune_dsl.hub.commands import Request
from attune_dsl.hub.drive import drive
from attune_dsl.hub.mailbox import Mailbox
from attune_dsl.model import Coordination
from attune_dsl.store.keys import Keys
from tests.benchmarks.measure import Report
from tests.benchmarks.scratch import scratch_store

AGENTS = 10_000
BURSTS = 7
BATCH = 200
PAYLOAD = "x" * 60
RATE = 40_000
"""Signals a second."""
MEMORY = 1024
"""Bytes for a wait beyond its task and future."""
CONNECTIONS = 4
SETTLE = 2.0
"""Seconds in which what the beginning of the waits left to be published is out."""
LIVES = Heartbeat(interval=5, ttl=60)
"""The sender's; who waits has coordination alone, so that no status is published beside what is measured."""
MAIL = Coordination(ttl=600)


def name(number: int) -> str:
    """Return the name of a waiting agent."""
    return f"agent-{number}"


# The process that sends


def send_bursts() -> None:
    """Send one signal to each agent whenever a line comes; say ``sent`` once all of them are stored."""
    sender = drive(enter("sender", heartbeat=LIVES, coordination=MAIL, info=AgentInfo()))
    print("ready", flush=True)
    while sys.stdin.readline().strip():
        requests = encoded(sender)
        print("encoded", flush=True)
        sys.stdin.readline()
        drive(pipelined(sender, requests))
        assert all(request.value[0] == b"stored" for request in requests)
        print("sent", flush=True)
    drive(sender.leave("completed"))  # type: ignore[arg-type]


def encoded(sender: Agent) -> list[Request]:
    """Return requests for a signal to each agent."""
    hub, member = sender._hub, sender._member
    assert hub is not None
    assert member is not None
    requests = []
    for number in range(AGENTS):
        message = outgoing.encode("sender", "go", name(number), PAYLOAD, ttl=600, key=None)

        def render(request: Request, message: outgoing.Outgoing = message) -> Any:
            return message.command(hub.keys, request, member.owner)

        requests.append(hub.request(render, numbered=True))
    return requests


async def pipelined(sender: Agent, requests: list[Request]) -> None:
    """Send batch after batch, two ahead of the answers."""
    hub = sender._hub
    assert hub is not None
    batches = [requests[start : start + BATCH] for start in range(0, len(requests), BATCH)]
    for position, batch in enumerate(batches):
        hub.post(batch)
        if position >= 2:
            await hub.settle(batches[position - 2])
    for batch in batches[-2:]:
        await hub.settle(batch)


# The process that waits


async def bytes_of(waits: Callable[[int], Coroutine[Any, Any, object]]) -> float:
    """Return the bytes that a task takes while it waits."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tasks = [asyncio.create_task(waits(number)) for number in range(AGENTS)]
    await asyncio.sleep(SETTLE)
    gc.collect()
    used = (tracemalloc.get_traced_memory()[0] - before) / AGENTS
    tracemalloc.stop()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return used


async def await_future(_: int) -> None:
    """The floor: nothing but a task and a future."""
    await asyncio.get_running_loop().create_future()


async def burst(signals: list[AsyncSignals], mailboxes: list[Mailbox], sender: subprocess.Popen[str]) -> float:
    """Let all wait, have one signal sent to each, and return the seconds until all is marked."""
    tasks = [asyncio.create_task(each.wait("go", timeout=None)) for each in signals]
    await say(sender, "encode", "encoded")
    await asyncio.sleep(SETTLE)
    gc.collect()
    started = time.perf_counter()
    sending = asyncio.create_task(say(sender, "go", "sent"))
    for signal in await asyncio.gather(*tasks):
        assert signal.payload == PAYLOAD
    for mailbox in mailboxes:
        while mailbox._out:  # noqa: ASYNC110 (what was handed out and is not known to be marked)
            await asyncio.sleep(0.001)
    seconds = time.perf_counter() - started
    await sending
    return seconds


async def say(sender: subprocess.Popen[str], word: str, answer: str) -> None:
    """Tell the sender something and wait for its answer."""
    assert sender.stdin is not None
    assert sender.stdout is not None
    sender.stdin.write(f"{word}\n")
    sender.stdin.flush()
    heard = await asyncio.to_thread(sender.stdout.readline)
    assert heard == f"{answer}\n", heard


def connections(client: redis.Redis) -> int:
    """Return how many connections the server has beside this client's own."""
    listed: Any = client.client_list()
    return len(listed) - 1


def left_over(client: redis.Redis) -> int:
    """Return how many signals are still in the mailboxes."""
    pipeline, keys = client.pipeline(transaction=False), Keys("default")
    for number in range(AGENTS):
        pipeline.xlen(keys.mail(name(number)))
    return sum(pipeline.execute())


async def wait_in_crowd(report: Report, client: redis.Redis) -> None:
    """Make the agents, and measure."""
    bare = await bytes_of(await_future)
    tracemalloc.start()
    info = AgentInfo()
    enterings = [enter(name(number), heartbeat=None, coordination=MAIL, info=info) for number in range(AGENTS)]
    agents = await asyncio.gather(*enterings)
    del enterings
    gc.collect()
    whole = tracemalloc.get_traced_memory()[0] / AGENTS
    tracemalloc.stop()
    signals = [agent.async_signals() for agent in agents]
    waiting = await bytes_of(lambda number: signals[number].wait("go", timeout=None))
    mailboxes = [agent._member.mailbox for agent in agents if agent._member is not None]
    report.facts["connections while all wait (target: 4 at most)"] = connections(client)
    command = [sys.executable, "-m", __name__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sender:  # noqa: ASYNC220
        assert sender.stdout is not None
        await asyncio.to_thread(sender.stdout.readline)
        samples = [await burst(signals, mailboxes, sender) for _ in range(BURSTS)]
        assert sender.stdin is not None
        sender.stdin.write("\n")
        sender.stdin.flush()
    assert left_over(client) == 0
    report.add("a signal to each, all marked", samples, target=AGENTS / RATE)
    report.facts["signals a second, best and median (target: 40,000)"] = ", ".join(
        f"{AGENTS / seconds:,.0f}" for seconds in (min(samples), sorted(samples)[len(samples) // 2])
    )
    report.facts["bytes for a wait beyond task and future (target: 1,024)"] = round(waiting - bare)
    report.facts["bytes for a task and a future"] = round(bare)
    report.facts["bytes for an agent"] = round(whole)
    await asyncio.gather(*[agent.leave("completed") for agent in agents])  # type: ignore[arg-type]


def measure() -> Report:
    """Measure ten thousand waiting agents."""
    report = Report(f"{AGENTS:,} agents of one process that wait", unit="ms")
    with scratch_store() as url, redis.Redis.from_url(url) as client:
        asyncio.run(wait_in_crowd(report, client))
    return report


if __name__ == "__main__":
    send_bursts()
