"""§5.1 and §5.11 under fire: the connection is cut at each point of a send's way. The real server."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from cut_scene import AWAY, BOTH_WAYS, FACADES, Facade, Scene, sha
from cutting import Point

from attune_dsl.store import scripts

LARGE = "x" * 200_000


class Send(NamedTuple):
    """A way to send; with a ``target`` to one agent, else to all."""

    name: str
    target: str | None
    payload: Any
    key: str | None = None

    @property
    def mark(self) -> bytes:
        return sha(scripts._BROADCAST if self.target is None else scripts._SEND)

    def __call__(self, scene: Scene, facade: Facade) -> Any:
        if self.target is None:
            return facade(scene.victim, "broadcast", "job", self.payload, key=self.key)
        return facade(scene.victim, "send", "job", self.target, self.payload, key=self.key)

    def stored(self, scene: Scene) -> list[str]:
        return scene.broadcasts() if self.target is None else scene.mail(self.target)


SENDS = [
    Send("send", "friend", 1),
    Send("send-key", "friend", 1, "k"),
    Send("send-large", "friend", LARGE),
    Send("broadcast", None, 1),
    Send("broadcast-key", None, 1, "k"),
]


@BOTH_WAYS
@pytest.mark.parametrize("send", SENDS, ids=lambda send: send.name)
def test_a_send_that_is_cut_is_confirmed_and_stored_once(
    scene: Scene, send: Send, point: Point, facade: Facade
) -> None:
    """§5.1: the store is there again at once; the send is repeated, recognised, confirmed, and received once."""
    scene.quiet()

    sent = scene.under_cut(lambda: send(scene, facade), point, send.mark)

    assert isinstance(sent, str)
    assert sent != ""
    assert send.stored(scene) == [sent]
    scene.still_works()
    assert send.stored(scene) == [sent]
    assert scene.rest(scene.friend) == [send.payload]


@AWAY
@pytest.mark.parametrize("send", SENDS, ids=lambda send: send.name)
def test_a_send_that_was_not_confirmed_is_not_stored_later(
    scene: Scene, short_grace: float, send: Send, point: Point
) -> None:
    """§5.1: the store stays away; an id only where the answer came, and what was reported as "" is not stored later."""
    scene.quiet()

    sent = scene.under_cut(lambda: send(scene, FACADES[0]), point, send.mark, away=True)

    stored = send.stored(scene)
    assert stored == ([sent] if point is Point.AFTER_REPLY else stored[:1])
    assert bool(sent) == (point is Point.AFTER_REPLY)
    assert bool(stored) == (point not in {Point.BEFORE, Point.INSIDE_REQUEST})
    scene.back()
    scene.still_works()
    assert send.stored(scene) == stored
    if send.key is not None:  # the user's own retry
        again = send(scene, FACADES[0])
        assert again != ""
        stored = stored or [again]
        assert send.stored(scene) == stored == [again]
    assert scene.rest(scene.friend) == [send.payload] * len(stored)
