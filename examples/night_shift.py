"""Three agents work through a night, one of them fails; in the morning the timeline tells what happened.

python examples/night_shift.py

They run as threads of this one process, to keep the example in one file; as processes on many machines they would do
and say the same. The morning asks none of them: all that it prints stands in the timeline, in the order of causes.
"""

import os
from collections.abc import Iterable, Iterator
from typing import Any

from attune_dsl import Context, Event, RunHandle, Runner, Signals, Timeline, stage, workflow
from attune_dsl.events import Emit, Gap, RunEnd, SignalReceived, StageEnd, StageRetry, WaitEnd

NAMESPACE = f"night-{os.getpid()}"
"""Each night has a history of its own."""

GREETINGS = {"norsk": "god morgen", "português": "bom dia", "suomi": "huomenta"}
WORDS = {"god": "good", "morgen": "morning", "bom": "good", "dia": "day"}


# The night


@stage(retries=2, backoff=0.01, retry_on=ConnectionError)
def fetch(ctx: Context, language: str) -> str:
    if language == "português" and ctx.attempt == 1:
        raise ConnectionError("no answer")  # a server that answers the second time
    return GREETINGS[language]


@workflow(heartbeat=True, coordination=True)
def harvest(ctx: Context) -> None:
    texts = {language: fetch(language) for language in GREETINGS}
    ctx.emit({"texts": len(texts)}, kind="count")
    ctx.signals.send("harvested", target="translate", payload=texts)


@stage
def render(ctx: Context, text: str) -> None:
    for word in text.split():
        ctx.emit(f"{WORDS[word]} ", kind="chunk")  # as a model would stream it
    ctx.usage(cost=0.02)


@workflow(heartbeat=True, coordination=True)
def translate(signals: Signals) -> None:
    harvested = signals.wait("harvested", source="harvest", timeout=30)
    if not harvested:
        raise RuntimeError(harvested.detail)
    for text in harvested.payload.values():
        render(text)
    signals.send("translated", target="publish")


@workflow(heartbeat=True, coordination=True)
def publish(signals: Signals) -> str:
    translated = signals.wait("translated", source="translate", timeout=30)
    return "published" if translated else "left yesterday's page as it was"


# The morning


def story(events: Iterable[Event]) -> Iterator[str]:
    """Yield what is worth telling, in the order in which it happened."""
    for event in events:
        match event.data:
            case StageRetry(error=error):
                yield f"{event.agent} tried {event.stage} again: {error}"
            case StageEnd(status="failed", error=error):
                yield f"{event.agent} failed in {event.stage}: {error}"
            case SignalReceived(type=name, source=source):
                yield f"{event.agent} got {name} from {source}"
            case WaitEnd(outcome="peer_gone", detail=detail):
                yield f"{event.agent} waits no more: {detail}"
            case Emit(kind="chunk", data=text):
                yield f"{event.agent} wrote: {text.strip()}"
            case Emit(kind=kind, data=data):
                yield f"{event.agent} said {kind}: {data}"
            case Gap(why=why):
                yield f"something is missing here: {why}"


def ends(events: Iterable[Event]) -> list[str]:
    """Return how the runs ended, and what they cost."""
    ended = [(event.agent, event.data) for event in events if isinstance(event.data, RunEnd)]
    return sorted(f"{agent:<11}{end.status:<11}{end.cost:.2f}" for agent, end in ended)


def await_joined(timeline: Timeline, agents: set[str]) -> None:
    """Block until all of them are there: who joins after another has failed would wait for its next try."""
    with timeline.follow(after="0", kinds="agent.joined", timeout=30) as news:
        for event in news:
            agents -= {event.agent or ""}
            if not agents:
                return
    raise TimeoutError(f"not there: {', '.join(sorted(agents))}")


def main() -> None:
    with Timeline(namespace=NAMESPACE) as timeline:
        with Runner(namespace=NAMESPACE) as runner:
            running: list[RunHandle[Any]] = [runner.start(publish), runner.start(translate)]
            await_joined(timeline, {"publish", "translate"})
            running.append(runner.start(harvest))
            for each in running:
                each.wait()  # a failure that nobody looks at would be raised at the end of the block
        night = timeline.read()
    print(*story(night), "", *ends(night), sep="\n")


if __name__ == "__main__":
    main()
