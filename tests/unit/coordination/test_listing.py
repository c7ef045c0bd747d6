"""Who is there, as people and programs are told."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from peers import CALM, Peers
from proxy import Proxy

from attune_dsl.coordination import listing as module
from attune_dsl.coordination.agent import AgentInfo, enter
from attune_dsl.coordination.listing import Listing, list_agents
from attune_dsl.exceptions import InvalidName, StoreUnavailable
from attune_dsl.hub import link
from attune_dsl.hub.drive import drive
from attune_dsl.hub.registry import open_hubs
from attune_dsl.model import AgentRecord, AgentStatus
from attune_dsl.store.keys import Keys

if TYPE_CHECKING:
    from conftest import Store


@pytest.fixture
def peers(store: Store) -> Iterator[Peers]:
    peers = Peers(store)
    yield peers
    peers.close()


@pytest.fixture
def keys(store: Store) -> Keys:
    return Keys(store.namespace)


def listed(store: Store) -> list[AgentRecord]:
    return drive(list_agents(store.url, store.namespace))


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
    peers.join("ann")
    store.redis.zadd(keys.leases, {"ann#1": now_ms(store) - 5_000})

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


@pytest.mark.parametrize("reply", [[[b"a#1", 5.0], [b"b#2", 6.0]], [b"a#1", b"5", b"b#2", b"6"]])
def test_scores_of_both_protocols(reply: list[Any]) -> None:
    assert module._pairs(reply) == {"a#1": 5.0, "b#2": 6.0}


@pytest.mark.parametrize("reply", [{b"a": b"1", b"b": b"2"}, [b"a", b"1", b"b", b"2"]])
def test_hashes_of_both_protocols(reply: Any) -> None:
    assert module._fields(reply) == {"a": "1", "b": "2"}


# The connection


def test_a_listing_reads_again_and_again(store: Store, peers: Peers) -> None:
    listing = drive(Listing.open(store.url, store.namespace))
    try:
        assert (listing.namespace, drive(listing.agents())) == (store.namespace, [])
        peers.join("ann")
        assert [record.agent_id for record in drive(listing.agents())] == ["ann"]
    finally:
        drive(listing.close())
    peers.close()
    assert open_hubs() == []


async def test_a_listing_is_awaited_in_a_loop(store: Store, peers: Peers) -> None:
    await peers.ajoin("ann")

    records = await list_agents(store.url, store.namespace)

    assert [record.agent_id for record in records] == ["ann"]
    await peers._peers[0].aleave()


def test_without_a_store_there_is_no_listing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"redis://:s3cret@127.0.0.1:{server.getsockname()[1]}/0"

    with pytest.raises(StoreUnavailable, match="cannot be reached") as caught:
        drive(list_agents(url))

    assert "s3cret" not in str(caught.value)
    assert open_hubs() == []


def test_a_store_that_goes_away_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "GRACE", 0.05)
    proxy = Proxy(store.address)
    listing = drive(Listing.open(proxy.url, store.namespace))
    try:
        proxy.die()
        with pytest.raises(StoreUnavailable, match="did not answer"):
            drive(listing.agents())
    finally:
        drive(listing.close())
        proxy.close()


def test_a_namespace_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidName):
        drive(list_agents("memory://tests", "{x}"))
