"""§5.9 and §5.11 under fire: the connection is cut at each point of an abort's way. The real server."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from aborting import aborted, field, is_told
from cut_scene import AWAY, BOTH_WAYS, FACADES, REQUEST_POINTS, XREAD, Facade, Scene, sha
from cutting import Point
from waiting import wait_until

from attune_dsl.hub.endings import Abort
from attune_dsl.store import scripts

ABORT, LEASES = sha(scripts._ABORT), b"\r\nZRANGEBYSCORE\r\n"


class Ask(NamedTuple):
    """A way to ask the friend to stop: by name, or with all others; and the command that is cut."""

    name: str
    target: str | None
    mark: bytes

    def __call__(self, scene: Scene, facade: Facade) -> Any:
        return facade(scene.victim, "abort", "enough", self.target)


ASKS = [Ask("one", "friend", ABORT), Ask("all", None, ABORT), Ask("all-who", None, LEASES)]


def kept(scene: Scene, agent_id: str = "friend") -> tuple[str | None, str | None]:
    """Why the agent is asked to stop and by whom, as the store has it."""
    return field(scene.store, agent_id, "abort_reason"), field(scene.store, agent_id, "abort_by")


@BOTH_WAYS
@pytest.mark.parametrize("ask", ASKS, ids=lambda ask: ask.name)
def test_an_abort_that_is_cut_is_confirmed_and_carried_out_once(
    scene: Scene, ask: Ask, point: Point, facade: Facade
) -> None:
    """§5.9: the store is there again at once; asked twice or not, the first reason counts and is told once."""
    told: list[Abort] = []
    scene.friend.member.aborted.on(told.append)
    scene.quiet()

    asked = scene.under_cut(lambda: ask(scene, facade), point, ask.mark)

    assert asked == ["friend"]
    assert kept(scene) == ("enough", "victim")
    wait_until(is_told(scene.friend))
    assert scene.victim.signals.abort("more than enough", "friend") == ["friend"]
    assert kept(scene) == ("enough", "victim")
    assert aborted(scene.friend.signals.wait("job", timeout=10)) == "enough (asked by victim)"
    scene.still_works()
    assert told == [Abort("enough", "victim")]
    assert (kept(scene, "victim"), scene.victim.agent.aborted) == ((None, None), "")


@AWAY
@pytest.mark.parametrize("ask", ASKS[:2], ids=lambda ask: ask.name)
@pytest.mark.usefixtures("short_grace")
def test_an_abort_that_was_not_confirmed_is_not_carried_out_later(scene: Scene, ask: Ask, point: Point) -> None:
    """§5.9, §5.11: the store stays away; ids only where the answer came. It was done by then, or it never is."""
    scene.quiet()

    asked = scene.under_cut(lambda: ask(scene, FACADES[0]), point, ask.mark, away=True)

    assert asked == (["friend"] if point is Point.AFTER_REPLY else [])
    before = kept(scene)
    assert before == ((None, None) if point is Point.BEFORE else ("enough", "victim"))
    scene.back()
    scene.still_works()
    scene.quiet()
    assert kept(scene) == before
    assert scene.friend.agent.aborted == ("" if point is Point.BEFORE else "enough (asked by victim)")
    assert scene.victim.signals.abort("again", "friend") == ["friend"]  # the user's own retry
    assert kept(scene) == (before[0] or "again", "victim")


@BOTH_WAYS
def test_an_abort_that_comes_while_the_reading_link_is_cut_ends_the_wait(
    scene: Scene, point: Point, facade: Facade
) -> None:
    """§5.9: the news of it is cut, or the read that would have brought it; the new link's join tells."""
    scene.quiet()

    def meanwhile() -> None:
        scene.blocked()
        if point in REQUEST_POINTS:
            scene.send(0, type_="noise")
            wait_until(scene.proxy.has_cut.is_set, what="the cut")
        assert scene.friend.signals.abort("enough", "victim") == ["victim"]

    result = scene.under_cut(lambda: facade(scene.victim, "wait", "job", timeout=10), point, XREAD, meanwhile=meanwhile)

    assert aborted(result) == "enough (asked by friend)"
    assert aborted(scene.victim.signals.wait("job", timeout=10)) == "enough (asked by friend)"
    assert kept(scene, "victim") == ("enough", "friend")
    scene.still_works()
