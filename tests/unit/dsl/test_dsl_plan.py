"""The plan of a workflow, read from its source in the order in which calls complete."""

import asyncio
from functools import partial, wraps
from types import ModuleType

import pytest

from attune_dsl.dsl import reading
from attune_dsl.dsl.plan import plan_of
from attune_dsl.dsl.stage import stage
from attune_dsl.dsl.workflow import Workflow, workflow
from attune_dsl.exceptions import DeclarationError


def make(name):
    return stage(name=name)(lambda *args: args[0] if args else None)


a, b, c, d, e = map(make, "abcde")


class Toolbox:
    hammer = staticmethod(make("hammer"))


elsewhere = ModuleType("elsewhere")
elsewhere.remote = make("remote")
elsewhere.Toolbox = Toolbox


@stage
async def af(x=None):
    return x


def plan(fn):
    """Return the names in the plan of ``fn`` as a workflow."""
    flow = fn if isinstance(fn, Workflow) else workflow(fn)
    return " ".join(each.name for each in plan_of(flow))


def test_arguments_come_before_the_call():
    def flow(x):
        return a(b(x), key=c(d(x)))

    assert plan(flow) == "b d c a"


def test_statements_follow_in_order_and_each_stage_counts_once():
    def flow(x):
        first = c(x)
        a(first)
        c(x)
        return b(x)

    assert plan(flow) == "c a b"


def test_branches_and_loops_are_read_in_source_order():
    def flow(x):
        if a(x):
            b(x)
        else:
            c(x)
        while d(x):
            for _ in af(x):
                e(x)

    assert plan(flow) == "a b c d af e"


def test_with_try_match_and_operators():
    def flow(x):
        with a(x):
            try:
                ready = b(x) + c(x)
            except ValueError:
                ready = d(x)
            finally:
                e(x)
        return ready

    assert plan(flow) == "a b c d e"


def test_async_flows_await_gather_and_comprehend():
    async def flow(xs):
        ready = [await af(x) for x in b(xs)]
        async with asyncio.TaskGroup() as group:
            group.create_task(a.acall(ready))
        return await asyncio.gather(*(c.acall(x) for x in d(xs)))

    assert plan(flow) == "b af a d c"


def test_map_amap_acall_and_options():
    async def flow(xs):
        a.options(limit=b(1)).map(c(xs))
        await d.options(tier="cheap").amap(xs)
        return await e.acall(xs)

    assert plan(flow) == "b c a d e"


def test_a_name_written_in_options_is_used():
    def flow(x):
        return a.options(name="first")(x), a.options(name="second", retries=1)(x)

    assert plan(flow) == "first second"


def test_stages_of_modules_and_classes_are_found():
    def flow():
        elsewhere.remote()
        elsewhere.Toolbox.hammer()

    assert plan(flow) == "remote hammer"


def test_stages_in_closures_are_found():
    inner = make("inner")

    def flow():
        inner()

    assert plan(flow) == "inner"


def test_a_closure_that_is_still_empty_is_skipped():
    def flow():
        a()
        later()

    assert plan(flow) == "a"
    later = b
    assert plan(workflow(flow)) == "a b"


class Pipeline:
    threshold = 1

    def __init__(self):
        self.extra = e

    @stage
    def load(self): ...

    @stage
    def save(self, what): ...

    @workflow
    def child(self):
        self.save(1)

    @workflow
    def main(self):
        self.save(self.load())
        self.extra()
        if self.threshold:
            self.child()

    @property
    def dear(self):
        raise AssertionError("properties are not run")

    @workflow
    def careful(self):
        self.dear.load()
        self.load()

    @classmethod
    @workflow
    def made(cls):
        cls.load(None)


def test_methods_find_the_stages_of_their_instance():
    pipeline = Pipeline()
    assert plan(pipeline.main) == "load save e child/save"
    assert plan(pipeline.careful) == "load"


def test_the_plan_of_a_method_is_kept_for_each_class(monkeypatch):
    pipeline = Pipeline()
    first = plan_of(pipeline.child)
    assert plan_of(pipeline.child) is first


def test_an_unbound_method_finds_what_it_can():
    assert plan(Pipeline.main) == ""


@workflow
def child(x):
    return b(a(x))


@workflow
def grandparent(x):
    return parent(x)


@workflow
def parent(x):
    a(child(d(x)))
    return child.options(name="again")(x)


def test_nested_workflows_prefix_their_stages():
    assert plan(parent) == "d child/a child/b a again/a again/b"
    assert plan(grandparent) == "parent/d parent/child/a parent/child/b parent/a parent/again/a parent/again/b"


@workflow
def ping(n):
    a(n)
    return pong(n - 1) if n else 0


@workflow
def pong(n):
    b(n)
    return ping(n - 1) if n else 0


def test_recursion_ends():
    assert plan(ping) == "a pong/b"
    assert plan(pong) == "b ping/a"


def test_local_names_hide_global_stages():
    def flow(a):
        b = a
        return [c(1) for c in b] + [a(1)]

    assert plan(flow) == ""


def test_local_names_for_stages_are_followed():
    def flow(x):
        if x:
            step = b
        else:
            step: object = c.options(retries=2)
        last = d if x else e
        a(x)
        if (again := af) and step(x):
            return last(again(x))
        return None

    assert plan(flow) == "a b c af d e"


def test_a_stage_that_is_handed_on_counts_and_a_workflow_does_not():
    def flow(executor, xs):
        executor.submit(a, xs)
        executor.submit(elsewhere.remote, xs)
        for step in (b, c.acall):
            step(xs)
        executor.submit(child, xs)

    assert plan(flow) == "a remote b c"


def test_looking_at_a_stage_is_not_calling_it():
    def flow():
        print(a.name, b.spec.tier, c.fn(1))

    assert plan(flow) == ""


def test_inner_functions_are_read_where_they_are_written():
    def flow(xs):
        def one(x, a=d):
            b = x
            return a(b(c(x)))

        two = lambda x: e(x) + 1  # noqa: E731
        return [one(x) or two(x) for x in xs]

    assert plan(flow) == "d c e"


def test_every_kind_of_comprehension_and_inner_function_is_read():
    def flow(xs):
        async def one(*args, **kwargs):
            return a(args, kwargs)

        return {b(x) for x in xs}, {c(x): d(x) for x, one in e(xs)}, one

    assert plan(flow) == "a b e c d"


def test_unpacking_and_attributes_are_no_names_for_stages():
    def flow(x):
        first, second = a, b
        x.step = c
        kept: int  # noqa: F842
        x.map(d.map)
        return first(x), second(x)

    assert plan(flow) == "a b c d"


def test_a_global_name_that_the_workflow_assigns_is_left_alone():
    def flow(x):
        global assigned  # noqa: PLW0603
        assigned = a
        return assigned(x)

    assert plan(flow) == "a"


def test_partials_of_functions_and_methods_are_read():
    assert plan(workflow(name="p")(partial(child.fn, 1))) == "a b"
    assert plan(workflow(name="p")(partial(Pipeline().main.fn))) == "load save e child/save"


def test_annotations_are_not_calls():
    def flow(x):
        y: a = b(x)

        def inner(z: c) -> d:
            return z

        return inner(y)

    assert plan(flow) == "b"


def test_a_wrapped_function_is_read_itself():
    def wrap(fn):
        @wraps(fn)
        def wrapper(*args):
            return fn(*args)

        return wrapper

    @workflow
    @wrap
    def flow(x):
        return a(b(x))

    assert plan(flow) == "b a"


def test_an_object_with_call_is_read():
    class Flow:
        step = a

        def __call__(self, x):
            return b(self.step(x))

    assert plan(workflow(name="object")(Flow())) == "a b"


def test_stages_given_are_the_exact_plan():
    @workflow(stages=[c, child, a])
    def flow(x):
        return b(x)

    assert plan(flow) == "c child/a child/b a"
    assert plan(flow.options(stages=None)) == "b"
    assert plan(flow) == "c child/a child/b a"


def test_a_planned_stage_knows_its_stage_and_tier():
    tiered = stage(name="tiered", tier="premium")(lambda: None)

    def flow():
        tiered()

    (planned,) = plan_of(workflow(flow))
    assert (planned.name, planned.stage, planned.tier) == ("tiered", tiered, "premium")


def test_the_plan_is_made_at_the_first_run_and_kept(monkeypatch):
    flow = workflow(name="kept")(child.fn)
    reads = []
    real = reading.called_by
    monkeypatch.setattr(reading, "called_by", lambda fn: reads.append(fn) or real(fn))
    assert reads == []
    first = plan_of(flow)
    assert plan_of(flow.options(agent_id="other")) is first
    assert reads == [child.fn]


def test_two_stages_of_one_name_are_refused():
    other = stage(name="a")(lambda: None)

    def flow():
        a()
        other()

    with pytest.raises(DeclarationError) as raised:
        plan(flow)
    said = str(raised.value)
    assert said.startswith("workflow 'flow' calls two stages named 'a', ")
    assert said.endswith("give one of them another name, @stage(name='...') or .options(name='...')")


def test_two_workflows_of_one_name_are_refused():
    other = workflow(name="child")(parent.fn)

    def flow(x):
        child(x)
        other(x)

    with pytest.raises(DeclarationError, match="calls two workflows named 'child'"):
        plan(flow)


def test_copies_of_one_stage_are_one_stage():
    def flow():
        a()
        a.options(retries=2)()

    assert plan(flow) == "a"


def test_the_same_name_in_parent_and_child_is_no_conflict():
    other = stage(name="a")(lambda: None)

    def flow():
        child(1)
        other()

    assert plan(flow) == "child/a child/b a"


def test_a_module_whose_lazy_attribute_fails_is_passed_over(monkeypatch):
    def fail(name):
        raise ImportError(name)

    monkeypatch.setattr(elsewhere, "__getattr__", fail, raising=False)

    def flow():
        elsewhere.missing()
        a()

    assert plan(flow) == "a"
