"""§5.8: what counts as doing nothing else, in runs and in scripts; and links that break."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from awaiting import Awaited
from blocking import blocked, closing, deadlock_of, free, known, record
from peers import Peer, Peers, until
from proxy import Proxy
from waiting import wait_until

from attune_dsl import AsyncSignals, Runner, Signals, join, stage, workflow
from attune_dsl.hub import blocks
from attune_dsl.model import NoSignal, Reason

if TYPE_CHECKING:
    from conftest import Store


@pytest.fixture
def b(store: Store, peers: Peers) -> Iterator[Peer]:
    """One that waits for the run or script ``a``, blocked as far as the store knows."""
    b = peers.join("b", url=peers.elsewhere())
    yield b
    wait_until(lambda: known(store) <= {"b"}, what="nothing left behind")


# Alone


@stage
def wait_in_stage(signals: Signals) -> Any:
    return signals.wait("x", source="b", timeout=None)


@stage(retries=1)
def fail_once(signals: Signals, failures: list[int]) -> Any:
    if not failures:
        failures.append(1)
        raise ValueError("once")
    return signals.wait("x", source="b", timeout=None)


@stage
async def await_in_stage(signals: AsyncSignals) -> Any:
    return await signals.wait("x", source="b", timeout=None)


@workflow(coordination=True, agent_id="a")
def in_workflow(signals: Signals) -> Any:
    return signals.wait("x", source="b", timeout=None)


@workflow(coordination=True, agent_id="a")
def in_stage() -> Any:
    return wait_in_stage()


@workflow(coordination=True, agent_id="a")
def in_retry() -> Any:
    return fail_once([])


@workflow(coordination=True, agent_id="a")
async def in_async_stage() -> Any:
    return await await_in_stage()


@workflow(coordination=True, agent_id="a")
async def after_the_others() -> Any:
    await asyncio.gather(*(asyncio.to_thread(str) for _ in range(3)))
    wait_in_background = asyncio.create_task(asyncio.Event().wait())  # which nobody can know of
    try:
        return await await_in_stage()
    finally:
        wait_in_background.cancel()


@pytest.mark.parametrize("flow", [in_workflow, in_stage, in_retry, in_async_stage, after_the_others])
def test_a_run_that_only_waits(store: Store, b: Peer, runner: Runner, flow: Any) -> None:
    """§5.8: in its workflow or in its only running stage, also in a later attempt."""
    waiting = blocked(store, b, "a", "y")
    run = runner.start(flow)
    assert deadlock_of(run.wait(10).unwrap()) == 'a waits for b: "x" → b waits for a: "y"'
    assert waiting.result().reason is Reason.PEER_GONE


def test_two_runs(store: Store, runner: Runner) -> None:
    """§5.8: the one that learns of it goes on, and frees the other."""

    @workflow(coordination=True)
    def one(signals: Signals, other: str) -> Any:
        heard = signals.wait("ready", source=other, timeout=None)
        signals.send("ready", other)
        return heard

    runs = [runner.start(one.options(agent_id=name), other) for name, other in (("left", "right"), ("right", "left"))]
    heard = [run.wait(10).unwrap() for run in runs]
    assert [bool(one) for one in heard].count(True) == 1
    assert {one.reason for one in heard if isinstance(one, NoSignal)} == {Reason.DEADLOCK}


def test_a_script_that_only_waits(store: Store, b: Peer) -> None:
    """§5.8: on the thread on which it joined."""
    waiting = blocked(store, b, "a", "y")
    with join("a", store=store.url, namespace=store.namespace) as a:
        assert deadlock_of(a.signals.wait("x", source="b", timeout=None))
        a.signals.send("y", "b")
        assert waiting.result()


# Not alone


@stage
async def be_busy(done: asyncio.Event) -> None:
    await done.wait()


@workflow(heartbeat=True, coordination=True, agent_id="a")
async def beside_another(done: asyncio.Event) -> Any:
    return (await asyncio.gather(await_in_stage(), be_busy(done)))[0]


@workflow(heartbeat=True, coordination=True, agent_id="a")
async def over_a_background_stage(done: asyncio.Event) -> Any:
    background = asyncio.create_task(be_busy(done))
    heard = await await_in_stage()
    await background
    return heard


@workflow(heartbeat=True, coordination=True, agent_id="a")
async def in_a_map(done: asyncio.Event) -> Any:
    return (await await_one.map([1, 2]))[0]


@stage
async def await_one(signals: AsyncSignals, number: int) -> Any:
    return await signals.wait("x", source="b", timeout=None)


@workflow(heartbeat=True, coordination=True, agent_id="a")
async def in_a_thread(done: asyncio.Event) -> Any:
    return await wait_in_stage.acall()


@pytest.mark.parametrize("flow", [beside_another, over_a_background_stage, in_a_map, in_a_thread])
async def test_a_run_that_does_something_else_as_well(store: Store, peers: Peers, flow: Any) -> None:
    """§5.8: another stage that runs, also one that begins only after the wait, a map, a thread."""
    b = await peers.ajoin("b", url=peers.elsewhere())
    done = asyncio.Event()
    run = asyncio.create_task(flow.options(store=store.url, namespace=store.namespace)(done))
    await until(lambda: store.redis.hget(f"{store.prefix}agent:a", "status") == b"waiting")
    waiting = asyncio.create_task(b.agent.async_signals(is_alone=lambda: True).wait("y", source="a", timeout=None))
    await until(lambda: record(store, "b"))
    await until(lambda: known(store) == {"b"})
    assert not waiting.done()

    for _ in range(2):
        await b.async_signals.send("x", "a")
    done.set()
    assert await run
    assert (await waiting).reason is Reason.PEER_GONE  # type: ignore[union-attr]
    await b.aleave()


def test_a_stage_that_begins_later_takes_it_back(store: Store, b: Peer, runner: Runner) -> None:
    """§5.8: told already, the wait does not count any more as soon as another stage begins."""
    go, done = threading.Event(), threading.Event()

    @stage
    def work() -> None:
        done.wait(10)

    @workflow(heartbeat=True, coordination=True, agent_id="a")
    def flow(signals: Signals) -> Any:
        import contextvars

        context = contextvars.copy_context()
        worker = threading.Thread(target=lambda: go.wait(10) and context.run(work))
        worker.start()
        heard = signals.wait("x", source="b", timeout=None)
        worker.join()
        return heard

    run = runner.start(flow)
    wait_until(lambda: record(store, "a"))
    go.set()
    wait_until(lambda: not record(store, "a"))
    waiting = blocked(store, b, "a", "y")
    b.signals.send("x", "a")
    done.set()
    assert run.wait(10).unwrap()
    waiting.result()


# Cost, and links that break


def test_a_dialogue_costs_no_command(store: Store, peers: Peers, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """§5.8: waits that are over before they count as long are told to nobody."""
    monkeypatch.setattr(blocks, "LONG", 30)  # the machine may be slow
    a, b = peers.join("a", url=proxy.url), peers.join("b", url=peers.elsewhere())
    told: list[str] = []
    block = blocks.scripts.block
    monkeypatch.setattr(blocks.scripts, "block", lambda *args, **how: told.append(args[1]) or block(*args, **how))
    for n in range(50):
        b.signals.send("x", "a", n)
        assert a.signals.wait("x", source="b").payload == n
    assert "a" not in told
    assert known(store) == set()


def test_a_new_link_tells_it_anew(
    store: Store, peers: Peers, b: Peer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.8: joining over it has deleted what the store knew; and only once others have had time to come back."""
    settled: list[float] = []
    monkeypatch.setattr(blocks, "SETTLE", 0.2)
    a = peers.join("a", url=proxy.url)
    waiting = blocked(store, a, "b", "x")
    before = record(store, "a")
    real = type(a.hub.blocks).restart
    monkeypatch.setattr(
        type(a.hub.blocks),
        "restart",
        lambda self, members: (settled.append(len(known(store))), real(self, members))[1],
    )

    proxy.cut()
    wait_until(lambda: settled)
    assert settled == [0]
    assert record(store, "a") is None
    wait_until(lambda: record(store, "a"))

    assert record(store, "a")["epoch"] == before["epoch"]  # type: ignore[index]
    assert closing(b, "a", "y")
    free(b, a, "x", waiting)


def test_after_an_outage_nothing_is_told_for_a_while(
    store: Store, peers: Peers, b: Peer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.8: what the store says of others may be from before, though they gave up and have not come back yet."""
    monkeypatch.setattr(blocks, "SETTLE", 60.0)
    a = peers.join("a", url=proxy.url)
    outages = a.hub.link.outages
    proxy.cut()
    wait_until(lambda: a.hub.link.outages > outages and a.hub.link.up)
    waiting = Awaited(a.agent.signals(is_alone=lambda: True).wait, "x", source="b", timeout=None)
    wait_until(lambda: a.member.blocked_by is not None and a.hub.keeper.tick.at > 1e300)
    assert a.member in a.hub.blocks._untold
    assert known(store) == set()
    free(b, a, "x", waiting)


def test_one_that_was_lost_and_joins_again_tells_it_anew(store: Store, peers: Peers, b: Peer) -> None:
    """§5.8: its wait goes on, and joining has deleted what the store knew."""
    a = peers.join("a")
    waiting = blocked(store, a, "b", "x")
    store.redis.hdel(f"{store.prefix}waits", "a")
    a.hub.lease_lost(a.member)
    wait_until(lambda: record(store, "a"))
    assert closing(b, "a", "y")
    free(b, a, "x", waiting)
