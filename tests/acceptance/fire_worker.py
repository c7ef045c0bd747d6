"""One process under fire: it sends, takes and waits at random, and keeps a journal that outlives a kill -9.

A signal's line is written when the signal becomes taken, before its mark can reach the store. Were it written after the
call has returned, a process that is killed in between would have taken what no journal names.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attune_dsl import join

if TYPE_CHECKING:
    from attune_dsl.coordination.join import Joined
    from attune_dsl.model import NoSignal, Signal

TYPES = ("a", "b", "c")
LONG, SHORT = 600.0, 0.05
"""Seconds that signals live: until the end of the test, or hardly as long as a delivery takes."""


class Journal:
    """Lines of JSON, each written by one system call: what the kernel has, no kill takes back."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, kind: str, **facts: Any) -> None:
        line = json.dumps({"kind": kind, "at": time.monotonic(), **facts})
        os.write(self._file, f"{line}\n".encode())


class Life:
    """One incarnation of an agent, which writes down all that it does."""

    def __init__(self, me: Joined, incarnation: int, journal: Journal, stopping: Callable[[], bool]) -> None:
        self.me, self.signals = me, me.signals
        self.stopping = stopping
        self.incarnation = incarnation
        self.journal = journal
        self.asked: tuple[str, ...] = ()
        self.called = 0.0
        self.last = ""
        member = me._agent._member
        assert member is not None
        journal.write("joined", epoch=member.epoch)
        self._watch(member.mailbox)

    def _watch(self, mailbox: Any) -> None:
        """Write a line ahead of each mark."""
        mark = mailbox.mark

        def write_and_mark(entry: Any) -> None:
            one = entry.signal
            self.last = one.id
            self.journal.write(
                "took",
                id=one.id,
                source=one.source,
                target=one.target,
                type=one.type,
                order=one.order,
                redelivered=one.redelivered,
                expired=self.called - one.expires_at,
                asked=self.asked,
                payload=[one.payload["by"], one.payload["to"], len(one.payload["fill"])],
            )
            mark(entry)

        mailbox.mark = write_and_mark

    # Sending

    def send(self, number: int, target: str | None, kind: str, *, ttl: float = LONG, late: bool = True) -> str:
        """Send one and write down before what it is, and after whether it is stored."""
        by = (self.me.agent_id, self.incarnation, number)
        size = random_size(number)
        self.journal.write("try", number=number, target=target, type=kind, ttl=ttl, late=late, size=size)
        payload = {"by": by, "to": target, "fill": "x" * size}
        if target is None:
            stored = self.signals.broadcast(kind, payload, ttl=ttl, late=late)
        else:
            stored = self.signals.send(kind, target, payload, ttl=ttl)
        self.journal.write("sent", number=number, id=stored)
        return stored

    def insist(self, number: int, target: str, kind: str) -> None:
        """Send one under a key until it is confirmed: however often it was tried, it is one signal."""
        by = (self.me.agent_id, self.incarnation, number)
        payload = {"by": by, "to": target, "fill": ""}
        self.journal.write("try", number=number, target=target, type=kind, ttl=LONG, late=True, size=0)
        stored, key = "", f"{self.incarnation}.{number}"
        while not (stored or self.stopping()):
            stored = self.signals.send(kind, target, payload, ttl=LONG, key=key)
            if not stored:
                time.sleep(0.01)  # there is no store, and nothing else to do meanwhile
        self.journal.write("sent", number=number, id=stored)

    # Taking

    def wait(self, *kinds: str, source: str | None = None, timeout: float) -> None:
        self._asks(*kinds)
        began = time.monotonic()
        got = self.signals.wait(*kinds, source=source, timeout=timeout)
        if got:
            self._returned(got)
        else:
            self._nothing(got, began, source)

    def check(self, *kinds: str, source: str | None = None) -> bool:
        self._asks(*kinds)
        if got := self.signals.check(*kinds, source=source):
            self._returned(got)
        return got is not None

    def collect(self, number: int, timeout: float) -> None:
        self._asks()
        got = self.signals.collect(count=number, timeout=timeout)
        if got.signals:
            self._returned(got.signals[-1])

    def drain(self) -> None:
        """Take all that is there by now."""
        self.journal.write("drain")
        while self.check():
            pass

    def _asks(self, *kinds: str) -> None:
        self.asked, self.called = kinds, time.time()

    def _returned(self, got: Signal) -> None:
        if got.id != self.last:
            self.journal.write("odd", detail=f"{got.id} was returned, {self.last} was marked last")

    def _nothing(self, got: NoSignal, began: float, source: str | None) -> None:
        self.journal.write("none", reason=got.reason, began=began, source=source, asked=self.asked, detail=got.detail)
        if got.reason == "unavailable":
            time.sleep(0.01)  # there is no store, and nothing else to do meanwhile


def random_size(number: int) -> int:
    """Most payloads are small; each fiftieth is larger than what an inbox takes."""
    return 9_000 if number % 50 == 49 else number % 40


class Work:
    """What an agent does at random until it has sent its share, and then until it is told to stop."""

    def __init__(self, life: Life, names: list[str], chance: random.Random) -> None:
        self.life, self.names, self.chance = life, names, chance
        self.others = [name for name in names if name != life.me.agent_id]

    def send(self, number: int) -> None:
        chance, kind = self.chance.random(), self.chance.choice(TYPES)
        if chance < 0.02:
            self.life.send(number, None, kind, late=chance < 0.015)
        elif chance < 0.05:
            self.life.send(number, self.chance.choice(self.names), kind, ttl=SHORT)
        elif chance < 0.15:
            self.life.insist(number, self.chance.choice(self.names), kind)
        else:
            self.life.send(number, self.chance.choice(self.names), kind)

    def take(self) -> None:
        chance, kind = self.chance.random(), self.chance.choice(TYPES)
        if chance < 0.20:
            self.life.wait(timeout=0.01)
        elif chance < 0.35:
            self.life.check()
        elif chance < 0.65:
            self.life.collect(self.chance.randrange(1, 60), timeout=0.01)
        elif chance < 0.80:
            self.life.wait(kind, self.chance.choice(TYPES), timeout=0.01)
        elif chance < 0.92:
            self.life.check(kind, source=self.chance.choice(self.others))
        elif chance < 0.995:
            self.life.wait(kind, source=self.chance.choice(self.others), timeout=0.01)
        else:
            self.life.wait(source=self.chance.choice(self.others), timeout=self.chance.choice([0.3, 0.6]))


def live(spec: dict[str, Any], stopping: Callable[[], bool]) -> None:
    """Join and work, or only join and leave."""
    journal = Journal(spec["journal"])
    journal.write("begin")
    with join(spec["name"], spec["store"], spec["namespace"]) as me:
        life = Life(me, spec["incarnation"], journal, stopping)
        if not spec["visit"]:
            work(life, spec)
    journal.write("left")


def work(life: Life, spec: dict[str, Any]) -> None:
    """Send what is left of the share (it is counted down over the incarnations), then take until told to stop."""
    chance = random.Random(f"{spec['seed']} {spec['name']} {spec['incarnation']}")
    doing, left = Work(life, spec["names"], chance), spec["left"]
    for number in count() if left is None else range(left):
        doing.send(number)
        while chance.random() < 0.25:
            doing.take()
        if life.stopping():
            break
    else:
        Path(spec["done"]).touch()
        while not life.stopping():
            life.wait(timeout=0.05)
    if chance.random() < 0.5 or left is None:
        life.drain()


def finish(specs: list[dict[str, Any]]) -> None:
    """The last incarnation of each agent: it takes what is left."""
    for spec in specs:
        journal = Journal(spec["journal"])
        journal.write("begin")
        with join(spec["name"], spec["store"], spec["namespace"]) as me:
            Life(me, spec["incarnation"], journal, lambda: False).drain()
        journal.write("left")


def act(told: Any) -> None:
    """What a process is for: one life of an agent, or the last lives of several."""
    if isinstance(told, list):
        finish(told)
        return
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    live(told, lambda: bool(stopped))


def become(told: Any, act: Callable[[Any], None]) -> int:
    """Be a process of one's own, which does that; return its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    try:
        act(told)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main(act: Callable[[Any], None] = act) -> None:
    """Fork a process for each line on standard input, and say its pid: a new interpreter each would be slower."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            code = become(json.loads(line), act)
            sys.stderr.flush()
            os._exit(code)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
