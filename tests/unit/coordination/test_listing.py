"""Who is there, as people and programs are told."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
from peers import CALM, Peer, Peers
from proxy import Proxy
from waiting import wait_until

from attune_dsl.coordination import listing as module
from attune_dsl.coordination.agent import AgentInfo, enter
from attune_dsl.coordination.listing import STATES, Listing
from attune_dsl.coordination.monitor import AsyncMonitor, Monitor
from attune_dsl.exceptions import BlockingCallInLoop, InvalidName, StoreUnavailable, UsageError
from attune_dsl.hub import link
from attune_dsl.hub.drive import drive
from attune_dsl.hub.registry import connect_hub, open_hubs, release_hub
from attune_dsl.model import AgentRecord, AgentStatus
from attune_dsl.store.keys import Keys

if TYPE_CHECKING:
    from conftest import Store


@pytest.fixture
def keys(store: Store) -> Keys:
    return Keys(store.namespace)


def listed(store: Store, **how: Any) -> list[AgentRecord]:
    with Monitor(store.url, store.namespace) as monitor:
        return monitor.agents(**how)


def now_ms(store: Store) -> int:
    seconds, microseconds = store.redis.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


def forge(store: Store, keys: Keys, member: str | bytes, **fields: Any) -> None:
    """An agent that nobody of this package wrote; by default it is a sound one."""
    name = (member if isinstance(member, bytes) else member.encode()).rpartition(b"#")[0]
    now = now_ms(store)
    key = keys.agent("").encode() + name
    sound = {"epoch": "7", "status": "running", "ttl": 15_000, "started_at": now, "progress_at": now}
    if b"\xff" not in name:
        store.redis.hset(key, mapping={**sound, **fields})
    store.redis.zadd(keys.leases, {member: now + 60_000})
    store.redis.expire(key, 60)
    store.redis.expire(keys.leases, 60)


def lapse(store: Store, peer: Peer) -> None:
    """Let a lease have lapsed five seconds ago, once the first beat of its hub cannot renew it any more."""
    wait_until(lambda: peer.hub.keeper._beater._own_at)
    store.redis.zadd(Keys(store.namespace).leases, {peer.member.lease: now_ms(store) - 5_000})


def test_nobody_is_there(store: Store) -> None:
    assert listed(store) == []


def test_a_live_agent_with_all_that_is_known_of_it(store: Store, peers: Peers, keys: Keys) -> None:
    info = AgentInfo(workflow="flow", run_id="r1", stages=("plan", "ä/build"))
    agent = drive(
        enter("ann", store=store.url, namespace=store.namespace, heartbeat=CALM, coordination=None, info=info)
    )
    try:
        (record,) = listed(store)
    finally:
        drive(agent.leave(AgentStatus.COMPLETED))

    assert (record.agent_id, record.epoch, record.status) == ("ann", 1, AgentStatus.STARTING)
    assert (record.workflow, record.run_id, record.stages) == ("flow", "r1", ("plan", "ä/build"))
    assert (record.host, record.pid) == (socket.gethostname(), os.getpid())
    assert (record.stage, record.tier, record.note, record.error, record.ended_at) == (None, None, None, None, None)
    assert (record.attempt, record.progress) == (1, 0.0)
    assert record.started_at is not None
    assert record.beat_age is not None
    assert record.progress_age is not None
    assert 0 <= record.progress_age < 60
    assert 0 <= record.beat_age < 60


def test_what_an_agent_does(store: Store, peers: Peers, keys: Keys, wait_until: Any) -> None:
    before = now_ms(store) / 1000
    peers.join("ann").agent.touch("build", 0.25, 2, "cheap", "half way")
    wait_until(lambda: store.redis.hget(keys.agent("ann"), "stage"))

    (record,) = listed(store)

    assert (record.status, record.stage, record.progress) == (AgentStatus.RUNNING, "build", 0.25)
    assert (record.attempt, record.tier, record.note) == (2, "cheap", "half way")
    assert record.stage_started_at is not None
    assert before - 1 <= record.stage_started_at <= now_ms(store) / 1000 + 1


def test_the_living_come_before_the_ended_each_by_their_beginning(store: Store, peers: Peers, keys: Keys) -> None:
    for number, agent_id in enumerate(("zoe", "cid", "ann", "bob")):
        peers.join(agent_id)
        store.redis.hset(keys.agent(agent_id), "started_at", 1_000 * number)
    store.redis.hset(keys.agent("bob"), "started_at", 2_000)
    drive(peers._peers[0].agent.leave(AgentStatus.FAILED, "ValueError: no"))
    peers._peers[0].left = True

    records = listed(store)

    assert [record.agent_id for record in records] == ["cid", "ann", "bob", "zoe"]
    ended = records[-1]
    assert (ended.status, ended.error, ended.beat_age) == (AgentStatus.FAILED, "ValueError: no", None)
    assert ended.ended_at is not None


def test_an_agent_whose_lease_has_lapsed_is_lost(store: Store, peers: Peers, keys: Keys) -> None:
    lapse(store, peers.join("ann"))

    (record,) = listed(store)

    assert record.status is AgentStatus.LOST
    assert record.beat_age is not None
    assert CALM.ttl + 5 <= record.beat_age < CALM.ttl + 60


def test_only_the_present_incarnation_is_listed(store: Store, peers: Peers, keys: Keys) -> None:
    peers.join("ann")
    store.redis.zadd(keys.leases, {"ann#99": now_ms(store) + 60_000, "gone#3": now_ms(store) + 60_000})
    store.redis.zadd(keys.ended, {"ann#98": now_ms(store) + 60_000})
    store.redis.expire(keys.ended, 60)

    assert [(record.agent_id, record.epoch) for record in listed(store)] == [("ann", 1)]


def test_an_id_with_a_hash_sign_is_read_right(store: Store, peers: Peers) -> None:
    peers.join("a#1#b")

    assert [(record.agent_id, record.epoch) for record in listed(store)] == [("a#1#b", 1)]


def test_many_agents_are_read_in_several_questions(store: Store, peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 2)
    for number in range(5):
        peers.join(f"a{number}")

    assert sorted(record.agent_id for record in listed(store)) == [f"a{number}" for number in range(5)]


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"status": "dancing"}, "status", AgentStatus.RUNNING),
        ({"attempt": "x"}, "attempt", None),
        ({"progress": "much"}, "progress", None),
        ({"progress": "nan"}, "progress", None),
        ({"pid": ""}, "pid", None),
        ({"started_at": "9" * 400}, "started_at", None),
        ({"progress_at": "soon"}, "progress_age", None),
        ({"stages": "[1"}, "stages", ()),
        ({"stages": "7"}, "stages", ()),
        ({"stages": "[1, null]"}, "stages", ("1", "None")),
        ({"note": b"\xff"}, "note", "\ufffd"),
        ({b"\xff": "x"}, "agent_id", "ann"),
    ],
)
def test_what_is_no_value_is_left_out_alone(
    store: Store, keys: Keys, fields: dict[Any, Any], name: str, value: object
) -> None:
    forge(store, keys, "bob#7")
    forge(store, keys, "ann#7", **{key: value for key, value in fields.items() if isinstance(key, str)})
    for key in fields.keys() - {key for key in fields if isinstance(key, str)}:
        store.redis.hset(keys.agent("ann"), key, fields[key])

    records = {record.agent_id: record for record in listed(store)}

    assert records.keys() == {"ann", "bob"}
    assert getattr(records["ann"], name) == value


def test_a_ttl_that_is_none_leaves_the_age_of_the_beat_open(store: Store, keys: Keys) -> None:
    forge(store, keys, "ann#7", ttl="long")

    assert [record.agent_id for record in listed(store)] == ["ann"]


@pytest.mark.parametrize("member", ["nonsense", "ann#x", "#", "#7", b"\xff#7"])
def test_a_member_that_is_none_hides_nobody(store: Store, keys: Keys, member: str | bytes) -> None:
    forge(store, keys, "bob#7")
    epoch = (member if isinstance(member, bytes) else member.encode()).rpartition(b"#")[2]
    forge(store, keys, member, epoch=epoch)

    assert "bob" in [record.agent_id for record in listed(store)]


def test_a_key_of_another_type_hides_nobody(store: Store, peers: Peers, keys: Keys) -> None:
    peers.join("ann")
    store.redis.set(keys.agent("bob"), "?", ex=60)
    store.redis.zadd(keys.leases, {"bob#2": now_ms(store) + 60_000})

    assert [record.agent_id for record in listed(store)] == ["ann"]


def test_a_history_of_stages_that_is_none_is_empty(store: Store, peers: Peers, keys: Keys) -> None:
    peers.join("ann")
    store.redis.set(keys.stages("ann"), "?", ex=60)

    with Monitor(store.url, store.namespace) as monitor:
        assert [monitor.stages("ann"), monitor.stages("nobody")] == [(), ()]


# One agent, and some


def test_one_agent_is_found_while_it_lives_and_as_long_as_it_is_kept(store: Store, peers: Peers, keys: Keys) -> None:
    peers.join("ann")
    peers.join("bob").leave(AgentStatus.FAILED)
    store.redis.set(keys.agent("odd"), "?", ex=60)

    with Monitor(store.url, store.namespace) as monitor:
        found = {name: monitor.agent(name) for name in ("ann", "bob", "cid", "odd")}
        store.redis.zrem(keys.ended, "bob#2")

        assert {name: None if agent is None else agent.status for name, agent in found.items()} == {
            "ann": AgentStatus.STARTING,
            "bob": AgentStatus.FAILED,
            "cid": None,
            "odd": None,
        }
        assert {agent.agent_id: agent for agent in monitor.agents()}.keys() == {"ann"}
        assert monitor.agent("bob") is None


def test_one_agent_that_is_looked_for_is_found_lost_if_it_is(store: Store, peers: Peers, keys: Keys) -> None:
    lapse(store, peers.join("ann"))

    with Monitor(store.url, store.namespace) as monitor:
        agent = monitor.agent("ann")

    assert agent is not None
    assert (agent.status, agent.ended_at is not None) == (AgentStatus.LOST, True)


def stalled(store: Store, keys: Keys, member: str) -> None:
    forge(store, keys, member, stalled_at=now_ms(store) - 5_000, progress_at=now_ms(store) - 5_000)


def some_of_each(store: Store, keys: Keys) -> None:
    forge(store, keys, "ran#7", workflow="flow")
    stalled(store, keys, "stood#7")
    forge(store, keys, "waits#7", status="waiting", workflow="flow")


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ({}, ["ran", "stood", "waits"]),
        ({"status": "running"}, ["ran", "stood"]),
        ({"status": "stalled"}, ["stood"]),
        ({"status": AgentStatus.WAITING}, ["waits"]),
        ({"status": ["waiting", "stalled"]}, ["stood", "waits"]),
        ({"status": ()}, []),
        ({"status": "lost"}, []),
        ({"workflow": "flow"}, ["ran", "waits"]),
        ({"workflow": "flow", "status": "running"}, ["ran"]),
        ({"workflow": "other"}, []),
    ],
)
def test_agents_are_chosen_by_status_and_workflow(
    store: Store, keys: Keys, how: dict[str, Any], found: list[str]
) -> None:
    """One that is stalled has its status besides."""
    some_of_each(store, keys)

    assert sorted(agent.agent_id for agent in listed(store, **how)) == found


@pytest.mark.parametrize("status", ["dead", ["running", "dead"], "RUNNING"])
def test_a_status_that_there_is_not_is_refused(store: Store, status: Any) -> None:
    with pytest.raises(UsageError, match=r"there are starting, .*stalled"):
        listed(store, status=status)


def test_agents_are_counted_once_each_and_no_state_is_left_out(store: Store, keys: Keys) -> None:
    some_of_each(store, keys)

    with Monitor(store.url, store.namespace) as monitor:
        counts = monitor.counts()

    assert tuple(counts) == STATES
    assert {state: count for state, count in counts.items() if count} == {"running": 1, "stalled": 1, "waiting": 1}


def test_who_has_made_no_progress_for_so_long(store: Store, peers: Peers, keys: Keys) -> None:
    """Whether it counts as stalled is another question; who has ended is not asked."""
    stalled(store, keys, "old#7")
    forge(store, keys, "new#7")
    forge(store, keys, "odd#7", progress_at="")
    peers.join("gone").leave()
    store.redis.hset(keys.agent("gone"), "progress_at", now_ms(store) - 50_000)

    with Monitor(store.url, store.namespace) as monitor:
        found = [sorted(agent.agent_id for agent in monitor.stale(threshold)) for threshold in (4, 60, 0)]

        assert found == [["old"], [], ["new", "odd", "old"]]
        for threshold in (-1, float("nan")):
            with pytest.raises(ValueError, match="threshold is"):
                monitor.stale(threshold)


def test_stages_come_in_the_order_in_which_they_began(store: Store, peers: Peers, keys: Keys) -> None:
    told = {"status": "completed", "calls": 1, "failures": 0, "attempts": 1, "tier": None, "duration": 1, "error": None}
    row = json.dumps(told)[:-1] + ', "started_at": %d}'
    peers.join("ann")
    rows = {"late": row % 30, "first": row % 10, "second": row % 20, "broken": "{"}
    store.redis.hset(keys.stages("ann"), mapping=rows)
    store.redis.expire(keys.stages("ann"), 60)

    with Monitor(store.url, store.namespace) as monitor:
        assert [stage.name for stage in monitor.stages("ann")] == ["first", "second", "late"]


# After a silence of all


def test_after_the_end_of_all_they_are_shown_as_lost_at_once(store: Store, peers: Peers, keys: Keys) -> None:
    """Though their leases were extended: nobody has come back who could say that it was an outage."""
    forge(store, keys, "ann#7", interval=5_000)
    now = now_ms(store)
    store.redis.zadd(keys.leases, {"ann#7": now - 50_000})
    store.redis.hset(keys.pulse, "at", now - 64_000)
    store.redis.expire(keys.pulse, 60)

    with Monitor(store.url, store.namespace) as monitor:
        (record,) = monitor.agents()
        again = monitor.agents()

    assert (record.status, record.ended_at) == (AgentStatus.LOST, None)
    assert record.beat_age is not None
    assert 65 <= record.beat_age < 70
    assert [agent.status for agent in again] == [AgentStatus.LOST]
    assert store.redis.xlen(keys.timeline) == 0


def test_after_an_outage_they_are_shown_as_they_were(store: Store, peers: Peers, keys: Keys) -> None:
    """One that beat before it has come back."""
    forge(store, keys, "ann#7", interval=5_000)
    now = now_ms(store)
    store.redis.zadd(keys.leases, {"ann#7": now - 50_000})
    pulse = {"at": now - 100, "from": now - 64_000, "until": now + 5_000, "witnessed": "1"}
    store.redis.hset(keys.pulse, mapping=pulse)
    store.redis.expire(keys.pulse, 60)

    (record,) = listed(store)

    assert record.status is AgentStatus.RUNNING
    assert record.beat_age is not None
    assert 65 <= record.beat_age < 70


def test_more_losses_than_one_look_deals_with_are_all_listed(
    store: Store, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "GRACE", 30.0)  # the store in memory is slow with so many
    with store.redis.pipeline(transaction=False) as pipeline:
        for number in range(450):
            pipeline.hset(keys.agent(f"a{number}"), mapping={"epoch": "7", "ttl": 15_000, "started_at": 1})
            pipeline.expire(keys.agent(f"a{number}"), 60)
        pipeline.execute()
    store.redis.zadd(keys.leases, {f"a{number}#7": now_ms(store) - 5_000 for number in range(450)})
    store.redis.expire(keys.leases, 60)

    assert {agent.status for agent in listed(store)} == {AgentStatus.LOST}
    assert len(listed(store)) == store.redis.xlen(keys.timeline) == 450


# The connection


def test_a_monitor_connects_when_it_is_first_asked_and_looks_again_and_again(store: Store, peers: Peers) -> None:
    monitor = Monitor(store.url, store.namespace)
    assert (monitor.store_label, monitor.namespace, open_hubs()) == ("", "", [])

    assert monitor.agents() == []
    peers.join("ann")
    assert [record.agent_id for record in monitor.agents()] == ["ann"]
    assert (monitor.namespace, monitor.store_label != "") == (store.namespace, True)

    monitor.close()
    monitor.close()
    peers.close()
    assert open_hubs() == []


def test_a_monitor_that_was_closed_connects_again(store: Store) -> None:
    with Monitor(store.url, store.namespace) as monitor:
        monitor.close()
        assert monitor.agents() == []


async def test_async_code_awaits_the_same(store: Store, peers: Peers) -> None:
    peer = await peers.ajoin("ann")
    async with AsyncMonitor(store.url, store.namespace) as monitor:
        agent = await monitor.agent("ann")
        found = [
            [agent.agent_id for agent in await monitor.agents(status="starting")],
            [agent.agent_id for agent in await monitor.stale(0)],
            await monitor.stages("ann"),
            (await monitor.counts())["starting"],
        ]
    await peer.aleave()

    assert agent is not None
    assert (agent.agent_id, found) == ("ann", [["ann"], ["ann"], (), 1])
    assert open_hubs() == []


def test_a_blocking_call_does_not_freeze_a_loop(store: Store) -> None:
    async def look() -> None:
        Monitor(store.url, store.namespace).agents()

    with pytest.raises(BlockingCallInLoop):
        asyncio.run(look())


def test_without_a_store_there_is_no_listing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"redis://:s3cret@127.0.0.1:{server.getsockname()[1]}/0"

    with pytest.raises(StoreUnavailable, match="cannot be reached") as caught:
        Monitor(url).agents()

    assert "s3cret" not in str(caught.value)
    assert open_hubs() == []


def test_a_store_that_goes_away_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "GRACE", 0.05)
    proxy = Proxy(store.address)
    listing = Listing(drive(connect_hub(proxy.url, store.namespace)))
    try:
        proxy.die()
        with pytest.raises(StoreUnavailable, match="did not answer"):
            drive(listing.agents())
    finally:
        drive(release_hub(listing.hub))
        proxy.close()


def test_a_namespace_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidName):
        Monitor("memory://tests", "{x}").agents()


def test_a_forked_child_does_not_touch_its_parents_link(store: Store) -> None:
    """What it wrote there would be mixed with what the parent writes."""
    with Monitor(store.url, store.namespace) as monitor:
        hub = monitor._hub
        sent: list[Any] = []
        submit, hub.commands.submit = hub.commands.submit, sent.append
        hub.is_foreign = True

        with pytest.raises(StoreUnavailable):
            monitor.stages("ann")

        assert sent == []
        hub.is_foreign, hub.commands.submit = False, submit
