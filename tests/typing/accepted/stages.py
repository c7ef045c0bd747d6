"""What mypy --strict makes of stages; every line here must pass."""

from collections.abc import Awaitable, Coroutine
from typing import Any, assert_type

from attune_dsl import INJECTED, AsyncContext, AsyncSignals, Context, Outcome, Signals, stage


@stage
def build(version: str, retries: int = 0) -> str:
    return f"{version}{retries}"


@stage(tier="cheap", retries=3, backoff=0.5, retry_on=(OSError, TimeoutError))
def size(path: str) -> int:
    return len(path)


@stage(timeout=5, retry_on=OSError, name="fetch it", tier=None, stall_after=60)
async def fetch(url: str) -> bytes:
    return url.encode()


@stage
def anything(value: object) -> str:
    return str(value)


@stage
def many(*values: int, **named: int) -> int:
    return sum(values) + sum(named.values())


# A stage keeps the signature of its function.
assert_type(build("1"), str)
assert_type(build(version="1", retries=2), str)
assert_type(size("x"), int)
assert_type(anything(value=1), str)
assert_type(many(1, 2, three=3), int)
assert_type(build.name, str)


# The injected first parameter vanishes.
@stage
def announce(signals: Signals, artifact: str) -> str:
    signals.send("task_complete", target="deploy", payload={"artifact": artifact})
    return artifact


@stage(retries=1)
async def aannounce(signals: AsyncSignals, artifact: str) -> str:
    await signals.send("task_complete", target="deploy")
    return artifact


@stage
def report(ctx: Context, steps: int = 1) -> str:
    return ctx.run_id


@stage
async def areport(ctx: AsyncContext) -> str:
    return ctx.agent_id


assert_type(announce("app"), str)
assert_type(announce(artifact="app"), str)
assert_type(report(), str)
assert_type(report(steps=2), str)


# Elsewhere it stays, with a default.
@stage
def note(text: str, signals: Signals = INJECTED) -> str:
    return text


assert_type(note("x"), str)


def with_facade(signals: Signals) -> None:
    assert_type(note("x", signals), str)
    assert_type(note("x", signals=signals), str)


# Options keep the type.
assert_type(build.options(tier="premium", retries=2, limit=4, stall_after=None)("1"), str)
assert_type(announce.options(on_error="raise")("app"), str)

# map and amap take the items of the first parameter and return the values.
assert_type(build.map(["1", "2"]), list[str])
assert_type(build.amap(("1", "2")), Awaitable[list[str]])
assert_type(announce.map(["app"]), list[str])
assert_type(fetch.map(["x"]), Awaitable[list[bytes]])
assert_type(fetch.amap(["x"]), Awaitable[list[bytes]])
assert_type(size.options(limit=2).map(name for name in "ab"), list[int])

# With on_error="collect" a map returns outcomes; items are checked, and the colour is known.
assert_type(size.options(on_error="collect").map(["x"]), list[Outcome[int]])
assert_type(size.options(on_error="collect", limit=2).amap(["x"]), Awaitable[list[Outcome[int]]])
assert_type(fetch.options(on_error="collect").map(["x"]), Awaitable[list[Outcome[bytes]]])
assert_type(size.options(on_error="collect")("x"), int)


async def main() -> None:
    # acall is awaitable, whatever the stage's colour.
    assert_type(await build.acall("1", retries=1), str)
    assert_type(await fetch.acall("x"), bytes)
    assert_type(await announce.acall("app"), str)
    # So is the call of an async stage.
    call: Coroutine[Any, Any, bytes] = fetch("x")
    assert_type(await call, bytes)
    assert_type(await aannounce("app"), str)
    assert_type(await areport(), str)
    assert_type(await Pipeline().astep(1), float)
    assert_type(await fetch.map(["x"]), list[bytes])
    assert_type(await build.amap(["1"]), list[str])


class Pipeline:
    @stage
    def step(self, by: int) -> float:
        return float(by)

    @stage(timeout=1)
    async def astep(self, by: int, signals: AsyncSignals = INJECTED) -> float:
        return float(by)


# A stage is a method, too.
assert_type(Pipeline().step(1), float)
assert_type(Pipeline().step(by=1), float)
assert_type(Pipeline.step(Pipeline(), 1), float)
assert_type(Pipeline().step.map([1]), list[float])
assert_type(Pipeline().step.options(retries=1)(1), float)

# A lambda with a name.
double = stage(name="double")(lambda: 2)
assert_type(double(), int)
