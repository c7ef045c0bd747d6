"""The audit of a timeline: what it tells of many runs, beside what these have written down themselves."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from attrs import define, field
from fire_support import Fire
from redis import Redis

from attune_dsl.events import Event
from attune_dsl.store import event_codec

WORKER = Path(__file__).parent / "timeline_worker.py"

Step = tuple[str, str | None, Any]
"""Kind, stage, and what tells this one from others like it."""
ENDS = {"agent.lost", "agent.ended", "agent.fenced"}


class Told(NamedTuple):
    """An event, its place in the timeline, and the epoch of its agent."""

    place: int
    epoch: int
    event: Event

    @property
    def step(self) -> Step | None:
        """The event as a run would write it down; ``None`` for what runs do not decide themselves."""
        data: Any = self.event.data
        match self.event.kind:
            case "run.started":
                detail = None
            case "stage.started" | "stage.retried":
                detail = data.attempt
            case "stage.ended" | "run.ended":
                detail = data.status
            case "emit":
                detail = data.data["token"]
            case "signal.sent":
                detail = data.payload["chain"][-1]
            case "signal.received":
                detail = data.id
            case _:
                return None
        return self.event.kind, self.event.stage, detail


def read(client: Redis, namespace: str) -> list[Told]:
    """Return what the store itself has, in its order."""
    entries: list[Any] = client.xrange(f"attune:{{{namespace}}}:timeline")  # type: ignore[assignment]
    found = []
    for place, (entry_id, fields) in enumerate(entries):
        event = event_codec.decode(entry_id.decode(), [part for pair in fields.items() for part in pair], namespace)
        if event is not None:
            found.append(Told(place, int(fields.get(b"epoch") or 0), event))
    return found


@define
class Run:
    """One run by its journal: what it did, in its order. ``is_whole`` if it came to its end."""

    agent: str
    steps: list[Step] = field(factory=lambda: [("run.started", None, None)])
    sent: dict[str, str] = field(factory=dict)
    """What tells each send that has returned from others, and the id that it returned."""
    is_whole: bool = False


def runs_of(fire: Fire) -> dict[str, Run]:
    """Return the runs of all processes by their ids."""
    found: dict[str, Run] = {}
    for agent in fire.agents:
        for number in range(agent.incarnation + 1):
            path = agent.journal(number)
            lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
            for line in map(json.loads, lines):
                if "run" in line:
                    _take_in(found.setdefault(line["run"], Run(agent.name)), line)
    return found


def _take_in(run: Run, line: dict[str, Any]) -> None:
    if line["kind"] == "sent":
        run.sent[line["token"]] = line["id"]
    elif line["kind"] == "left":
        run.is_whole = True
    else:
        kind, stage, detail = line["told"]
        run.steps.append((kind, stage, detail))


class Audit:
    """What must hold of a timeline. Each method returns what does not."""

    def __init__(self, told: list[Told], runs: dict[str, Run]) -> None:
        self.told = told
        self.runs = runs
        self.of_run: dict[str, list[Told]] = defaultdict(list)
        self.of_life: dict[tuple[str, int], list[Told]] = defaultdict(list)
        self.effects: dict[str, int] = {}
        """Where each thing that a run has emitted stands."""
        self.sent: dict[str, list[Told]] = defaultdict(list)
        for one in told:
            event, data = one.event, one.event.data
            if event.run and not event.kind.startswith("agent."):
                self.of_run[event.run].append(one)
            if event.agent and one.epoch:
                self.of_life[event.agent, one.epoch].append(one)
            if event.kind == "emit":
                self.effects[data.data["token"]] = one.place  # type: ignore[union-attr]
            if event.kind == "signal.sent":
                self.sent[data.id].append(one)  # type: ignore[union-attr]

    def out_of_order(self) -> list[str]:
        """Runs that are not told as they went: all of one that came to its end, else its beginning."""
        found = [f"{run_id} is told, and no journal has it" for run_id in self.of_run.keys() - self.runs.keys()]
        for run_id, run in self.runs.items():
            steps = [step for one in self.of_run[run_id] if (step := one.step) is not None]
            unsure = {("signal.sent", token) for token, stored in run.sent.items() if not stored}
            wrong = _difference(steps, run.steps, unsure, is_whole=run.is_whole)
            if wrong:
                found.append(f"{run.agent}, run {run_id}: {wrong}")
        return found

    def untold(self) -> list[str]:
        """Sends that were acknowledged and are not told, or not once."""
        stored = [stored for run in self.runs.values() for stored in run.sent.values() if stored]
        return [f"{one} is told {len(self.sent[one])} times" for one in stored if len(self.sent[one]) != 1]

    def repeated(self) -> list[str]:
        """Events that are told twice."""
        counts: Counter[Any] = Counter()
        for one in self.told:
            event, data = one.event, one.event.data
            call = getattr(data, "call", None)
            step = one.step or (event.kind in ENDS | {"agent.joined"} and event.kind)
            if step:
                counts[event.agent, one.epoch, event.run, call, step] += 1
        return [f"{key} is told {times} times" for key, times in counts.items() if times > 1]

    def without_causes(self) -> list[str]:
        """What is told before that without which it would not have come to pass."""
        found = []
        begun: dict[tuple[str | None, str | None], int] = {}
        for one in self.told:
            event, data = one.event, one.event.data
            where = event.run, event.stage
            if event.kind == "stage.started":
                begun[where] = one.place
            elif event.kind == "stage.ended":
                begun.pop(where, None)
            elif event.kind in {"signal.sent", "emit", "signal.received"} and where not in begun:
                found.append(f"{one} outside of its stage")
            if event.kind == "signal.received":
                causes = self.sent[data.id]  # type: ignore[union-attr]
                if not causes or causes[0].place > one.place:
                    found.append(f"{one} is told before {causes}")
            if event.kind == "emit" and "after" in data.data:  # type: ignore[union-attr]
                found += self._early(one, data.data["after"])  # type: ignore[union-attr]
        return found

    def _early(self, reaction: Told, chain: list[str]) -> Iterator[str]:
        """Yield what is wrong about a reaction to a chain of signals, each sent after an effect of its sender."""
        places = [self.effects.get(token, -1) for token in chain]
        if -1 in places or [*places, reaction.place] != sorted({*places, reaction.place}):
            yield f"{reaction} came of {chain}, told at {places}"

    def chains(self) -> list[int]:
        """Through how many processes, one after the other, the chains went that ended in a reaction."""
        agents = {one.event.run: one.event.agent for one in self.told}
        found = []
        for one in self.told:
            data: Any = one.event.data
            if one.event.kind == "emit" and "after" in data.data:
                along = [agents[token.partition(".")[0]] for token in data.data["after"]]
                found.append(len({*along, one.event.agent}))
        return found

    def unfinished(self) -> list[str]:
        """Incarnations that do not begin with their join and end, once, with their end, and nothing behind it."""
        found = []
        for life, told in self.of_life.items():
            kinds = [one.event.kind for one in told]
            ends = [kind for kind in kinds if kind in ENDS]
            wanted = self._ends_of(kinds, {one.event.run for one in told if one.event.run})
            is_whole = kinds[0] == "agent.joined" and kinds.count("agent.joined") == 1 and [kinds[-1]] == ends
            if not is_whole or ends[0] not in wanted:
                found.append(f"{life}: {kinds[:3]} ... {kinds[-3:]}, ends {ends}, wanted {wanted}")
        return found

    def _ends_of(self, kinds: list[str], run_ids: set[str]) -> set[str]:
        """Return how an incarnation may have ended; of one that is no run nobody was killed."""
        if all(run_id in self.runs and self.runs[run_id].is_whole for run_id in run_ids):
            return {"agent.ended"}
        return {"agent.lost", "agent.ended"} if "run.ended" in kinds else {"agent.lost"}

    def wrong_waits(self) -> list[str]:
        """Waits of a run, which has only one at a time, that do not begin and end in turn."""
        found = []
        for run_id, told in self.of_run.items():
            kinds = [one.event.kind for one in told if one.event.kind.startswith("wait.")]
            turns = ["wait.started", "wait.ended"] * (len(kinds) // 2 + 1)
            if kinds != turns[: len(kinds)] or (self.runs[run_id].is_whole and len(kinds) % 2):
                found.append(f"{run_id}: {kinds}")
        return found

    def gaps(self) -> list[str]:
        """Where the timeline says that events are missing."""
        return [str(one) for one in self.told if one.event.kind == "timeline.gap"]


def _difference(steps: list[Step], wanted: list[Step], unsure: set[tuple[str, Any]], *, is_whole: bool) -> str:
    """Return where steps differ from those that are wanted; those that are ``unsure`` may be missing."""
    place = 0
    for number, step in enumerate(wanted):
        if place == len(steps):
            rest = [one for one in wanted[number:] if (one[0], one[2]) not in unsure]
            return f"{rest[:3]} missing at the end, of {len(rest)}" if is_whole and rest else ""
        if steps[place] == step:
            place += 1
        elif (step[0], step[2]) not in unsure:
            return f"step {number} is {steps[place]} instead of {step}, before it {steps[max(0, place - 2) : place]}"
    more = steps[place:]
    # It was killed between taking a signal and writing that down.
    took_it = not is_whole and len(more) == 1 and more[0][0] == "signal.received"
    return f"{more[:3]} too many" if more and not took_it else ""
