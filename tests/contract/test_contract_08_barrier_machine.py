"""§5.8, barriers: the scripts against a small model, whoever comes, goes, dies, joins again or is cut off.

All of a generation learn the same, nobody is released unless all parties have come, and nobody waits for ever after a
break.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from attune_dsl.store import scripts
from attune_dsl.store.keys import Keys

if TYPE_CHECKING:
    from conftest import Store

NAMES = ("a", "b", "c")
BARRIERS = ("x", "y")
PARTIES: tuple[Any, ...] = (1, 2, 2, 3, 3, frozenset("ab"), frozenset("abc"))
TTL = 60_000

agents = st.sampled_from(NAMES)
barriers = st.sampled_from(BARRIERS)


class Party:
    """What an agent's process knows, and what is true of it."""

    def __init__(self) -> None:
        self.links = 0
        self.epoch = self.since = 0
        self.owner = ""
        self.is_there = False
        self.forget()

    def forget(self) -> None:
        self.stands: dict[str, tuple[int, Any]] = {}
        """Where it waits, as far as it knows: the generation and the parties."""
        self.fared: dict[str, int] = {}
        self.cursor = "0"


class Gate:
    """What is true of one barrier."""

    def __init__(self) -> None:
        self.generation = 1
        self.parties: Any = None
        self.present: list[str] = []
        self.broken: tuple[int, int] | None = None
        """The last break that nobody has gone beyond: in which generation, and what came before it in the order."""
        self.outcomes: dict[int, str] = {}


class Meetings(RuleBasedStateMachine):
    """See the module."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        store.clear()
        self.store, self.keys = store, Keys(store.namespace)
        self.people = {name: Party() for name in NAMES}
        self.gates = {name: Gate() for name in BARRIERS}
        self.learnt: dict[tuple[str, int], set[str]] = {}
        self.released = self.broke = 0
        for name in NAMES:
            self.join(name)

    def run(self, command: scripts.Command) -> Any:
        return self.store.redis.execute_command(*command)

    def order(self) -> int:
        return int(self.store.redis.get(self.keys.order))  # type: ignore[arg-type]

    # Coming and going

    @rule(name=agents)
    def join(self, name: str) -> None:
        """Join, or join again over a new link; then all of the old link is asked for anew."""
        me = self.people[name]
        if not me.is_there:
            me.forget()
        me.links += 1
        link = f"{name}.{me.links}"
        self.run(scripts.open_inbox(self.keys, link, ttl_ms=TTL))
        fields: list[Any] = ["status", "running", "ttl", TTL, "interval", TTL]
        known = str(me.epoch if me.is_there else 0)
        how = {"ttl_ms": TTL, "known_epoch": known, "takeover": "0", "hub": name, "by": ""}
        reply = self.run(scripts.join(self.keys, name, link, fields=fields, **how))  # type: ignore[arg-type]
        assert reply[0] == b"joined"
        me.epoch = int(reply[1])
        me.since = me.since if me.is_there else me.epoch
        me.owner, me.is_there, me.cursor = f"{me.epoch}@{link}", True, "0"
        for gate in list(me.stands):
            self.ask_again(name, gate)

    @rule(name=agents, how=st.sampled_from(["left", "lost", "replaced"]))
    def end(self, name: str, how: str) -> None:
        """Whatever it stands at breaks, and nothing else."""
        me = self.people[name]
        if not me.is_there:
            return
        member, before = f"{name}#{me.epoch}", self.order()
        if how == "left":
            fields = {"status": "completed", "fields": ["error", ""], "stages": {}}
            assert self.run(scripts.leave(self.keys, name, me.owner, str(me.epoch), **fields)) == b"left"  # type: ignore
        elif how == "lost":
            seconds, micros = self.store.redis.time()  # type: ignore[misc]
            now = int(seconds) * 1000 + int(micros) // 1000
            self.store.redis.zadd(self.keys.leases, {member: now - 100}, xx=True)
            self.run(scripts.sweep(self.keys, scripts.Witness(TTL, 0, 0, now)))
            assert self.store.redis.zscore(self.keys.leases, member) is None
        else:
            self.run(scripts.open_inbox(self.keys, "new.1", ttl_ms=TTL))
            given: dict[str, Any] = {"ttl_ms": TTL, "known_epoch": "0", "takeover": "1", "hub": "new", "by": ""}
            new = self.run(scripts.join(self.keys, name, "new.1", fields=["ttl", TTL, "interval", TTL], **given))
            self.run(
                scripts.leave(
                    self.keys,
                    name,
                    f"{int(new[1])}@new.1",
                    new[1].decode(),
                    status="completed",
                    fields=["error", ""],
                    stages={},
                )
            )
        me.is_there = False
        me.stands.clear()
        for gate in self.gates.values():
            if name in gate.present:
                self.breaks(gate, how, before)

    def breaks(self, gate: Gate, why: str, before: int) -> None:
        gate.outcomes[gate.generation] = f"broken by {why}"
        gate.broken = (gate.generation, before)
        gate.generation += 1
        gate.present = []
        self.broke += 1

    # At the barriers

    @rule(name=agents, at=barriers, parties=st.sampled_from(PARTIES), reply_is_lost=st.booleans())
    def arrive(self, name: str, at: str, parties: Any, reply_is_lost: bool) -> None:
        """Come to a barrier, as one that waits nowhere else there; the reply may be lost, and it is sent again."""
        me, gate = self.people[name], self.gates[at]
        if not me.is_there or at in me.stands or (isinstance(parties, frozenset) and name not in parties):
            return
        since = me.fared.get(at, me.since)
        generation = gate.generation
        expected = self.expect(name, at, parties, since)
        reply = self.asks(name, at, parties=parties, since=since, generation=None)
        if reply_is_lost and expected != "refused":
            reply = self.asks(name, at, parties=parties, since=since, generation=None, again=True)
        if expected == "late":
            self.learns(name, at, reply, gate.broken[0] if gate.broken else 0)
        elif expected == "refused":
            assert reply[0] == b"parties"
        elif expected == "waiting":
            assert reply == [b"waiting", str(generation).encode()]
            me.stands[at] = (generation, parties)
        else:
            self.learns(name, at, reply, generation)

    @rule(at=barriers, parties=st.sampled_from([2, 3, frozenset("abc")]), order=st.permutations(NAMES))
    def all_arrive(self, at: str, parties: Any, order: list[str]) -> None:
        """As they mostly do."""
        for name in order:
            self.arrive(name, at, parties, False)

    def expect(self, name: str, at: str, parties: Any, since: int) -> str:
        """What the model says; it is changed by that."""
        gate = self.gates[at]
        if gate.broken is not None and since <= gate.broken[1]:
            return "late"
        if gate.present and gate.parties != parties:
            return "refused"
        gate.parties = parties
        if name not in gate.present:
            gate.present.append(name)
        count = parties if isinstance(parties, int) else len(parties)
        if len(gate.present) < count:
            return "waiting"
        if not isinstance(parties, int):
            assert set(gate.present) == parties
        gate.outcomes[gate.generation] = "released " + " ".join(gate.present)
        gate.generation += 1
        gate.present, gate.broken = [], None
        self.released += 1
        return "released"

    def asks(self, name: str, at: str, **how: Any) -> Any:
        return self.run(scripts.arrive(self.keys, name, at, owner=self.people[name].owner, **how))

    def learns(self, name: str, at: str, reply: list[bytes], generation: int) -> None:
        """The agent is told how a generation ended, which is what is true of it, and what all others are told."""
        kind, number, outcome, order = (part.decode() for part in reply)
        assert (kind, int(number)) == ("over", generation)
        self.compare(at, generation, outcome)
        self.people[name].fared[at] = int(order)

    def compare(self, at: str, generation: int, outcome: str) -> None:
        self.learnt.setdefault((at, generation), set()).add(outcome)
        expected = self.gates[at].outcomes[generation]
        if expected.startswith("released"):
            assert outcome.split("\n") == expected.split(" ")
        else:
            assert outcome.startswith("broken\n")

    @rule(name=agents, at=barriers)
    def depart(self, name: str, at: str) -> None:
        """Its time is over, unless all have come."""
        me, gate = self.people[name], self.gates[at]
        if at not in me.stands:
            return
        generation, _ = me.stands.pop(at)
        if generation == gate.generation:
            assert name in gate.present
            self.breaks(gate, "timeout", self.order())
        why = {"reason": "timeout", "by": name, "detail": ""}
        reply = self.run(scripts.depart(self.keys, name, at, owner=me.owner, generation=generation, **why))
        self.learns(name, at, reply, generation)

    @rule(name=agents, at=barriers)
    def ask_again(self, name: str, at: str) -> None:
        """Over a new link, or because the inbox ran over."""
        me, gate = self.people[name], self.gates[at]
        if at not in me.stands:
            return
        generation, parties = me.stands[at]
        reply = self.asks(name, at, parties=parties, since=me.fared.get(at, me.since), generation=generation)
        if generation == gate.generation:
            assert reply == [b"waiting", str(generation).encode()]
        else:
            del me.stands[at]
            if generation > gate.generation - 8:
                self.learns(name, at, reply, generation)

    @rule(name=agents)
    def receive(self, name: str) -> None:
        """What was put into the inbox arrives."""
        me = self.people[name]
        if not me.is_there:
            return
        inbox = self.keys.inbox(f"{name}.{me.links}")
        for at, fields in self.store.redis.xrange(inbox, f"({me.cursor}" if me.cursor != "0" else "-"):  # type: ignore
            me.cursor = at.decode()
            if b"barrier" not in fields:
                continue
            barrier, generation = fields[b"barrier"].decode(), int(fields[b"generation"])
            assert fields[b"of"].decode() == name
            self.compare(barrier, generation, fields[b"outcome"].decode())
            if me.stands.get(barrier, (0, None))[0] == generation:
                del me.stands[barrier]
                me.fared[barrier] = int(fields[b"order"])

    # What always holds

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        """Who believes to stand in a generation that is over has been told of it, or is when it asks."""
        for name, me in self.people.items():
            for at, (generation, _) in me.stands.items():
                if generation == self.gates[at].generation:
                    assert name in self.gates[at].present

    @invariant()
    def the_store_holds_what_is_true(self) -> None:
        with self.store.redis.pipeline(transaction=False) as pipeline:
            for at in BARRIERS:
                pipeline.hkeys(self.keys.barrier(at))
            for name in NAMES:
                pipeline.smembers(self.keys.barriers(name))
            found = [{one.decode() for one in reply} for reply in pipeline.execute()]
        for at, fields in zip(BARRIERS, found, strict=False):
            assert {field[3:] for field in fields if field.startswith("at:")} == set(self.gates[at].present)
        for name, noted in zip(NAMES, found[len(BARRIERS) :], strict=True):
            assert noted == {at for at, gate in self.gates.items() if name in gate.present}

    @invariant()
    def all_learn_the_same(self) -> None:
        for where, outcomes in self.learnt.items():
            assert len(outcomes) == 1, where

    def teardown(self) -> None:
        """In the end all who still wait learn how it ended, once those that stand in the present generation leave."""
        for name in NAMES:
            self.receive(name)
        for name, me in self.people.items():
            assert all(generation == self.gates[at].generation for at, (generation, _) in me.stands.items()), name


def explore(store: Store, examples: int, steps: int) -> tuple[int, int]:
    """Run the machine; return how many generations were released and how many broke."""
    released = broke = 0

    class Counted(Meetings):
        def teardown(self) -> None:
            nonlocal released, broke
            super().teardown()
            released, broke = released + self.released, broke + self.broke

    for command in scripts.load_commands():
        store.redis.execute_command(*command)
    run_state_machine_as_test(
        lambda: Counted(store),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return released, broke


@pytest.mark.timeout(120)
def test_all_of_a_generation_learn_the_same_and_nobody_waits_in_vain(store: Store) -> None:
    """§5.8: on both servers; hypothesis prints how to repeat what fails."""
    released = broke = 0
    for _ in range(3):  # what hypothesis chooses may be dull for once
        more = explore(store, 35, 40)
        released, broke = released + more[0], broke + more[1]
        if min(released, broke) > 10:
            break
    assert (released > 10, broke > 10) == (True, True), "nothing was tried that matters"
