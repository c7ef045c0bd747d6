"""What events add up to. Each test reads what a scraper would: text, by the parser of the library."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

pytest.importorskip("prometheus_client")

from attrs import evolve
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from attune_dsl.dashboard.tally import BUCKETS, LENGTH, LIMIT, WORKFLOWS, Tally
from attune_dsl.events import (
    AgentAbort,
    AgentLoss,
    AgentNews,
    Emit,
    Event,
    EventData,
    Gap,
    RunEnd,
    SignalExpired,
    SignalReceived,
    SignalSent,
    StageEnd,
    StageRetry,
    StageStart,
    Unknown,
    WaitEnd,
    WaitStart,
)

AGENT, RUN, SIGNAL = "agent-7f3a", "run-19c2", "signal-55e0"
_numbers = count(1)


def event(kind: str, data: EventData, *, workflow: str | None = "release", stage: str | None = None) -> Event:
    return Event(
        id=f"{next(_numbers)}-0",
        kind=kind,
        at=1.0,
        namespace="team",
        agent=AGENT,
        run=RUN,
        workflow=workflow,
        stage=stage,
        data=data,
    )


def stage_ended(workflow: str, stage: str, duration: float = 0.2, status: str = "completed") -> Event:
    return event("stage.ended", StageEnd(call=1, status=status, duration=duration), workflow=workflow, stage=stage)


def run_ended(workflow: str = "release", **data: Any) -> Event:
    return event("run.ended", RunEnd(**{"status": "completed", "duration": 1.0} | data), workflow=workflow)


def received(waited: float | None) -> Event:
    return event("signal.received", SignalReceived(id=SIGNAL, type="done", source=AGENT, waited=waited))


def wait_ended(outcome: str, waited: float = 3.0) -> Event:
    return event("wait.ended", WaitEnd(what="signal", outcome=outcome, waited=waited))


class Scrape:
    """What the text says: the value of each series."""

    def __init__(self, tally: Tally) -> None:
        self.text = generate_latest(tally).decode()
        self.families = list(text_string_to_metric_families(self.text))

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.series(name).get(tuple(sorted(labels.items())))

    def series(self, name: str) -> dict[tuple[tuple[str, str], ...], float]:
        """All series of that name."""
        samples = (sample for family in self.families for sample in family.samples)
        return {tuple(sorted(one.labels.items())): one.value for one in samples if one.name == name}


def scrape(*events: Event, limit: int = LIMIT) -> Scrape:
    tally = Tally(limit)
    for one in events:
        tally.take(one)
    return Scrape(tally)


def test_durations_of_stages_are_counted_by_workflow_stage_and_status() -> None:
    """§5: three calls of a stage are one histogram each for how they ended, with the sum of their seconds."""
    seen = scrape(
        stage_ended("release", "build", 0.2),
        stage_ended("release", "build", 40.0),
        stage_ended("release", "build", 0.3, "failed"),
    )

    name, completed = "attune_stage_duration_seconds", {"workflow": "release", "stage": "build", "status": "completed"}
    assert (seen(f"{name}_count", **completed), seen(f"{name}_sum", **completed)) == (2, 40.2)
    assert seen(f"{name}_count", **completed | {"status": "failed"}) == 1
    buckets = [seen(f"{name}_bucket", **completed, le=str(bound)) for bound in (0.1, 0.5, 30.0, 60.0)]
    assert buckets == [0, 1, 1, 2]
    assert seen(f"{name}_bucket", **completed, le="+Inf") == 2


def test_retries_are_counted_by_stage() -> None:
    """§5: each failed attempt that another one follows counts once."""
    retry = StageRetry(call=1, attempt=1, error="OSError: away", pause=0.1)

    seen = scrape(*(event("stage.retried", retry, stage="build") for _ in range(3)))

    assert seen("attune_stage_retries_total", workflow="release", stage="build") == 3


def test_runs_are_counted_with_their_duration_cost_and_tokens() -> None:
    """§5: what runs used is added up over those that ended, failed ones too."""
    seen = scrape(
        run_ended(duration=2.0, cost=0.25, tokens_in=100, tokens_out=7),
        run_ended(duration=3.0, cost=0.5, tokens_in=10),
        run_ended("deploy", status="failed", error="ValueError: no", cost=4.0),
    )

    assert seen.series("attune_runs_total") == {
        (("status", "completed"), ("workflow", "release")): 2,
        (("status", "failed"), ("workflow", "deploy")): 1,
    }
    assert seen("attune_run_duration_seconds_sum", workflow="release", status="completed") == 5
    assert seen.series("attune_cost_total") == {(("workflow", "release"),): 0.75, (("workflow", "deploy"),): 4}
    assert seen.series("attune_tokens_total") == {(("direction", "in"),): 110, (("direction", "out"),): 7}


def test_signals_are_counted_by_type() -> None:
    """§5: sent, received and expired ones each have a counter."""
    seen = scrape(
        event("signal.sent", SignalSent(id="1", type="done")),
        event("signal.sent", SignalSent(id="2", type="done", target="deploy")),
        event("signal.sent", SignalSent(id="3", type="ask")),
        received(None),
        event("signal.expired", SignalExpired(id="3", type="ask", source=AGENT)),
    )

    assert seen.series("attune_signals_sent_total") == {(("type", "done"),): 2, (("type", "ask"),): 1}
    assert seen.series("attune_signals_received_total") == {(("type", "done"),): 1}
    assert seen.series("attune_signals_expired_total") == {(("type", "ask"),): 1}


def test_a_wait_that_got_its_signal_counts_once() -> None:
    """§5.5: the signal tells of it, be the wait told by events of its own or not; mail that was there is no wait."""
    seen = scrape(
        received(None),  # was there
        received(0.01),  # too short to be told
        event("wait.started", WaitStart(what="signal")),
        received(2.0),
        wait_ended("received", 2.0),
    )

    assert seen.series("attune_waits_total") == {(("outcome", "received"),): 2}
    assert seen.series("attune_wait_seconds_count") == {(("outcome", "received"),): 2}
    assert seen("attune_wait_seconds_sum", outcome="received") == 2.01
    assert seen("attune_signals_received_total", type="done") == 3


def test_waits_that_ended_otherwise_count_by_their_outcome() -> None:
    """§5.8: each reason has a series of its own; what nobody knows shares one."""
    outcomes = ["timeout", "timeout", "peer_gone", "deadlock", "aborted", "unavailable", "released", "interrupted"]

    seen = scrape(*map(wait_ended, [*outcomes, "\u202e<b>", "because"]))

    counted = {labels[0][1]: value for labels, value in seen.series("attune_waits_total").items()}
    assert counted == {**dict.fromkeys(outcomes, 1.0), "timeout": 2, "other": 2}
    assert seen("attune_wait_seconds_sum", outcome="timeout") == 6


def test_agents_that_are_lost_stalled_or_aborted_are_counted() -> None:
    """§5.9, §5.10: each such event counts once."""
    seen = scrape(
        event("agent.lost", AgentLoss(epoch=1)),
        event("agent.lost", AgentLoss(epoch=2)),
        event("agent.stalled", AgentNews(epoch=3)),
        event("agent.aborted", AgentAbort(epoch=3, by="ops", reason="enough")),
    )

    totals = [seen(f"attune_{name}_total") for name in ("agents_lost", "agents_stalled", "aborts")]
    assert totals == [2, 1, 1]


def test_what_is_emitted_and_what_is_missing_is_counted() -> None:
    """§5.12: emits by kind; where the timeline says that events are missing, as many as it says, else one."""
    seen = scrape(
        event("emit", Emit(kind="note", data={"of": 1})),
        event("emit", Emit(kind="chunk", data="text")),
        event("emit", Emit(kind="chunk", data="text")),
        event("timeline.gap", Gap(why="too much", dropped=40)),
        event("timeline.gap", Gap(why="nobody knows")),
    )

    assert seen.series("attune_emits_total") == {(("kind", "note"),): 1, (("kind", "chunk"),): 2}
    assert seen("attune_events_missed_total") == 41


def test_what_was_dropped_before_the_first_event_is_not_missed() -> None:
    """§5.12: a reader's gap at the beginning is no news; one that it finds later is."""
    gap = evolve(event("timeline.gap", Gap(why="the cap", dropped=9_000)), agent=None, run=None)

    assert scrape(gap)("attune_events_missed_total") == 0
    assert scrape(run_ended(), gap)("attune_events_missed_total") == 9_000


def test_kinds_that_are_not_counted_change_nothing() -> None:
    """§5.12: events of a later version, of approvals too, are left out; no approval is pending."""
    before = scrape()

    after = scrape(
        event("stage.started", StageStart(call=1), stage="build"),
        event("approval.asked", Unknown(fields={"question": "Really?"})),
        event("agent.teleported", Unknown()),
    )

    assert after.text == before.text
    assert after("attune_approvals_pending") == 0


def test_a_tally_without_events_shows_its_counters() -> None:
    """§5: what has no labels is there from the start as 0, so that its rate is known at the first event."""
    seen = scrape()

    names = ("agents_lost", "agents_stalled", "aborts", "events_missed")
    assert [seen(f"attune_{name}_total") for name in names] == [0, 0, 0, 0]


def test_no_series_names_an_agent_a_run_or_a_signal() -> None:
    """§5: ids never end, so none is in a label, and labels are those that are documented."""
    signal = SignalSent(id=SIGNAL, type="done", target=AGENT)
    aborted = event("agent.aborted", AgentAbort(epoch=4, by=AGENT, reason=RUN))

    seen = scrape(
        stage_ended("release", "build"), run_ended(), event("signal.sent", signal), received(1.0), aborted,
        wait_ended("timeout"), event("emit", Emit(kind="note")),
    )  # fmt: skip

    assert [one for one in (AGENT, RUN, SIGNAL) if one in seen.text] == []
    labels = {name for family in seen.families for sample in family.samples for name in sample.labels}
    assert labels == {"workflow", "stage", "status", "le", "type", "outcome", "direction", "kind"}


def test_no_series_says_when_it_was_made() -> None:
    """§5: the library's ``_created`` would be as many series again."""
    assert "_created" not in scrape(stage_ended("release", "build"), run_ended()).text


def test_stages_beyond_the_limit_share_one_series() -> None:
    """§5.12: ``stage.options(name=...)`` in a loop, say, adds no series without end; those known stay themselves."""
    events = [stage_ended("release", f"build-{number}") for number in range(2_000)]

    seen = scrape(*events, stage_ended("release", "build-3"))

    counts = seen.series("attune_stage_duration_seconds_count")
    by_stage = {dict(labels)["stage"]: value for labels, value in counts.items()}
    assert len(by_stage) == LIMIT + 1
    assert (by_stage["build-3"], by_stage["other"]) == (2, 2_000 - LIMIT)
    assert len(seen.series("attune_stage_duration_seconds_bucket")) == (LIMIT + 1) * (len(BUCKETS) + 1)


def test_stages_of_one_name_in_two_workflows_are_two() -> None:
    """§5: a stage belongs to its workflow, and counts there, against the limit too."""
    seen = scrape(
        stage_ended("a", "build"), stage_ended("b", "build"), stage_ended("b", "test"), stage_ended("a", "test"),
        limit=3,
    )  # fmt: skip

    counts = seen.series("attune_stage_duration_seconds_count")
    found = {(dict(labels)["workflow"], dict(labels)["stage"]) for labels in counts}
    assert found == {("a", "build"), ("b", "build"), ("b", "test"), ("a", "other")}


def test_workflows_types_and_kinds_beyond_the_limit_share_one_series() -> None:
    """§5.12: every label that a program fills is bounded, whatever the program does."""
    many = range(LIMIT * 3)
    seen = scrape(
        *(run_ended(f"flow-{number}", cost=1.0) for number in many),
        *(event("signal.sent", SignalSent(id="1", type=f"type-{number}")) for number in many),
        *(event("emit", Emit(kind=f"kind-{number}")) for number in many),
    )

    assert len(seen.series("attune_cost_total")) == WORKFLOWS + 1
    assert seen("attune_cost_total", workflow="other") == LIMIT * 3 - WORKFLOWS
    assert len(seen.series("attune_signals_sent_total")) == LIMIT + 1
    assert len(seen.series("attune_emits_total")) == LIMIT + 1


def test_statuses_that_do_not_exist_share_one_series() -> None:
    """§5.12: a forged status makes no series of its own."""
    forged = [f"status-{number}" for number in range(20)]
    seen = scrape(
        *(stage_ended("release", "build", status=status) for status in forged),
        *(run_ended(status=status) for status in forged),
    )

    assert seen.series("attune_runs_total") == {(("status", "other"), ("workflow", "release")): 20}
    assert seen("attune_stage_duration_seconds_count", workflow="release", stage="build", status="other") == 20


@pytest.mark.parametrize("name", ['say "no"\n# HELP x', "a\\", "\u202eévil\x00", "\ud800", "x" * 100_000, ""])
def test_hostile_names_stay_values_of_a_label(name: str) -> None:
    """§5.12: quotes, ends of lines, what is no text, and endless names: one series, which parses, and is short."""
    seen = scrape(stage_ended(name, name), event("signal.sent", SignalSent(id="1", type=name)))

    (labels,) = seen.series("attune_stage_duration_seconds_count")
    shown = name[:LENGTH].encode(errors="replace").decode()
    assert dict(labels) == {"workflow": shown, "stage": shown, "status": "completed"}
    assert seen("attune_signals_sent_total", type=shown) == 1
    assert max(map(len, seen.text.splitlines())) < 3 * LENGTH


@pytest.mark.parametrize("number", [-1.0, float("inf"), float("nan"), 10**400])
def test_hostile_numbers_do_not_stop_the_counting(number: float) -> None:
    """§5.12: a sum takes nothing in that would make it useless, and the event still counts."""
    bad = {"duration": number, "cost": number, "tokens_in": number, "tokens_out": number}

    seen = scrape(run_ended(**bad), run_ended(duration=1.0, cost=2.0, tokens_in=3))

    assert seen("attune_runs_total", workflow="release", status="completed") == 2
    assert seen("attune_cost_total", workflow="release") == 2
    assert seen("attune_run_duration_seconds_sum", workflow="release", status="completed") == 1
    assert seen("attune_tokens_total", direction="in") == 3
