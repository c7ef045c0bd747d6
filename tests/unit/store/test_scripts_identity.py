"""The scripts that say who an agent is, on both servers: joining again and over others, ending, and acting for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from console import CALM_MS, Console, parts

from attune_dsl.store import limits, scripts

if TYPE_CHECKING:
    from conftest import Store

TTL = CALM_MS
ROW = b'{"status":"completed"}'


@pytest.fixture
def console(store: Store) -> Console:
    return Console(store)


def history(console: Console, agent_id: str) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = console.redis.hgetall(console.keys.stages(agent_id))
    return found


def say(console: Console, agent_id: str, kind: str = "updated", **stages: bytes) -> bytes:
    """Publish rows of stages."""
    owner = console.field(agent_id, "owner")
    reply: bytes = console.run(
        scripts.update(console.keys, agent_id, owner, kind=kind, fields=parts(status="running"), stages=stages)
    )
    return reply


def open_inbox(console: Console, link: str) -> str:
    console.run(scripts.open_inbox(console.keys, link, ttl_ms=60_000))
    return console.keys.inbox(link)


# The timeline


def test_a_stall_and_its_end_are_told_once_though_the_message_is_repeated(console: Console) -> None:
    owner = console.owner("ann")
    for kind, stalled_at in (("stalled", "1"), ("stalled", "1"), ("resumed", ""), ("resumed", "")):
        console.update("ann", kind, owner=owner, status="running", stalled_at=stalled_at)

    kinds = [kind for kind, _ in console.told()]
    assert kinds == ["joined", "stalled", "updated", "resumed", "updated"]


def test_the_timeline_tells_what_happened_in_order(console: Console) -> None:
    before = console.now()
    owner = console.owner("ann")
    for kind, stalled_at in (("updated", ""), ("stalled", "1"), ("resumed", "")):
        console.update("ann", kind, owner=owner, status="running", stalled_at=stalled_at)
    console.join("ann", hub="other", takeover="1", stage="build", progress="0.5")
    lapsed = console.lapse("ann", 100)
    console.sweep()
    console.join("ann", hub="third")
    console.leave("ann", "failed")
    after = console.now()

    assert console.told() == [
        ("joined", "ann#1"),
        ("updated", "ann#1"),
        ("stalled", "ann#1"),
        ("resumed", "ann#1"),
        ("fenced", "ann#1"),
        ("joined", "ann#2"),
        ("lost", "ann#2"),
        ("joined", "ann#3"),
        ("ended", "ann#3"),
    ]
    entries = console.timeline()
    assert all(before <= int(entry["at"]) <= after for entry in entries)
    more = {name: entries[6][name] for name in ("beat_at", "stage", "progress")}
    assert {"beat_at": str(lapsed - TTL), "stage": "build", "progress": "0.5"} == more
    assert entries[8]["status"] == "failed"
    assert limits.TIMELINE_TTL - 5 < console.redis.ttl(console.keys.timeline) <= limits.TIMELINE_TTL


@pytest.mark.parametrize("store", ["embedded"], indirect=True)
def test_the_timeline_is_capped(console: Console) -> None:
    """Servers cut off whole nodes of about a hundred entries: it may be a little more."""
    owner = console.owner("ann")
    with console.redis.pipeline(transaction=False) as pipeline:
        for _ in range(limits.TIMELINE_COUNT + 300):
            pipeline.xadd(console.keys.timeline, {"kind": "updated"})
        pipeline.execute()

    console.update("ann", owner=owner, status="running")

    assert console.redis.xlen(console.keys.timeline) <= limits.TIMELINE_COUNT + 100
    assert console.timeline()[-1]["agent"] == "ann"


def test_a_refused_word_is_not_told(console: Console) -> None:
    console.owner("ann")

    replies = [console.update("ann", owner="9@x.1", status="running"), console.leave("ann", owner="9@x.1")]

    assert replies == [b"fenced", b"fenced"]
    assert console.told() == [("joined", "ann#1")]


# Joining again


def test_the_same_hub_over_another_link_is_the_same_incarnation(console: Console) -> None:
    console.owner("ann", link=1)
    say(console, "ann", build=ROW)

    again = console.join("ann", link=2, known_epoch="1")

    assert again[:2] == [b"joined", b"1"]
    assert history(console, "ann") == {b"build": ROW}
    assert console.told() == [("joined", "ann#1"), ("updated", "ann#1")]


def test_one_that_was_lost_and_joins_again_goes_on_as_another_incarnation(console: Console) -> None:
    """What it did stays its history; and it knows itself what it took, so nothing was redelivered to it by this."""
    console.owner("ann")
    say(console, "ann", build=ROW)
    console.lapse("ann", 5_000)
    console.sweep()

    _, epoch, _, died_at, *_ = console.join("ann", link=2, known_epoch="1", status="running")

    assert (epoch, died_at) == (b"2", b"0")
    assert history(console, "ann") == {b"build": ROW}
    assert console.redis.ttl(console.keys.stages("ann")) > limits.ENDED_TTL
    assert [console.field("ann", name) for name in ("status", "ended_at", "beat_at")] == ["running", "", ""]
    assert console.redis.zrange(console.keys.ended, 0, -1) == []
    assert [kind for kind, _ in console.told()] == ["joined", "updated", "lost", "joined"]


def test_when_a_forerunner_died_stays_known_over_ones_own_loss(console: Console) -> None:
    console.join("ann", hub="one")
    died = console.lapse("ann", 5_000)
    console.join("ann", hub="two")
    console.lapse("ann", 100)
    console.sweep()

    assert died == int(console.join("ann", hub="two", link=2, known_epoch="2")[3])


@pytest.mark.parametrize("hub", ["two", "three"])
def test_when_a_forerunner_died_stays_known_over_an_orderly_end(console: Console, hub: str) -> None:
    """§5.7: what the one that died may have taken, and the one that ended left alone, is redelivered to the next."""
    console.join("ann", hub="one")
    died = console.lapse("ann", 5_000)
    console.owner("ann", hub="two")
    console.leave("ann")

    assert died == int(console.join("ann", hub=hub, link=3)[3])


def test_another_process_after_a_loss_begins_a_history_of_its_own(console: Console) -> None:
    console.owner("ann", hub="one")
    say(console, "ann", build=ROW)
    lapsed = console.lapse("ann", 5_000)
    console.sweep()

    word, epoch, _, died_at, *_ = console.join("ann", hub="two")

    assert (word, epoch, int(died_at)) == (b"joined", b"2", lapsed)
    assert history(console, "ann") == {}
    assert console.losses() == ["ann#1"]


def test_who_comes_back_and_finds_that_another_had_its_id_is_refused(console: Console) -> None:
    """Also where that other one has ended meanwhile: its own time is over."""
    console.join("ann", hub="one")
    console.lapse("ann", 5_000)
    console.owner("ann", hub="two", host="there", pid="8")
    console.leave("ann")

    assert console.join("ann", hub="one", link=2, known_epoch="1") == [b"taken", b"there", b"8", b"", b"2"]
    assert console.field("ann", "status") == "completed"


# Joining over another


def test_a_takeover_tells_the_old_owner_who_did_it(console: Console) -> None:
    inbox = open_inbox(console, "one.1")
    old = console.owner("ann", hub="one")
    say(console, "ann", build=ROW)

    word, epoch, *_ = console.join("ann", hub="two", takeover="1", by="pid 8 on there")

    assert (word, epoch) == (b"joined", b"2")
    told = {b"fenced": b"ann", b"epoch": b"1", b"by": b"pid 8 on there"}
    assert told == console.redis.xrange(inbox)[-1][1]
    assert console.update("ann", owner=old, status="running") == b"fenced"
    assert console.renew("ann#1") == 0
    assert history(console, "ann") == {}
    assert console.told()[-2:] == [("fenced", "ann#1"), ("joined", "ann#2")]


def test_a_takeover_makes_no_inbox(console: Console) -> None:
    console.owner("ann", hub="one")

    console.join("ann", hub="two", takeover="1")

    assert not console.redis.exists(console.keys.inbox("one.1"))


def test_a_takeover_of_nobody_is_a_join(console: Console) -> None:
    assert console.join("ann", takeover="1")[:2] == [b"joined", b"1"]
    assert console.told() == [("joined", "ann#1")]


def test_a_takeover_of_a_dead_one_is_a_loss_and_fences_nobody(console: Console) -> None:
    inbox = open_inbox(console, "one.1")
    console.owner("ann", hub="one")
    console.lapse("ann", 5_000)

    console.join("ann", hub="two", takeover="1")

    assert [kind for kind, _ in console.told()] == ["joined", "lost", "joined"]
    assert len(console.redis.xrange(inbox)) == 1


def test_an_owner_whose_process_is_known_to_be_gone_gives_way_at_once(console: Console) -> None:
    console.owner("ann", hub="one")
    before = console.now()

    word, epoch, now, died_at, *_ = console.join("ann", hub="two", takeover="#1")
    console.leave("ann")
    console.join("bob", hub="one")
    assert console.join("bob", hub="two", takeover="#3")[:2] == [b"joined", b"4"]

    assert (word, epoch) == (b"joined", b"2")
    assert before <= int(died_at) <= int(now)
    assert console.losses() == ["ann#1", "bob#3"]


def test_only_the_one_that_is_known_to_be_gone_gives_way(console: Console) -> None:
    """Another may have taken its place since then."""
    console.owner("ann", hub="one")
    console.owner("ann", hub="two", takeover="1", host="there", pid="8")

    assert console.join("ann", hub="three", takeover="#11")[:3] == [b"taken", b"there", b"8"]
    assert console.join("ann", hub="three", takeover="#12")[:3] == [b"taken", b"there", b"8"]


def test_a_join_over_a_lapsed_lease_reports_the_loss_that_nobody_saw(console: Console) -> None:
    """And only once: neither the next sweep nor the next join says it again."""
    console.join("ann", hub="one", stage="build", progress="0.5")
    lapsed = console.lapse("ann", 5_000)

    console.join("ann", hub="two")
    console.sweep()
    console.join("ann", hub="two", link=2, known_epoch="2")

    assert console.told() == [("joined", "ann#1"), ("lost", "ann#1"), ("joined", "ann#2")]
    entry = console.timeline()[1]
    assert (str(lapsed - TTL), "build", "0.5") == (entry["beat_at"], entry["stage"], entry["progress"])
    assert console.redis.zrange(console.keys.ended, 0, -1) == []


# Joining after a silence of all


def silenced(console: Console, *, witnessed: bool) -> int:
    """Let ann's lease have lapsed in a silence of all, and somebody have looked; return when its last beat was."""
    console.join("ann", hub="one", host="there", pid="7")
    at = console.quiet(100_000)
    lapsed = console.lapse("ann", 50_000)
    console.sweep(own_at=at if witnessed else 0)
    return lapsed - TTL


def test_after_the_end_of_all_an_id_is_free_at_once(console: Console) -> None:
    """A run that is started again after everything was killed does not wait for a lease that nobody renews."""
    beat_at = silenced(console, witnessed=False)

    assert console.join("ann", hub="two")[:2] == [b"joined", b"2"]
    assert console.losses() == ["ann#1"]
    assert str(beat_at) == console.timeline()[-2]["beat_at"]


def test_after_an_outage_an_id_is_kept_for_its_owner(console: Console) -> None:
    silenced(console, witnessed=True)

    assert console.join("ann", hub="two")[:3] == [b"taken", b"there", b"7"]
    assert console.join("ann", hub="one", link=2, known_epoch="1")[:2] == [b"joined", b"1"]
    assert console.losses() == []


@pytest.mark.parametrize(("witnessed", "word"), [(True, b"taken"), (False, b"joined")])
def test_a_lease_that_no_look_has_come_to_yet_is_judged_as_one_that_was_extended(
    console: Console, witnessed: bool, word: bytes
) -> None:
    """One call deals with 200, so that somebody may ask in between."""
    silenced(console, witnessed=witnessed)
    console.lapse("ann", 50_000)

    assert console.join("ann", hub="two")[0] == word


def test_a_silence_that_is_over_keeps_no_id(console: Console) -> None:
    """Who came back from it and died then is dead."""
    silenced(console, witnessed=True)
    console.lapse("ann", 50_000)
    console.redis.hset(console.keys.pulse, "until", console.now() - 1)

    assert console.join("ann", hub="two")[0] == b"joined"
    assert console.losses() == ["ann#1"]


# Ending


def test_the_last_rows_come_with_the_end(console: Console) -> None:
    console.owner("ann", keep=120_000)
    say(console, "ann", build=ROW)

    assert console.leave("ann", "completed", stages={"test": b"2"}, exit_code=3) == b"left"

    assert history(console, "ann") == {b"build": ROW, b"test": b"2"}
    assert (console.field("ann", "status"), console.field("ann", "exit_code")) == ("completed", "3")
    assert console.field("ann", "owner") == "1"
    for key in (console.keys.agent("ann"), console.keys.stages("ann"), console.keys.ended):
        assert 100_000 < console.redis.pttl(key) <= 120_000


def test_who_has_ended_is_never_lost(console: Console) -> None:
    console.owner("ann")
    console.leave("ann")
    console.redis.zadd(console.keys.leases, {"ann#1": console.now() - 5_000})
    console.redis.expire(console.keys.leases, 60)

    console.sweep()

    assert (console.field("ann", "status"), console.losses()) == ("completed", [])
    assert console.redis.zcard(console.keys.leases) == 0


def test_rows_that_were_said_before_stay_and_are_replaced_one_by_one(console: Console) -> None:
    console.owner("ann")

    say(console, "ann", build=b"1", test=b"1")
    say(console, "ann", test=b"2")

    assert history(console, "ann") == {b"build": b"1", b"test": b"2"}
    assert limits.AGENT_TTL - 5 < console.redis.ttl(console.keys.stages("ann")) <= limits.AGENT_TTL


# Acting for an agent


def tell(console: Console, agent_id: str, token: str, **fields: str) -> list[bytes]:
    found: list[bytes] = console.run(scripts.tell(console.keys, agent_id, token=token, fields=parts(**fields)))
    return found


def test_who_knows_the_token_learns_the_owner(console: Console) -> None:
    owner = console.owner("ann", token="secret")

    assert tell(console, "ann", "secret") == [b"told", owner.encode()]


def test_what_is_told_comes_to_the_owners_inbox(console: Console) -> None:
    inbox = open_inbox(console, "hub.1")
    owner = console.owner("ann", token="secret")

    assert tell(console, "ann", "secret", progress="[0.5,null]") == [b"told", owner.encode()]
    assert console.redis.xrange(inbox)[-1][1] == {b"agent": b"ann", b"progress": b"[0.5,null]"}


@pytest.mark.parametrize("token", ["", "secre", "Secret", "secret "])
def test_who_does_not_know_the_token_is_refused(console: Console, token: str) -> None:
    inbox = open_inbox(console, "hub.1")
    console.owner("ann", token="secret")

    replies = [tell(console, "ann", token), tell(console, "ann", token, progress="[1,null]")]

    assert replies == [[b"refused", b""]] * 2
    assert len(console.redis.xrange(inbox)) == 1


@pytest.mark.parametrize("token", ["", "secret"])
def test_nobody_acts_for_an_agent_that_has_no_token_or_is_not_there(console: Console, token: str) -> None:
    console.owner("ann")
    console.owner("bob", token="")

    assert [tell(console, agent_id, token) for agent_id in ("ann", "bob", "cid")] == [[b"refused", b""]] * 3


def test_nobody_acts_for_one_that_has_ended_or_was_lost_or_replaced(console: Console) -> None:
    for agent_id in ("ended", "lost", "replaced"):
        console.owner(agent_id, token="secret")
    console.leave("ended")
    console.lapse("lost", 100)
    console.sweep()
    console.join("replaced", hub="other", takeover="1", token="another")

    assert [tell(console, name, "secret") for name in ("ended", "lost", "replaced")] == [[b"refused", b""]] * 3


def test_a_process_without_an_inbox_is_away(console: Console) -> None:
    owner = console.owner("ann", token="secret")

    assert tell(console, "ann", "secret", progress="[1,null]") == [b"away", owner.encode()]
    assert not console.redis.exists(console.keys.inbox("hub.1"))
