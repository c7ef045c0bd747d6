"""§5.8 and §5.11 under fire: the connection is cut at each point of a barrier's way. The real server."""

from __future__ import annotations

from typing import Any

from awaiting import Awaited
from cut_scene import AWAY, BOTH_WAYS, FACADES, MARGIN, XREAD, Facade, Scene, sha
from cutting import Point
from meeting import broken, knows, meet, standing, stands
from waiting import wait_until

from attune_dsl.model import Broken, Reason, Released
from attune_dsl.store import scripts

ARRIVE, DEPART = sha(scripts._ARRIVE), sha(scripts._DEPART)
ALL = Released(generation=1, agents=("friend", "victim"))
PATIENT = 30.0


def both_go_on(scene: Scene, waiting: Awaited, own: Any) -> None:
    """Both have the same outcome, nobody is left standing, and they can meet again."""
    assert waiting.result(PATIENT) == own
    assert standing(scene.store) == set()
    again = meet(scene.friend, scene.victim)
    assert again == own.generation + 1 if isinstance(own, Released) else again > 1
    scene.still_works()


def unavailable(own: Any) -> None:
    """It says that it does not know."""
    broken(own, Reason.UNAVAILABLE, None)


def learns_late(scene: Scene, waiting: Awaited, why: str) -> None:
    """The friend learns because of whom it broke, once the store is back; then they can meet."""
    assert not waiting.is_over
    scene.back()
    detail = broken(waiting.result(PATIENT), Reason.UNAVAILABLE, "victim")
    assert detail == f"agent 'victim' does not wait any more: {why}"
    wait_until(lambda: not scene.victim.hub.commands._unanswered)
    assert standing(scene.store) == set()
    assert meet(scene.friend, scene.victim) == 2
    scene.still_works()


@BOTH_WAYS
def test_an_arrival_that_is_cut_releases_both(scene: Scene, point: Point, facade: Facade) -> None:
    """§5.8: the store is there again at once; the arrival is repeated, and counts once."""
    waiting = stands(scene.friend)
    scene.quiet()

    own = scene.under_cut(lambda: facade(scene.victim, "barrier", "gate", 2), point, ARRIVE)

    assert own == ALL
    both_go_on(scene, waiting, own)


@AWAY
def test_an_arrival_whose_store_stays_away_releases_nobody_alone(
    scene: Scene, short_grace: float, point: Point
) -> None:
    """§5.8, §5.11: one is still missing; who does not learn where it stands goes on, and the friend learns so."""
    waiting = stands(scene.friend, 3)
    scene.quiet()

    own = scene.under_cut(lambda: FACADES[0](scene.victim, "barrier", "gate", 3), point, ARRIVE, away=True)

    unavailable(own)
    if point is Point.BEFORE:  # it never stood there
        scene.back()
        assert not waiting.is_over
        assert isinstance(scene.victim.signals.barrier("gate", 3, timeout=0), Broken)
        broken(waiting, Reason.TIMEOUT, "victim")
    elif point is Point.UNREAD:
        learns_late(scene, waiting, "the store did not confirm its arrival")
    else:
        learns_late(scene, waiting, "its link to the store broke")


@AWAY
def test_the_last_arrival_over_a_link_that_breaks_for_good(scene: Scene, short_grace: float, point: Point) -> None:
    """§5.8: the friend is released if the victim came; the victim learns that too, or that it cannot know."""
    waiting = stands(scene.friend)
    scene.quiet()

    own = scene.under_cut(lambda: FACADES[0](scene.victim, "barrier", "gate", 2), point, ARRIVE, away=True)

    if point is Point.AFTER_REPLY:
        assert own == ALL
    else:
        unavailable(own)
    if point is Point.BEFORE:
        scene.back()
        assert not waiting.is_over
        own = scene.victim.signals.barrier("gate", 2)
    assert waiting.result(PATIENT) == ALL
    assert own == ALL or point is Point.UNREAD
    scene.back()
    wait_until(lambda: not scene.victim.hub.commands._unanswered)
    assert meet(scene.friend, scene.victim) == 2


@BOTH_WAYS
def test_a_departure_that_is_cut_breaks_it_for_both(scene: Scene, point: Point, facade: Facade) -> None:
    """§5.8: the store is there again at once; it breaks once, by the one whose time was over."""
    waiting = stands(scene.friend, 3)
    scene.quiet()

    own = scene.under_cut(lambda: facade(scene.victim, "barrier", "gate", 3, timeout=0.2), point, DEPART)

    broken(own, Reason.TIMEOUT, "victim")
    both_go_on(scene, waiting, own)


@AWAY
def test_a_departure_whose_store_stays_away_breaks_it_late(scene: Scene, short_grace: float, point: Point) -> None:
    """§5.8, §5.11: the victim does not know whether others came; the friend learns when the store can be told."""
    waiting = stands(scene.friend, 3)
    scene.quiet()

    own = scene.under_cut(lambda: FACADES[0](scene.victim, "barrier", "gate", 3, timeout=0.2), point, DEPART, away=True)

    if point is Point.AFTER_REPLY:
        broken(own, Reason.TIMEOUT, "victim")
    else:
        unavailable(own)
    if point is Point.BEFORE:
        assert not waiting.is_over
    scene.back()
    broken(waiting.result(PATIENT), Reason.TIMEOUT, "victim")
    wait_until(lambda: not scene.victim.hub.commands._unanswered)
    assert standing(scene.store) == set()
    assert meet(scene.friend, scene.victim) == 2


@BOTH_WAYS
def test_a_release_that_is_told_over_a_cut_reaches_both(scene: Scene, point: Point, facade: Facade) -> None:
    """§5.8: the read that brings it, or the next, is cut; the hub asks again over the new link."""
    scene.quiet()
    released: list[Any] = []

    def come() -> None:
        wait_until(lambda: knows(scene.victim))
        if point in {Point.BEFORE, Point.INSIDE_REQUEST, Point.UNREAD}:  # of the next read
            scene.send(0, type_="noise")
            wait_until(scene.proxy.has_cut.is_set, what="the cut")
        released.append(scene.friend.signals.barrier("gate", 2))

    own = scene.under_cut(lambda: facade(scene.victim, "barrier", "gate", 2), point, XREAD, meanwhile=come)

    assert [own] == released == [Released(generation=1, agents=("victim", "friend"))]
    scene.reconnected()
    assert meet(scene.friend, scene.victim) == 2


@AWAY
def test_a_release_that_is_not_told_any_more(scene: Scene, short_grace: float, point: Point) -> None:
    """§5.8, §5.11: the friend is released with the victim, which is told in time or does not know."""
    scene.quiet()
    released: list[Any] = []

    def come() -> None:
        wait_until(lambda: knows(scene.victim))
        if point is not Point.AFTER_REPLY:
            scene.send(0, type_="noise")
            wait_until(scene.proxy.has_cut.is_set, what="the cut")
        released.append(scene.friend.signals.barrier("gate", 2, timeout=short_grace + MARGIN))

    own = scene.under_cut(
        lambda: FACADES[0](scene.victim, "barrier", "gate", 2), point, XREAD, away=True, meanwhile=come
    )

    both = Released(generation=1, agents=("victim", "friend"))
    assert released == [both]
    if point is Point.AFTER_REPLY:
        assert own == both
    else:
        unavailable(own)
    scene.back()
    wait_until(lambda: not scene.victim.hub.commands._unanswered)
    assert standing(scene.store) == set()
    assert meet(scene.friend, scene.victim) == 2
