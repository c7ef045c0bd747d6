"""What a marked function still is: its metadata, a method, a copy; and how a call finds its run."""

import asyncio
import functools
import inspect
import threading
from unittest.mock import Mock

import pytest

from attune_dsl import log
from attune_dsl.dsl import scope
from attune_dsl.dsl.stage import Stage, stage
from attune_dsl.dsl.workflow import workflow


class Recorder:
    """A run, and an entry, that answer every call with what they were asked."""

    active = True

    def runs_are_active(self):
        return self.active

    def __getattr__(self, asked):
        return lambda *arguments: (asked, *arguments)


@pytest.fixture
def run():
    """A run that the test is inside of."""
    recorder = Recorder()
    token = scope.current.set(recorder)
    yield recorder
    scope.current.reset(token)


@pytest.fixture
def entry(monkeypatch):
    """A loaded runner; no run is current."""
    recorder = Recorder()
    monkeypatch.setattr(scope, "_entry", recorder)
    monkeypatch.setattr(scope, "_warned", set())
    return recorder


@pytest.fixture
def warnings(monkeypatch):
    """The warnings logged, as (event, stage)."""
    seen = []
    monkeypatch.setattr(log, "warning", lambda event, **values: seen.append((event, values["stage"])))
    return seen


@stage
def add(x: int, y: int = 1) -> int:
    """Add."""
    return x + y


@stage
async def aadd(x: int, y: int = 1) -> int:
    return x + y


@workflow
def flow(x: int) -> int:
    """Flow."""
    return add(x)


class Robot:
    def __init__(self, step):
        self.step = step

    @stage
    def move(self, by):
        return self.step * by

    @stage
    async def amove(self, by):
        return self.step * by

    @classmethod
    @stage
    def kind(cls, suffix):
        return cls.__name__ + suffix

    @staticmethod
    @stage
    def free(by):
        return by

    @workflow
    def tour(self, by):
        return self.move(by)


def test_the_metadata_of_the_function_is_kept():
    assert (add.__name__, add.__doc__, add.__module__, add.__wrapped__) == ("add", "Add.", __name__, add.fn)
    assert (flow.__name__, flow.__doc__, flow.__qualname__) == ("flow", "Flow.", "flow")
    assert repr(add), repr(flow) == ("<stage add>", "<workflow flow>")


def test_attributes_of_the_function_do_not_replace_ours():
    def odd():
        return 1

    odd.spec = odd.name = odd.slot = "mine"
    marked = stage(odd)
    assert (marked.name, marked.slot, marked.spec.name) == ("odd", None, "odd")


def test_the_colour_is_that_of_the_function():
    async def one():
        return 1

    @functools.wraps(one)
    def sync_wrapper():
        return asyncio.run(one())

    class Caller:
        async def __call__(self):
            return 1

    assert [each.is_async for each in (add, aadd, flow)] == [False, True, False]
    assert stage(sync_wrapper).is_async is False
    assert stage(name="partial")(functools.partial(one)).is_async is True
    assert stage(name="caller")(Caller()).is_async is True


def test_a_function_that_was_marked_as_async_is_async(monkeypatch):
    """As ``inspect.markcoroutinefunction`` does from Python 3.12 on; a mock, which has every attribute, is not."""
    mark = object()
    monkeypatch.setattr(inspect, "_is_coroutine_mark", mark, raising=False)

    def returns_an_awaitable():
        return aadd(1)

    returns_an_awaitable._is_coroutine_mark = mark
    assert stage(returns_an_awaitable).is_async is True
    assert stage(name="mock")(Mock()).is_async is False


async def test_outside_a_run_a_stage_is_the_plain_function():
    assert add(1, y=2) == 3
    assert await aadd(1) == 2
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        add()


async def test_acall_outside_a_run_works_for_both_colours():
    assert await aadd.acall(1, y=4) == 5
    threads = []
    where = stage(name="where")(lambda: threads.append(threading.current_thread()))
    await where.acall()
    assert threads != [threading.current_thread()]


def test_methods_are_bound_to_their_instance():
    robot = Robot(3)
    assert robot.move(2) == 6
    assert Robot.move(robot, 2) == 6
    assert asyncio.run(robot.amove(2)) == 6
    assert robot.move.options(retries=1)(2) == 6
    assert isinstance(robot.move, Stage)
    assert (robot.move.name, robot.amove.is_async) == ("move", True)


def test_class_methods_and_static_methods():
    assert Robot.kind("!") == "Robot!"
    assert Robot(1).kind("!") == "Robot!"
    assert Robot.free(5) == Robot(1).free(5) == 5


def test_inside_a_run_every_call_is_the_runs(run):
    assert add(1, y=2) == ("call_stage", add, (1,), {"y": 2})
    assert aadd(1) == ("call_stage", aadd, (1,), {})
    assert add.acall(1) == ("acall_stage", add, (1,), {})
    assert add.map([1]) == ("map_stage", add, [1])
    assert add.amap([1]) == ("amap_stage", add, [1])
    assert flow(1) == ("call_workflow", flow, (1,), {})


def test_inside_a_run_a_method_is_called_as_the_stage_of_its_class(run):
    robot = Robot(3)
    assert robot.move(2) == ("call_stage", Robot.move, (robot, 2), {})
    assert robot.move.acall(2) == ("acall_stage", Robot.move, (robot, 2), {})
    assert robot.move.map([1, 2]) == ("map_stage", robot.move, [1, 2])
    assert robot.move.options(retries=1)(2) == ("call_stage", Robot.move.options(retries=1), (robot, 2), {})


def test_methods_of_one_instance_are_equal():
    robot, other = Robot(3), Robot(3)
    assert robot.move == robot.move
    assert len({robot.move, robot.move, other.move, robot.move.options(retries=1)}) == 3
    assert robot.move != Robot.move


def test_equal_options_give_the_same_copy():
    """A loop that configures its calls leaves one copy behind, not one for each call."""
    assert add.options(retries=2) is add.options(retries=2)
    assert add.options(retries=2) is not add.options(retries=3)
    assert add.options(retries=2).options(tier="cheap") is not add.options(tier="cheap")
    assert add.options(retry_on=[OSError]) is not add.options(retry_on=[OSError])
    many = [add.options(limit=limit) for limit in range(1, 200)]
    assert [each.spec.limit for each in many] == list(range(1, 200))
    assert add.options(limit=199) is not many[-1]


def test_outside_a_run_workflows_and_maps_go_to_the_entry(entry):
    assert flow(1) == ("call_workflow", flow, (1,), {})
    assert add.map([1]) == ("map_stage", add, [1])
    assert aadd.amap([1]) == ("amap_stage", aadd, [1])


def test_the_entry_is_loaded_once_and_only_when_needed(monkeypatch):
    loads = []
    monkeypatch.setattr(scope, "_entry", None)
    monkeypatch.setattr(scope, "_load_entry", None)
    scope.install(lambda: loads.append(1) or Recorder())
    add(1)
    assert loads == []
    flow(1)
    flow(2)
    assert loads == [1]


def test_a_stage_called_outside_of_all_runs_warns_once_where_there_are_runs(entry, warnings):
    add(1)
    add(2)
    assert warnings == [("stage.outside_run", "add")]


def test_a_stage_called_where_there_are_no_runs_does_not_warn(entry, warnings):
    entry.active = False
    add(1)
    assert warnings == []


def test_a_stage_called_before_the_runner_was_loaded_does_not_warn(monkeypatch, warnings):
    monkeypatch.setattr(scope, "_entry", None)
    add(1)
    assert warnings == []


def test_a_stage_called_inside_a_run_does_not_warn(entry, run, warnings):
    add(1)
    assert warnings == []
