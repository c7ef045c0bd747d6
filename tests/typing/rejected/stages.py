"""What mypy --strict must reject of stages; every marked line, and no other."""

from attune_dsl import INJECTED, AsyncSignals, Signals, stage


@stage
def build(version: str) -> str:
    return version


@stage
async def fetch(url: str) -> bytes:
    return url.encode()


@stage
def announce(signals: Signals, artifact: str) -> str:
    return artifact


@stage
def note(text: str, signals: Signals = INJECTED) -> str:
    return text


class Pipeline:
    @stage
    def step(self, by: int) -> float:
        return float(by)


build(1)  # E: arg-type
build()  # E: call-arg
build("1", "2")  # E: call-arg
build(versoin="1")  # E: call-arg
build.map([1])  # E: list-item
build.map(1)  # E: arg-type
build.amap([1])  # E: list-item
fetch.map([1])  # E: list-item
build.options(on_error="collect").map([1])  # E: list-item
size: int = build("1")  # E: assignment
data: bytes = fetch("x")  # E: assignment
Pipeline().step("x")  # E: arg-type
Pipeline().step.map(["x"])  # E: list-item
Pipeline.step(Pipeline(), "x")  # E: arg-type


# The injected first parameter is no part of the call.
def with_facade(signals: Signals) -> None:
    announce(signals, "app")  # E: call-arg, arg-type
    announce(signals=signals, artifact="app")  # E: call-arg
    note("x", "y")  # E: arg-type


async def awaited() -> None:
    await fetch(1)  # E: arg-type
    await fetch.acall(1)  # E: acall
    await build.acall(1)  # E: arg-type


async def unawaited() -> None:
    fetch("x")  # E: unused-coroutine
    fetch.acall("x")  # E: unused-coroutine
    build.acall("x")  # E: unused-coroutine
    await build("x")  # E: misc
    (await fetch("x")).upper(1)  # E: call-arg


# Options are checked.
stage(retires=3)  # E: call-overload
stage(retries="3")  # E: call-overload
stage(tier="expensive")  # E: call-overload
stage(tier="auto")  # E: call-overload
stage(stall_after="60")  # E: call-overload
build.options(limits=3)  # E: call-overload
build.options(on_error="ignore")  # E: call-overload


# A facade cannot be subclassed, so a parameter that takes one is never another's.
class Mine(AsyncSignals):  # E: misc
    pass
