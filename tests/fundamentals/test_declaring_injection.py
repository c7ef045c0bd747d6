"""A stage that sends or waits asks for signals by annotation, and the run passes them.

The first parameter is left out by callers. Outside a run nobody fills it: a test passes what it likes.
"""

import pytest

from attune_dsl import INJECTED, AsyncSignals, Context, Signals, stage
from attune_dsl.exceptions import DeclarationError


@stage
def announce(signals: Signals, artifact: str) -> str:  # called as announce(artifact)
    signals.send("task_complete", target="deploy", payload={"artifact": artifact})
    return artifact


@stage
def note(text: str, signals: Signals = INJECTED) -> str:
    signals.broadcast("note", payload=text)
    return text


class Recorder:
    """Stands for the signals in these tests."""

    def __init__(self):
        self.sent = []

    def send(self, kind, target=None, payload=None):
        self.sent.append((kind, target, payload))

    def broadcast(self, kind, payload=None):
        self.sent.append((kind, None, payload))


def test_a_test_passes_its_own_signals():
    signals = Recorder()
    assert announce(signals, "app") == "app"
    assert announce(artifact="app", signals=signals) == "app"
    assert note("hello", signals) == "hello"
    assert [kind for kind, _, _ in signals.sent] == ["task_complete", "task_complete", "note"]


def test_outside_a_run_a_call_without_them_says_how_to_pass_them():
    with pytest.raises(TypeError, match=r"pass one, announce\(signals=FakeSignals\(\), \.\.\.\)"):
        announce("app")


def test_an_async_function_asks_for_the_awaitable_facade():
    @stage
    async def aannounce(signals: AsyncSignals, artifact: str) -> None:
        await signals.send("task_complete", target="deploy")

    assert aannounce.slot.is_async

    with pytest.raises(DeclarationError, match="write 'signals: AsyncSignals', or make it a plain 'def'"):

        @stage
        async def wrong(signals: Signals) -> None: ...

    with pytest.raises(DeclarationError, match="write 'signals: Signals', or make it 'async def'"):

        @stage
        def wrong_too(signals: AsyncSignals) -> None: ...


def test_a_context_is_asked_for_in_the_same_way():
    @stage
    def scan(ctx: Context, folder: str) -> str:
        ctx.progress(0.5, "half way")
        return ctx.run_id

    assert (scan.slot.name, scan.slot.kind) == ("ctx", "context")


def test_a_parameter_named_signals_needs_no_annotation():
    @stage
    def shout(signals, text):
        signals.broadcast("shout", payload=text)

    signals = Recorder()
    shout(signals, "hi")
    assert signals.sent == [("shout", None, "hi")]
