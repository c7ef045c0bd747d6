"""A stage or workflow that asks for a Context is given one; callers leave it out."""

from attune_dsl import INJECTED, AsyncContext, Context, Runner, run, stage, workflow
from attune_dsl.runner import events


@stage(tier="cheap")
def summarise(ctx: Context, text: str) -> str:
    ctx.progress(0.5, note="reading")
    ctx.usage(tokens_in=len(text), tokens_out=3, cost=0.01)
    ctx.emit("half a summary")
    return f"{ctx.stage} on {ctx.tier}, attempt {ctx.attempt}"


@workflow
def digest(text: str) -> str:
    return summarise(text)


def test_it_says_where_the_code_is():
    assert digest("some text") == "summarise on cheap, attempt 1"


def test_usage_and_cost_are_summed_up_in_the_result():
    result = run(digest, "some text")
    assert (result.usage.tokens_in, result.usage.tokens_out) == (9, 3)
    assert result.cost == 0.01


def test_progress_and_data_reach_whoever_observes_the_run():
    told = []
    Runner(observer=told.append).run(digest, "some text")
    assert [(e.fraction, e.note) for e in told if isinstance(e, events.StageProgressed)] == [(0.5, "reading")]
    assert [e.data for e in told if isinstance(e, events.StageEmitted)] == ["half a summary"]


async def test_async_code_asks_for_an_async_context():
    @stage
    async def summarise(text: str, ctx: AsyncContext = INJECTED) -> str:
        ctx.progress(1.0)
        return f"{ctx.stage}: {text}"

    @workflow
    async def digest(ctx: AsyncContext) -> str:
        return f"{ctx.agent_id} > {await summarise('text')}"

    assert await digest() == "digest > summarise: text"
