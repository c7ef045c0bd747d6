"""Taking the mail of an agent of another process, by its token: what exec's commands do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from awaiting import Awaited, end
from peers import Peer, Peers

from attune_dsl.coordination import deputy_mail as module
from attune_dsl.coordination.arrivals import Arrivals
from attune_dsl.coordination.deputy_mail import DeputyMail
from attune_dsl.exceptions import InvalidName, StoreUnavailable, UsageError
from attune_dsl.hub.drive import drive
from attune_dsl.model import AgentStatus, NoSignal, Reason, Signal
from attune_dsl.store import scripts

if TYPE_CHECKING:
    from conftest import Store

WaitUntil = Callable[..., Any]


@pytest.fixture
def ann(peers: Peers) -> Peer:
    """Somebody who sends."""
    return peers.join("ann")


@pytest.fixture
def job(peers: Peers) -> Peer:
    """The agent that is acted for, over a link of its own."""
    return peers.join("job", url=peers.elsewhere())


@pytest.fixture
def deputies(peers: Peers, job: Peer) -> Iterator[Callable[[], DeputyMail]]:
    """Makes processes that act for the agent, each over a link of its own."""
    opened: list[DeputyMail] = []

    def make() -> DeputyMail:
        opened.append(drive(DeputyMail.open("job", job.agent.token, peers.elsewhere(), peers.store.namespace)))
        return opened[-1]

    yield make
    for deputy in opened:
        drive(deputy.close())


@pytest.fixture
def deputy(deputies: Callable[[], DeputyMail]) -> DeputyMail:
    return deputies()


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """Filled with the deadline of each blocking read as it begins."""
    begun: list[float | None] = []
    next_ = Arrivals.next

    def noted(self: Arrivals, deadline: float | None) -> Any:
        begun.append(deadline)
        return next_(self, deadline)

    monkeypatch.setattr(Arrivals, "next", noted)
    return begun


def keep(signal: Signal) -> None:
    """Take it."""


def wait(
    deputy: DeputyMail,
    *types: str,
    source: str | None = None,
    timeout: float | None = 10,
    require_alive: bool = False,
    hand: Callable[[Signal], object] = keep,
) -> Signal | NoSignal:
    return deputy.wait(types, source=source, timeout=timeout, require_alive=require_alive, hand=hand)


def left(store: Store) -> int:
    """How many signals the store has for the agent."""
    count: Any = store.redis.xlen(f"{store.prefix}mail:job")
    return int(count)


def test_it_takes_the_oldest_that_fits_and_leaves_the_rest(store: Store, ann: Peer, deputy: DeputyMail) -> None:
    for number in range(3):
        ann.signals.send("go", "job", number)
    ann.signals.send("else", "job")

    assert [wait(deputy, "go").payload for _ in range(3)] == [0, 1, 2]  # type: ignore[union-attr]
    assert left(store) == 1
    assert deputy.is_confirmed


def test_it_waits_for_what_comes(ann: Peer, deputy: DeputyMail, listening: list[Any], wait_until: WaitUntil) -> None:
    waiting = Awaited(wait, deputy, "go", timeout=None)
    wait_until(lambda: listening)
    ann.signals.send("else", "job")
    ann.signals.send("go", "cid")
    ann.signals.send("go", "job", {"n": 1})

    signal = waiting.result()
    assert (signal.type, signal.source, signal.target, signal.payload) == ("go", "ann", "job", {"n": 1})


def test_it_takes_broadcasts_once(
    ann: Peer, deputy: DeputyMail, deputies: Callable[[], DeputyMail], listening: list[Any], wait_until: WaitUntil
) -> None:
    waiting = Awaited(wait, deputy, "news")
    wait_until(lambda: listening)
    ann.signals.broadcast("news", 1)

    assert waiting.result().payload == 1
    assert not wait(deputies(), "news", timeout=0)


def test_what_it_took_no_next_incarnation_gets(peers: Peers, ann: Peer, job: Peer, deputy: DeputyMail) -> None:
    ann.signals.send("go", "job")
    ann.signals.broadcast("news")
    assert wait(deputy, "go")
    assert wait(deputy, "news")
    job.leave()

    assert peers.join("job", url=peers.elsewhere()).signals.pending() == []


def test_what_could_not_be_handed_on_is_not_taken(ann: Peer, deputy: DeputyMail, store: Store) -> None:
    def refuse(signal: Signal) -> None:
        raise OSError("a closed pipe")

    ann.signals.send("go", "job")
    with pytest.raises(OSError, match="a closed pipe"):
        wait(deputy, "go", hand=refuse)

    assert left(store) == 1
    assert wait(deputy, "go", timeout=0)


def test_it_ends_in_time(deputy: DeputyMail) -> None:
    nothing = wait(deputy, "go", source="ann", timeout=0.05)

    assert nothing == NoSignal(reason=Reason.TIMEOUT, detail="no signal 'go' from 'ann' within 0.05 s")


def test_a_source_that_ends_ends_the_wait(
    ann: Peer, deputy: DeputyMail, listening: list[Any], wait_until: WaitUntil
) -> None:
    ann.agent.touch("bake", 0.5)
    waiting = Awaited(wait, deputy, "go", source="ann", timeout=None)
    wait_until(lambda: listening)
    end(ann, AgentStatus.FAILED, "no flour")

    assert waiting.gone() == "agent 'ann' failed on stage 'bake' (no flour)"


def test_what_a_source_sent_before_it_ended_comes_first(ann: Peer, deputy: DeputyMail, job: Peer) -> None:
    ann.signals.send("go", "job")
    end(ann)

    assert wait(deputy, "go", source="ann")
    nothing = wait(deputy, "go", source="ann")
    assert isinstance(nothing, NoSignal)
    assert nothing.detail == "agent 'ann' completed"


def test_a_source_that_was_started_again_at_once_has_ended_all_the_same(
    ann: Peer, deputy: DeputyMail, listening: list[Any], wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store has nothing more of the first one then but what was noted of its end."""
    monkeypatch.setattr(DeputyMail, "_last_end", lambda *_: None)
    waiting = Awaited(wait, deputy, "go", source="ann")
    wait_until(lambda: listening)
    end(ann, AgentStatus.CANCELLED)

    assert waiting.gone() == "agent 'ann' was cancelled"


def test_an_end_before_the_agent_joined_does_not_count(peers: Peers) -> None:
    end(peers.join("cook"))
    late = peers.join("late", url=peers.elsewhere())
    deputy = drive(DeputyMail.open("late", late.agent.token, peers.elsewhere(), peers.store.namespace))
    nothing = wait(deputy, "go", source="cook", timeout=0.05)
    drive(deputy.close())

    assert isinstance(nothing, NoSignal)
    assert nothing.reason is Reason.TIMEOUT


def test_a_source_that_has_to_live_is_not_waited_for(ann: Peer, deputy: DeputyMail) -> None:
    nothing = wait(deputy, "go", source="bob", require_alive=True)

    assert nothing == NoSignal(reason=Reason.PEER_GONE, detail="no agent 'bob' is alive")
    assert wait(deputy, "go", source="ann", timeout=0, require_alive=True).reason is Reason.TIMEOUT  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="has to name a source"):
        wait(deputy, "go", require_alive=True)


def test_it_ends_with_the_agent(job: Peer, deputy: DeputyMail, listening: list[Any], wait_until: WaitUntil) -> None:
    def waits() -> str:
        with pytest.raises(UsageError) as caught:
            wait(deputy, "go", timeout=None)
        return str(caught.value)

    waiting = Awaited(waits)
    wait_until(lambda: listening)
    job.leave()

    assert "no longer, that of a live agent 'job'" in waiting.result()


def test_an_abort_ends_the_wait_and_each_later_one(
    ann: Peer, job: Peer, deputy: DeputyMail, listening: list[Any], wait_until: WaitUntil
) -> None:
    """§5.9: it says why and who asked; mail that is there is delivered first (§5.8)."""
    assert job.agent.aborted == ""
    waiting = Awaited(wait, deputy, "go", timeout=None)
    wait_until(lambda: listening)
    assert ann.signals.abort("too late", "job") == ["job"]
    ended = waiting.result()
    ann.signals.send("go", "job")

    assert ended == NoSignal(reason=Reason.ABORTED, detail="too late (asked by ann)")
    assert wait(deputy, "go")
    assert wait(deputy, "go", timeout=None) == ended


def test_a_wrong_token_takes_nothing(peers: Peers, ann: Peer, job: Peer, store: Store) -> None:
    ann.signals.send("go", "job")
    deputy = drive(DeputyMail.open("job", "0" * 32, peers.elsewhere(), store.namespace))
    for act in (lambda: wait(deputy, "go"), lambda: deputy.clear((), source=None)):
        with pytest.raises(UsageError, match="not, or no longer, that of a live agent 'job'"):
            act()
    drive(deputy.close())

    assert left(store) == 1


def test_names_are_checked(deputy: DeputyMail) -> None:
    with pytest.raises(InvalidName):
        wait(deputy, "")
    with pytest.raises(InvalidName):
        deputy.clear((), source="")


def test_several_that_wait_share_what_comes(
    ann: Peer, deputies: Callable[[], DeputyMail], store: Store, listening: list[Any], wait_until: WaitUntil
) -> None:
    """Each signal is handed on by one of them alone."""
    handed: list[object] = []
    waits = [
        Awaited(wait, deputies(), "go", hand=lambda signal: handed.append(signal.payload), timeout=20) for _ in range(4)
    ]
    wait_until(lambda: len(listening) == 4)
    for number in range(4):
        ann.signals.send("go", "job", number)

    assert sorted(each.result(20).payload for each in waits) == [0, 1, 2, 3]
    assert sorted(handed) == [0, 1, 2, 3]  # type: ignore[type-var]
    assert left(store) == 0


def test_one_takes_nothing_while_another_has_its_turn(
    ann: Peer, deputy: DeputyMail, store: Store, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And if that one died in it, its turn ends by itself."""
    ann.signals.send("go", "job")
    turn, ask, tries = deputy._hub.keys.reading("job"), module.ask, []
    monkeypatch.setattr(
        module, "ask", lambda hub, asked: (tries.append(asked) if asked[0][0] == "SET" else None, ask(hub, asked))[1]
    )
    store.redis.set(turn, "another", px=60_000)
    waiting = Awaited(wait, deputy, "go", timeout=20)
    wait_until(lambda: len(tries) > 1)
    assert not waiting.is_over
    store.redis.pexpire(turn, 1)

    assert waiting.result()
    assert store.redis.exists(turn) == 0


def test_a_take_is_repeated_when_the_agents_link_changes_meanwhile(
    ann: Peer, deputy: DeputyMail, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann.signals.send("go", "job")
    owners: list[str] = []
    take = scripts.record

    def stale_at_first(keys: Any, agent_id: str, owner: str, **what: Any) -> Any:
        owners.append(owner if owners else f"{owner}-of-yesterday")
        return take(keys, agent_id, owners[-1], **what)

    monkeypatch.setattr(module.scripts, "record", stale_at_first)

    assert wait(deputy, "go")
    assert deputy.is_confirmed
    assert len(owners) == 2
    assert left(store) == 0


def test_what_was_handed_on_stays_so_if_the_store_does_not_confirm_it(
    ann: Peer, job: Peer, deputy: DeputyMail, store: Store
) -> None:
    ann.signals.send("go", "job", 1)

    signal = wait(deputy, "go", hand=lambda _: job.leave())

    assert signal
    assert not deputy.is_confirmed
    assert left(store) == 1


def test_clearing_takes_what_fits(ann: Peer, deputy: DeputyMail, store: Store) -> None:
    for type_ in ("go", "go", "else"):
        ann.signals.send(type_, "job")
    ann.signals.broadcast("go")

    assert deputy.clear(("go",), source="bob") == 0
    assert deputy.clear(("go",), source="ann") == 3
    assert left(store) == 1
    assert deputy.clear((), source=None) == 1
    assert deputy.clear((), source=None) == 0


def test_clearing_that_is_not_confirmed_is_told(ann: Peer, deputy: DeputyMail, monkeypatch: pytest.MonkeyPatch) -> None:
    ann.signals.send("go", "job")
    monkeypatch.setattr("attune_dsl.coordination.deputy.GRACE", 0.05)
    take = scripts.record
    monkeypatch.setattr(module.scripts, "record", lambda keys, agent_id, _, **what: take(keys, agent_id, "x", **what))

    with pytest.raises(StoreUnavailable, match="did not confirm"):
        deputy.clear((), source=None)


def test_a_store_that_goes_away_ends_the_wait(
    deputy: DeputyMail, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    def gone(self: Arrivals, deadline: float | None) -> None:
        raise StoreUnavailable("the store is away")

    monkeypatch.setattr(Arrivals, "next", gone)

    assert wait(deputy, "go") == NoSignal(reason=Reason.UNAVAILABLE, detail="the store is away")


def test_what_it_does_is_the_agents_work(job: Peer, ann: Peer, deputy: DeputyMail, wait_until: WaitUntil) -> None:
    ann.signals.send("go", "job")
    wait(deputy, "go")

    wait_until(lambda: "took go from ann" in str(job.member.doing.fields()))
