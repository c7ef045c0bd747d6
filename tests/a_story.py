"""Stories for tests of what shows them: five agents and some 150 events, a tiny one, one with a loss and a gap."""

from __future__ import annotations

from typing import Any

from attrs import define, field

from attune_dsl.events import (
    AgentAbort,
    AgentEnd,
    AgentJoin,
    AgentLoss,
    AgentNews,
    Emit,
    Event,
    EventData,
    Gap,
    RunEnd,
    RunStart,
    SignalExpired,
    SignalReceived,
    SignalSent,
    StageEnd,
    StageProgress,
    StageRetry,
    StageStart,
    WaitEnd,
    WaitStart,
)

BEGAN = 1_795_500_840.0
"""When the stories began, in seconds since the epoch: 2026-11-24 06:14 UTC."""

RELEASE = "4b1f0c7a9d2e4f31"
"""The id of the first run of :func:`a_release`."""


@define
class Teller:
    """Collects events in the order of their times."""

    events: list[Event] = field(factory=list)
    signals: int = 0

    def tell(self, at: float, kind: str, data: EventData, agent: Actor | str | None, stage: str | None = None) -> None:
        """``at`` is in seconds since the story began."""
        who = agent if isinstance(agent, Actor) else None
        event = Event(
            id="0-0",
            kind=kind,
            at=round(BEGAN + at, 3),
            namespace="demo",
            agent=agent if isinstance(agent, str) else (who.name if who else None),
            run=who.run if who else None,
            workflow=who.workflow if who else None,
            stage=stage,
            data=data,
        )
        self.events.append(event)

    def story(self) -> list[Event]:
        """Return the events, ordered and with ids, as a timeline has them."""
        from attrs import evolve

        ordered = sorted(self.events, key=lambda event: event.at)
        return [evolve(event, id=f"{round(event.at * 1000)}-{place}") for place, event in enumerate(ordered)]


@define
class Actor:
    """An agent with a run, whose deeds are told."""

    told: Teller
    name: str
    run: str | None = None
    workflow: str | None = None
    calls: int = 0

    def note(self, at: float, kind: str, data: EventData, stage: str | None = None) -> None:
        self.told.tell(at, kind, data, self, stage)

    def starts(self, at: float, *plan: str) -> None:
        self.note(at, "agent.joined", AgentJoin(epoch=1, ttl=15.0))
        self.note(at + 0.004, "run.started", RunStart(plan=plan))

    def ends(self, at: float, start: float, status: str = "completed", **more: Any) -> None:
        self.note(at, "run.ended", RunEnd(status=status, duration=at - start, **more))
        self.note(at + 0.006, "agent.ended", AgentEnd(epoch=1, status=status))

    def works(self, start: float, end: float, stage: str, **more: Any) -> None:
        """A call of a stage, all of it. ``fails`` has times of failed attempts."""
        self.calls += 1
        call, fails = self.calls, more.pop("fails", ())
        tier, item = more.get("tier"), more.get("item")
        self.note(start, "stage.started", StageStart(call=call, tier=tier, item=item), stage)
        for attempt, at in enumerate(fails, start=1):
            error = "ConnectionError: the registry closed the connection"
            retry = StageRetry(call=call, attempt=attempt, error=error, pause=0.5, item=item)
            self.note(at, "stage.retried", retry, stage)
            again = StageStart(call=call, attempt=attempt + 1, tier=tier, item=item)
            self.note(at + 0.5, "stage.started", again, stage)
        done: dict[str, Any] = {"status": "completed", "attempts": len(fails) + 1, "duration": end - start} | more
        self.note(end, "stage.ended", StageEnd(call=call, **done), stage)

    def sends(self, at: float, type_: str, target: Actor | None, payload: Any, takes: Any, stage: str = "") -> None:  # noqa: PLR0917
        """A signal; ``takes`` has pairs of an actor and the time at which it takes it."""
        self.told.signals += 1
        sent_id = f"h1.0.{self.told.signals}"
        to = target.name if target else None
        sent = SignalSent(id=sent_id, type=type_, target=to, size=64, payload=payload, has_payload=True)
        self.note(at, "signal.sent", sent, stage or None)
        for actor, when in takes:
            took = SignalReceived(id=sent_id, type=type_, source=self.name, target=to, waited=when - at)
            actor.note(when, "signal.received", took)

    def waits(self, start: float, end: float, what: str, stage: str | None = None, **more: Any) -> None:
        names = (what,)
        outcome, detail = more.pop("outcome", "received"), more.pop("detail", "")
        self.note(start, "wait.started", WaitStart(what="signal", names=names, **more), stage)
        ended = WaitEnd(what="signal", outcome=outcome, waited=end - start, names=names, detail=detail)
        self.note(end, "wait.ended", ended, stage)

    def says(self, at: float, fraction: float, note: str | None, stage: str) -> None:
        self.note(at, "stage.progressed", StageProgress(fraction=fraction, note=note, run_progress=fraction), stage)

    def emits(self, at: float, kind: str, data: Any, stage: str | None = None) -> None:
        self.note(at, "emit", Emit(kind=kind, data=data), stage)


def a_release() -> list[Event]:
    """Five agents bring a release out: builds, a review, notes by a model, a deployment that is tried twice."""
    told = Teller()
    release = Actor(told, "release", RELEASE, "release")
    review = Actor(told, "reviewer", "90c2d5e1b7a64c08", "code_review")
    docs = Actor(told, "docs", "c7715d0fe4a94b6a", "release_notes")
    deploy = Actor(told, "deploy", "1e83ab04cc5d4e9f", "deploy")
    ops = Actor(told, "ops")
    ops.note(0.0, "agent.joined", AgentJoin(epoch=7, ttl=30.0))
    release.starts(0.4, "checkout", "build", "test", "request_review", "announce")
    review.starts(0.9, "read_diff", "judge")
    deploy.starts(1.2, "artifact_ready", "canary", "rollout", "verify")
    docs.starts(1.5, "collect", "write", "publish")
    ops.sends(2.0, "start", None, {"at": "now"}, [(release, 2.02), (docs, 2.03), (deploy, 2.04), (review, 2.05)])
    _builds(release, review, docs)
    _reviews(release, review)
    _writes(docs)
    _deploys(release, deploy, ops)
    ops.note(46.0, "agent.ended", AgentEnd(epoch=7, status="completed"))
    return told.story()


def _builds(release: Actor, review: Actor, docs: Actor) -> None:
    release.works(2.1, 4.3, "checkout", run_progress=0.12)
    release.works(4.3, 11.2, "build", run_progress=0.3)
    for step in range(6):
        release.says(4.9 + step, (step + 1) / 7, f"compiled {(step + 1) * 37} of 259 files", "build")
    release.sends(11.3, "changes", docs, {"commits": 14}, [(docs, 11.33)])
    for item, (start, end) in enumerate([(11.4, 15.1), (11.4, 13.2), (11.5, 16.8), (11.5, 14.0), (13.3, 17.4)]):
        failed = {"status": "failed", "error": "AssertionError: 2 of 118 tests failed"} if item == 3 else {}
        release.works(start, end, "test", item=item, **failed)
    release.emits(14.1, "note", {"flaky": ["test_retries", "test_reconnect"], "rerun": True}, "test")
    release.works(17.5, 20.2, "test", item=3, run_progress=0.6)
    release.sends(20.5, "review_request", review, {"diff": "1.1..1.2"}, [(review, 20.55)], "request_review")
    release.works(20.4, 30.1, "request_review", run_progress=0.8)
    release.waits(20.6, 30.0, "verdict", "request_review", sources=("reviewer",), timeout=60.0)


def _reviews(release: Actor, review: Actor) -> None:
    review.waits(2.2, 20.5, "review_request", timeout=120.0)
    review.works(20.7, 23.9, "read_diff", tier="cheap")
    for step in range(8):
        review.emits(24.3 + step * 0.55, "chunk", f"Part {step + 1} of the review. ", "judge")
    review.works(24.0, 29.6, "judge", tier="capable", fails=(25.4,))
    review.sends(29.8, "verdict", release, {"ok": True, "score": 0.92}, [(release, 29.99)], "judge")
    review.ends(30.2, 0.904, cost=0.0312, tokens_in=18_204, tokens_out=1_377)


def _writes(docs: Actor) -> None:
    docs.waits(2.2, 11.3, "changes", sources=("release",))
    docs.works(11.5, 13.0, "collect")
    docs.works(13.1, 24.6, "write", tier="premium")
    for step in range(14):
        docs.emits(13.6 + step * 0.75, "chunk", f"- Change {step + 1}: what it brings, and for whom.\n", "write")
    docs.says(19.0, 0.55, "half of the notes", "write")
    docs.note(20.1, "agent.stalled", AgentNews(epoch=1))
    docs.note(21.7, "agent.resumed", AgentNews(epoch=1))
    docs.works(24.7, 26.3, "publish", status="failed", error="PermissionError: no right to write to the site")
    docs.ends(26.5, 1.504, "failed", error="PermissionError: no right to write to the site", cost=0.2145)


def _deploys(release: Actor, deploy: Actor, ops: Actor) -> None:
    deploy.works(2.2, 33.2, "artifact_ready")
    deploy.waits(2.3, 33.1, "task_complete", "artifact_ready", sources=("release",), timeout=120.0)
    release.works(30.3, 33.4, "announce", fails=(31.2, 32.1))
    release.sends(33.0, "task_complete", deploy, {"artifact": "app-1.2.whl"}, [(deploy, 33.09)], "announce")
    release.emits(33.45, "result", {"artifact": "app-1.2.whl", "sha256": "9c" * 32})
    release.ends(33.6, 0.404, cost=0.0021, tokens_in=2_101, tokens_out=340)
    deploy.works(33.3, 37.5, "canary")
    deploy.says(35.0, 0.5, "5 % of traffic", "canary")
    deploy.sends(37.6, "canary_ok", ops, {"errors": 0}, [(ops, 37.7)])
    deploy.works(37.7, 43.0, "rollout")
    for step in range(5):
        deploy.says(38.4 + step, 0.2 * (step + 1), f"{20 * (step + 1)} % of traffic", "rollout")
        deploy.works(38.0 + step * 0.9, 38.7 + step * 0.9, "rollout/shift")
    deploy.sends(43.1, "metrics", None, {"p50_ms": 12, "p99_ms": 48}, [(ops, 43.2)])
    deploy.works(43.2, 45.0, "verify")
    deploy.ends(45.3, 1.204)


def a_tiny_run() -> list[Event]:
    """One stage that takes no time at all."""
    told = Teller()
    hello = Actor(told, "hello", "aa00000000000001", "hello")
    hello.note(0.0, "run.started", RunStart(plan=("greet",)))
    hello.works(0.001, 0.001, "greet")
    hello.note(0.001, "run.ended", RunEnd(status="completed", duration=0.0008))
    return told.story()


def a_loss() -> list[Event]:
    """A crawler is lost in the middle of its work, its indexer is aborted, and a part of the history is missing."""
    told = Teller()
    crawl = Actor(told, "crawler", "5d00000000000001", "crawl")
    index = Actor(told, "indexer", "5d00000000000002", "index")
    told.tell(0.0, "timeline.gap", Gap(why="the timeline keeps 100,000 events", dropped=1284), None)
    index.starts(0.5, "take", "index")
    crawl.note(1.0, "stage.started", StageStart(call=31, item=30), "fetch")
    crawl.says(2.0, 0.31, "page 310", "fetch")
    crawl.sends(2.5, "page", index, {"url": "https://example.org/310"}, [(index, 2.6)], "fetch")
    crawl.sends(3.1, "page", index, {"url": "https://example.org/311"}, [], "fetch")
    index.note(2.7, "stage.started", StageStart(call=1), "index")
    index.note(4.0, "wait.started", WaitStart(what="signal", names=("page",), sources=("crawler",)), "index")
    crawl.note(9.0, "agent.lost", AgentLoss(epoch=3, beat_at=BEGAN + 3.9, progress=0.31), "fetch")
    expired = SignalExpired(id="h1.0.2", type="page", source="crawler")
    index.note(9.4, "signal.expired", expired)
    gone = WaitEnd(what="signal", outcome="peer_gone", waited=5.1, names=("page",), detail="crawler was lost in fetch")
    index.note(9.1, "wait.ended", gone, "index")
    index.note(10.0, "agent.aborted", AgentAbort(epoch=1, by="ops", reason="the crawler is gone; start anew"))
    index.note(10.1, "stage.ended", StageEnd(call=1, status="aborted", duration=7.4), "index")
    index.ends(10.2, 0.504, "aborted", error="RunAborted: the crawler is gone; start anew")
    return told.story()


HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "\u202eright to left\u202c and \u2066isolated\u2069",
    "null \x00 bell \x07 escape \x1b[31m line\nfeed",
    "separators \u2028 and \u2029",
    "end",
    "quotes \" ' ` semicolon; hash #35; percent %% {brace} $$x$$ <br/> a->>b: c",
    "participant a0 as b",
    "-->&lt;!--<!--",
    "javascript:alert(1)",
    "𝄞 🜂 e\u0301",
    "x" * 20_000,
)
"""What somebody may write to do harm."""


def hostile() -> list[Event]:
    """Every text of a story is one of :data:`HOSTILE`."""
    told = Teller()
    for number, text in enumerate(HOSTILE):
        name = text[:128] or "x"
        actor = Actor(told, name, f"{text[:60]} {number}", text)
        other = Actor(told, f"other {name}"[:128])
        at = number * 0.01
        actor.starts(at, text)
        actor.works(at + 0.001, at + 0.005, text, tier=text, status="failed", error=text, fails=(at + 0.002,))
        actor.sends(at + 0.002, text, other, {text: [text]}, [(other, at + 0.003)], text)
        actor.waits(at + 0.003, at + 0.004, text, text, outcome="timeout", detail=text)
        actor.emits(at + 0.004, text, {text: text}, text)
        actor.says(at + 0.004, 0.5, text, text)
        actor.note(at + 0.006, "agent.aborted", AgentAbort(epoch=1, by=text, reason=text))
        told.tell(at + 0.006, "timeline.gap", Gap(why=text), None)
        actor.ends(at + 0.007, at, text, error=text)
    return told.story()


def many(count: int) -> list[Event]:
    """At least ``count`` events of eight agents."""
    told = Teller()
    actors = [Actor(told, f"worker-{number}", f"{number:016x}", "crunch") for number in range(8)]
    for actor in actors:
        actor.starts(0.0)
    at = 1.0
    while len(told.events) < count:
        for number, actor in enumerate(actors):
            actor.works(at + number * 0.01, at + number * 0.01 + 0.6, "fetch", tier="cheap")
            actor.works(at + number * 0.01 + 0.3, at + 0.95, "parse")
            peer = actors[(number + 3) % 8]
            actor.sends(at + 0.7, "row", peer, {"n": number}, [(peer, at + 0.72)], "parse")
        at += 1.0
    for actor in actors:
        actor.ends(at, 0.0)
    return told.story()
