"""One call of one stage: every decision about its attempts, and the two drivers that differ only in awaiting."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from attune_dsl import clock, log
from attune_dsl.dsl.injection import Slot, fill, was_passed
from attune_dsl.exceptions import DeclarationError, RunAborted, StageTimeout, UsageError
from attune_dsl.model import StageStatus
from attune_dsl.runner.context import Frame
from attune_dsl.runner.log_context import ATTEMPT, STAGE, leave
from attune_dsl.runner.outcome import describe, stage_status

if TYPE_CHECKING:
    from stamina.instrumentation import RetryDetails

    from attune_dsl.dsl.stage import Stage
    from attune_dsl.runner.progress import MapProgress
    from attune_dsl.runner.run import Run

MAX_PAUSE = 60.0
"""The longest pause between two attempts in seconds, unless ``backoff`` asks for a longer one."""

NEVER_RETRIED = (RunAborted, UsageError, DeclarationError)
"""Another attempt cannot change these: somebody wants the run to stop, or the code is wrong."""


class StageUse:
    """How a stage is used within one scope of a run: its name there, and what its calls need, looked up once.

    ``plain`` says that a call needs neither retries nor a facade; ``counted`` that its completion was counted.
    """

    __slots__ = ("counted", "invoke", "is_async", "name", "plain", "slot", "spec", "stall_after", "tier")

    def __init__(self, stage: Stage[..., Any], name: str) -> None:
        spec = stage.spec
        self.name = name
        self.spec = spec
        self.slot = stage.slot
        self.tier = spec.tier
        self.stall_after = spec.stall_after
        self.is_async = stage.is_async
        self.invoke = timed(stage.fn, spec.timeout, "stage", name) if stage.is_async else stage.fn
        self.plain = stage.slot is None and not spec.retries
        self.counted = False


def timed(fn: Callable[..., Any], seconds: float | None, noun: str, name: str) -> Callable[..., Any]:
    """Return the async ``fn`` so that it raises :class:`StageTimeout` after ``seconds``; itself for ``None``."""
    if seconds is None:
        return fn
    from asyncio import timeout

    async def limited(*args: Any, **kwargs: Any) -> Any:
        try:
            async with timeout(seconds) as timer:
                return await fn(*args, **kwargs)
        except TimeoutError as error:
            if not timer.expired():
                raise
            raise StageTimeout(f"{noun} {name!r} took longer than its timeout of {seconds:g} s") from error

    return limited


def filled(
    slot: Slot | None, frame: Frame, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments with the slot's facade, bound to ``frame``; a value that the caller passed wins."""
    if slot is None or was_passed(slot, args, kwargs):
        return args, kwargs
    return fill(slot, args, kwargs, frame.facade(slot.kind, slot.is_async))


class Try(Protocol):
    """stamina's view of one attempt: leaving it with an error makes its iterator pause for the next one."""

    @property
    def next_wait(self) -> float:
        """The least pause before the next attempt, in seconds."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Keep the error for the decision whether another attempt follows."""


@cache
def _stamina() -> ModuleType:
    """Import stamina; where nobody else did before, without the hook that prints each retry on standard output."""
    is_known = "stamina" in sys.modules
    import stamina

    if not is_known:
        stamina.instrumentation.set_on_retry_hooks([_note_retry])
    return stamina


def _note_retry(details: RetryDetails) -> None:
    log.debug("stage.retry_scheduled", stage=details.name, error=repr(details.caused_by), pause=details.wait_for)


class StageCall:
    """One call of a stage, as a context that records how it ended, however that was.

    ``item`` is the index within a ``map``, whose progress the call contributes to.
    """

    __slots__ = ("attempt", "item", "logged", "map", "run", "span", "started", "token", "use")

    def __init__(self, run: Run, use: StageUse, item: int | None = None, part_of: MapProgress | None = None) -> None:
        self.run = run
        self.use = use
        self.item = item
        self.map = part_of
        self.attempt = 0

    def __enter__(self) -> None:
        run = self.run
        run.stop.check()
        self.logged = [STAGE.set(self.use.name)]
        if run.has_retried:
            self.logged.append(ATTEMPT.set(1))
        self.started = clock.monotonic()
        self.token = run.tracker.enter(self.use, self.item) if run.tracker is not None else 0
        self.span = None if run.spans is None else run.spans.call(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status = _status(error)
        text = None if error is None else describe(error)
        if self.map is not None:
            self.map.finished()
        elif error is None:
            self.run.progress.complete(self.use.name)
        self.run.record(self.use, self.started, self.token, (status, self.attempt, self.item, text))
        if self.span is not None and self.run.spans is not None:
            self.run.spans.leave(self.span, status, error, self.attempt)
        leave(self.logged)

    def tries(self, pause: Callable[[float], None] | None = None) -> Tries:
        """Return the attempts that this call may take; stamina makes them, and the pauses between them.

        ``pause`` blocks the thread of a sync stage for so many seconds.
        """
        spec = self.use.spec
        if not spec.retries:
            return ONCE
        context: Any = _stamina().retry_context(
            on=Exception,
            attempts=spec.retries + 1,
            timeout=None,
            wait_initial=spec.backoff,
            wait_max=max(MAX_PAUSE, spec.backoff),
            wait_jitter=spec.backoff,
        )
        if pause is not None:
            interruptible(context, pause)
        tries: Tries = context.with_name(self.use.name, (), {})
        return tries

    def may_retry(self, error: BaseException) -> bool:
        """Whether another attempt follows one that raised ``error``."""
        spec = self.use.spec
        return (
            self.attempt <= spec.retries
            and isinstance(error, spec.retry_on)
            and not isinstance(error, NEVER_RETRIED)
            and not self.run.stop.halted
        )


def interruptible(context: Any, pause: Callable[[float], None]) -> None:
    """Let stamina pause by ``pause``: it would sleep on through an abort. It has no public way to say so.

    A release of it that keeps this elsewhere sleeps by itself.
    """
    settings = getattr(context, "_t_kw", None)
    if isinstance(settings, dict):
        settings["sleep"] = pause


def _status(error: BaseException | None) -> StageStatus:
    return StageStatus.COMPLETED if error is None else stage_status(error)


class Attempt:
    """One attempt of a call, as a context that decides what follows if it fails."""

    __slots__ = ("call", "frame", "one", "span")

    def __init__(self, call: StageCall, one: Try | None) -> None:
        self.call = call
        self.one = one
        use, item = call.use, call.item
        call.attempt += 1
        part = use.name if item is None else None
        self.frame = Frame(
            call.run, use.name, attempt=call.attempt, tier=use.tier, stall_after=use.stall_after, part=part
        )

    def __enter__(self) -> Attempt:
        call, run = self.call, self.call.run
        run.stop.check()
        if call.attempt > 1:
            run.has_retried = True
            call.logged.append(ATTEMPT.set(call.attempt))
            if run.tracker is not None:
                run.tracker.attempt(call.token, call.use, call.attempt, call.item)
        if run.observer is not None:
            run.observer.attempt_started(call)
        self.span = None if run.spans is None else run.spans.attempt(call)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self.span is not None and self.call.run.spans is not None:
            self.call.run.spans.leave(self.span, _status(error), error)
        if error is None or self.one is None or not self.call.may_retry(error):
            return False
        run = self.call.run
        if self.frame.taken and run.agent is not None:
            run.agent.give_back(self.frame.taken)
        call, pause = self.call, self.one.next_wait
        if run.tracker is not None:
            run.tracker.retried(call, error, pause)
        if run.observer is not None:
            run.observer.attempt_failed(call, error, pause)
        return bool(self.one.__exit__(kind, error, trace))

    def invoke(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the stage's function; of an async one return the awaitable."""
        use = self.call.use
        args, kwargs = filled(use.slot, self.frame, args, kwargs)
        return use.invoke(*args, **kwargs)


class Tries(Protocol):
    """The attempts of one call, for either driver."""

    def __iter__(self) -> Iterator[Try | None]: ...
    def __aiter__(self) -> AsyncIterator[Try | None]: ...


class _Once:
    """A single attempt, after which nothing is tried again."""

    def __iter__(self) -> Iterator[None]:
        return iter((None,))

    def __aiter__(self) -> _Once:
        return self

    async def __anext__(self) -> None:
        """The driver returns or raises within its first round, so this is never asked for a second time."""


ONCE = _Once()


def call_stage(call: StageCall, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Drive a call of a sync stage on this thread."""
    with call:
        for one in call.tries(call.run.stop.pause):
            with Attempt(call, one) as attempt:
                return attempt.invoke(args, kwargs)
    raise AssertionError("unreachable: attempts end by returning or raising")


async def acall_stage(call: StageCall, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Drive a call of an async stage in this task."""
    with call:
        async for one in call.tries():
            with Attempt(call, one) as attempt:
                return await attempt.invoke(args, kwargs)
    raise AssertionError("unreachable: attempts end by returning or raising")
