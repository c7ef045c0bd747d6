"""Runs as spans of OpenTelemetry: what is under what, what it says, and how it ends."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import NoOpTracerProvider, StatusCode
from traced import attributes, trace_id

from attune_dsl import AgentStatus, Context, Runner, arun, run, stage, tracing, workflow

if TYPE_CHECKING:
    from traced import Traced

tries: list[int] = []


@stage(tier="cheap")
def double(value: int) -> int:
    with trace.get_tracer("user").start_as_current_span("mine"):
        return value * 2


@stage
async def adouble(value: int) -> int:
    await asyncio.sleep(0)
    with trace.get_tracer("user").start_as_current_span(f"mine {value}"):
        return value * 2


@stage(retries=2, backoff=0.001)
def flaky(ctx: Context) -> int:
    if ctx.attempt < 3:
        raise OSError(f"try {ctx.attempt}")
    return ctx.attempt


@stage
def broken() -> None:
    raise ValueError("no such thing")


def test_a_run_its_stages_and_attempts_are_spans(traced: Traced) -> None:
    """§3: a span for the run, each call and each attempt; the user's own are under the attempt."""

    @workflow
    def flow() -> int:
        return double(double(1))

    result = run(flow)

    assert result.unwrap() == 4
    assert [span.name for span in traced.spans] == [*["mine", "attempt double", "stage double"] * 2, "run flow"]
    assert traced.tree() == {
        (None, "run flow"),
        ("run flow", "stage double"),
        ("stage double", "attempt double"),
        ("attempt double", "mine"),
    }
    who = {"run_id": result.run_id, "agent_id": "flow", "workflow": "flow"}
    where = {"stage": "double", "tier": "cheap"}
    assert attributes(traced.one("run flow")) == who | {"status": "completed"}
    assert attributes(traced.named("stage double")[0]) == who | where | {"status": "completed", "attempts": 1}
    assert attributes(traced.named("attempt double")[0]) == who | where | {"status": "completed", "attempt": 1}
    assert {span.status.status_code for span in traced.spans} == {StatusCode.UNSET}


def test_retries_are_siblings(traced: Traced) -> None:
    """§3: attempts that failed say so, under one call that did not."""

    @workflow
    def flow() -> int:
        return flaky()

    assert run(flow).unwrap() == 3

    attempts = traced.named("attempt flaky")
    assert [attributes(each)["attempt"] for each in attempts] == [1, 2, 3]
    assert {traced.parent(each) for each in attempts} == {"stage flaky"}
    assert [each.status.status_code for each in attempts] == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET]
    assert [each.status.description for each in attempts] == ["OSError: try 1", "OSError: try 2", None]
    assert traced.one("stage flaky").status.status_code is StatusCode.UNSET
    assert attributes(traced.one("stage flaky"))["attempts"] == 3


def test_a_failure_is_recorded(traced: Traced) -> None:
    """§3: attempt, stage, nested workflow and run have failed, and keep the exception."""

    @workflow
    def child() -> None:
        broken()

    @workflow
    def flow() -> None:
        child()

    assert run(flow).status is AgentStatus.FAILED

    assert [span.name for span in traced.spans] == ["attempt broken", "stage broken", "workflow child", "run flow"]
    for span in traced.spans:
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "ValueError: no such thing")
        assert attributes(span)["error.type"] == "ValueError"
        assert [(event.attributes or {})["exception.message"] for event in span.events] == ["no such thing"]
    assert traced.parent(traced.one("stage broken")) == "workflow child"
    assert attributes(traced.one("stage broken"))["stage"] == "child/broken"
    assert attributes(traced.one("run flow"))["status"] == "failed"


def test_what_runs_side_by_side_is_under_its_own_attempt(traced: Traced) -> None:
    """§3: context follows into the threads of map and acall and into tasks."""

    @workflow
    async def flow() -> list[int]:
        await asyncio.gather(adouble(7), adouble(8))
        return [await double.acall(1), *await adouble.amap([5, 6]), *await double.amap([2, 3])]

    assert asyncio.run(arun(flow)).unwrap() == [2, 10, 12, 4, 6]

    by_item = {attributes(span).get("item") for span in traced.named("stage double")}
    assert by_item == {None, 0, 1}
    assert len(traced.named("mine")) == 3
    for value in (5, 6, 7, 8):
        assert traced.parent(traced.one(f"mine {value}")) == "attempt adouble"
    parents = [span.parent.span_id for span in traced.named("mine") if span.parent]
    assert len(set(parents)) == 3
    assert ("run flow", "stage adouble") in traced.tree()
    assert {trace_id(span) for span in traced.spans} == {trace_id(traced.one("run flow"))}


def test_a_run_is_under_the_span_that_started_it(traced: Traced) -> None:
    """§3: also in a thread of a runner."""

    @workflow
    def flow() -> int:
        return double(1)

    with traced.provider.get_tracer("user").start_as_current_span("request"), Runner() as runner:
        runner.start(flow)

    assert traced.parent(traced.one("run flow")) == "request"


def test_an_aborted_run_ends_its_spans(traced: Traced) -> None:
    """§5.9: the stage that was cancelled, its attempt and the run have ended as aborted."""
    began = threading.Event()

    @stage
    async def endless() -> None:
        began.set()
        await asyncio.Event().wait()

    @workflow
    async def flow() -> None:
        await endless()

    with Runner() as runner:
        handle = runner.start(flow)
        assert began.wait(10)
        handle.abort("enough")
        assert handle.wait(10).status is AgentStatus.ABORTED

    assert [span.name for span in traced.spans] == ["attempt endless", "stage endless", "run flow"]
    assert attributes(traced.one("run flow"))["status"] == "aborted"
    assert traced.one("run flow").status.description == "RunAborted: enough"
    assert attributes(traced.one("attempt endless"))["status"] in {"aborted", "cancelled"}


def test_tracing_that_fails_stops_no_run(traced: Traced, caplog: pytest.LogCaptureFixture) -> None:
    """§3: a span processor that raises is logged."""

    class FullDisk(SpanProcessor):
        def on_start(self, span: object, parent_context: object = None) -> None:
            raise OSError("no space")

    traced.provider.add_span_processor(FullDisk())

    @stage
    def one() -> int:
        return 1

    @workflow
    def plain() -> int:
        return one()

    assert run(plain).unwrap() == 1
    assert "tracing.failed" in caplog.text
    assert "OSError: no space" in caplog.text


def test_a_coroutine_that_nobody_finished_ends_its_spans(traced: Traced, caplog: pytest.LogCaptureFixture) -> None:
    """§3: it is closed in another context, which is no reason to complain."""

    @stage
    async def endless() -> None:
        await asyncio.Event().wait()

    @workflow
    async def flow() -> None:
        await endless()

    async def leave_it() -> None:
        running = arun(flow)
        running.send(None)
        closing = contextvars.Context()
        closing.run(running.close)

    asyncio.run(leave_it())
    assert sorted(span.name for span in traced.spans) == ["attempt endless", "run flow", "stage endless"]
    assert caplog.text == ""
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize("value", ["0", "off", "False"])
def test_the_environment_switches_it_off(value: str, traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    """§3: ATTUNE_TRACE=0."""
    monkeypatch.setenv("ATTUNE_TRACE", value)

    @workflow
    def flow() -> int:
        return double(1)

    assert run(flow).unwrap() == 2
    assert [span.name for span in traced.spans] == ["mine"]


def test_without_a_provider_nothing_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """§3: not with the API alone, nor with a provider that does nothing, nor with a disabled SDK."""
    assert tracing.tracer() is None
    monkeypatch.setattr(trace, "get_tracer_provider", NoOpTracerProvider)
    assert tracing.tracer() is None
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    disabled = TracerProvider()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: disabled)
    assert tracing.tracer() is None


PLAIN = """
import sys
{first}
from attune_dsl import join, run, stage, workflow

@stage
def one():
    return 1

@workflow
def flow():
    return one()

assert run(flow).unwrap() == 1
{second}
print([name for name in sys.modules if name.startswith("opentelemetry.") or name == "attune_dsl.spans"])
"""


def printed(first: str = "", second: str = "") -> str:
    code = PLAIN.format(first=first, second=second)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_a_process_that_is_not_traced_imports_nothing_of_it() -> None:
    """§7: imports are late, and this one never comes, where the application does not use OpenTelemetry."""
    assert printed() == "[]\n"


def test_nothing_of_it_is_needed() -> None:
    """§8: it is an extra."""
    second = """
assert run(flow.options(store="memory://", heartbeat=True, coordination=True)).unwrap() == 1
with join("me", store="memory://") as me, join("you", store="memory://") as you:
    assert me.signals.send("a", target="you")
    assert you.signals.wait("a", timeout=5).traceparent is None
"""
    assert printed('sys.modules["opentelemetry"] = None', second) == "[]\n"
