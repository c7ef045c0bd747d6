"""§5.2, §5.7 and §5.11 under fire: the connection is cut while an agent takes, looks or waits. The real server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from cut_scene import AWAY, BOTH_WAYS, FACADES, REQUEST_POINTS, XREAD, Facade, Scene, payloads, sha
from cutting import Point
from waiting import wait_until

from attune_dsl.model import NoSignal, Reason, Signal
from attune_dsl.store import scripts

LOOK, TAKE = sha(scripts._LOOK), sha(scripts._RECORD)
LARGE = "x" * 20_000
"""More than is copied into an inbox: the receiver has to look for it."""


def nothing(*_: Any) -> None:
    """There is nothing to do meanwhile."""


class Taking(NamedTuple):
    """A call that takes or looks; ``here`` lies in the mailbox when it begins, ``coming`` is sent while it waits.

    ``took`` returns the payloads that a result stands for; ``unavailable`` is the result where the store stays away.
    """

    name: str
    mark: bytes
    call: Callable[[Scene, Facade], Any]
    here: tuple[Any, ...] = ()
    coming: tuple[Any, ...] = ()
    took: Callable[[Any], list[Any]] = lambda result: [result.payload] if result else []
    all_of: int = 1
    """How many it takes where the store is there again at once."""

    def prepare(self, scene: Scene) -> None:
        scene.send(*self.here)
        wait_until(lambda: len(scene.victim.signals.pending("job")) == len(self.here))
        scene.quiet()

    def meanwhile(self, scene: Scene, point: Point) -> Callable[[], object]:
        if not self.coming:
            return nothing
        ends_read = self.mark == XREAD and point in REQUEST_POINTS
        return lambda: scene.send_to_one_that_waits(*self.coming, ends_read=ends_read)


def _wait(scene: Scene, facade: Facade, timeout: float = 10.0) -> Any:
    return facade(scene.victim, "wait", "job", timeout=timeout)


def _collect(scene: Scene, facade: Facade) -> Any:
    return facade(scene.victim, "collect", "job", count=3, timeout=10)


def _listen(scene: Scene, facade: Facade) -> Any:
    return facade(scene.victim, "listen", "job", timeout=10, count=3)


def _call(name: str) -> Callable[[Scene, Facade], Any]:
    return lambda scene, facade: facade(scene.victim, name, "job")


def _cleared(count: int) -> list[Any]:
    return list(range(1, count + 1))


def _of_all(result: Any) -> list[Any]:
    return payloads(result)


TAKINGS = [
    Taking("wait-for-coming", XREAD, _wait, coming=(1,)),
    Taking("wait-for-large", LOOK, _wait, coming=(LARGE,)),
    Taking("wait-that-marks", TAKE, _wait, here=(1, 2)),
    Taking("check-for-nothing", LOOK, _call("check"), all_of=0),
    Taking("check-that-marks", TAKE, _call("check"), here=(1, 2)),
    Taking("peek", LOOK, _call("peek"), here=(1, 2), took=lambda _: [], all_of=0),
    Taking("pending", LOOK, _call("pending"), here=(1, 2), took=lambda _: [], all_of=0),
    Taking("clear-that-looks", LOOK, _call("clear"), here=(1, 2), took=_cleared, all_of=2),
    Taking("clear-that-marks", TAKE, _call("clear"), here=(1, 2), took=_cleared, all_of=2),
    Taking("collect-coming", XREAD, _collect, here=(1,), coming=(2, 3), took=_of_all, all_of=3),
    Taking("collect-that-marks", TAKE, _collect, here=(1, 2, 3, 4), took=_of_all, all_of=3),
    Taking("listen-to-coming", XREAD, _listen, here=(1,), coming=(2, 3, 4), took=_of_all, all_of=3),
    Taking("listen-that-marks", TAKE, _listen, here=(1,), coming=(2, 3, 4), took=_of_all, all_of=3),
]


def assert_each_once(scene: Scene, taking: Taking, taken: list[Any]) -> None:
    """What was taken and what is left is what was sent, in order; and soon the store knows it."""
    assert scene.victim.member.epoch == scene.epoch
    scene.still_works()
    left = scene.rest(scene.victim)
    assert taken + left == [*taking.here, *taking.coming]
    wait_until(lambda: scene.mail("victim") == [], what="the marks")
    assert scene.rest(scene.victim) == []


@BOTH_WAYS
@pytest.mark.parametrize("taking", TAKINGS, ids=lambda taking: taking.name)
def test_what_is_taken_over_a_cut_is_taken_once(scene: Scene, taking: Taking, point: Point, facade: Facade) -> None:
    """§5.2 and §5.7: the store is there again at once; the call does what it would have, and nothing comes twice."""
    taking.prepare(scene)

    result = scene.under_cut(
        lambda: taking.call(scene, facade), point, taking.mark, meanwhile=taking.meanwhile(scene, point)
    )

    taken = taking.took(result)
    assert taken == [*taking.here, *taking.coming][: taking.all_of]
    if taking.name in {"peek", "pending"}:
        assert (result.payload if taking.name == "peek" else payloads(result)) in (1, [1, 2])
    assert_each_once(scene, taking, taken)


@AWAY
@pytest.mark.parametrize("taking", TAKINGS, ids=lambda taking: taking.name)
def test_what_is_taken_from_a_store_that_goes_is_not_taken_again(
    scene: Scene, short_grace: float, taking: Taking, point: Point
) -> None:
    """§5.7 and §5.11: the store stays away; what the call returns is true, and the rest comes when the store does."""
    taking.prepare(scene)

    result = scene.under_cut(
        lambda: taking.call(scene, FACADES[0]), point, taking.mark, away=True, meanwhile=taking.meanwhile(scene, point)
    )

    assert not isinstance(result, Exception)
    if isinstance(result, NoSignal):
        assert result.reason is Reason.UNAVAILABLE
    taken = taking.took(result)
    scene.back()
    assert_each_once(scene, taking, taken)


@BOTH_WAYS
@pytest.mark.parametrize("name", ["check", "peek", "pending", "clear"])
def test_a_look_that_is_cut_finds_what_only_the_store_has(
    scene: Scene, name: str, point: Point, facade: Facade, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.5: what was sent before the call is found by it."""
    monkeypatch.setattr(scene.victim.hub.reader, "_hand_on_mail", nothing)  # no copy arrives
    scene.send(1)
    scene.quiet()

    found = scene.under_cut(lambda: _call(name)(scene, facade), point, LOOK)

    if name == "clear":
        assert found == 1
    else:
        assert payloads(found if name == "pending" else [found]) == [1]
    monkeypatch.undo()
    scene.still_works()
    assert scene.rest(scene.victim) == ([1] if name in {"peek", "pending"} else [])


@BOTH_WAYS
def test_the_last_look_of_a_wait_finds_what_only_the_store_has(
    scene: Scene, point: Point, facade: Facade, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.8: its time is over, and the look with which every wait ends is cut; mail that is there comes first."""
    monkeypatch.setattr(scene.victim.hub.reader, "_hand_on_mail", nothing)  # no copy arrives
    scene.quiet()

    result = scene.under_cut(
        lambda: _wait(scene, facade, timeout=0.3),
        point,
        LOOK,
        meanwhile=lambda: (scene.blocked(), scene.send(1)),
    )

    assert isinstance(result, Signal)
    assert result.payload == 1
    monkeypatch.undo()
    scene.still_works()
    assert scene.rest(scene.victim) == []
    wait_until(lambda: scene.mail("victim") == [])


@AWAY
def test_the_last_look_of_a_wait_that_is_cut_for_good_says_so(scene: Scene, short_grace: float, point: Point) -> None:
    """§5.11: whether mail is there only the store knows: unavailable; a timeout if the answer came."""
    scene.quiet()

    result = scene.under_cut(lambda: _wait(scene, FACADES[0], timeout=0.05), point, LOOK, away=True)

    assert isinstance(result, NoSignal)
    assert result.reason in (
        {Reason.TIMEOUT, Reason.UNAVAILABLE} if point is Point.AFTER_REPLY else {Reason.UNAVAILABLE}
    )
    scene.back()
    scene.still_works()


@pytest.mark.parametrize("point", REQUEST_POINTS)
def test_a_broadcast_that_was_taken_over_a_cut_is_seen_once(scene: Scene, point: Point) -> None:
    """§5.4: its mark is cut; neither the next look nor the next link shows it again, and others still see it."""
    assert scene.friend.signals.broadcast("job", 1) != ""
    wait_until(lambda: scene.victim.signals.pending("job"))
    scene.quiet()

    taken = scene.under_cut(lambda: _wait(scene, FACADES[0]), point, TAKE)

    assert taken.payload == 1
    scene.still_works()
    assert scene.rest(scene.victim) == []
    assert scene.peers.join("late").signals.check("job") is not None
