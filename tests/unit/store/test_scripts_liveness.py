"""The scripts that say who lives and who is lost, on both servers: sweep, and what beats and joins do of it.

Agents have a ttl of 60 seconds and an interval of 20; instead of waiting, tests move what the store knows of the past.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from console import CALM_MS, Console

from attune_dsl.store import limits

if TYPE_CHECKING:
    from conftest import Store

TTL = CALM_MS
INTERVAL = CALM_MS // 3
HOUR = 3_600_000


@pytest.fixture
def console(store: Store) -> Console:
    return Console(store)


def alive(console: Console, agent_id: str) -> bool:
    """Whether the agent's present incarnation has a lease and no end."""
    epoch = console.field(agent_id, "epoch")
    return console.field(agent_id, "ended_at") == "" and console.lease(agent_id, epoch) is not None


# A loss, exactly once


@pytest.mark.parametrize("look", ["beat", "sweep"])
def test_a_lapsed_lease_is_a_loss_and_said_once(console: Console, look: str) -> None:
    console.join("ann", stage="build", progress="0.25", keep=120_000)
    console.redis.hset(console.keys.stages("ann"), "build", "{}")
    console.redis.expire(console.keys.stages("ann"), 60)
    lapsed = console.lapse("ann", 100)

    first, second = (getattr(console, look)() for _ in range(2))

    assert (first.earliest, second.earliest) == (None, None)
    assert (console.losses(), console.lease("ann", 1)) == (["ann#1"], None)
    found = [console.field("ann", name) for name in ("status", "stage", "progress", "beat_at", "ended_at", "owner")]
    assert ["lost", "build", "0.25", str(lapsed - TTL), str(first.now), "1"] == found
    ((member, until),) = console.redis.zrange(console.keys.ended, 0, -1, withscores=True)
    assert (b"ann#1", first.now + 120_000) == (member, until)
    for key in (console.keys.agent("ann"), console.keys.stages("ann"), console.keys.ended):
        assert 100_000 < console.redis.pttl(key) <= 120_000


@pytest.mark.parametrize("keep", ["", "-5", "soon", "nan", "1e300"])
def test_a_history_without_a_time_to_keep_it_stays_for_an_hour(console: Console, keep: str) -> None:
    console.join("ann", keep=keep)
    console.lapse("ann", 100)

    console.sweep()

    assert console.losses() == ["ann#1"]
    assert limits.ENDED_TTL - 5 < console.redis.ttl(console.keys.agent("ann")) <= limits.ENDED_TTL


def test_nobody_is_lost_whose_lease_has_time(console: Console) -> None:
    console.join("ann")
    console.join("bob")
    console.lapse("bob", -5_000)

    sweep = console.sweep()

    assert console.lease("bob", 2) == sweep.earliest
    assert (console.losses(), alive(console, "ann"), alive(console, "bob")) == ([], True, True)


def test_a_late_beat_and_a_late_word_revive_nobody(console: Console) -> None:
    owner = console.owner("ann")
    console.lapse("ann", 100)
    console.sweep()

    assert console.renew("ann#1") == 0
    assert console.update("ann", owner=owner, status="running") == b"fenced"
    assert console.update("ann", owner="1", status="running") == b"ended"
    assert console.leave("ann", owner=owner) == b"fenced"
    assert console.leave("ann", owner="1") == b"ended"
    assert console.send("ann", "bob", 1, owner=owner) == ("fenced", "")
    assert console.field("ann", "status") == "lost"
    assert [kind for kind, _ in console.told()] == ["joined", "lost"]


def test_more_losses_than_one_call_deals_with(console: Console) -> None:
    """§ Scale: a call stays short, says that there is more, and the next goes on."""
    crowd = limits.SWEEP_COUNT + 5
    for number in range(crowd):
        console.join(f"a{number}")
        console.lapse(f"a{number}", 1_000)

    first, second = console.sweep(), console.sweep()

    assert first.earliest is not None
    assert first.earliest <= first.now
    assert second.earliest is None
    assert sorted(f"a{number}#{number + 1}" for number in range(crowd)) == sorted(console.losses())


@pytest.mark.parametrize("member", ["gone#7", "ann#99", "nonsense", "#", "#5", b"\xff#7", "ann#1#x"])
def test_a_lease_that_is_nobodys_goes_without_a_word(console: Console, member: Any) -> None:
    console.join("ann")
    console.redis.zadd(console.keys.leases, {member: console.now() - 5_000})

    console.sweep()

    assert console.redis.zrange(console.keys.leases, 0, -1) == [b"ann#1"]
    assert console.losses() == []


def test_something_else_in_the_place_of_an_agent_hides_no_loss(console: Console) -> None:
    """§5.12: otherwise one forged key would cost every hub its link, again and again."""
    console.join("ann")
    console.lapse("ann", 100)
    console.redis.set(console.keys.agent("bob"), "?", ex=60)
    console.redis.zadd(console.keys.leases, {"bob#2": console.now() - 5_000})

    assert console.beat().earliest is None
    assert console.losses() == ["ann#1"]


@pytest.mark.parametrize("name", ["ttl", "interval", "beat_at", "extended"])
@pytest.mark.parametrize("value", ["", "long", "nan", "-1"])
def test_a_number_that_is_none_hides_no_loss(console: Console, name: str, value: str) -> None:
    console.join("ann", **{name: value})
    console.join("bob")
    console.lapse("ann", 5_000)
    console.lapse("bob", 100)

    console.sweep()

    assert sorted(console.losses()) == ["ann#1", "bob#2"]


def test_an_id_with_a_hash_sign_is_lost_as_itself(console: Console) -> None:
    console.join("a#1#b")
    console.lapse("a#1#b", 100)

    console.sweep()

    assert console.losses() == ["a#1#b#1"]


# A silence of all


def test_nobody_is_lost_whose_beats_a_silence_may_have_swallowed(console: Console) -> None:
    """It gets one more ttl; then it is lost, and how long ago its last beat was is told as it was."""
    console.join("ann")
    console.quiet(100_000)
    lapsed = console.lapse("ann", 50_000)

    extended = console.beat(own_at=1)

    assert console.losses() == []
    assert extended.earliest is not None
    assert extended.now + TTL <= extended.earliest < extended.now + TTL + 1
    console.redis.zadd(console.keys.leases, {"ann#1": console.now() - 100})
    console.redis.hset(console.keys.agent("ann"), "extended", console.lease("ann", 1))
    console.beat(own_at=console.now())
    console.beat(own_at=console.now())
    assert console.losses() == ["ann#1"]
    assert str(lapsed - TTL) == console.field("ann", "beat_at") == console.timeline()[-1]["beat_at"]


def test_a_beat_after_the_extension_makes_it_a_lease_like_any_other(console: Console) -> None:
    """Also in the same millisecond: the next silence spares it again."""
    console.join("ann")
    console.quiet(100_000)
    console.lapse("ann", 50_000)
    console.sweep()
    extension = console.field("ann", "extended")

    console.redis.zadd(console.keys.leases, {"ann#1": int(float(extension))})

    assert float(extension) != console.lease("ann", 1)


def test_two_outages_in_a_row_lose_nobody_who_came_back_in_between(console: Console) -> None:
    console.join("ann")
    for _ in range(3):
        console.quiet(100_000)
        console.lapse("ann", 50_000)
        console.redis.hset(console.keys.pulse, mapping={"from": 0, "until": 0})
        console.sweep()
        assert console.losses() == []
        console.beat("ann#1", own_at=1)


def test_who_was_overdue_well_before_the_silence_is_lost_at_once(console: Console) -> None:
    console.join("dead")
    console.join("late")
    console.quiet(100_000)
    for agent_id, first_due in (("dead", 100_000 + limits.LATE + 500), ("late", 100_000 + limits.LATE - 500)):
        console.lapse(agent_id, first_due + INTERVAL - TTL)

    console.beat(own_at=1)

    assert console.losses() == ["dead#1"]
    assert alive(console, "late")


@pytest.mark.parametrize(("quiet", "lost"), [(2 * INTERVAL - 5_000, True), (2 * INTERVAL + 5_000, False)])
def test_two_intervals_without_any_beat_are_a_silence(console: Console, quiet: int, lost: bool) -> None:
    console.join("ann")
    console.quiet(quiet)
    console.lapse("ann", 100)

    console.beat(own_at=1)

    assert (console.losses() == ["ann#1"]) is lost


@pytest.mark.parametrize(("after", "lost"), [(-500, True), (500, False)])
def test_nobody_beat_while_the_caller_had_no_link(console: Console, after: int, lost: bool) -> None:
    """A restart of the server, say: short, but long enough for beats to be missed."""
    console.join("ann", ttl_ms=3_000, interval_ms=1_000)
    at = console.quiet(2_000)
    console.lapse("ann", 100)

    console.beat(own_at=at - 100, down_at=at + after)

    assert (console.losses() == ["ann#1"]) is lost


@pytest.mark.parametrize(("late", "lost"), [(limits.LATE - 1_000, True), (limits.LATE + 500, False)])
def test_where_one_command_was_late_beats_may_have_been(console: Console, late: int, lost: bool) -> None:
    """A server that was stopped, a machine that slept, a clock that was set forward."""
    console.join("ann", ttl_ms=3_000, interval_ms=1_000)
    console.quiet(1_000)
    console.lapse("ann", 100)

    console.beat(own_at=console.now(), late_ms=late)

    assert (console.losses() == ["ann#1"]) is lost


@pytest.mark.parametrize(("ago", "lost"), [(500, True), (1_500, False)])
def test_nobody_looked_when_a_lease_lapsed(console: Console, ago: int, lost: bool) -> None:
    """Whoever beats knows when that is; so there was nobody who could, however rarely the caller beats."""
    console.join("ann", ttl_ms=3_000, interval_ms=1_000)
    console.quiet(2_500)
    console.lapse("ann", ago)

    console.beat(own_at=1)

    assert (console.losses() == ["ann#1"]) is lost


def test_a_lease_that_lapsed_before_the_last_beat_was_looked_at(console: Console) -> None:
    console.join("ann", ttl_ms=3_000, interval_ms=1_000)
    console.quiet(1_000)
    console.lapse("ann", 1_500)

    console.beat(own_at=1)

    assert console.losses() == ["ann#1"]


def test_who_beats_often_has_time_to_come_back_too(console: Console) -> None:
    """A connection that broke is made again within a second or two."""
    console.join("quick", ttl_ms=600, interval_ms=200)
    console.quiet(100_000)
    console.lapse("quick", 50_000)

    sweep = console.sweep(own_at=1)

    assert sweep.earliest is not None
    assert 200 + limits.RETURN <= sweep.earliest - sweep.now < 200 + limits.RETURN + 1


@pytest.mark.parametrize(("past", "lost"), [(INTERVAL - 1_000, False), (INTERVAL + 1_000, True)])
def test_who_beats_rarely_has_its_own_interval_to_come_back(console: Console, past: int, lost: bool) -> None:
    """Machines that slept go on with what was left of their pauses, and the first to beat may be a quick one."""
    console.join("slow")
    console.beat("slow#1")
    lapsed = console.lapse("slow", 100)
    console.redis.hset(console.keys.pulse, mapping={"from": lapsed - 200_000, "until": lapsed - past})

    console.beat(own_at=console.now(), interval=500)

    assert (console.losses() == ["slow#1"]) is lost


def test_a_silence_long_ago_spares_nobody(console: Console) -> None:
    console.join("ann")
    console.quiet(200_000)
    console.beat(own_at=1)
    console.redis.hset(console.keys.pulse, mapping={"from": console.now() - 300_000, "until": console.now() - 200_000})
    console.lapse("ann", 100)

    console.beat(own_at=1)

    assert console.losses() == ["ann#1"]


# Who can say what a silence was


def test_a_stranger_cannot_tell_an_outage_from_the_end_of_all(console: Console) -> None:
    """However often it looks, and though it beats meanwhile itself: it was not there before."""
    console.join("ann")
    console.quiet(100_000)
    console.lapse("ann", 50_000)

    first = console.sweep()
    later = [console.sweep(own_at=first.now + more) for more in (0, 100)]
    console.beat(own_at=first.now)

    assert [first.witnessed, *(sweep.witnessed for sweep in later)] == [False] * 3
    assert console.pulse("witnessed") == "0"
    assert console.losses() == []


@pytest.mark.parametrize("order", ["the stranger first", "the witness first"])
def test_one_who_beat_before_the_silence_proves_that_it_was_an_outage(console: Console, order: str) -> None:
    at = console.quiet(100_000)
    callers = [0, at - 500] if order == "the stranger first" else [at - 500, 0]

    answers = [console.sweep(own_at=own_at).witnessed for own_at in callers]

    assert answers == ([False, True] if order == "the stranger first" else [True, True])


def test_a_stranger_whose_command_is_late_takes_no_proof_away(console: Console) -> None:
    """As long as the silence is not over: some may still come back."""
    at = console.quiet(100_000)
    console.sweep(own_at=at)

    assert console.sweep(own_at=0, late_ms=limits.LATE + 500).witnessed is True


def test_the_next_silence_needs_a_proof_of_its_own(console: Console) -> None:
    at = console.quiet(100_000)
    console.sweep(own_at=at)
    console.redis.hset(console.keys.pulse, "until", console.now() - 60_000)
    console.quiet(50_000)

    assert console.sweep(own_at=0).witnessed is False


def test_without_any_silence_there_is_nothing_to_prove(console: Console) -> None:
    console.join("ann")
    console.beat("ann#1")

    assert console.sweep().earliest == console.lease("ann", 1)
    assert console.losses() == []


# Clocks


def set_back(console: Console, step: int) -> None:
    """Let the server's clock have been set back: what the store has is of its former time."""
    console.redis.hset(console.keys.pulse, "at", console.now() + step)
    console.redis.expire(console.keys.pulse, 60)


@pytest.mark.parametrize("look", ["beat", "sweep"])
def test_a_clock_that_is_set_back_makes_no_ghost(console: Console, look: str) -> None:
    """Every lease has as much time left as before; those that had lapsed are losses."""
    console.join("ann")
    console.join("dead")
    set_back(console, HOUR)
    console.lapse("ann", -HOUR - 30_000)
    console.lapse("dead", -HOUR + 500)

    answer = getattr(console, look)()

    assert console.lease("ann", 1) == pytest.approx(answer.now + 30_000, abs=2_000)
    assert console.losses() == ["dead#2"]


def test_a_clock_that_is_set_back_moves_all_leases_of_a_crowd_once(console: Console) -> None:
    console.join("ann")
    set_back(console, HOUR)
    crowd = {f"x{number}#1": console.now() + HOUR + 10_000 + number for number in range(2_500)}
    console.redis.zadd(console.keys.leases, crowd)

    for _ in range(2):
        console.sweep()
        leases = dict(console.redis.zrange(console.keys.leases, 0, -1, withscores=True))
        moved = {score - crowd[member.decode()] for member, score in leases.items() if member != b"ann#1"}
        assert len(leases) == 2_501
        assert max(moved) - min(moved) == 0
        assert moved.pop() == pytest.approx(-HOUR, abs=2_000)


def test_a_lease_that_was_renewed_by_the_new_clock_already_is_left_alone(console: Console) -> None:
    """Its hub learned of the step from another answer. It beats, and must not lose its own agents by that.

    It reckons with a time that is ahead by as much as a command takes.
    """
    for step in (HOUR, limits.CLOCK_STEP + 500):
        console.join("ann")
        ahead = console.lapse("ann", -TTL - 400)
        set_back(console, step)

        console.sweep(own_at=console.now() + step)

        assert console.losses() == []
        assert console.lease("ann", 1) == ahead


def test_who_joins_just_after_a_step_back_is_not_lost_by_the_next_beat(console: Console) -> None:
    set_back(console, HOUR)
    console.join("ann")

    console.beat(link="other.1", own_at=console.now() + HOUR)

    assert (console.losses(), alive(console, "ann")) == ([], True)


def test_an_id_is_not_held_by_a_lease_of_the_former_time(console: Console) -> None:
    console.join("ann", hub="one")
    set_back(console, HOUR)
    console.lapse("ann", -HOUR + 500)

    assert console.join("ann", hub="two")[:2] == [b"joined", b"2"]
    assert console.losses() == ["ann#1"]


def test_what_was_extended_is_so_after_a_step_back_too(console: Console) -> None:
    console.join("ann")
    console.quiet(100_000)
    console.lapse("ann", 50_000)
    console.sweep()
    extended = (console.lease("ann", 1) or 0) + HOUR
    console.redis.zadd(console.keys.leases, {"ann#1": extended})
    console.redis.hset(console.keys.agent("ann"), "extended", extended)
    set_back(console, HOUR)

    console.sweep()

    assert float(console.field("ann", "extended")) == console.lease("ann", 1)
    assert (console.lease("ann", 1) or 0) < console.now() + TTL + 2_000


def test_a_small_step_back_moves_nothing(console: Console) -> None:
    console.join("ann")
    lease = console.lease("ann", 1)
    set_back(console, limits.CLOCK_STEP - 500)

    console.sweep()

    assert lease == console.lease("ann", 1)
