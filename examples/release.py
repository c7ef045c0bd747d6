"""Two workflows in two processes: ``deploy`` waits until ``release`` says that the artifact is there.

From two terminals, in either order:

python -m attune_dsl run examples/release.py:deploy
python -m attune_dsl run examples/release.py:release version=1.2
"""

from attune_dsl import AsyncSignals, Runner, Signals, stage, workflow


@stage(tier="cheap")
def build(version: str) -> str:
    return f"app-{version}.whl"


@stage(retries=3)
def announce(signals: Signals, artifact: str) -> str:
    """Tell ``deploy``; the signal waits for it for five minutes, whether it runs already or not."""
    signals.send("task_complete", target="deploy", payload={"artifact": artifact}, ttl=300)
    return artifact


@workflow(heartbeat=True, coordination=True)
def release(version: str) -> str:
    """Build a version and say so."""
    return announce(build(version))


@stage
async def artifact_ready(signals: AsyncSignals) -> str:
    signal = await signals.wait("task_complete", source="release", timeout=300)
    if not signal:  # a NoSignal says why
        raise RuntimeError(f"no artifact: {signal.reason}: {signal.detail}")
    return str(signal.payload["artifact"])


@workflow(heartbeat=True, coordination=True)
async def deploy() -> str:
    """Wait for an artifact and return its name."""
    return await artifact_ready()


if __name__ == "__main__":  # both in one process
    with Runner(on_failure="abort") as runner:
        deploying = runner.start(deploy)
        runner.start(release, "1.2")
    print("deployed", deploying.wait().unwrap())
