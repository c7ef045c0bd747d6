"""§5.8, no false alarms: the scripts against a model that knows who is blocked and who could still send.

Hubs learn late: mail that is stored and not received, waits that have ended and of which the store was not told yet,
sources that have ended and joined again. Whatever the interleaving, the script must name a cycle if, and only if, each
of its members really waits for the next and would go on doing so; and tell it the one that would give up first.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from attune_dsl.store import limits, scripts
from attune_dsl.store.keys import Keys
from attune_dsl.store.scripts import Command

if TYPE_CHECKING:
    from conftest import Store

NAMES = ("a", "b", "c")
TYPES = ("x", "y")
TTL = 60_000

agents = st.sampled_from(NAMES)
kinds = st.sampled_from([(), (), ("x",), ("x", "y")])
RANKS = {"near": 1, "far": 2, "none": 3}
limits_of_waits = st.sampled_from(["none", "none", "none", "near", "far", "soon"])


class Participant:
    """What an agent's process knows, and what is true of it."""

    def __init__(self) -> None:
        self.links = 0
        self.epoch = 0
        self.owner = ""
        self.seq = 0
        self.is_there = False
        self.has_lapsed = False
        self.received = [0, 0]
        """Orders of mail and broadcasts."""
        self.shelf: list[Parcel] = []
        self.forget_wait()

    def forget_wait(self) -> None:
        self.source: str | None = None
        self.types: tuple[str, ...] = ()
        self.limit = "none"
        self.is_told = self.is_over = False
        self.number = 0
        self.taken: Parcel | None = None

    @property
    def waits(self) -> bool:
        return self.source is not None and not self.is_over


class Parcel:
    """A signal in the store."""

    def __init__(self, order: int, source: str, target: str | None, kind: str) -> None:
        self.order, self.source, self.target, self.kind = order, source, target, kind
        self.at, self.size = "", 0


class Deadlocks(RuleBasedStateMachine):
    """See the module."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        store.clear()
        self.store, self.keys = store, Keys(store.namespace)
        for command in scripts.load_commands():
            self.run(command)
        self.people = {name: Participant() for name in NAMES}
        self.parcels: list[Parcel] = []
        self.found = self.found_elsewhere = self.waits_told = 0
        for name in NAMES:
            self.join(name)

    def run(self, command: Command) -> Any:
        return self.store.redis.execute_command(*command)

    def now(self) -> int:
        seconds, micros = self.store.redis.time()
        return int(seconds) * 1000 + int(micros) // 1000

    # Coming and going

    @rule(name=agents)
    def join(self, name: str) -> None:
        """Join, or join again over a new link: the store forgets its wait, and the hub tells it anew."""
        me = self.people[name]
        me.links += 1
        self.run(scripts.open_inbox(self.keys, f"{name}.{me.links}", ttl_ms=TTL))
        reply = self.run(
            scripts.join(
                self.keys,
                name,
                f"{name}.{me.links}",
                ttl_ms=TTL,
                known_epoch=str(me.epoch if me.is_there else 0),
                takeover="0",
                hub=name,
                by="",
                fields=["status", "running", "ttl", TTL, "interval", TTL],
            )
        )
        assert reply[0] == b"joined"
        if not me.is_there:
            me.received, me.shelf = [0, 0], []
            me.forget_wait()
        me.epoch, me.is_there, me.has_lapsed, me.is_told = int(reply[1]), True, False, False
        me.owner = f"{me.epoch}@{name}.{me.links}"
        self.receive(name)

    @rule(name=agents)
    def leave(self, name: str) -> None:
        """End: whoever waits for it will learn that, later."""
        me = self.people[name]
        if not me.is_there:
            return
        fields = {"status": "completed", "fields": ["error", ""], "stages": {}}
        assert self.run(scripts.leave(self.keys, name, me.owner, str(me.epoch), **fields)) == b"left"  # type: ignore
        me.is_there = False
        me.forget_wait()
        for other in self.people.values():
            if other.is_there and other.source == name:
                other.is_over = True

    @rule(name=agents, lapsed=st.booleans())
    def beat(self, name: str, lapsed: bool) -> None:
        """Beat in time, or too late."""
        me = self.people[name]
        if me.is_there:
            me.has_lapsed = lapsed
            lease = {f"{name}#{me.epoch}": self.now() + (-1 if lapsed else TTL)}
            self.store.redis.zadd(self.keys.leases, lease, xx=True)  # type: ignore[arg-type]

    # Signals

    @rule(name=agents, to=st.one_of(st.none(), agents), kind=st.sampled_from(TYPES), late=st.booleans())
    def send(self, name: str, to: str | None, kind: str, late: bool) -> None:
        """Send, as whoever does not wait can."""
        me = self.people[name]
        if not me.is_there or me.source is not None:
            return
        me.seq += 1
        signal = {"type": kind, "source": name, "payload": [kind, {"source": "b"}]}
        common = {"owner": me.owner, "lane": name, "seq": me.seq, "signal_id": f"{name}.{me.seq}", "ttl_ms": TTL}
        common |= {"signal": json.dumps(signal).encode(), "key": None}
        if to is None:
            reply = self.run(scripts.broadcast(self.keys, name, late=late, **common))  # type: ignore[arg-type]
        else:
            reply = self.run(scripts.send(self.keys, name, to, **common))  # type: ignore[arg-type]
        assert reply[0] == b"stored"
        order = int(self.store.redis.get(self.keys.order))  # type: ignore[arg-type]
        self.parcels.append(Parcel(order, name, to, kind if to or late else f"not late: {kind}"))

    def is_for(self, name: str, parcel: Parcel) -> bool:
        """Whether it lies in the mailbox, or is a broadcast for it."""
        if parcel.target is not None:
            return parcel.target == name
        if parcel.kind.startswith("not late"):
            return parcel.source != name and parcel.order > self.people[name].epoch
        return parcel.source != name

    def fits(self, name: str, parcel: Parcel) -> bool:
        me = self.people[name]
        kind = parcel.kind.rpartition(" ")[2]
        return parcel.source == me.source and (not me.types or kind in me.types)

    @rule(name=agents)
    def receive(self, name: str) -> None:
        """Copies arrive; the first that fits ends the wait, of which the store knows nothing yet."""
        me = self.people[name]
        if not me.is_there:
            return
        _, _, mail, broadcasts = self.run(
            scripts.look(self.keys, name, after_mail=me.received[0], after_broadcast=me.received[1])
        )
        for place, entries in enumerate((mail, broadcasts)):
            for at, raw in entries:
                fields = dict(zip(raw[::2], raw[1::2], strict=True))
                parcel = next(p for p in self.parcels if p.order == int(fields[b"head"].split(b" ")[0]))
                me.received[place] = parcel.order
                if self.is_for(name, parcel):
                    parcel.at, parcel.size = at.decode(), len(fields[b"signal"])
                    me.shelf.append(parcel)
        self.deliver(name)

    def deliver(self, name: str) -> None:
        me = self.people[name]
        for parcel in sorted(me.shelf, key=lambda parcel: parcel.order):
            if me.waits and self.fits(name, parcel):
                me.shelf.remove(parcel)
                me.is_over, me.taken = True, parcel
                return

    # Waiting

    @rule(name=agents, source=agents, types=kinds, limit=limits_of_waits)
    def wait(self, name: str, source: str, types: tuple[str, ...], limit: str) -> None:
        """Begin a wait; what is there ends it at once."""
        me = self.people[name]
        if me.is_there and me.source is None:
            me.source, me.types, me.limit = source, types, limit
            self.deliver(name)

    @rule(name=agents, source=agents, types=kinds, limit=limits_of_waits)
    def wait_and_tell(self, name: str, source: str, types: tuple[str, ...], limit: str) -> None:
        """As most waits do: nothing comes in between."""
        self.wait(name, source, types, limit)
        self.tell(name)

    @rule(name=agents, by=st.booleans())
    def go_on(self, name: str, by: bool) -> None:
        """The wait has ended, or is cancelled; the store is told ahead of the mark, and of all else."""
        me = self.people[name]
        if me.source is None or not (by or me.is_over):
            return
        if me.is_told:
            self.run(scripts.unblock(self.keys, name))
        if me.taken is not None:
            parcel = me.taken
            mail = [(parcel.at, parcel.size)] if parcel.target else []
            seen = [] if parcel.target else [(parcel.order, self.now() + TTL)]
            assert self.run(scripts.record(self.keys, name, me.owner, mail=mail, broadcasts=seen)) == b"noted"
        me.forget_wait()

    @rule(name=agents)
    def tell(self, name: str) -> None:
        """The hub tells the store of the wait: is it told of a cycle exactly where there is one?"""
        me = self.people[name]
        if not me.waits or me.is_told:
            return
        self.waits_told += 1
        me.number = self.waits_told
        cycle = self.cycle(name)
        first = self.first_to_end(cycle)
        expected = cycle if first == name else []
        record = {
            "epoch": str(me.epoch),
            "since": me.epoch,
            "wait": me.number,
            "source": me.source,
            "types": sorted(me.types),
            "mail": me.received[0],
            "broadcast": me.received[1],
            "deadline": self.deadline(me),
        }
        reply = self.run(scripts.block(self.keys, name, owner=me.owner, record=json.dumps(record).encode()))
        self.check(reply, expected)
        me.is_told = True
        told = self.told(first)
        if first is None or first == name:
            assert told is None
        else:
            other = self.people[first]
            assert told is not None
            assert (int(told[b"epoch"]), int(told[b"wait"])) == (other.epoch, other.number)
            at = cycle.index(first)
            self.check([part.encode() for part in json.loads(told[b"path"])], cycle[at:] + cycle[:at])
            self.found_elsewhere += 1
        if first is not None:
            self.found += 1
            self.people[first].forget_wait()

    def check(self, path: list[bytes], expected: list[str]) -> None:
        """Is this the cycle, with what each of its members waits for?"""
        assert [part.decode() for part in path[::3]] == expected
        for waiter, source, types in zip(path[::3], path[1::3], path[2::3], strict=True):
            other = self.people[waiter.decode()]
            assert (source.decode(), sorted(other.types)) == (other.source, list(json.loads(types)))

    def told(self, name: str | None) -> dict[bytes, bytes] | None:
        """What the agent's hub is told of a cycle, if anything."""
        if name is None:
            return None
        inbox = self.keys.inbox(f"{name}.{self.people[name].links}")
        entries = [fields for _, fields in self.store.redis.xrange(inbox)]  # type: ignore[union-attr]
        self.store.redis.xtrim(inbox, maxlen=0)
        return next((fields for fields in entries if b"cycle" in fields), None)

    def first_to_end(self, cycle: list[str]) -> str | None:
        """The one that gives up first; of several, the one that came last."""
        return min(cycle, key=lambda name: (RANKS[self.people[name].limit], -self.people[name].number), default=None)

    def deadline(self, me: Participant) -> int:
        """Near and far are the same for all, so that some are equal; soon is too soon to count."""
        base = self.store.redis.get(f"{self.store.prefix}test-base")
        if base is None:
            base = self.now()
            self.store.redis.set(f"{self.store.prefix}test-base", base, ex=60)
        after = {"near": 600_000, "far": 900_000}
        if me.limit == "none":
            return 0
        return int(base) + after[me.limit] if me.limit in after else self.now() + limits.CLOSE // 2

    def cycle(self, closer: str) -> list[str]:
        """The cycle of agents that are really blocked; empty if there is none."""
        found, name = [], closer
        while name not in found:
            me = self.people[name]
            is_known = me.is_told or name == closer
            unread = [p for p in self.parcels if p.order > me.received[p.target is None] and self.is_for(name, p)]
            if not (me.is_there and me.waits and is_known) or me.has_lapsed or me.limit == "soon":
                return []
            if any(self.fits(name, parcel) for parcel in unread):
                return []
            found.append(name)
            name = str(me.source)
        return found if name == closer else []

    @invariant()
    def known_are_those_that_were_told(self) -> None:
        """Nothing stays behind of those that left, or that went on."""
        known = {name.decode() for name in self.store.redis.hkeys(self.keys.waits)}  # type: ignore[union-attr]
        assert known <= {name for name, me in self.people.items() if me.is_told}


def explore(store: Store, examples: int, steps: int) -> int:
    """Run the machine; return how many cycles were found."""
    found = 0

    class Counted(Deadlocks):
        def teardown(self) -> None:
            nonlocal found
            found += self.found

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
    return found


@pytest.mark.timeout(120)
def test_an_alarm_is_raised_exactly_where_there_is_a_deadlock(store: Store, shrink: Callable[[str, int], None]) -> None:
    """§5.8: on both servers; hypothesis prints how to repeat what fails."""
    shrink("FRESH", 3_600_000)  # the machine may be slow
    found = 0
    for _ in range(3):  # what hypothesis chooses may be dull for once
        found += explore(store, *((80, 40) if store.kind == "memory" else (100, 40)))
        if found > 10:
            break
    assert found > 10, "nothing was tried that matters"
