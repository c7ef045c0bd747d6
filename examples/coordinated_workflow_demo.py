"""Three ways to coordinate workflows: a producer and a consumer, checkpoints, and an abort on error.

python examples/coordinated_workflow_demo.py

Every workflow here is an agent of its own. They run as threads and tasks of this one process, to keep the
demonstration in one file; as processes on many machines they would do and say the same.
"""

import os

from attune_dsl import AsyncSignals, Runner, RunResult, Signals, join, stage, workflow

NAMESPACE = f"demo-{os.getpid()}"
"""Agents meet in a namespace. This run has one of its own, so that no other agents get in between."""


# 1. A producer and a consumer. A signal waits in the mailbox of its target, so it does not matter who is first.


@stage
def deliver(signals: Signals, item: str) -> None:
    signals.send("item", target="consumer", payload={"name": item})


@workflow(heartbeat=True, coordination=True)
def producer(signals: Signals, items: list[str]) -> str:
    for item in items:
        deliver(item)
    signals.send("that_is_all", target="consumer")
    return f"delivered {len(items)} items"


@stage
def consume(item: str) -> str:
    return item.upper()


@workflow(heartbeat=True, coordination=True)
def consumer(signals: Signals) -> str:
    consumed = []
    while (signal := signals.wait("item", "that_is_all", source="producer")) and signal.type == "item":
        consumed.append(consume(signal.payload["name"]))
    if not signal:  # a NoSignal says why nothing came
        raise RuntimeError(signal.detail)
    return f"consumed {', '.join(consumed)}"


def producer_and_consumer() -> None:
    with Runner(namespace=NAMESPACE) as runner:
        runner.start(consumer)
        runner.start(producer, ["apple", "pear", "plum"])
    show("A producer and a consumer", runner.results)


# 2. Checkpoints. A broadcast reaches everybody, also those who join within its time to live; `collect` waits for one
#    signal from each, and would name those that are missing.


@stage
async def square(number: int) -> int:
    return number * number


@workflow(heartbeat=True, coordination=True)
async def worker(signals: AsyncSignals, number: int) -> str:
    start = await signals.wait("start", source="orchestrator")
    if not start:
        raise RuntimeError(start.detail)
    result = await square(number + start.payload["offset"])
    await signals.send("checkpoint", target=start.source, payload={"result": result})
    return f"reached its checkpoint with {result}"


@workflow(heartbeat=True, coordination=True)
async def orchestrator(signals: AsyncSignals, workers: list[str]) -> str:
    await signals.broadcast("start", payload={"offset": 10})
    checkpoints = await signals.collect("checkpoint", sources=workers, timeout=10)
    if not checkpoints:
        raise RuntimeError(f"{', '.join(checkpoints.missing)}: {checkpoints.detail}")
    return f"all checkpoints reached, the sum is {sum(signal.payload['result'] for signal in checkpoints)}"


def checkpoints() -> None:
    names = ["worker-1", "worker-2", "worker-3"]
    with Runner(namespace=NAMESPACE) as runner:
        for number, name in enumerate(names, start=1):
            runner.start(worker.options(agent_id=name), number)
        runner.start(orchestrator, names)
    show("An orchestrator, three workers and their checkpoints", runner.results)


# 3. Abort on error. Three tables are imported together or not at all: if one fails, the others are asked to stop. That
#    ends their waits, and their runs end as `aborted`, which is no failure.


@stage
def load(rows: list[str]) -> list[int]:
    return [int(row) for row in rows]


@stage
def permission(signals: Signals) -> None:
    """Wait until all tables are loaded."""
    commit = signals.wait("commit", source="coordinator")
    if not commit:
        raise RuntimeError(commit.detail)


@workflow(heartbeat=True, coordination=True)
def importer(signals: Signals, rows: list[str]) -> str:
    try:
        numbers = load(rows)
    except ValueError as error:
        signals.send("broken", target="coordinator", payload={"reason": str(error)})
        raise
    signals.send("loaded", target="coordinator")
    permission()
    return f"imported {len(numbers)} rows"


def abort_on_error() -> None:
    tables = {"customers": ["1", "2"], "orders": ["3", "four"], "invoices": ["5"]}
    with Runner(namespace=NAMESPACE) as runner, join("coordinator", namespace=NAMESPACE) as coordinator:
        imports = [runner.start(importer.options(agent_id=table), rows) for table, rows in tables.items()]
        answers = coordinator.signals.collect("loaded", "broken", sources=list(tables))
        broken = [f"{answer.source} is broken: {answer.payload['reason']}" for answer in answers if answer.payload]
        if answers and not broken:
            coordinator.signals.broadcast("commit")
        else:
            coordinator.signals.abort("; ".join(broken) or answers.detail)
        for running in imports:
            running.wait()  # a failure that nobody looks at would be raised at the end of the block
    show("An import that fails and aborts the others", runner.results)


def show(title: str, results: dict[str, RunResult[str]]) -> None:
    print(title)
    for agent_id, result in sorted(results.items()):
        print(f"  {agent_id:<13}{result.status:<11}{result.value or result.error}")
    print()


if __name__ == "__main__":
    producer_and_consumer()
    checkpoints()
    abort_on_error()
