"""Processes under fire, and the audit of what they have written down."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from attrs import define, field
from cli_support import PROJECT
from waiting import wait_until

from attune_dsl.store import embedded, launcher, settings
from attune_dsl.store.embedded import EmbeddedServer
from attune_dsl.store.statedir import StateDir

WORKER = Path(__file__).parent / "fire_worker.py"
PATIENCE = 90.0
"""Seconds for what is under way at the end, on a machine that does other things too."""

Message = tuple[str, int, int]
"""Who sent it: the agent, which incarnation of it, and its number there."""


class Agent:
    """One agent id and the processes that live under it, one after the other."""

    def __init__(self, fire: Fire, name: str) -> None:
        self._fire = fire
        self._pid = 0
        self.name = name
        self.incarnation = -1
        self.ends: list[tuple[int, float, float]] = []
        """Incarnations that were killed: which, and between which times."""

    @property
    def done(self) -> Path:
        """Exists once it has sent its share."""
        return self._fire.folder / f"{self.name}.done"

    @property
    def lives(self) -> bool:
        """Whether its process runs."""
        return runs(self._pid)

    def journal(self, incarnation: int) -> Path:
        """Where an incarnation writes."""
        return self._fire.folder / f"{self.name}.{incarnation}.journal"

    @property
    def has_joined(self) -> bool:
        """Whether the present incarnation has."""
        path = self.journal(self.incarnation)
        return path.exists() and b'{"kind": "joined"' in path.read_bytes()

    def tried(self) -> int:
        """How many sends it began so far."""
        paths = map(self.journal, range(self.incarnation + 1))
        return sum(path.read_bytes().count(b'{"kind": "try"') for path in paths if path.exists())

    def spec(self, *, visit: bool = False) -> dict[str, Any]:
        """What the next incarnation has to know."""
        share = self._fire.share
        left = None if share is None else max(0, share - self.tried())
        self.incarnation += 1
        told = {"name": self.name, "incarnation": self.incarnation, "left": left, "visit": visit}
        return {**told, "done": str(self.done), "journal": str(self.journal(self.incarnation)), **self._fire.told}

    def start(self) -> None:
        self._pid = self._fire.fork(self.spec())

    def visit(self) -> None:
        """Live for a moment: join, and leave in order without having taken anything."""
        self._pid = self._fire.fork(self.spec(visit=True))
        self.await_end()

    def die(self) -> None:
        before = time.monotonic()
        os.kill(self._pid, signal.SIGKILL)
        self.await_end()
        self.ends.append((self.incarnation, before, time.monotonic()))

    def stop(self) -> None:
        """Tell it to leave in order."""
        os.kill(self._pid, signal.SIGTERM)

    def await_end(self) -> None:
        wait_until(lambda: not self.lives, PATIENCE, f"the end of {self.name}")
        self._pid = 0


def runs(pid: int) -> bool:
    """Whether there is such a process. Those that ended do not stay: the nursery does not ask how they did."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return pid != 0


class Fire:
    """The agents of one test, and the nursery that forks their processes. What still runs at the end is killed."""

    def __init__(
        self, folder: Path, names: list[str], seed: int, *, worker: Path = WORKER, **where: str | None
    ) -> None:
        self.folder = folder
        self.share: int | None = None
        self.told: dict[str, Any] = {"names": names, "seed": seed, **where}
        self.agents = [Agent(self, name) for name in names]
        self._pids: set[int] = set()
        beat = {"ATTUNE_HEARTBEAT_INTERVAL": "1", "ATTUNE_HEARTBEAT_TTL": "8"}
        with (folder / "errors").open("ab") as errors:
            self._nursery = subprocess.Popen(
                [sys.executable, str(worker)],
                env=os.environ | beat | {"PYTHONPATH": str(PROJECT), "PYTHONWARNINGS": "ignore"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def __enter__(self) -> Fire:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in filter(runs, self._pids):
            os.kill(pid, signal.SIGKILL)
        self._nursery.kill()
        self._nursery.communicate(timeout=PATIENCE)

    def fork(self, told: Any) -> int:
        """Start a process and return its pid."""
        self._pids = set(filter(runs, self._pids))
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.write(f"{json.dumps(told)}\n")
        self._nursery.stdin.flush()
        pid = int(self._nursery.stdout.readline())
        self._pids.add(pid)
        return pid

    def finish(self) -> None:
        """Let a last incarnation of each agent take what is left."""
        pid = self.fork([agent.spec() for agent in self.agents])
        wait_until(lambda: not runs(pid), PATIENCE, "the last incarnations")

    def errors(self) -> str:
        """What went wrong in the processes themselves; that a store is away does not."""
        said = (self.folder / "errors").read_text()
        return said[-5000:] if "Traceback" in said or "stumbled" in said else ""

    def await_joined(self) -> None:
        """Wait until all have joined."""
        wait_until(lambda: all(agent.has_joined for agent in self.agents), PATIENCE, "all have joined")

    def lives(self) -> list[Life]:
        """What all incarnations have written down, each agent's in order."""
        return [
            Life.read(agent.journal(number), agent.name, number, agent.ends)
            for agent in self.agents
            for number in range(agent.incarnation + 1)
        ]


def crash(server: EmbeddedServer, *, rewriting: bool, helped: bool) -> tuple[float, float]:
    """Kill the server, perhaps while it rewrites its file; return since when it was dead, and when there was another.

    The hubs start it again, unless they are ``helped`` and this process is quicker.
    """
    directory, pid = StateDir(settings.home()), embedded.status().pid
    assert pid is not None
    if rewriting:
        launcher.ask(directory.socket, b"BGREWRITEAOF")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not exists(pid), what="the death of the server")
    dead = time.monotonic()
    if helped:
        server.start()

    def is_new() -> bool:
        return launcher.answers(directory.socket) and launcher.server_pid(directory) not in {pid, None}

    wait_until(is_new, PATIENCE, "a new server")
    return dead, time.monotonic()


def exists(pid: int) -> bool:
    """Whether the process still runs: one that nobody has collected yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in {"Z", "X"}


@define
class Sent:
    """One message as its sender wrote it down; ``id`` is ``None`` if the send never returned."""

    message: Message
    target: str | None
    type: str
    ttl: float
    late: bool
    size: int
    began: float
    position: int
    id: str | None = None
    at: float = 0.0

    @property
    def is_lasting(self) -> bool:
        """Whether it must have been delivered by the end."""
        return self.ttl > 60


@define
class Taken:
    """One signal as its receiver wrote it down."""

    message: Message
    facts: dict[str, Any]
    position: int

    def __str__(self) -> str:
        return f"{self.message} {self.facts}"


@define
class Life:
    """One incarnation of an agent, by its journal."""

    name: str
    number: int
    died: tuple[float, float] | None
    begun: float | None = None
    joined: float | None = None
    left: float | None = None
    drained: float | None = None
    sent: dict[int, Sent] = field(factory=dict)
    taken: list[Taken] = field(factory=list)
    nothing: list[dict[str, Any]] = field(factory=list)
    odd: list[str] = field(factory=list)

    @classmethod
    def read(cls, path: Path, name: str, number: int, ends: list[tuple[int, float, float]]) -> Life:
        died = next(((before, after) for which, before, after in ends if which == number), None)
        life = cls(name, number, died)
        if path.exists():
            lines = path.read_bytes().split(b"\n")[:-1]  # one that was cut off by a kill was not written
            for position, line in enumerate(lines):
                life._take_in(position, json.loads(line))
        return life

    def _take_in(self, position: int, line: dict[str, Any]) -> None:
        kind, at = line.pop("kind"), line["at"]
        if kind == "try":
            message = (self.name, self.number, line["number"])
            facts = {name: line[name] for name in ("target", "type", "ttl", "late", "size")}
            self.sent[line["number"]] = Sent(message, **facts, began=at, position=position)
        elif kind == "sent":
            sent = self.sent[line["number"]]
            sent.id, sent.at = line["id"], at
        elif kind == "took":
            by, to, size = line["payload"]
            if to != line["target"] or by[0] != line["source"]:
                self.odd.append(f"the payload {line['payload']} came in {line}")
            self.taken.append(Taken((by[0], by[1], by[2]), line | {"size": size}, position))
        elif kind == "none":
            self.nothing.append(line)
        elif kind == "odd":
            self.odd.append(line["detail"])
        else:
            setattr(self, {"begin": "begun", "drain": "drained"}.get(kind, kind), at)


class Audit:
    """What must hold of all that was written down. Each method returns what does not."""

    def __init__(self, lives: list[Life]) -> None:
        self.lives = lives
        self.sent = {sent.message: sent for life in lives for sent in life.sent.values()}
        self.by_agent: dict[str, list[Life]] = defaultdict(list)
        for life in lives:
            self.by_agent[life.name].append(life)

    @cached_property
    def stored(self) -> set[Message]:
        """Messages that are known to have been stored: the send said so, or somebody has taken them."""
        confirmed = {message for message, sent in self.sent.items() if sent.id}
        return confirmed | {taken.message for life in self.lives for taken in life.taken}

    @cached_property
    def taken_by(self) -> dict[str, Counter[Message]]:
        """How often each agent has taken each message."""
        return {
            name: Counter(taken.message for life in lives for taken in life.taken)
            for name, lives in self.by_agent.items()
        }

    def lost(self) -> list[str]:
        """§5.1, §5.3, §5.4: confirmed, not expired, and never taken by whom it is for."""
        found = []
        for sent in self.sent.values():
            if not (sent.id and sent.is_lasting and sent.late):
                continue
            names = [name for name in self.by_agent if sent.target in {name, None}]
            if sent.target is None:
                names.remove(sent.message[0])
            found += [f"{name} never got {sent}" for name in names if not self.taken_by[name][sent.message]]
        return found

    def missed(self) -> list[str]:
        """§5.4: a broadcast for those alive only, which an agent that was there did not get, or a newcomer did."""
        found = []
        fleeting = [sent for sent in self.sent.values() if sent.id and not sent.late]
        for life in self.lives:
            took = {taken.message for taken in life.taken}
            for sent in fleeting:
                was_there = life.joined is not None and life.joined < sent.began
                has_drained = life.left is not None and life.drained is not None and life.drained > sent.at
                if was_there and has_drained and life.name != sent.message[0] and sent.message not in took:
                    found.append(f"{life.name}.{life.number} missed {sent}")
                if life.begun is not None and life.begun > sent.at and sent.message in took:
                    found.append(f"{life.name}.{life.number} came later than {sent}")
        return found

    def misdirected(self) -> list[str]:
        """§5.2: mail of others, one's own broadcast, and what nobody has sent like this."""
        found = [detail for life in self.lives for detail in life.odd]
        for life, taken in self.all_taken():
            sent, facts = self.sent.get(taken.message), taken.facts
            if facts["target"] not in {life.name, None} or (facts["target"] is None and facts["source"] == life.name):
                found.append(f"{life.name} got {taken}")
            same = sent and (sent.target, sent.type, sent.size) == (facts["target"], facts["type"], facts["size"])
            if not sent or not same or sent.id not in {facts["id"], None, ""}:
                found.append(f"{life.name} got {taken}, sent was {sent}")
        return found

    def repeated(self) -> list[str]:
        """§5.2, §5.7: taken twice by one incarnation; or by two and not ``redelivered``, or after what was seen."""
        found = []
        for lives in self.by_agent.values():
            before: dict[Message, tuple[Life, Taken]] = {}
            for life in lives:
                now: dict[Message, Taken] = {}
                for taken in life.taken:
                    where = f"{life.name}.{life.number} took {taken}"
                    if taken.message in now:
                        found.append(f"{where} twice")
                    elif taken.message in before:
                        found += self._wrong_again(where, taken, *before[taken.message])
                    now[taken.message] = taken
                before |= {message: (life, taken) for message, taken in now.items()}
        return found

    def _wrong_again(self, where: str, taken: Taken, former: Life, first: Taken) -> list[str]:
        found = [] if taken.facts["redelivered"] else [f"{where} again, not redelivered"]
        if former.died is None:
            found.append(f"{where} again, though {former.number} left in order")
        elif first.position < self.visible_up_to(former):
            found.append(f"{where} again, though {former.number} sent something after it had taken it")
        return found

    def visible_up_to(self, life: Life) -> int:
        """Return the position in its journal of the last send that others could see."""
        return max((sent.position for sent in life.sent.values() if sent.message in self.stored), default=-1)

    def redelivered(self) -> int:
        """How many signals were really taken twice."""
        return sum(times - 1 for counts in self.taken_by.values() for times in counts.values())

    def wrongly_marked(self) -> list[str]:
        """§5.7: ``redelivered``, though no earlier incarnation has died since it was sent."""
        found = []
        for lives in self.by_agent.values():
            has_died, latest = False, 0.0
            for life in lives:
                if has_died and life.joined is not None:
                    has_died, latest = False, life.joined  # by then the store knew of it
                for taken in life.taken:
                    if taken.facts["redelivered"] and self.sent[taken.message].began > latest:
                        found.append(f"{life.name}.{life.number} took {taken}, sent after {latest}")
                has_died = has_died or life.died is not None
        return found

    def out_of_order(self) -> list[str]:
        """§5.2, §5.5: of what one asked for, whatever a sender had sent earlier must have come before."""
        found = []
        for life in self.lives:
            for cast in (False, True):
                highest: dict[tuple[str, str], tuple[int, int]] = defaultdict(lambda: (-1, -1))
                for taken in life.taken:
                    facts, (source, *place) = taken.facts, taken.message
                    if (facts["target"] is None) is not cast:
                        continue
                    number = (place[0], place[1])
                    if number <= highest[source, facts["type"]]:
                        found.append(f"{life.name}.{life.number} took {taken} after {highest[source, facts['type']]}")
                    for kind in facts["asked"] or ("a", "b", "c"):
                        highest[source, kind] = max(highest[source, kind], number)
        return found

    def late(self) -> list[str]:
        """§5.3: taken by a call that began when it had expired."""
        return [f"{life.name} {taken}" for life, taken in self.all_taken() if taken.facts["expired"] > 0.05]

    def shared_ids(self) -> list[str]:
        """§5.1: no two messages have one id."""
        times = Counter(sent.id for sent in self.sent.values() if sent.id)
        return [signal_id for signal_id, number in times.items() if number > 1]

    def all_taken(self) -> Iterator[tuple[Life, Taken]]:
        return ((life, taken) for life in self.lives for taken in life.taken)
