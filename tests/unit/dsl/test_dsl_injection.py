"""Which parameter is filled, and when the caller's own value wins."""

from __future__ import annotations

from functools import partial, wraps
from types import SimpleNamespace
from typing import TYPE_CHECKING, final

import pytest

from attune_dsl.dsl.injection import INJECTED, Injectable, fill, find_slot, was_passed
from attune_dsl.dsl.stage import stage
from attune_dsl.dsl.workflow import workflow
from attune_dsl.exceptions import DeclarationError

if TYPE_CHECKING:
    import somewhere
    from somewhere import AsyncSignals, Unknown


@final
class Mailbox(Injectable):
    """Stands for ``Signals``; the dsl knows the facades only by their base."""

    kind, is_async = "signals", False


@final
class AsyncMailbox(Injectable):
    kind, is_async = "signals", True


@final
class Ctx(Injectable):
    kind, is_async = "context", False


class Context:
    """A class of the user's own that happens to have this name."""


facades = SimpleNamespace(Mailbox=Mailbox)
FACADE = Mailbox()


def called(fn, *args, **kwargs):
    """Call ``fn`` as a run does: with the facade filled in, unless the caller passed one."""
    slot = find_slot(fn)
    if not was_passed(slot, args, kwargs):
        args, kwargs = fill(slot, args, kwargs, FACADE)
    return fn(*args, **kwargs)


def first(signals: Mailbox, x=0, y=0):
    return signals, x, y


def last(x, signals: Mailbox = INJECTED):
    return signals, x


def middle(x, signals: Mailbox = INJECTED, y=0):
    return signals, x, y


def keyword(x, *, signals: Mailbox = INJECTED):
    return signals, x


def unannotated(x, signals, y=0):
    return signals, x, y


def star(signals: Mailbox, *xs):
    return signals, xs


def positional(signals: Mailbox, /, x):
    return signals, x


def fallback(x, signals: Mailbox = None):
    return signals, x


def nothing(x, y: int, z: Context):
    return x


@pytest.mark.parametrize(
    ("fn", "slot"),
    [
        (first, {"name": "signals", "position": 0, "first": True, "vanishes": True, "required": True}),
        (last, {"name": "signals", "position": 1, "first": False, "vanishes": False, "required": True}),
        (middle, {"name": "signals", "position": 1, "first": False, "vanishes": False, "required": True}),
        (keyword, {"name": "signals", "position": -1, "first": False, "vanishes": False, "required": True}),
        (unannotated, {"name": "signals", "position": 1, "first": False, "vanishes": True, "required": True}),
        (star, {"name": "signals", "position": 0, "first": True, "vanishes": True, "required": True}),
        (fallback, {"name": "signals", "position": 1, "first": False, "vanishes": False, "required": False}),
    ],
)
def test_the_slot_says_where_the_parameter_is(fn, slot):
    found = find_slot(fn)._asdict()
    assert {key: found[key] for key in slot} == slot


def test_a_function_that_asks_for_nothing_has_no_slot():
    assert [find_slot(each) for each in (nothing, lambda: 1, len, partial(nothing, 1))] == [None] * 4


def test_the_kind_and_colour_are_those_of_the_facade():
    async def waits(signals: AsyncMailbox): ...
    def reports(ctx: Ctx): ...
    async def untyped(signals): ...

    assert [(s.kind, s.is_async) for s in map(find_slot, (first, waits, reports, untyped))] == [
        ("signals", False), ("signals", True), ("context", False), ("signals", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fn", "args", "kwargs", "result"),
    [
        (first, (1,), {}, (FACADE, 1, 0)),
        (first, (1, 2), {}, (FACADE, 1, 2)),
        (first, (), {"y": 2}, (FACADE, 0, 2)),
        (last, (1,), {}, (FACADE, 1)),
        (last, (), {"x": 1}, (FACADE, 1)),
        (middle, (1,), {"y": 2}, (FACADE, 1, 2)),
        (keyword, (1,), {}, (FACADE, 1)),
        (unannotated, (1, 2), {}, (FACADE, 1, 2)),
        (unannotated, (), {"x": 1}, (FACADE, 1, 0)),
        (star, (1, 2, 3), {}, (FACADE, (1, 2, 3))),
        (positional, (1,), {}, (FACADE, 1)),
        (positional, (), {"x": 1}, (FACADE, 1)),
        (fallback, (1,), {}, (FACADE, 1)),
        (last, (1,), {"signals": INJECTED}, (FACADE, 1)),
    ],
)
def test_what_the_caller_leaves_out_is_filled(fn, args, kwargs, result):
    assert called(fn, *args, **kwargs) == result


OTHER = Mailbox()
MOCK = object()


@pytest.mark.parametrize(
    ("fn", "args", "kwargs", "result"),
    [
        (first, (OTHER, 1), {}, (OTHER, 1, 0)),
        (first, (OTHER,), {}, (OTHER, 0, 0)),
        (first, (MOCK, 1, 2), {}, (MOCK, 1, 2)),
        (first, (MOCK, 1), {"y": 2}, (MOCK, 1, 2)),
        (first, (MOCK,), {"x": 1}, (MOCK, 1, 0)),
        (first, (), {"signals": MOCK, "x": 1}, (MOCK, 1, 0)),
        (last, (1, MOCK), {}, (MOCK, 1)),
        (last, (1,), {"signals": MOCK}, (MOCK, 1)),
        (middle, (1, MOCK, 2), {}, (MOCK, 1, 2)),
        (keyword, (1,), {"signals": MOCK}, (MOCK, 1)),
        (unannotated, (1, OTHER, 2), {}, (OTHER, 1, 2)),
        (unannotated, (1, MOCK, 2), {}, (MOCK, 1, 2)),
        (star, (OTHER, 1), {}, (OTHER, (1,))),
        (positional, (MOCK, 1), {}, (MOCK, 1)),
    ],
)
def test_a_value_that_the_caller_passes_wins(fn, args, kwargs, result):
    assert called(fn, *args, **kwargs) == result


def test_annotations_as_strings_are_resolved_where_they_can_be():
    local = Mailbox

    def from_module(box: Mailbox): ...
    def dotted(box: facades.Mailbox): ...
    def from_closure(box: local):
        return local

    def quoted(box: "Mailbox"): ...  # noqa: UP037 (quotes inside a string are the case)

    assert [find_slot(each).name for each in (from_module, dotted, from_closure, quoted)] == ["box"] * 4


def test_annotations_that_cannot_be_resolved_match_by_their_last_component():
    async def imported_for_types(box: AsyncSignals): ...
    def dotted(box: somewhere.lib.Context): ...
    def unknown(box: Unknown): ...

    assert find_slot(imported_for_types)[:3] == ("box", "signals", True)
    assert find_slot(dotted)[:3] == ("box", "context", False)
    assert find_slot(unknown) is None


def test_a_class_of_the_users_own_with_our_name_is_not_filled():
    def mine(x: Context): ...

    assert find_slot(mine) is None


def test_unions_and_generics_are_ordinary_parameters():
    def ordinary(a: Mailbox | None, b: list[Mailbox]): ...

    assert find_slot(ordinary) is None


def test_methods_partials_and_wrapped_functions_are_filled_too():
    class Step:
        def run(self, signals: Mailbox, x):
            return signals, x

        def __call__(self, x, signals: Mailbox = INJECTED):
            return signals, x

    def wrap(fn):
        @wraps(fn)
        def wrapper(*args, **kwargs):
            return fn(*args, **kwargs)

        return wrapper

    assert called(Step().run, 1) == (FACADE, 1)
    assert called(Step.run, Step(), 1) == (FACADE, 1)
    assert called(Step(), 1) == (FACADE, 1)
    assert called(partial(last, 1)) == (FACADE, 1)
    assert called(wrap(first), 1) == (FACADE, 1, 0)


def test_what_a_partial_filled_is_no_part_of_the_call():
    assert find_slot(partial(first, x=1)).others == ("y",)
    assert find_slot(partial(last, signals=OTHER)) is None
    assert called(partial(first, x=1), y=2) == (FACADE, 1, 2)


def test_a_method_keeps_its_slot_when_it_is_bound():
    class Robot:
        @stage
        def say(self, signals: Mailbox, x):
            return signals, x

        @stage
        def note(self, x, *, signals: Mailbox = INJECTED):
            return signals, x

    assert Robot.say.slot[:6] == ("signals", "signals", False, False, 1, True)
    assert Robot().say.slot[:6] == ("signals", "signals", False, True, 0, True)
    assert Robot().note.slot == Robot.note.slot
    assert called(Robot().say.fn, 1) == (FACADE, 1)
    assert Robot().say(OTHER, 1) == (OTHER, 1)


def test_a_first_parameter_that_is_filled_by_the_instance_needs_nothing():
    class Odd:
        @stage
        def box(signals: Mailbox, x):  # noqa: N805 (the case)
            return signals, x

    odd = Odd()
    assert odd.box.slot is None
    assert odd.box(1) == (odd, 1)


def test_a_name_that_is_assigned_later_matches_by_its_last_component():
    def ask(box: Signals):
        return Signals

    assert find_slot(ask).kind == "signals"
    Signals = Ctx  # noqa: N806
    assert find_slot(ask).kind == "context"


def test_outside_a_run_a_missing_facade_says_how_to_pass_one():
    @stage
    def announce(signals: Mailbox, artifact):
        return signals, artifact

    @stage
    def note(ctx: Ctx):
        return ctx

    with pytest.raises(TypeError) as raised:
        announce("app")
    assert str(raised.value) == (
        "announce() was called outside a run, where nothing fills its parameter 'signals': "
        "pass one, announce(signals=FakeSignals(), ...) (FakeSignals is in attune_dsl.testing), "
        "or call it from a workflow"
    )
    with pytest.raises(TypeError, match=r"note\(ctx=my_context, \.\.\.\), or call it from a workflow"):
        note()
    assert announce(MOCK, "app") == announce(artifact="app", signals=MOCK) == (MOCK, "app")


def test_outside_a_run_a_parameter_with_the_users_own_default_needs_no_value():
    assert stage(fallback)(1) == (None, 1)
    with pytest.raises(TypeError, match="outside a run"):
        stage(last)(1)


@pytest.mark.parametrize("mark", [stage, workflow])
def test_the_facade_of_the_other_colour_is_refused(mark):
    def build(signals: AsyncMailbox): ...
    async def fetch(ctx: Ctx): ...

    with pytest.raises(DeclarationError) as sync:
        mark(build)
    assert str(sync.value) == (
        "build is a plain 'def' and asks for AsyncSignals, whose methods must be awaited: "
        "write 'signals: Signals', or make it 'async def'"
    )
    with pytest.raises(DeclarationError) as asynchronous:
        mark(fetch)
    assert str(asynchronous.value) == (
        "fetch is an 'async def' and asks for Context, whose signals would block the event loop: "
        "write 'ctx: AsyncContext', or make it a plain 'def'"
    )


def test_the_wrong_colour_is_noticed_by_name_too():
    def build(box: AsyncSignals): ...

    with pytest.raises(DeclarationError, match="write 'box: Signals'"):
        stage(build)


def test_two_facades_are_refused():
    def greedy(ctx: Ctx, signals: Mailbox = INJECTED): ...

    with pytest.raises(DeclarationError, match=r"asks for 'ctx' and 'signals'.* ask for Context"):
        stage(greedy)


def test_a_positional_only_parameter_that_cannot_be_filled_is_refused():
    def odd(x, signals: Mailbox = INJECTED, /): ...

    with pytest.raises(DeclarationError, match="'signals' cannot be filled because it is positional-only"):
        stage(odd)


def test_the_default_shows_what_it_is():
    assert repr(INJECTED) == "INJECTED"
