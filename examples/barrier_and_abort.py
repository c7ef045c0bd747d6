"""Three workers meet at a barrier round by round; one of them finds bad data and asks the others to stop.

python examples/barrier_and_abort.py

They run as threads of this one process, to keep the example in one file; as processes on many machines they would do
and say the same. Every ledger has to be complete before anybody goes on to the next day: that is what the barrier is
for. When one cannot be balanced, the work of the others is pointless: that is what the abort is for.
"""

import os

from attune_dsl import Context, Runner, stage, workflow

NAMESPACE = f"ledgers-{os.getpid()}"
"""Agents meet in a namespace. This run has one of its own, because an abort without a target is for all in it."""

LEDGERS = {
    "berlin": [[5, -5], [2, -2], [9, -9]],
    "lisbon": [[7, -7], [4, -3], [1, -1]],  # the second day does not balance
    "oslo": [[3, -3], [8, -8], [6, -6]],
}
"""The bookings of each office, day by day."""


@stage
def balance(ctx: Context, day: int, bookings: list[int]) -> None:
    ctx.progress(note=f"day {day}")
    if sum(bookings):
        raise ValueError(f"day {day} is off by {sum(bookings)}")


@workflow(heartbeat=True, coordination=True)
def office(ctx: Context, days: list[list[int]]) -> str:
    for day, bookings in enumerate(days, start=1):
        try:
            balance(day, bookings)
        except ValueError as error:
            ctx.signals.abort(str(error))  # all that live: since the first barrier that is everybody
            raise
        # The parties are named, so the barrier breaks also if one of them dies without a word.
        together = ctx.signals.barrier("day done", parties=list(LEDGERS), timeout=30)
        if not together:
            raise RuntimeError(f"day {day} is not complete: {together.detail}")
        if together.agents[0] == ctx.agent_id:  # one is enough to say it
            print(f"day {together.generation} is complete: {', '.join(sorted(together.agents))}")
    return f"balanced {len(days)} days"


def main() -> None:
    with Runner(namespace=NAMESPACE) as runner:
        offices = [runner.start(office.options(agent_id=name), days) for name, days in LEDGERS.items()]
        for running in offices:
            running.wait()  # a failure that nobody looks at would be raised at the end of the block
    for name, result in sorted(runner.results.items()):
        print(f"{name:<8}{result.status:<11}{result.value or result.error}")


if __name__ == "__main__":
    main()
