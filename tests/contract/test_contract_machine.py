"""§5.1-5.5 and §5.7-5.9: hubs, scripts and facades against :mod:`mailbox_model`, whatever the interleaving.

Two processes, three agents (one with the awaitable facade), the real scripts. Hypothesis chooses what happens; after
each step every process must know exactly what the model says, and every wait that the model ends must have ended so.

``ATTUNE_MACHINE_EXAMPLES`` says how many histories are tried on each server (by default 15, and 60 on the real one).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from mailbox_model import Parcel, Waiting, World
from mailbox_stage import PATIENCE, Actor, LoopThread, Stage, hold_marks
from waiting import wait_until

from attune_dsl.exceptions import AgentIdTaken, MailboxFull
from attune_dsl.hub.mailbox import Waiter
from attune_dsl.model import NoSignal, Reason, Signal

if TYPE_CHECKING:
    from conftest import Store

EXAMPLES = int(os.environ.get("ATTUNE_MACHINE_EXAMPLES") or 0)
STEPS = 40
NAMES = ("a", "b", "c")
ASYNC = "b"
MOST = 5
"""Signals in a mailbox, and broadcasts in the namespace, instead of 10,000."""

agents = st.sampled_from(NAMES)
turns = st.integers(0, 11)
"""Whose turn it is among those who live."""
processes = st.sampled_from([0, 1])
kinds = st.sampled_from(["x", "y"])
wanted_kinds = st.sampled_from([(), (), ("x",), ("y",), ("x", "y")])
sources = st.sampled_from([None, None, *NAMES])
targets = st.sampled_from([None, *NAMES, *NAMES])
keys = st.sampled_from([None, None, None, "k"])


class Mailboxes(RuleBasedStateMachine):
    """See the module."""

    def __init__(self, store: Store, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.stage = Stage(store, loop)
        self.world = World(NAMES, MOST)
        self.ids: dict[Parcel, str] = {}
        """What the store has named them."""
        self.blocked: list[tuple[str, Waiting, Any]] = []
        """Waits that block, in the model and in the world."""
        for name in NAMES:
            self.join(name, int(name == NAMES[-1]))

    # Coming and going

    @rule(name=agents, process=processes)
    def join(self, name: str, process: int) -> None:
        """Join, or be refused because the id has an owner; one that crashed counts until its lease lapses (§5.8)."""
        if self.world.is_owned(name):
            with pytest.raises(AgentIdTaken):
                self.stage.peers.join(name, self.stage.peers.elsewhere())
        else:
            self.stage.join(name, process, is_async=name == ASYNC)
            self.world.join(name)

    @rule(turn=turns)
    def leave(self, turn: int) -> None:
        """A clean end."""
        for name, _ in self.whose(turn):
            self.stage.leave(name)
            self.world.leave(name)
            self.ended()

    @rule(process=processes)
    def crash(self, process: int) -> None:
        """kill -9: all of a process's agents are gone, and nobody knows it yet."""
        names = self.stage.in_process(process)
        if names:
            self.stage.crash(process)
        for name in names:
            self.world.die(name)
        self.ended()

    @rule(name=agents)
    def lapse(self, name: str) -> None:
        """The lease of one that crashed lapses."""
        if self.world.people[name].state == "dead":
            self.stage.lapse(name)
            self.world.lapse(name)
            self.ended()

    @rule(process=processes)
    def crash_and_come_back(self, process: int) -> None:
        """As a supervisor has it."""
        names = self.stage.in_process(process)
        self.crash(process)
        for name in names:
            self.lapse(name)
            self.join(name, process)

    @rule(name=agents, process=processes)
    def take_over(self, name: str, process: int) -> None:
        """Take an id from its owner, alive or not."""
        if not self.world.is_owned(name):
            return
        old = self.stage.forget(name).peer if name in self.stage.actors else None
        self.stage.join(name, process, is_async=name == ASYNC, takeover=True)
        self.world.take_over(name)
        self.stage.pass_time()
        self.ended()
        if old is not None:
            old.leave()

    @rule(process=processes)
    def cut(self, process: int) -> None:
        """A process loses its link and makes a new one: nothing is lost, nothing comes twice, waits go on."""
        if names := self.stage.in_process(process):
            self.stage.cut(process)
            for name in names:
                self.world.tell(self.world.people[name])

    # Aborts

    @rule(turn=turns, to=targets, reason=st.sampled_from(["no more money", "too late"]))
    def abort(self, turn: int, to: str | None, reason: str) -> None:
        """§5.9: ask one that lives to stop, or all of them; a crashed one counts until its lease lapses."""
        for name, actor in self.whose(turn):
            asked = self.world.abort(name, reason, to)
            assert sorted(actor.does("abort", reason, target=to)) == sorted(asked)
            for other in asked & self.stage.actors.keys():
                wait_until(lambda other=other: self.stage.actors[other].peer.agent.aborted)
            self.ended()

    # Sending

    @rule(turn=turns, to=targets, types=st.lists(kinds, min_size=1, max_size=3), key=keys)
    def send(self, turn: int, to: str | None, types: list[str], key: str | None) -> None:
        """To one, who need not be there, or to all; with a key it is one signal, whatever its type (§5.1)."""
        for (name, actor), type_ in product(self.whose(turn), types):
            self.stored(name, self.world.send(name, to, type_, key=key), actor, "send", type_, to, key=key)

    @rule(turn=turns, type_=kinds, late=st.booleans(), key=keys)
    def broadcast(self, turn: int, type_: str, late: bool, key: str | None) -> None:
        """To all, or to those who are there."""
        for name, actor in self.whose(turn):
            parcel = self.world.send(name, None, type_, late=late, key=key)
            self.stored(name, parcel, actor, "broadcast", type_, late=late, key=key)

    @rule(turn=turns, to=targets, type_=kinds, key=keys, ttl=st.sampled_from([0.001, 0.02]))
    def send_what_expires(self, turn: int, to: str | None, type_: str, key: str | None, ttl: float) -> None:
        """§5.3: whether it expires on its way or in the mailbox, from then on nobody gets it, and it takes no room."""
        for name, actor in self.whose(turn):
            known = self.world.keys.get((name, key or ""))
            if self.world.is_wanted(name, to, type_) or (known and not known.is_expired):
                return
            parcel = self.world.send(name, to, type_, key=key)
            self.stored(name, parcel, actor, "send", type_, to, key=key, ttl=ttl)
            if parcel is not None:
                parcel.is_expired = True
                self.stage.pass_time(self.stage.now_ms() + int(ttl * 1000))

    def stored(self, name: str, parcel: Parcel | None, actor: Actor, operation: str, *args: Any, **how: Any) -> None:
        """Do it; it is stored as the model says, and all whom it concerns have it then."""
        known = parcel in self.ids
        payload = None if parcel is None or known else parcel.order
        if operation == "send":
            args = (*args, payload)
        else:
            how["payload"] = payload
        if parcel is None:
            with pytest.raises(MailboxFull):
                actor.does(operation, *args, **how)
            return
        signal_id = actor.does(operation, *args, **how)
        assert signal_id == self.ids.setdefault(parcel, signal_id) != ""
        if not known and "ttl" not in how:  # what expires may do so before anybody reads it
            for other, receiver in self.stage.actors.items():
                if self.world.is_for(self.world.people[other], parcel):
                    wait_until(lambda receiver=receiver: receiver.has_received(parcel.order))
        self.ended()

    # Looking and taking

    @rule(turn=turns, types=wanted_kinds, source=sources)
    def check(self, turn: int, types: tuple[str, ...], source: str | None) -> None:
        """Take the oldest that fits."""
        for name, actor in self.whose(turn):
            self.same(name, self.world.take(name, Waiting(types, source)), actor.does("check", *types, source=source))

    @rule(turn=turns, types=wanted_kinds, source=sources)
    def peek(self, turn: int, types: tuple[str, ...], source: str | None) -> None:
        """See the oldest that fits."""
        for name, actor in self.whose(turn):
            found = self.world.look(name, Waiting(types, source))
            self.same(name, found[0] if found else None, actor.does("peek", *types, source=source))

    @rule(turn=turns, types=wanted_kinds, source=sources)
    def pending(self, turn: int, types: tuple[str, ...], source: str | None) -> None:
        """See all that fits, oldest first."""
        for name, actor in self.whose(turn):
            found = self.world.look(name, Waiting(types, source))
            self.all_the_same(name, found, actor.does("pending", *types, source=source))

    @rule(turn=turns, types=wanted_kinds, source=sources)
    def clear(self, turn: int, types: tuple[str, ...], source: str | None) -> None:
        """Take all that fits."""
        for name, actor in self.whose(turn):
            found = self.world.clear(name, Waiting(types, source))
            assert actor.does("clear", *types, source=source) == len(found)

    @rule(turn=turns, types=wanted_kinds, source=sources)
    def listen(self, turn: int, types: tuple[str, ...], source: str | None) -> None:
        """Take what is there, one after the other."""
        for name, actor in self.whose(turn):
            found = []
            while (parcel := self.world.take(name, Waiting(types, source))) is not None:
                found.append(parcel)
            self.all_the_same(name, found, actor.listens(*types, source=source, timeout=0))

    @rule(turn=turns, types=wanted_kinds, count=st.integers(1, 4))
    def collect(self, turn: int, types: tuple[str, ...], count: int) -> None:
        """Gather so many."""
        for name, actor in self.whose(turn):
            found = self.world.collect(name, types, count=count)
            got = actor.does("collect", *types, count=count, timeout=0)
            self.all_the_same(name, found, got.signals)
            why = Reason.ABORTED if self.world.people[name].aborted else Reason.TIMEOUT
            assert got.reason is (None if len(found) == count else why)

    @rule(turn=turns, types=wanted_kinds, of=st.sets(agents, min_size=1))
    def collect_from(self, turn: int, types: tuple[str, ...], of: set[str]) -> None:
        """Gather one from each."""
        for name, actor in self.whose(turn):
            found = self.world.collect(name, types, sources=of)
            got = actor.does("collect", *types, sources=sorted(of), timeout=0)
            self.all_the_same(name, found, got.signals)
            assert got.missing == tuple(sorted(of - {parcel.source for parcel in found}))
            assert bool(got) is (got.reason is None) is (len(found) == len(of))

    # Waiting

    @rule(turn=turns, types=wanted_kinds, source=sources, require_alive=st.booleans())
    def wait_no_time(self, turn: int, types: tuple[str, ...], source: str | None, require_alive: bool) -> None:
        """Mail that is there, or the reason why there is none."""
        for name, actor in self.whose(turn):
            how = {"source": source, "require_alive": require_alive and source is not None}
            got = actor.does("wait", *types, timeout=0, deadlock=False, **how)
            parcel = self.world.take(name, Waiting(types, source))
            if parcel is not None:
                self.same(name, parcel, got)
            elif self.world.people[name].aborted:  # it waits for nothing any more, whoever lives (§5.9)
                self.nothing("aborted", got)
            elif how["require_alive"] and not self.world.is_owned(str(source)):
                self.nothing("peer_gone", got)
            elif source is not None and self.world.has_left(name, source):
                assert got.reason in {Reason.TIMEOUT, Reason.PEER_GONE}
            else:
                self.nothing("timeout", got)

    @rule(turn=turns, types=wanted_kinds, source=sources, timeout=st.sampled_from([None, 60.0]))
    def wait(self, turn: int, types: tuple[str, ...], source: str | None, timeout: float | None) -> None:
        """A wait that blocks, unless the model knows better; up to two an agent."""
        for name, actor in self.whose(turn):
            if actor.waiting < 2:
                self.wait_for(name, actor, types, source, timeout)

    def wait_for(
        self, name: str, actor: Actor, types: tuple[str, ...], source: str | None, timeout: float | None
    ) -> None:
        """Begin a wait; return once it blocks, or has ended as it should."""
        before = actor.waiting
        started = actor.starts("wait", *types, source=source, timeout=timeout, deadlock=False)
        waiting = self.world.wait(name, types, source)
        self.blocked.append((name, waiting, started))
        if waiting.end is None:
            wait_until(lambda: actor.waiting > before or started.is_over)
        self.ended()

    @rule(turn=turns)
    def wait_as_well(self, turn: int) -> None:
        """§5.6: of two waits for the same, the older one gets it."""
        for name, _ in self.whose(turn):
            for waiting in list(self.world.people[name].waits):
                self.wait(turn, tuple(waiting.types), waiting.source, None)

    def ended(self) -> None:
        """The waits that have ended in the model have ended in the world, in the same way; the others have not."""
        going_on = []
        for name, waiting, started in self.blocked:
            if waiting.end is None:
                assert not started.is_over, (name, waiting, started.result())
                going_on.append((name, waiting, started))
            elif isinstance(waiting.end, Parcel):
                self.same(name, waiting.end, started.result(PATIENCE))
            elif waiting.end == "unavailable" and waiting.source == name:  # it waited for itself, and left
                assert started.result(PATIENCE).reason in {Reason.UNAVAILABLE, Reason.PEER_GONE}
            else:
                self.nothing(waiting.end, started.result(PATIENCE))
        self.blocked = going_on

    # What must be the same

    def whose(self, turn: int) -> Iterator[tuple[str, Actor]]:
        """The agent whose turn it is, if anybody lives."""
        living = sorted(self.stage.actors)
        if living:
            name = living[turn % len(living)]
            yield name, self.stage.actors[name]

    def same(self, name: str, parcel: Parcel | None, got: Any) -> None:
        if parcel is None:
            assert got is None
            return
        assert isinstance(got, Signal), got
        assert (got.payload, got.id) == (parcel.order, self.ids[parcel])
        assert (got.type, got.source, got.target) == (parcel.type, parcel.source, parcel.target)
        assert got.order == parcel.order
        assert got.redelivered is self.world.is_redelivered(name, parcel)

    def all_the_same(self, name: str, parcels: Collection[Parcel], got: Collection[Signal]) -> None:
        assert [signal.payload for signal in got] == [parcel.order for parcel in parcels]
        for parcel, signal in zip(parcels, got, strict=True):
            self.same(name, parcel, signal)

    def nothing(self, reason: str, got: Any) -> None:
        assert isinstance(got, NoSignal), got
        assert got.reason == reason, got

    @invariant()
    def everybody_knows_what_there_is(self) -> None:
        """What a process has received is what the model says; nobody had to look into the store for it."""
        for name, actor in self.stage.actors.items():
            anything = Waiter(actor.peer.hub.reader.pump, None, frozenset(), frozenset())
            entries = actor.peer.member.mailbox.find(anything)
            assert [entry.signal.order for entry in entries] == [p.order for p in self.world.visible(name)]
            assert actor.waiting == len(self.world.people[name].waits)
            aborted = actor.peer.member.aborted.value
            assert (None if aborted is None else aborted.why) == self.world.people[name].aborted

    @invariant()
    def the_store_holds_what_was_not_marked(self) -> None:
        """§5.7: neither more, but for what has expired, nor less."""
        store, prefix = self.stage.store.redis, self.stage.store.prefix
        for name in NAMES:
            held = [head_order(fields) for _, fields in store.xrange(f"{prefix}mail:{name}")]  # type: ignore[union-attr]
            expired = {p.order for p in self.world.parcels if p.is_expired}
            assert [order for order in held if order not in expired] == [p.order for p in self.world.held(name)]

    def teardown(self) -> None:
        """At last everybody comes back, and nothing is missing."""
        try:
            for name in NAMES:
                self.lapse(name)
                if not self.world.is_owned(name):
                    self.join(name, 0)
                found = self.world.look(name, Waiting())
                self.all_the_same(name, found, self.stage.actors[name].does("pending"))
            while self.stage.actors:
                self.leave(0)
        finally:
            self.stage.close()


def head_order(fields: dict[bytes, bytes]) -> int:
    return int(fields[b"head"].split(b" ")[0])


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """The loop of the agent that awaits."""
    thread = LoopThread()
    yield thread.loop
    thread.close()


@pytest.mark.timeout(120 + 4 * EXAMPLES)
def test_mailboxes_are_as_the_model_says(
    store: Store,
    loop: asyncio.AbstractEventLoop,
    shrink: Callable[[str, int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """§5.1-5.5, §5.7-5.9: on both servers; hypothesis prints how to repeat what fails."""
    shrink("MAIL_COUNT", MOST)
    hold_marks(monkeypatch)
    run_state_machine_as_test(
        lambda: Mailboxes(store, loop),
        settings=settings(
            max_examples=EXAMPLES or (12 if store.kind == "memory" else 40),
            stateful_step_count=STEPS,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
