"""A story as trace events in JSON, for ui.perfetto.dev and chrome://tracing."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from attune_dsl.events import Event, StageProgress
from attune_dsl.export.event_json import event_dict
from attune_dsl.export.folding import fold
from attune_dsl.export.rows import tracks
from attune_dsl.export.scene import Arrow, Bar, Scene
from attune_dsl.export.wording import say, short

_SIGNALS: Final = 1000
"""The thread of an agent's signals; those before it are its runs and concurrent stage calls, from 1."""

_INSTANTS: Final = {
    "emit": "t", "agent.joined": "p", "agent.stalled": "p", "agent.resumed": "p", "agent.aborted": "p",
    "agent.lost": "p", "agent.fenced": "p", "agent.ended": "p", "stage.retried": "t", "timeline.gap": "g",
}  # fmt: skip
"""Kinds that are marks, and how far they reach: a thread, a process, all."""

_COLOURS: Final = {
    "completed": "good", "received": "good", "released": "good", "running": "thread_state_running",
    "waiting": "thread_state_iowait", "failed": "terrible", "lost": "black", "aborted": "bad", "timeout": "bad",
    "peer_gone": "bad", "deadlock": "terrible", "cancelled": "grey",
}  # fmt: skip
"""Names of chrome://tracing's own palette; other viewers choose their colours themselves."""


def perfetto(events: Sequence[Event]) -> bytes:
    """Return a trace: a process for each agent, a thread for each run and each stage call beside others.

    Runs, stages, attempts and waits are complete events, signals flows between short ones, progress is a counter.
    ``ts`` and ``dur`` are microseconds; ``ts`` 0 is ``otherData.origin``.
    """
    scene = fold(events)
    trace = {
        "displayTimeUnit": "ms",
        "otherData": {"origin": scene.origin, "events": len(events), "gaps": len(scene.gaps)},
        "traceEvents": [*_Trace(scene).events()],
    }
    return msgspec.json.encode(trace)


class _Trace:
    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._pids = {agent: number for number, agent in enumerate(scene.agents, start=1)}
        self._tracks = tracks(scene.bars)
        self._calls: dict[tuple[str | None, ...], tuple[list[float], list[int]]] = {}
        for bar, track in zip(scene.bars, self._tracks, strict=True):
            if bar.what == "stage":
                starts, found = self._calls.setdefault((bar.agent, bar.run, bar.name), ([], []))
                starts.append(bar.start)
                found.append(track + 1)

    def events(self) -> Iterator[dict[str, Any]]:
        scene = self._scene
        yield from self._names()
        for bar, track in zip(scene.bars, self._tracks, strict=True):
            yield self._bar(bar, track + 1)
        for index, event in enumerate(scene.events):
            if event.kind in _INSTANTS:
                yield self._instant(index, event)
            elif isinstance(event.data, StageProgress) and event.data.run_progress is not None:
                yield self._counter(index, event, event.data.run_progress)
            elif event.kind.startswith("signal."):
                yield self._signal(index, event)
        for number, arrow in enumerate(scene.arrows, start=1):
            yield from self._flow(number, arrow)

    def _names(self) -> Iterator[dict[str, Any]]:
        named: dict[tuple[int, int], str] = {}
        for bar, track in zip(self._scene.bars, self._tracks, strict=True):
            text = f"{short(bar.name)} {bar.run or ''}" if bar.what == "run" else f"beside {track}"
            named.setdefault((self._pids[bar.agent], track + 1), text)
        named |= {(pid, _SIGNALS): "signals" for pid in self._pids.values()}
        for agent, pid in self._pids.items():
            yield _metadata("process_name", pid, 0, short(agent))
        for (pid, tid), text in named.items():
            yield _metadata("thread_name", pid, tid, text)
            yield {"ph": "M", "name": "thread_sort_index", "pid": pid, "tid": tid, "args": {"sort_index": tid}}

    def _bar(self, bar: Bar, tid: int) -> dict[str, Any]:
        args: dict[str, Any] = {"status": bar.status, "run": bar.run}
        args |= {"item": bar.item} if bar.item is not None else {}
        args |= {"events": [event_dict(self._scene.events[index])["data"] for index in bar.events]}
        told = {
            "ph": "X",
            "cat": bar.what,
            "name": f"wait {short(bar.name)}" if bar.what == "wait" else short(bar.name),
            "pid": self._pids[bar.agent],
            "tid": tid,
            "ts": _us(bar.start),
            "dur": max(0.0, round(_us(bar.end) - _us(bar.start), 3)),
            "args": args,
        }
        return told | ({"cname": _COLOURS[bar.status]} if bar.status in _COLOURS else {})

    def _head(self, index: int, event: Event, tid: int) -> dict[str, Any]:
        pid = self._pids[event.agent] if event.agent is not None else 0
        return {"cat": event.kind, "pid": pid, "tid": tid, "ts": _us(self._scene.times[index])}

    def _instant(self, index: int, event: Event) -> dict[str, Any]:
        args = event_dict(event)["data"]
        return {
            "ph": "i",
            "s": _INSTANTS[event.kind],
            "name": say(event),
            "args": args,
            **self._head(index, event, self._track_of(index, event)),
        }

    def _track_of(self, index: int, event: Event) -> int:
        """The thread of the stage in which something happened: of its last call that had begun."""
        starts, found = self._calls.get((event.agent, event.run, event.stage), ((), ()))
        before = bisect_right(starts, self._scene.times[index])
        return found[before - 1] if before else 1

    def _counter(self, index: int, event: Event, value: float) -> dict[str, Any]:
        name = f"progress {event.run}" if event.run else "progress"
        return {"ph": "C", "name": name, "args": {"run": value}, **self._head(index, event, 0)}

    def _signal(self, index: int, event: Event) -> dict[str, Any]:
        return {
            "ph": "X",
            "name": say(event),
            "dur": 0.5,
            "args": event_dict(event)["data"],
            **self._head(index, event, _SIGNALS),
        }

    def _flow(self, number: int, arrow: Arrow) -> Iterator[dict[str, Any]]:
        """The two ends of a signal. What was not taken has none: a flow needs both."""
        if arrow.sent is None or arrow.received is None or arrow.end != "received":
            return
        for index, phase in ((arrow.sent, {"ph": "s"}), (arrow.received, {"ph": "f", "bp": "e"})):
            head = self._head(index, self._scene.events[index], _SIGNALS) | {"cat": "signal"}
            yield {"id": number, "name": short(arrow.type), **phase, **head}


def _us(at: float) -> float:
    return round(at * 1e6, 3)


def _metadata(name: str, pid: int, tid: int, text: str) -> dict[str, Any]:
    return {"ph": "M", "name": name, "pid": pid, "tid": tid, "args": {"name": text}}
