"""Where bars stand so that none hides another: rows of a lane to look at, tracks of a trace to nest in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from attune_dsl.export.scene import Bar


def rows(bars: Sequence[Bar]) -> list[int]:
    """Return each bar's row within its agent's lane, from 0: below what it is part of, and free for all its time.

    ``bars`` are by their starts, as in a scene.
    """
    free: defaultdict[str, list[float]] = defaultdict(list)
    found: list[int] = []
    for bar in bars:
        lane = free[bar.agent]
        row = 0 if bar.part_of is None else found[bar.part_of] + 1
        while row < len(lane) and lane[row] > bar.start:
            row += 1
        lane.extend([0.0] * (row + 1 - len(lane)))
        lane[row] = bar.end
        found.append(row)
    return found


def tracks(bars: Sequence[Bar]) -> list[int]:
    """Return each bar's track within its agent, from 0: on one track bars are apart, or one is part of the other."""
    stacks: defaultdict[str, list[list[int]]] = defaultdict(list)
    found: list[int] = []
    for place, bar in enumerate(bars):
        lane = stacks[bar.agent]
        track = 0 if bar.part_of is None else found[bar.part_of]
        while track < len(lane) and not _fits(bars, lane[track], bar):
            track += 1
        lane.extend([] for _ in range(track + 1 - len(lane)))
        lane[track].append(place)
        found.append(track)
    return found


def _fits(bars: Sequence[Bar], stack: list[int], bar: Bar) -> bool:
    """Whether a bar is apart from what is on a track, or part of it; what has ended leaves the track."""
    while stack and bars[stack[-1]].end <= bar.start:
        stack.pop()
    return not stack or stack[-1] == bar.part_of
