"""A workflow may call another one: it runs inside the same run, and its stages carry its name."""

from attune_dsl import run, stage, workflow


@stage
def lint(path: str) -> str:
    return f"{path} is clean"


@workflow(heartbeat=True, coordination=True)
def check(path: str) -> str:
    """Run by itself it would take part in the store; inside another run it is just a part of that one."""
    return lint(path)


@workflow
def check_all(*paths: str) -> list[str]:
    return [check(path) for path in paths]


def test_the_value_comes_back_as_from_any_function():
    assert check_all("a.py") == ["a.py is clean"]


def test_stages_are_named_after_the_child_and_repeated_children_are_numbered():
    result = run(check_all, "a.py", "b.py")
    assert [record.name for record in result.stages] == ["check/lint", "check#2/lint"]


def test_the_child_is_no_agent_of_its_own():
    assert run(check_all, "a.py").agent_id == "check_all"
