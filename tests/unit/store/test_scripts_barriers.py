"""The scripts ``arrive`` and ``depart``, and what else breaks a barrier, on both servers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest
from console import CALM_MS, Console
from redis.exceptions import ResponseError

from attune_dsl.store import limits, scripts

if TYPE_CHECKING:
    from conftest import Store

LATEST = 2**53


class Meeting(Console):
    """With agents that each have a hub, and meet at the barrier ``gate``."""

    def __init__(self, store: Store, *agents: str) -> None:
        super().__init__(store)
        for agent in agents:
            self.come(agent)

    def come(self, agent: str, **how: Any) -> None:
        """Join over a hub of its own."""
        self.run(scripts.open_inbox(self.keys, f"{agent}.1", ttl_ms=CALM_MS))
        self.owner(agent, hub=agent, **how)

    def arrive(
        self,
        agent: str,
        parties: int | Sequence[str] = 2,
        *,
        name: str = "gate",
        since: int = LATEST,
        generation: int | None = None,
        owner: str | None = None,
        again: bool = False,
    ) -> list[Any]:
        """Arrive, or ask again how a ``generation`` stands; ``since`` says by default that the agent knows all."""
        return self._reply(
            scripts.arrive(
                self.keys,
                agent,
                name,
                owner=self._signed(agent, owner),
                parties=parties,
                since=since,
                generation=generation,
                again=again,
            )
        )

    def depart(
        self, agent: str, generation: int | None = None, *, reason: str = "timeout", owner: str | None = None
    ) -> list[Any]:
        signed = self._signed(agent, owner)
        how = {"reason": reason, "by": agent, "detail": f"{agent} left"}
        return self._reply(scripts.depart(self.keys, agent, "gate", owner=signed, generation=generation, **how))

    def _reply(self, command: scripts.Command) -> list[Any]:
        return [part.decode() for part in self.run(command)]

    def heard(self, agent: str) -> list[tuple[str, str]]:
        """What the agent's hub was told of barriers: generation and outcome."""
        entries = self.redis.xrange(self.keys.inbox(f"{agent}.1"))
        return [
            (fields[b"generation"].decode(), fields[b"outcome"].decode())
            for _, fields in entries
            if fields.get(b"of") == agent.encode()
        ]

    def standing(self, name: str = "gate") -> set[str]:
        fields = self.redis.hkeys(self.keys.barrier(name))
        return {field.decode()[3:] for field in fields if field.startswith(b"at:")}

    def at(self, agent: str) -> set[str]:
        """The barriers that break when the agent ends."""
        return {name.decode() for name in self.redis.smembers(self.keys.barriers(agent))}


@pytest.fixture
def gate(store: Store) -> Meeting:
    return Meeting(store, "ann", "ben", "cho")


RELEASED = "released\nann\nben"
TIMED_OUT = "broken\ntimeout\nann\nann left"


# Meeting


def test_the_last_one_releases_all_in_the_order_of_arrival(gate: Meeting) -> None:
    """§5.8: who stands is told through its hub, the last one by the reply; all the same."""
    assert gate.arrive("cho", 3) == ["waiting", "1"]
    assert gate.arrive("ann", 3) == ["waiting", "1"]
    assert gate.standing() == {"cho", "ann"}
    kind, generation, outcome, order = gate.arrive("ben", 3)

    assert (kind, generation, outcome) == ("over", "1", "released\ncho\nann\nben")
    assert order == gate.redis.get(gate.keys.order).decode()
    for agent in ("ann", "ben", "cho"):
        assert gate.heard(agent) == [("1", outcome)]
        assert gate.at(agent) == set()
    assert gate.standing() == set()


def test_the_order_of_arrival_is_kept_for_many(store: Store) -> None:
    """§5.8: also beyond ten, where digits would sort otherwise."""
    names = [f"a{n}" for n in range(25)]
    gate = Meeting(store, *reversed(names))

    replies = [gate.arrive(name, 25) for name in names]

    assert replies[-1][2].split("\n")[1:] == names


def test_a_hub_is_told_once_for_all_of_its_agents(gate: Meeting) -> None:
    """§5.8: what it is told names all, so a copy for each would grow with the square of their number."""
    for agent in ("dan", "eve"):
        gate.owner(agent, hub="ann")
    for agent in ("dan", "ben", "ann", "eve"):
        gate.arrive(agent, 4)

    told = [fields[b"of"] for _, fields in gate.redis.xrange(gate.keys.inbox("ann.1")) if b"of" in fields]
    assert told == [b"dan\nann\neve"]
    assert gate.heard("ben") == [("1", "released\ndan\nben\nann\neve")]


def test_one_that_arrives_twice_counts_once(gate: Meeting) -> None:
    """§5.8: a command that is sent again over a new link moves nothing."""
    for _ in range(3):
        assert gate.arrive("ann") == ["waiting", "1"]

    assert gate.arrive("ben")[2] == RELEASED


def test_generations_are_counted_from_one(gate: Meeting) -> None:
    """§5.8: the barrier can be used again at once."""
    for generation in range(1, 4):
        assert gate.arrive("ann") == ["waiting", str(generation)]
        assert gate.arrive("ben")[:3] == ["over", str(generation), RELEASED]

    assert gate.heard("ann") == [(str(n), RELEASED) for n in (1, 2, 3)]


def test_one_party_meets_itself(gate: Meeting) -> None:
    """§5.8: at once, and leaves nobody standing."""
    assert gate.arrive("ann", 1)[:3] == ["over", "1", "released\nann"]
    assert (gate.standing(), gate.at("ann")) == (set(), set())


def test_barriers_do_not_touch_each_other(gate: Meeting) -> None:
    """§5.8: by their names, for one agent and for several."""
    gate.arrive("ann", name="gate")
    gate.arrive("ann", name="door")

    assert gate.at("ann") == {"gate", "door"}
    assert gate.arrive("ben", name="door")[2] == RELEASED
    assert (gate.at("ann"), gate.standing()) == ({"gate"}, {"ann"})


# Another number, other names


def test_another_number_than_the_others_is_refused(gate: Meeting) -> None:
    """§5.8: it changes nothing for them; with nobody there, any number will do."""
    gate.arrive("ann", 2)

    assert gate.arrive("ben", 3) == ["parties", "2"]
    assert (gate.standing(), gate.at("ben")) == ({"ann"}, set())
    assert gate.arrive("ben", 2)[2] == RELEASED
    assert gate.arrive("ben", 3) == ["waiting", "2"]


@pytest.mark.parametrize("stranger", [2, ["ben", "cho"], ["cho", "ann"]])
def test_where_parties_are_named_a_stranger_counts_for_nothing(gate: Meeting, stranger: Any) -> None:
    """§5.8: whoever names the parties is released with these and nobody else."""
    gate.arrive("ann", ["ann", "ben"])

    assert gate.arrive("cho", stranger)[0] == "parties"
    assert gate.standing() == {"ann"}
    assert gate.arrive("ben", ["ben", "ann"])[2] == RELEASED


def test_where_parties_are_counted_one_that_names_them_is_refused(gate: Meeting) -> None:
    """§5.8: those who stand there may be others."""
    gate.arrive("cho", 2)

    assert gate.arrive("ann", ["ann", "ben"])[0] == "parties"
    assert gate.arrive("ben", 2)[2] == "released\ncho\nben"


# Departing


def test_one_that_waits_no_longer_breaks_it_for_all(gate: Meeting) -> None:
    """§5.8: with why, by whom and what."""
    gate.arrive("ann", 3)
    gate.arrive("ben", 3)

    kind, generation, outcome, order = gate.depart("ann", 1)

    assert (kind, generation, outcome) == ("over", "1", TIMED_OUT)
    assert order == gate.redis.get(gate.keys.order).decode()
    assert gate.heard("ann") == gate.heard("ben") == [("1", TIMED_OUT)]
    assert (gate.standing(), gate.at("ann"), gate.at("ben")) == (set(), set(), set())
    assert gate.arrive("ben", 3) == ["waiting", "2"]


def test_one_that_departs_too_late_learns_how_it_ended(gate: Meeting) -> None:
    """§5.8: all have come, so all are released, also the one whose time was over; and nothing breaks."""
    gate.arrive("ann")
    gate.arrive("ben")

    assert gate.depart("ann", 1)[:3] == ["over", "1", RELEASED]
    assert gate.arrive("ann") == ["waiting", "2"]
    assert gate.depart("ann", 1)[:3] == ["over", "1", RELEASED]
    assert gate.standing() == {"ann"}


def test_a_departure_that_is_sent_twice_breaks_one_generation(gate: Meeting) -> None:
    """§5.8: its reply may be lost."""
    gate.arrive("ann")
    assert gate.depart("ann", 1)[2] == TIMED_OUT
    gate.arrive("ben")

    assert gate.depart("ann", 1)[2] == TIMED_OUT
    assert gate.standing() == {"ben"}


def test_one_that_does_not_know_where_it_stands_departs(gate: Meeting) -> None:
    """§5.8: its arrival was not confirmed. Who does not stand there breaks nothing."""
    gate.arrive("ann")
    gate.depart("ben")
    assert gate.standing() == {"ann"}

    assert gate.depart("ann")[:3] == ["over", "1", TIMED_OUT]
    assert gate.depart("ann")[2] == ""
    assert gate.redis.hget(gate.keys.barrier("gate"), "generation") == b"2"


def test_to_depart_from_where_nobody_ever_was_leaves_nothing(gate: Meeting) -> None:
    """§5.8: no key is made for it."""
    for generation in (None, 1):
        assert gate.depart("ann", generation)[2] == ""

    assert not gate.redis.exists(gate.keys.barrier("gate"))


# Asking again


def test_one_that_asks_again_learns_of_an_earlier_generation(gate: Meeting) -> None:
    """§5.8: also when the others have run ahead; it does not arrive by that."""
    for _ in range(3):
        gate.arrive("ann")
        gate.arrive("ben")
    gate.arrive("ben")
    gate.depart("ben", 4)

    assert gate.arrive("ann", generation=2)[:3] == ["over", "2", RELEASED]
    assert gate.arrive("ann", generation=4)[:3] == ["over", "4", "broken\ntimeout\nben\nben left"]
    assert gate.standing() == set()


def test_one_that_asks_again_of_the_present_generation_goes_on_standing(gate: Meeting) -> None:
    """§5.8: also where the store has forgotten it, as a server does that lost its data."""
    gate.arrive("ann")
    assert gate.arrive("ann", generation=1) == ["waiting", "1"]

    gate.redis.delete(gate.keys.barrier("gate"), gate.keys.barriers("ann"))
    assert gate.arrive("ann", generation=1) == ["waiting", "1"]
    assert gate.arrive("ben")[2] == RELEASED
    gate.redis.delete(gate.keys.barrier("gate"))
    assert gate.arrive("ann", generation=5)[:3] == ["over", "5", ""]


@pytest.mark.parametrize("how", ["asks", "departs"])
def test_one_that_asks_late_still_learns_of_a_later_break(gate: Meeting, how: str) -> None:
    """§5.8: what it is told of its own generation says nothing of the next one, at which it was expected."""
    gate.arrive("ann")
    order = gate.arrive("ben")[3]
    gate.arrive("ben")
    later = gate.depart("ben", 2)

    found = gate.arrive("ann", generation=1) if how == "asks" else gate.depart("ann", 1)

    assert found == ["over", "1", RELEASED, order]
    assert gate.arrive("ann", since=int(order)) == later
    assert gate.arrive("ann", generation=9)[2:] == ["", gate.redis.get(gate.keys.order).decode()]


def test_outcomes_are_capped(gate: Meeting) -> None:
    """§5.12: only the last ones are kept, whatever kind they are."""
    for generation in range(1, 31):
        gate.arrive("ann")
        gate.depart("ann", generation) if generation % 3 else gate.arrive("ben")

    fields = {field.decode() for field in gate.redis.hkeys(gate.keys.barrier("gate"))}
    kept = {field for field in fields if field.startswith("outcome:")}
    assert kept == {f"outcome:{n}" for n in range(31 - limits.OUTCOME_COUNT, 31)}
    assert len(fields) <= 2 * limits.OUTCOME_COUNT + 8
    assert gate.arrive("ann", generation=1)[:3] == ["over", "1", ""]


def test_an_arrival_that_is_sent_again_after_the_release_is_none(gate: Meeting) -> None:
    """§5.8: its reply was lost with the link, and the others came meanwhile: it was released with them."""
    since = int(gate.redis.get(gate.keys.order))
    gate.arrive("ann", since=since)
    order = gate.arrive("ben")[3]

    assert gate.arrive("ann", since=since, again=True) == ["over", "1", RELEASED, order]
    assert gate.standing() == set()
    gate.arrive("ben")
    gate.arrive("cho")
    assert gate.arrive("ann", since=since, again=True)[:3] == ["over", "1", RELEASED]
    assert gate.arrive("ann", since=int(order), again=True) == ["waiting", "3"]


# Who comes after a break


def test_one_that_was_there_when_it_broke_learns_of_it_once(gate: Meeting) -> None:
    """§5.8: by its place in the namespace's order; one that joined later begins anew."""
    since = int(gate.redis.get(gate.keys.order))
    gate.arrive("ann", 3)
    order = int(gate.depart("ann", 1)[3])

    assert gate.arrive("cho", 3, since=since) == ["over", "1", TIMED_OUT, str(order)]
    assert gate.standing() == set()
    assert gate.arrive("cho", 3, since=order) == ["waiting", "2"]
    gate.come("dan")
    assert gate.arrive("dan", 3, since=int(gate.field("dan", "epoch"))) == ["waiting", "2"]


def test_a_break_is_past_once_others_were_released(gate: Meeting) -> None:
    """§5.8: one that comes much later is not told of what no one remembers."""
    since = int(gate.redis.get(gate.keys.order))
    gate.arrive("ann")
    gate.depart("ann", 1)
    for _ in range(limits.OUTCOME_COUNT + 2):
        gate.arrive("ann")
        gate.arrive("ben")

    assert gate.arrive("cho", since=since)[0] == "waiting"


# Ends


@pytest.mark.parametrize("end", ["completed", "failed", "lost", "taken over"])
def test_the_end_of_one_that_stands_there_breaks_it(gate: Meeting, end: str) -> None:
    """§5.8: all barriers at which it stands, with its status, stage and error, as told to those who wait for it."""
    gate.update("ann", stage="build")
    for name in ("gate", "door"):
        gate.arrive("ann", 3, name=name)
        gate.arrive("ben", 3, name=name)
    stage, error = "build", ""

    if end == "lost":
        gate.lapse("ann", 100)
        gate.sweep()
    elif end == "taken over":
        gate.owner("ann", hub="other", takeover="1")
        stage = ""
    else:
        error = "no"
        gate.leave("ann", end, error=error)

    outcome = f"broken\npeer_gone\nann\n{end}\n{stage}\n{error}"
    assert gate.heard("ben") == [("1", outcome)] * 2
    assert (gate.at("ann"), gate.at("ben"), gate.standing("door")) == (set(), set(), set())


def test_the_loss_that_a_join_finds_breaks_it(gate: Meeting) -> None:
    """§5.8: whoever notices."""
    gate.arrive("ann")
    gate.lapse("ann", 100)
    gate.owner("ann", hub="other")

    assert gate.heard("ann") == []
    assert gate.arrive("ben", generation=1)[2] == "broken\npeer_gone\nann\nlost\n\n"


def test_the_end_of_one_that_stands_nowhere_breaks_nothing(gate: Meeting) -> None:
    """§5.8: also if it was here before, or comes back over a new link."""
    gate.arrive("ann")
    gate.arrive("ben")
    gate.arrive("ben")
    gate.owner("ben", hub="ben", link=2, known_epoch=gate.field("ben", "epoch"))

    gate.leave("ann")
    gate.leave("cho", "failed")

    assert gate.standing() == {"ben"}
    assert gate.heard("ben") == [("1", RELEASED)]


# Owners, keys, and what is in the way


@pytest.mark.parametrize("owner", ["", "9@ann.1"])
def test_one_that_is_not_the_owner_is_fenced(gate: Meeting, owner: str) -> None:
    """§5.7: it neither arrives nor departs."""
    assert gate.arrive("ann", owner=owner) == ["fenced"]
    assert not gate.redis.exists(gate.keys.barrier("gate"))
    gate.arrive("ann")

    assert gate.depart("ann", 1, owner=owner) == ["fenced"]
    assert gate.standing() == {"ann"}


def test_keys_have_a_ttl_which_asking_again_renews(gate: Meeting) -> None:
    """§5.12: hubs ask once an hour, so that nothing expires under those who stand there."""
    keys = (gate.keys.barrier("gate"), gate.keys.barriers("ann"))
    gate.arrive("ann")
    for renew in (lambda: gate.arrive("ann", generation=1), lambda: None):
        for key in keys:
            assert limits.AGENT_TTL - 60 < gate.redis.ttl(key) <= limits.AGENT_TTL
            gate.redis.expire(key, 100)
        renew()
        assert (gate.redis.ttl(keys[0]) > 100) is (renew() is not None)
        if gate.redis.ttl(keys[0]) <= 100:
            gate.depart("ann", 1)
    assert gate.redis.ttl(keys[0]) > 100
    assert gate.store.keys_for_ever() == []


@pytest.mark.parametrize("end", ["leave", "lapse", "depart", "release"])
@pytest.mark.parametrize("thing", ["barrier:door", "barriers:ann", "barriers:ben", "agent:ben", "inbox:ben.1"])
def test_what_stands_in_the_place_of_a_key_hinders_nobody_else(gate: Meeting, end: str, thing: str) -> None:
    """§5.12: whose end is told, who leaves, and the next generation."""
    for name in ("door", "gate"):
        gate.arrive("ann", 3, name=name)
        gate.arrive("ben", 3, name=name)
        gate.arrive("dan", 3, name=name) if gate.field("dan", "owner") else None
    gate.redis.set(gate.keys.prefix + thing, "hostile", ex=60)

    if end == "leave":
        assert gate.leave("ann") == b"left"
    elif end == "lapse":
        gate.lapse("ann", 100)
        gate.sweep()
        assert ("lost", "ann#1") in gate.told()
    elif end == "depart":
        assert gate.depart("ann", 1)[2] == TIMED_OUT
    else:
        assert gate.arrive("cho", 3)[2] == "released\nann\nben\ncho"

    if thing != "barriers:ann" or end in {"depart", "release"}:
        assert gate.standing() == set()
        assert gate.arrive("cho", 1, generation=None)[1] == "2"
    if thing in {"barrier:door", "barriers:ann"} and end in {"depart", "release"}:
        assert len(gate.heard("ben")) == 1


@pytest.mark.parametrize("thing", ["barrier", "barriers"])
def test_one_that_cannot_arrive_does_not_half(gate: Meeting, thing: str) -> None:
    """§5.12: the command is refused, and nobody is counted who does not wait."""
    gate.arrive("ben")
    key = gate.keys.barrier("door") if thing == "barrier" else gate.keys.barriers("ann")
    gate.redis.set(key, "hostile", ex=60)

    with pytest.raises(ResponseError, match="WRONGTYPE"):
        gate.arrive("ann", name="door" if thing == "barrier" else "gate")

    assert gate.standing() == {"ben"}


def test_the_end_of_one_that_is_only_thought_to_stand_there_breaks_nothing(gate: Meeting) -> None:
    """§5.8: the barrier has expired since, and others meet there."""
    gate.arrive("ann", 3)
    gate.redis.delete(gate.keys.barrier("gate"))
    gate.arrive("ben")

    gate.leave("ann", "failed")
    assert gate.heard("ben") == []
    assert gate.arrive("cho")[2] == "released\nben\ncho"


@pytest.mark.parametrize(
    ("field", "value"), [("generation", "soon"), ("at:mad", "first"), ("at:mad", "nan"), ("at:ann", "x")]
)
def test_nonsense_in_a_barrier_keeps_nobody_from_ending(gate: Meeting, field: str, value: str) -> None:
    """§5.12: its other barriers break as they should."""
    for name in ("door", "gate"):
        gate.arrive("ann", 3, name=name)
        gate.arrive("ben", 3, name=name)
    gate.redis.hset(gate.keys.barrier("door"), field, value)

    assert gate.leave("ann", "failed") == b"left"

    assert ("1", "broken\npeer_gone\nann\nfailed\n\n") in gate.heard("ben")
    assert gate.standing() == set()
