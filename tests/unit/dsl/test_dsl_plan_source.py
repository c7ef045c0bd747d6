"""The source of a workflow is found where it is awkward, and not taken from another function."""

from attune_dsl.dsl.plan import plan_of
from attune_dsl.dsl.stage import stage
from attune_dsl.dsl.workflow import workflow

a, b, c = (stage(name=name)(lambda *args: None) for name in "abc")


def plan(fn):
    """Return the names in the plan of ``fn`` as a workflow."""
    return " ".join(each.name for each in plan_of(workflow(fn)))


def test_awkward_sources_are_read():
    # fmt: off
    def flow(
        x,
        text="""
not indented: a()
""",
    ):
    # a comment at the margin
        query = """
select 1
"""
        return a(
b(query))
    # fmt: on

    assert plan(flow) == "b a"


def test_a_function_whose_file_changed_is_read_from_its_code(tmp_path):
    """The source of another function at its place is not taken for its own."""
    file = tmp_path / "changed.py"
    file.write_text("def flow(x):\n    return a(b(x))\n")
    names = {"a": a, "b": b, "c": c}
    exec(compile(file.read_text(), str(file), "exec"), names)
    file.write_text("def other(x):\n    return c(x)\n")
    assert plan(names["flow"]) == "b a"


def test_a_file_that_no_longer_parses_is_read_from_its_code(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text("def flow(x):\n    return a(b(x))\n")
    names = {"a": a, "b": b}
    exec(compile(file.read_text(), str(file), "exec"), names)
    file.write_text("def flow(x:\n    return\n")
    assert plan(names["flow"]) == "b a"


def test_a_function_inside_a_long_text_is_found_in_the_whole_file(tmp_path):
    """So many lines at the margin that guessing its end is given up."""
    margin = "\n".join(f"line {number}" for number in range(30))
    body = f"    def flow(x):\n        query = '''\n{margin}\n'''\n        return a(b(x))\n"
    source = f"def flow(): ...\ntry:\n{body}except ValueError:\n    pass\n"
    file = tmp_path / "long.py"
    file.write_text(source)
    names = {"a": a, "b": b}
    exec(compile(source, str(file), "exec"), names)
    assert plan(names["flow"]) == "b a"


def test_functions_of_one_name_in_one_file_are_told_apart():
    flows = []
    for _ in range(2):
        if not flows:

            def flow():  # fmt: skip
                a()
        else:

            def flow():  # fmt: skip
                b()

        flows.append(workflow(flow))
    assert [plan(each.fn) for each in flows] == ["a", "b"]
