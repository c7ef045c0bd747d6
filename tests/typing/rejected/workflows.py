"""What mypy --strict must reject of workflows; every marked line, and no other."""

from attune_dsl import NoSignal, Runner, RunResult, Signal, Signals, run, workflow


@workflow(heartbeat=True)
def release(version: str) -> list[str]:
    return [version]


@workflow
async def deploy(count: int) -> int:
    return count


@workflow
def listen(signals: Signals, count: int) -> float:
    return float(count)


release(1)  # E: arg-type
release()  # E: call-arg
listen("x")  # E: arg-type
value: str = release("1")  # E: assignment


# An async workflow must be awaited.
count: int = deploy(3)  # E: assignment


async def unawaited() -> None:
    deploy(3)  # E: unused-coroutine


# Options are checked.
workflow(heartbeats=True)  # E: call-overload
workflow(heartbeat=5)  # E: call-overload
workflow(takeover=True)  # E: call-overload
workflow(stall_after=60)  # E: call-overload
workflow(display_name=5)  # E: call-overload
workflow(metadata={1: "one"})  # E: dict-item
release.options(agentid="x")  # E: call-arg
release.options(agent_id=5)  # E: arg-type
release.options(metadata=["team"])  # E: arg-type
run(release)  # E: run
run(release, 1)  # E: run
result: RunResult[int] = run(release, "1")  # E: run
Runner().run(deploy, "x")  # E: run
Runner().start(listen)  # E: start
Runner(on_failure="explode")  # E: arg-type


def missed(signal: NoSignal) -> None: ...


def received(signal: Signal) -> None: ...


def receive(signals: Signals) -> None:
    signal = signals.wait("done")
    print(signal.payload)  # E: union-attr
    if signal:
        print(signal.reason)  # E: attr-defined
        missed(signal)  # E: arg-type
    else:
        print(signal.payload)  # E: attr-defined
        received(signal)  # E: arg-type
