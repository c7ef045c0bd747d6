"""§5.9: which signal calls stop sync code of a run that is asked to stop, and which still work."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from aborting import WHY, Place, abort, aborted, assert_aborted, flow_of, knows
from peers import Peer

from attune_dsl import RunAborted, Runner, Signals, stage
from attune_dsl.model import Broken, Reason
from attune_dsl.runner.handle import RunHandle

if TYPE_CHECKING:
    from conftest import Store

Call = Callable[[Signals], object]

LOOKS: dict[str, Call] = {
    "check": lambda signals: signals.check("x"),
    "peek": lambda signals: signals.peek("x"),
    "pending": lambda signals: signals.pending("x"),
    "clear": lambda signals: signals.clear("x"),
}
SENDS: dict[str, Call] = {
    "send": lambda signals: signals.send("sorry", "ops"),
    "broadcast": lambda signals: signals.broadcast("sorry"),
    "abort": lambda signals: signals.abort("as I do", "nobody"),
}
WAITS: dict[str, Call] = {
    "wait": lambda signals: signals.wait("x", timeout=None),
    "collect": lambda signals: signals.collect("x", count=2, timeout=None),
    "barrier": lambda signals: signals.barrier("x", 2, timeout=None),
}


def asked_to_stop(runner: Runner, ops: Peer, place: Place, body: Callable[[Signals], object]) -> RunHandle[Any]:
    """Start a run whose only stage goes on with ``body`` once the run was asked to stop."""

    @stage
    def work(signals: Signals) -> object:
        place.wait()
        return body(signals)

    @flow_of
    def flow() -> object:
        return work()

    handle = runner.start(flow)
    place.reached.wait(20)
    abort(ops)
    knows(handle)
    place.opened.set()
    return handle


@pytest.mark.parametrize("call", [*LOOKS, *SENDS])
def test_what_does_not_wait_stops_it(store: Store, ops: Peer, runner: Runner, place: Place, call: str) -> None:
    """§5.9: code that only looks, or only sends, would else go on for ever."""

    def body(signals: Signals) -> None:
        while True:
            (LOOKS | SENDS)[call](signals)

    assert_aborted(store, asked_to_stop(runner, ops, place, body).wait(20))


@pytest.mark.parametrize("call", WAITS)
def test_what_waits_says_so_once(store: Store, ops: Peer, runner: Runner, place: Place, call: str) -> None:
    """§5.8, §5.9: code that waits again whatever it was told would go on for ever, too."""
    heard: list[Any] = []

    def body(signals: Signals) -> None:
        while True:
            heard.append(WAITS[call](signals))

    assert_aborted(store, asked_to_stop(runner, ops, place, body).wait(20))
    (nothing,) = heard
    assert not nothing
    assert (nothing.reason, nothing.detail) == (Reason.ABORTED, WHY)
    assert not isinstance(nothing, Broken) or nothing.by == "flow"


@pytest.mark.parametrize("first", [*LOOKS, *SENDS, *WAITS])
@pytest.mark.parametrize("then", SENDS)
def test_who_was_told_may_still_send(  # noqa: PLR0917
    store: Store, ops: Peer, runner: Runner, place: Place, first: str, then: str
) -> None:
    """§5.9: to clean up; but not look, nor wait."""
    refused: list[str] = []

    def body(signals: Signals) -> None:
        try:
            (LOOKS | SENDS | WAITS)[first](signals)
        except RunAborted:
            place.passed.append("raised")
        SENDS[then](signals)
        place.passed.append("sent")
        for name, call in (LOOKS | WAITS).items():
            with pytest.raises(RunAborted, match="enough"):
                call(signals)
            refused.append(name)

    assert_aborted(store, asked_to_stop(runner, ops, place, body).wait(20))
    assert place.passed == ["sent"] if first in WAITS else ["raised", "sent"]
    assert refused == [*LOOKS, *WAITS]


def test_mail_comes_first(store: Store, ops: Peer, runner: Runner, place: Place) -> None:
    """§5.8: also for a run; the next call stops it."""
    heard: list[Any] = []

    def body(signals: Signals) -> None:
        while True:
            heard.append(signals.wait("x", timeout=None))

    ops.signals.send("x", "flow", "last words")
    assert_aborted(store, asked_to_stop(runner, ops, place, body).wait(20))
    assert [signal.payload for signal in heard] == ["last words"]


def test_each_stage_is_told_by_itself(store: Store, ops: Peer, runner: Runner, place: Place) -> None:
    """§5.9: the workflow's own signals, behind a stage that was told and returned."""
    heard: list[str] = []

    @stage
    def first(signals: Signals) -> None:
        place.wait()
        heard.append(aborted(signals.wait("x", timeout=None)))

    @flow_of
    def flow(signals: Signals) -> None:
        first()
        heard.append(aborted(signals.wait("x", timeout=None)))
        signals.send("sorry", "ops")

    handle = runner.start(flow)
    place.reached.wait(20)
    abort(ops)
    knows(handle)
    place.opened.set()
    assert_aborted(store, handle.wait(20))
    assert heard == [WHY, WHY]
    assert ops.signals.wait("sorry", source="flow")
