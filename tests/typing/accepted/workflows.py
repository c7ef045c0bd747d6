"""What mypy --strict makes of workflows; every line here must pass."""

from collections.abc import Coroutine
from types import MappingProxyType
from typing import Any, assert_type

from attune_dsl import Context, Coordination, Heartbeat, Signals, stage, workflow


@stage
def build(version: str) -> str:
    return version


@workflow
def plain(version: str) -> str:
    return build(version)


@workflow(heartbeat=True, coordination=True, stages=[build, plain])
def release(version: str, *, dry: bool = False) -> list[str]:
    return [plain(version)]


@workflow(heartbeat=Heartbeat(interval=1), coordination=Coordination(ttl=5), timeout=9, agent_id="d", name="dd")
async def deploy(count: int) -> int:
    return count


@workflow(heartbeat=True, display_name="With signals", metadata=MappingProxyType({"team": "data"}))
def with_signals(signals: Signals, count: int) -> int:
    return count


@workflow
async def nothing() -> None: ...


@workflow
def with_context(ctx: Context) -> str:
    return ctx.run_id


# A workflow keeps the signature of its function, and the injected first parameter vanishes.
assert_type(plain("1"), str)
assert_type(release(version="1", dry=True), list[str])
assert_type(with_signals(3), int)
assert_type(with_context(), str)

# Options of a run keep it as well.
blue = release.options(agent_id="blue", store="memory://", namespace="team", takeover=True)
assert_type(blue("1"), list[str])
assert_type(release.options(display_name="Release", metadata={"team": "data", "n": [1]})("1"), list[str])
assert_type(release.options(display_name=None, metadata=None)("1"), list[str])
assert_type(release.options(heartbeat=False, stages=None)("1", dry=True), list[str])


async def main() -> None:
    call: Coroutine[Any, Any, int] = deploy(3)
    assert_type(await call, int)
    assert_type(await deploy(3), int)
    assert_type(await deploy.options(timeout=1)(3), int)
    await nothing()


class Service:
    @workflow(heartbeat=True)
    def serve(self, port: int) -> bool:
        return port > 0


assert_type(Service().serve(80), bool)
