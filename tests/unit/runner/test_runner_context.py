"""What is filled in: contexts and signals bound to the attempt they were given to."""

import logging

import pytest

from attune_dsl import INJECTED, AsyncContext, AsyncSignals, Context, Runner, Signals, run, stage, workflow
from attune_dsl.runner import events


def test_a_context_knows_its_run_and_its_attempt():
    seen = []

    @stage(tier="cheap", retries=1, backoff=0)
    def look(ctx: Context, value):
        seen.append((ctx.stage, ctx.attempt, ctx.tier, value))
        if ctx.attempt == 1:
            raise ValueError
        return ctx.run_id, ctx.agent_id

    @workflow
    def flow(ctx: Context):
        seen.append((ctx.stage, ctx.attempt, ctx.tier, ctx.agent_id))
        return look("value")

    result = run(flow.options(agent_id="named"))
    assert result.value == (result.run_id, "named")
    assert seen == [(None, 1, None, "named"), ("look", 1, "cheap", "value"), ("look", 2, "cheap", "value")]


async def test_an_async_function_gets_the_awaitable_facades():
    @stage
    async def by_context(ctx: AsyncContext):
        return type(ctx), type(ctx.signals)

    @stage
    async def by_signals(signals: AsyncSignals):
        return type(signals)

    @workflow
    async def flow(ctx: AsyncContext):
        return type(ctx), await by_context(), await by_signals()

    assert await flow() == (AsyncContext, (AsyncContext, AsyncSignals), AsyncSignals)


def test_a_sync_function_gets_the_blocking_facades():
    @stage
    def by_context(ctx: Context):
        return type(ctx.signals)

    @stage
    def elsewhere(value, signals: Signals = INJECTED):
        return value, type(signals)

    @stage
    def by_name(signals, value):
        return value, type(signals)

    @workflow
    def flow(signals: Signals):
        return type(signals), by_context(), elsewhere(1), by_name(2)

    assert flow() == (Signals, Signals, (1, Signals), (2, Signals))


def test_what_the_caller_passes_wins():
    @stage
    def speak(signals: Signals, value):
        return signals, value

    @workflow
    def flow():
        return speak(signals="mine", value=1)

    assert flow() == ("mine", 1)


def test_a_method_gets_its_facade_after_self():
    class Shop:
        name = "shop"

        @stage
        def sell(self, ctx: Context, what):
            return self.name, ctx.stage, what

        @workflow
        def day(self):
            return self.sell("bread")

    assert Shop().day() == ("shop", "sell", "bread")


def test_usage_adds_up_over_attempts_and_items():
    @stage(retries=1, backoff=0)
    def call_model(ctx: Context, item):
        ctx.usage(tokens_in=10, tokens_out=2, cost=0.5)
        if item == 0 and ctx.attempt == 1:
            raise ValueError

    @workflow
    def flow(ctx: Context):
        ctx.usage(tokens_out=1)
        call_model.map(range(3))

    result = run(flow)
    assert (result.usage.tokens_in, result.usage.tokens_out, result.usage.cost) == (40, 9, 2.0)
    assert result.cost == 2.0


def test_a_failed_run_keeps_its_usage():
    @workflow
    def flow(ctx: Context):
        ctx.usage(cost=1.5)
        raise ValueError

    assert run(flow).cost == 1.5


def test_emitted_data_reaches_the_observer():
    @stage
    def stream(ctx: Context):
        for chunk in ("a", "b"):
            ctx.emit(chunk)

    @workflow
    def flow():
        stream()

    told = []
    result = Runner(observer=told.append).run(flow)
    emitted = [(e.run_id, e.stage, e.data) for e in told if isinstance(e, events.StageEmitted)]
    assert emitted == [(result.run_id, "stream", "a"), (result.run_id, "stream", "b")]
    assert run(flow).success


def test_the_log_is_bound_to_the_attempt(caplog):
    @stage
    def work(ctx: Context):
        ctx.log.warning("work.done", pieces=3)

    @workflow
    def flow():
        work()

    with caplog.at_level(logging.WARNING, logger="attune_dsl"):
        result = run(flow)
    (record,) = caplog.records
    line = record.getMessage().replace("'", "")
    assert line == f"event=work.done run_id={result.run_id} agent_id=flow workflow=flow stage=work attempt=1 pieces=3"


def test_signals_without_coordination_are_inert():
    @workflow
    def flow(signals: Signals):
        return signals.send("done", target="other"), signals.wait("done", timeout=30)

    sent, waited = run(flow).unwrap()
    assert sent == ""
    assert not waited
    assert waited.reason == "unavailable"
    assert "coordination is off for" in waited.detail


@pytest.mark.parametrize("fraction", [-0.1, 1.01, float("nan")])
def test_progress_is_a_fraction(fraction):
    @workflow
    def flow(ctx: Context):
        ctx.progress(fraction)

    assert isinstance(run(flow).error, ValueError)
