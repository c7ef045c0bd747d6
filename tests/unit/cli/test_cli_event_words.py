"""What is said of each kind of event."""

from __future__ import annotations

from typing import Any

import pytest

from attune_dsl.cli.event_words import mark, words
from attune_dsl.cli.formats import moment
from attune_dsl.events import (
    DATA,
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
    Unknown,
    WaitEnd,
    WaitStart,
)

AT = 1_763_971_918.0
RUN = "1a2b3c4d5e6f70819aabbccddeeff001"


def event(kind: str, data: EventData, **of_whom: Any) -> Event:
    usual = {"agent": "release", "run": RUN, "workflow": "release"}
    return Event(id="1-1", kind=kind, at=AT, namespace="n", data=data, **(usual | of_whom))


SAID: list[tuple[str, EventData, str]] = [
    ("run.started", RunStart(), "run 1a2b3c4d of release started"),
    ("run.started", RunStart(plan=("a", "b")), "run 1a2b3c4d of release started, planned: a, b"),
    ("run.ended", RunEnd(status="completed", duration=3.14, cost=0.0123), "run completed in 3.1 s, cost 0.0123"),
    ("run.ended", RunEnd(status="aborted", duration=3.14, error="E: no"), "run was aborted in 3.1 s: E: no"),
    ("stage.started", StageStart(call=1), "started"),
    ("stage.started", StageStart(call=1, attempt=2, tier="cheap", item=0), "attempt 2 started [0] (cheap)"),
    ("stage.progressed", StageProgress(fraction=0.4, note="half"), "40%: half"),
    ("stage.progressed", StageProgress(), "moves"),
    (
        "stage.retried",
        StageRetry(call=1, attempt=1, error="E: x", pause=0.5),
        "attempt 1 failed, again in 500 ms: E: x",
    ),
    ("stage.ended", StageEnd(call=1, status="completed", duration=1.2), "completed in 1.2 s"),
    (
        "stage.ended",
        StageEnd(call=1, status="failed", duration=1.2, attempts=3, item=4, error="E: x"),
        "failed [4] in 1.2 s after 3 attempts: E: x",
    ),
    ("stage.ended", StageEnd(call=1, status="skipped", duration=0.0), "was skipped"),
    ("signal.sent", SignalSent(id="1", type="go", target="bob"), "sent go to bob"),
    ("signal.sent", SignalSent(id="1", type="go", payload={"n": 1}, has_payload=True), 'sent go to all {"n":1}'),
    ("signal.received", SignalReceived(id="1", type="go", source="ops"), "received go from ops"),
    (
        "signal.received",
        SignalReceived(id="1", type="go", source="ops", waited=1.5, redelivered=True),
        "received go from ops after 1.5 s (redelivered)",
    ),
    ("signal.expired", SignalExpired(id="1", type="go", source="ops"), "never took go from ops: it expired"),
    ("signal.expired", SignalExpired(id="1", type="", source=""), "never took a signal: it expired"),
    ("wait.started", WaitStart(what="signal"), "waits for any signal"),
    (
        "wait.started",
        WaitStart(what="signal", names=("go", "stop"), sources=("ops",), timeout=30.0),
        "waits for go or stop from ops, 30 s at most",
    ),
    ("wait.started", WaitStart(what="barrier", names=("ready",)), "waits at barrier ready"),
    ("wait.ended", WaitEnd(what="signal", outcome="received", waited=2.0, names=("go",)), "waited 2.0 s for go"),
    (
        "wait.ended",
        WaitEnd(what="signal", outcome="peer_gone", waited=2.0, names=("go",), detail="'ops' has ended"),
        "waited 2.0 s for go in vain, peer_gone: 'ops' has ended",
    ),
    ("wait.ended", WaitEnd(what="barrier", outcome="released", waited=0.1, names=("b",)), "waited 100 ms at barrier b"),
    ("agent.joined", AgentJoin(epoch=1), "joined"),
    ("agent.stalled", AgentNews(epoch=1), "stands still: no progress"),
    ("agent.resumed", AgentNews(epoch=1), "moves again"),
    ("agent.fenced", AgentNews(epoch=1), "has lost its agent id: it was taken over"),
    ("agent.aborted", AgentAbort(epoch=1, by="ops", reason="enough"), "was asked to stop by ops: enough"),
    ("agent.aborted", AgentAbort(epoch=1, by="", reason="enough"), "was asked to stop: enough"),
    ("agent.lost", AgentLoss(epoch=1), "is lost"),
    (
        "agent.lost",
        AgentLoss(epoch=1, beat_at=AT, progress=0.4),
        f"is lost: no beat since {moment(AT).split()[1]}, it was at 40%",
    ),
    ("agent.ended", AgentEnd(epoch=1, status="completed"), "left as completed"),
    ("emit", Emit(kind="note", data={"n": [1]}), 'note: {"n":[1]}'),
    ("emit", Emit(kind="chunk", data="two\nlines"), "chunk: two lines"),
    ("timeline.gap", Gap(why="dropped"), "events missing here: dropped"),
    ("timeline.gap", Gap(why="dropped", dropped=1), "1 event missing here: dropped"),
    ("timeline.gap", Gap(why="dropped", dropped=1234), "1,234 events missing here: dropped"),
    ("approval.asked", Unknown(fields={"by": "ops", "n": 1}), "approval.asked by=ops n=1"),
]


@pytest.mark.parametrize(("kind", "data", "said"), SAID, ids=[f"{kind}-{n}" for n, (kind, _, _) in enumerate(SAID)])
def test_each_kind_is_said_in_plain_words(kind: str, data: EventData, said: str) -> None:
    """§5.12: one line for each event, without the agent and the stage, which stand beside it."""
    assert words(event(kind, data)) == said


def test_every_kind_has_words_and_a_sign_of_its_own() -> None:
    """§5.12: no known kind is shown as an unknown one."""
    assert {kind for kind, _, _ in SAID} >= set(DATA)
    assert {mark(event(kind, data)).unicode for kind, data, _ in SAID if kind in DATA} >= set("▶●·↻✓✗■→←×◌+–!⊗»…")  # noqa: RUF001


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("emit", Emit(kind="\x1b[2J", data="\x9b31m\a")),
        ("signal.sent", SignalSent(id="1", type="\x1b]0;x\a", target="\r\n", payload="\x1b", has_payload=True)),
        ("stage.ended", StageEnd(call=1, status="\x1b[31m", duration=1.0, error="\u202e\x00")),
        ("x\x1b[2J", Unknown(fields={"\x1b": "\x1b[2J"})),
        ("run.ended", RunEnd(status="completed", duration=1e308, cost=1e308)),
        ("agent.lost", AgentLoss(epoch=1, beat_at=1e300, progress=-1e300)),
        ("wait.started", WaitStart(what="\x1b", names=("\x1b",), sources=("\x1b",), timeout=1e308)),
    ],
)
def test_hostile_data_is_one_harmless_line(kind: str, data: EventData) -> None:
    """§5.12: what others wrote cannot move the cursor, and never raises."""
    assert words(event(kind, data, run="\x1b[2J")).isprintable()
    assert mark(event(kind, data)).colour


def test_data_that_json_cannot_say_does_not_keep_the_event_from_being_shown() -> None:
    """§5.12: nested too deeply, say."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert words(event("emit", Emit(kind="note", data=deep))) == "note: …"
    while deep:  # or its destruction would be as deep
        deep = deep[0]
