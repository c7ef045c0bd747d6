"""What the events of a timeline add up to, as instruments of Prometheus. No ids in labels: they never end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.registry import Collector

from attune_dsl.events import Event
from attune_dsl.model import AgentStatus, Reason, StageStatus

LIMIT: Final = 500
"""Stages that have series of their own, and types of signals, and kinds of what is emitted; the rest share one each."""
WORKFLOWS: Final = 100
"""Workflows that have series of their own."""
OTHER: Final = "other"
"""What the rest is called."""
LENGTH: Final = 256
"""Characters of a name that are shown. One has at most 128; those of stages in nested workflows are paths of names."""

BUCKETS: Final = (0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0)
"""Seconds: a stage may be a call in this process, one to a model, or a build."""

_RUN_STATUSES: Final = frozenset(status.value for status in AgentStatus)
_STAGE_STATUSES: Final = frozenset(status.value for status in StageStatus)
_OUTCOMES: Final = frozenset({"received", "released", "interrupted", *(reason.value for reason in Reason)})


class Names:
    """Lets through the first ``limit`` names that it meets, and calls all later ones :data:`OTHER`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: dict[tuple[str, str], str] = {}

    def __call__(self, name: str | None, within: str = "") -> str:
        """Return what a name is called; names ``within`` different others are different."""
        key = within, (name or "")[:LENGTH]
        known = self._known.get(key)
        if known is not None:
            return known
        if len(self._known) >= self._limit:
            return OTHER
        # The store may hold anything; what cannot be encoded would make every answer fail.
        shown = self._known[key] = key[1].encode(errors="replace").decode()
        return shown


class Tally(Collector):
    """Counts events by kind, on one thread; :meth:`collect` may be called on another."""

    def __init__(self, limit: int = LIMIT) -> None:
        """``limit`` is how many stages, types of signals, and kinds of what is emitted have series of their own."""
        self._registry = CollectorRegistry()
        self._has_begun = False
        self._workflow, self._stage = Names(min(limit, WORKFLOWS)), Names(limit)
        self._type, self._emit = Names(limit), Names(limit)
        self._of_stages()
        self._of_runs()
        self._of_signals()
        self._of_agents()
        self._takers: Mapping[str, Callable[[Event, Any], None]] = {
            "run.ended": self._run_ended,
            "stage.retried": self._stage_retried,
            "stage.ended": self._stage_ended,
            "signal.sent": lambda _, data: self._sent.labels(self._type(data.type)).inc(),
            "signal.received": self._signal_received,
            "signal.expired": lambda _, data: self._expired.labels(self._type(data.type)).inc(),
            "wait.ended": self._wait_ended,
            "agent.lost": lambda *_: self._lost.inc(),
            "agent.stalled": lambda *_: self._stalled.inc(),
            "agent.aborted": lambda *_: self._aborts.inc(),
            "emit": lambda _, data: self._emits.labels(self._emit(data.kind)).inc(),
            "timeline.gap": self._gap,
        }

    def take(self, event: Event) -> None:
        """Count an event; those of which nothing is counted, and of kinds that are not known, are left out."""
        taker = self._takers.get(event.kind)
        if taker is not None:
            taker(event, event.data)
        self._has_begun = True

    def collect(self) -> Iterable[Metric]:
        """Return all that was counted."""
        for metric in self._registry.collect():
            # When this process first met a name says nothing of the agents, and is as many series again.
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric

    # The instruments

    def _of_stages(self) -> None:
        labels = ("workflow", "stage")
        self._stage_seconds = self._histogram(
            "attune_stage_duration_seconds", "How long calls of stages took, over all attempts.", *labels, "status"
        )
        self._retries = self._counter(
            "attune_stage_retries", "Attempts of stages that failed and were followed by another.", *labels
        )

    def _of_runs(self) -> None:
        self._runs = self._counter("attune_runs", "Runs that have ended.", "workflow", "status")
        self._run_seconds = self._histogram("attune_run_duration_seconds", "How long runs took.", "workflow", "status")
        self._cost = self._counter("attune_cost", "What ended runs reported as their cost.", "workflow")
        self._tokens = self._counter("attune_tokens", "Tokens that ended runs reported.", "direction")
        self._emits = self._counter("attune_emits", "What code of runs has emitted, by its kind.", "kind")

    def _of_signals(self) -> None:
        self._sent = self._counter("attune_signals_sent", "Signals that were stored.", "type")
        self._received = self._counter("attune_signals_received", "Signals that agents took.", "type")
        self._expired = self._counter("attune_signals_expired", "Signals that nobody took in time.", "type")
        self._waits = self._counter("attune_waits", "Waits that have blocked, by how they ended.", "outcome")
        self._wait_seconds = self._histogram("attune_wait_seconds", "For how long waits have blocked.", "outcome")

    def _of_agents(self) -> None:
        self._lost = self._counter("attune_agents_lost", "Agents whose lease has lapsed.")
        self._stalled = self._counter("attune_agents_stalled", "Times that an agent was found stalled.")
        self._aborts = self._counter("attune_aborts", "Agents that were asked to stop.")
        self._missed = self._counter(
            "attune_events_missed", "Events that are not counted: too many at once for an agent to tell, or to be read."
        )
        Gauge("attune_approvals_pending", "Questions to people that runs wait for.", registry=self._registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(name, what, labels, registry=self._registry)

    def _histogram(self, name: str, what: str, *labels: str) -> Histogram:
        return Histogram(name, what, labels, registry=self._registry, buckets=BUCKETS)

    # What is counted

    def _where(self, event: Event) -> tuple[str, str]:
        workflow = self._workflow(event.workflow)
        return workflow, self._stage(event.stage, workflow)

    def _stage_ended(self, event: Event, data: Any) -> None:
        status = _one_of(_STAGE_STATUSES, data.status)
        self._stage_seconds.labels(*self._where(event), status).observe(_amount(data.duration))

    def _stage_retried(self, event: Event, _: Any) -> None:
        self._retries.labels(*self._where(event)).inc()

    def _run_ended(self, event: Event, data: Any) -> None:
        workflow, status = self._workflow(event.workflow), _one_of(_RUN_STATUSES, data.status)
        self._runs.labels(workflow, status).inc()
        self._run_seconds.labels(workflow, status).observe(_amount(data.duration))
        self._cost.labels(workflow).inc(_amount(data.cost))
        self._tokens.labels("in").inc(_amount(data.tokens_in))
        self._tokens.labels("out").inc(_amount(data.tokens_out))

    def _signal_received(self, _: Event, data: Any) -> None:
        self._received.labels(self._type(data.type)).inc()
        if data.waited is not None:
            self._wait_over("received", data.waited)

    def _gap(self, event: Event, data: Any) -> None:
        # Nobody's, at the beginning: what was there before all that is counted, and known from the timeline itself.
        if event.agent or self._has_begun:
            self._missed.inc(1 if data.dropped is None else _amount(data.dropped))

    def _wait_ended(self, _: Event, data: Any) -> None:
        if data.outcome != "received":  # of those the signal tells, of the short ones too
            self._wait_over(_one_of(_OUTCOMES, data.outcome), data.waited)

    def _wait_over(self, outcome: str, waited: float) -> None:
        self._waits.labels(outcome).inc()
        self._wait_seconds.labels(outcome).observe(_amount(waited))


def _one_of(known: frozenset[str], name: str) -> str:
    return name if name in known else OTHER


def _amount(number: float) -> float:
    """Return what can be added: the store may hold anything, and a sum never goes back."""
    try:
        amount = float(number)
    except OverflowError:
        return 0.0
    return amount if 0 <= amount < math.inf else 0.0
