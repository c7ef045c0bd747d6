"""The plan where there is no source: read from the code object."""

import subprocess
import sys

import pytest

from attune_dsl.dsl.plan import plan_of
from attune_dsl.dsl.stage import stage
from attune_dsl.dsl.workflow import workflow

PREAMBLE = """
from types import SimpleNamespace
from attune_dsl.dsl.stage import stage
from attune_dsl.dsl.workflow import workflow
a, b, c, d = (stage(name=name)(lambda *args: None) for name in "abcd")
box = SimpleNamespace(inner=SimpleNamespace(a=a))

@workflow
def child(x):
    b(a(x))
"""


def plan_in(source):
    """Return the plan of the workflow ``flow`` that ``source`` defines, compiled without a file."""
    names = {"__name__": "nowhere"}
    exec(PREAMBLE + source, names)
    return " ".join(each.name for each in plan_of(names["flow"]))


@pytest.mark.parametrize(
    ("body", "plan"),
    [
        ("return a(b(x), key=c(d(x)))", "b d c a"),
        ("return d(x) + c(x) or b(x)", "d c b"),
        ("for y in c(x): a(y)", "c a"),
        ("return [a(y) for y in c(x)]", "c a"),
        ("return box.inner.a(b(x))", "b a"),
        ("return a.options(tier='cheap')(b(x))", "b a"),
        ("return a.map(b.map(x))", "b a"),
        ("return a(*b(x), **c(x))", "b c a"),
        ("return x.submit(a, b(x))", "a b"),
        ("return x.start(child, a(x))", "a"),
        ("return d(child(c(x)))", "c child/a child/b d"),
        ("return missing(x), a(x)", "a"),
        ("a = x; return a(b(x))", "b"),
        ("pass", ""),
    ],
)
def test_calls_are_read_in_the_order_in_which_they_complete(body, plan):
    assert plan_in(f"@workflow\ndef flow(x):\n    {body.replace('; ', chr(10) + '    ')}") == plan


def test_methods_find_the_stages_of_their_instance():
    source = """
class Pipeline:
    @stage
    def load(self): ...
    @stage
    def save(self, what): ...
    @workflow
    def main(self): self.save(self.load())
flow = Pipeline().main
"""
    assert plan_in(source) == "load save"


def test_async_code_is_read():
    assert plan_in("@workflow\nasync def flow(x):\n    return await a.acall(await b.amap(c(x)))") == "c b a"


def test_lambdas_are_read():
    first, second = (stage(name=name)(lambda x: x) for name in ("first", "second"))
    flow = workflow(name="lambda")(lambda x: second(first(x)))
    assert [each.name for each in plan_of(flow)] == ["first", "second"]


def test_a_builtin_has_an_empty_plan():
    assert plan_of(workflow(len)) == ()


def test_without_columns_the_order_is_that_of_the_names():
    source = "@workflow\ndef flow(x):\n    a(b(x))\n"
    show = "from attune_dsl.dsl.plan import plan_of\nprint(*(each.name for each in plan_of(flow)))"
    command = [sys.executable, "-X", "no_debug_ranges", "-c", PREAMBLE + source + show]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["a", "b"]
