"""The scripts of agents, on both servers: open, join, update, leave, beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from console import CALM_MS, Console

from attune_dsl.store import limits, scripts

if TYPE_CHECKING:
    from conftest import Store


@pytest.fixture
def console(store: Store) -> Console:
    return Console(store)


# Joining


def test_the_first_to_join_owns_the_id(console: Console) -> None:
    before = console.now()
    word, epoch, now, died_at, *_ = console.join("ann", hub="hub", link=3, host="here", pid="7")
    after = console.now()

    assert (word, epoch, died_at) == (b"joined", b"1", b"0")
    assert before <= int(now) <= after
    assert console.field("ann", "owner") == "1@hub.3"
    assert (console.field("ann", "host"), console.field("ann", "pid")) == ("here", "7")
    assert int(now) == int(console.field("ann", "started_at")) == int(console.field("ann", "progress_at"))
    assert int(now) + CALM_MS == console.lease("ann", 1)
    assert 0 < console.redis.ttl(console.keys.agent("ann")) <= limits.AGENT_TTL
    assert console.redis.ttl(console.keys.leases) > limits.AGENT_TTL - 5


@pytest.mark.parametrize("known_epoch", ["0", "1", "7"])
def test_an_id_with_a_live_owner_is_taken(console: Console, known_epoch: str) -> None:
    owner = console.owner("ann", hub="one", host="there", pid="7", machine="boot")

    taken = [b"taken", b"there", b"7", b"boot", b"1"]
    assert taken == console.join("ann", hub="two", known_epoch=known_epoch)
    assert owner == console.field("ann", "owner")


def test_a_hub_that_lost_the_answer_hears_it_again(console: Console) -> None:
    first = console.join("ann", link=1)
    again = console.join("ann", link=2)

    assert first[1] == again[1]
    assert console.field("ann", "owner") == "1@hub.2"


def test_a_hub_that_comes_back_keeps_its_epoch_and_its_beginning(console: Console) -> None:
    console.join("ann", link=1)
    started = console.field("ann", "started_at")
    console.lapse("ann", 5_000)

    assert console.join("ann", link=2, known_epoch="1", status="waiting")[:2] == [b"joined", b"1"]
    assert (started, "waiting") == (console.field("ann", "started_at"), console.field("ann", "status"))
    assert (console.lease("ann", 1) or 0) > console.now()


def test_a_hub_that_comes_back_too_late_finds_its_id_taken(console: Console) -> None:
    console.join("ann", hub="one")
    console.lapse("ann", 5_000)
    console.join("ann", hub="two", host="there", pid="8")

    assert console.join("ann", hub="one", link=2, known_epoch="1") == [b"taken", b"there", b"8", b"", b"2"]
    assert console.field("ann", "owner") == "2@two.1"


def test_a_lapsed_lease_gives_the_id_free_and_tells_when_that_was(console: Console) -> None:
    console.join("ann", hub="one", note="of the first")
    lapsed = console.lapse("ann", 5_000)

    word, epoch, _, died_at, *_ = console.join("ann", hub="two")

    assert (b"joined", b"2", lapsed) == (word, epoch, int(died_at))
    assert console.field("ann", "note") == ""
    assert console.lease("ann", 1) is None


def test_when_the_earlier_one_died_is_told_as_long_as_this_one_lives(console: Console) -> None:
    console.join("ann", hub="one")
    lapsed = console.lapse("ann", 5_000)
    console.join("ann", hub="two")

    assert lapsed == int(console.join("ann", hub="two", link=2, known_epoch="2")[3])


def test_an_owner_without_a_lease_died_just_now(console: Console) -> None:
    console.join("ann", hub="one")
    console.redis.delete(console.keys.leases)
    before = console.now()

    died_at = console.join("ann", hub="two")[3]

    assert before <= int(died_at) <= console.now()


@pytest.mark.parametrize("hub", ["one", "two"])
def test_a_takeover_is_a_new_incarnation_also_of_the_same_hub(console: Console, hub: str) -> None:
    console.join("ann", hub="one")
    before = console.now()

    word, epoch, now, died_at, *_ = console.join("ann", hub=hub, link=2, takeover="1")

    assert (word, epoch) == (b"joined", b"2")
    assert before <= int(died_at) <= int(now)
    assert console.lease("ann", 1) is None
    assert console.lease("ann", 2) is not None


def test_who_ended_properly_has_not_died(console: Console) -> None:
    owner = console.owner("ann", hub="one")
    console.leave("ann", "completed", owner=owner)

    assert [console.join("ann", hub="two")[place] for place in (0, 1, 3)] == [b"joined", b"2", b"0"]
    assert console.redis.zrange(console.keys.ended, 0, -1) == []
    assert console.field("ann", "ended_at") == ""


def test_who_ended_is_not_revived_by_its_own_hub(console: Console) -> None:
    owner = console.owner("ann")
    console.leave("ann", "completed", owner=owner)

    assert console.join("ann", link=2, known_epoch="1")[1] == b"2"


# Updating and leaving


def test_an_update_says_what_has_changed_and_leaves_the_rest(console: Console) -> None:
    """When there was progress its hub says: the script does not guess it."""
    owner = console.owner("ann", note="first")
    console.redis.hset(console.keys.agent("ann"), "progress_at", 5)

    assert console.update("ann", owner=owner, status="waiting") == b"updated"

    found = [console.field("ann", name) for name in ("status", "note", "progress_at")]
    assert found == ["waiting", "first", "5"]


def test_an_update_lets_the_hash_live_longer(console: Console) -> None:
    owner = console.owner("ann")
    console.redis.expire(console.keys.agent("ann"), 5)

    console.update("ann", owner=owner, status="waiting")

    assert console.redis.ttl(console.keys.agent("ann")) > limits.AGENT_TTL - 5


def test_the_final_status_stays(console: Console) -> None:
    owner = console.owner("ann")
    before = console.now()

    replies = [
        console.leave("ann", "failed", owner=owner),
        console.leave("ann", "completed", owner=owner),
        console.leave("ann", "completed", owner="1"),
        console.update("ann", owner=owner, status="running"),
        console.update("ann", owner="1", status="running"),
    ]

    assert replies == [b"left", b"fenced", b"ended", b"fenced", b"ended"]
    assert console.field("ann", "status") == "failed"
    assert before <= int(console.field("ann", "ended_at")) <= console.now()
    assert console.send("ann", "bob", 1, owner=owner) == ("fenced", "")


def test_who_left_has_no_lease_and_is_listed_for_an_hour(console: Console) -> None:
    owner = console.owner("ann")
    before = console.now()

    console.leave("ann", "completed", owner=owner)

    ((member, until),) = console.redis.zrange(console.keys.ended, 0, -1, withscores=True)
    assert member == b"ann#1"
    assert before <= until - limits.ENDED_TTL * 1000 <= console.now()
    assert console.lease("ann", 1) is None
    for key in (console.keys.agent("ann"), console.keys.ended):
        assert limits.ENDED_TTL - 5 < console.redis.ttl(key) <= limits.ENDED_TTL


def test_who_was_replaced_does_not_end_its_successor(console: Console) -> None:
    first = console.owner("ann", hub="one")
    console.owner("ann", hub="two", takeover="1")

    assert console.leave("ann", "failed", owner=first) == b"fenced"
    assert console.field("ann", "status") == "running"
    assert console.lease("ann", 2) is not None


def test_the_list_of_the_ended_is_bounded_in_time_and_number(console: Console) -> None:
    now = console.now()
    known = {f"x{number}#1": now + 60_000 + number for number in range(limits.ENDED_COUNT)}
    console.redis.zadd(console.keys.ended, {"old#1": now - 1, **known})
    console.redis.expire(console.keys.ended, 60)
    owner = console.owner("ann")

    console.leave("ann", "completed", owner=owner)

    assert console.redis.zcard(console.keys.ended) == limits.ENDED_COUNT
    assert console.redis.zscore(console.keys.ended, "ann#1") is not None
    assert [console.redis.zscore(console.keys.ended, gone) for gone in ("old#1", "x0#1")] == [None, None]


# Beating


def test_leases_are_renewed_and_it_is_told_which_are_gone(console: Console) -> None:
    for agent_id in ("ann", "bob", "cid"):
        console.join(agent_id)
    console.redis.zrem(console.keys.leases, "bob#2")
    later = console.now() + 2 * CALM_MS
    leases = ["ann#1", "bob#2", "cid#3", "cid#9"]

    changed = console.run(scripts.renew(console.keys, [(later, lease) for lease in leases]))
    present = console.run(scripts.present(console.keys, leases))

    assert changed == 2
    assert [later, None, later, None] == [None if score is None else float(score) for score in present]
    assert console.redis.zcard(console.keys.leases) == 2


def test_a_beat_of_nobody_but_the_lost_makes_no_lease(console: Console) -> None:
    assert console.renew("ann#1") == 0
    assert console.beat().earliest is None
    assert console.store.keys() == ["pulse"]
    assert 0 < console.redis.ttl(console.keys.pulse) <= limits.AGENT_TTL


def test_a_beat_revives_an_agent_that_is_late(console: Console) -> None:
    """As long as nobody has looked: the lease is there, and then nothing was lost."""
    console.join("ann")
    console.lapse("ann", 5_000)

    beat = console.beat("ann#1")

    assert (beat.earliest or 0) > beat.now + CALM_MS - 1_000
    assert console.lease("ann", 1) == beat.earliest
    assert console.losses() == []


def test_the_leases_of_as_many_agents_as_one_command_takes(console: Console) -> None:
    for number in range(3):
        console.join(f"a{number}")
    names = [f"a{number}#{number + 1}" for number in range(limits.BEAT_CHUNK)]
    later = console.now() + CALM_MS
    console.redis.zadd(console.keys.leases, dict.fromkeys(names[1:], later))

    assert console.renew(*names, ttl_ms=2 * CALM_MS) == limits.BEAT_CHUNK
    assert console.run(scripts.present(console.keys, [*names, "gone#1"]))[-1] is None


def test_a_beat_keeps_the_leases_for_a_day_however_long_they_are_renewed(console: Console) -> None:
    console.join("ann")
    console.redis.expire(console.keys.leases, 60)

    console.beat("ann#1")

    assert console.redis.ttl(console.keys.leases) > limits.AGENT_TTL - 5


def test_a_beat_keeps_the_inbox_and_removes_what_was_read(console: Console) -> None:
    console.run(scripts.open_inbox(console.keys, "hub.1", ttl_ms=5_000))
    inbox = console.keys.inbox("hub.1")
    second, third = (console.redis.xadd(inbox, {"agent": name}).decode() for name in ("ann", "bob"))

    assert console.beat(read_up_to=second).inbox_exists == 1
    assert [second, third] == [at.decode() for at, _ in console.redis.xrange(inbox)]
    assert 80_000 < console.redis.pttl(inbox) <= 90_000


def test_a_beat_tells_that_the_inbox_is_gone(console: Console) -> None:
    assert console.beat(read_up_to="1-1").inbox_exists == 0
    assert console.store.keys() == ["pulse"]


# Opening


def test_an_inbox_exists_from_its_opening_on(console: Console) -> None:
    before = console.now()
    now, first, *newest = console.run(scripts.open_inbox(console.keys, "hub.1", ttl_ms=5_000))

    assert before <= int(now) <= console.now()
    assert [first] == [at for at, _ in console.redis.xrange(console.keys.inbox("hub.1"))]
    assert newest == [b"0-0", b"0-0"]
    assert 0 < console.redis.pttl(console.keys.inbox("hub.1")) <= 5_000


def test_opening_tells_which_broadcast_and_which_event_is_the_newest(console: Console) -> None:
    console.owner("ann")
    for seq in (1, 2):
        console.broadcast("ann", seq)

    newest = console.run(scripts.open_inbox(console.keys, "hub.1", ttl_ms=5_000))[2:]

    assert newest == [console.redis.xrange(key)[-1][0] for key in (console.keys.broadcast, console.keys.timeline)]
