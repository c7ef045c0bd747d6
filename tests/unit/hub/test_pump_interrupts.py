"""Ctrl-C while a thread waits for a reply: whoever waits next can read."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import pytest
from pumping import Rig, value_of

from attune_dsl.hub import pump
from attune_dsl.hub.drive import drive


@contextmanager
def interrupted(after: int) -> Iterator[list[str]]:
    """A Ctrl-C at the n-th place in the pump where signals are looked for: at a call, and behind one of C code."""
    where, left = list[str](), after

    def look(frame: FrameType, event: str, _: object) -> None:
        nonlocal left
        if event in {"call", "c_return"} and frame.f_code.co_filename == pump.__file__:
            left -= 1
            if left == 0:
                sys.setprofile(None)
                where.append(f"{frame.f_code.co_name}, line {frame.f_lineno}")
                raise KeyboardInterrupt

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        with suppress(KeyboardInterrupt):
            yield where
    finally:
        sys.setprofile(before)


@pytest.mark.parametrize("leads", [True, False])
def test_a_ctrl_c_at_any_place_leaves_the_reading_to_others(rig: Rig, leads: bool) -> None:
    for place in itertools.count(1):
        if leads:
            rig.attach().answer("+one")
        ticket = rig.ticket(None if leads else time.monotonic() + 0.01)
        with interrupted(place) as where:
            drive(value_of(ticket))
        assert (rig.pump._leader, list(rig.pump._sleepers)) == (None, []), where
        rig.tickets.clear()
        rig.pump.detach()
        if not where:
            break
    assert place > 10
