"""From ``MODULE:FLOW`` to a workflow, and every way in which that can go wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from attune_dsl.cli.errors import UsageError, UserCodeError
from attune_dsl.cli.target import parse, resolve

RELEASE = """
    from attune_dsl.dsl.stage import stage
    from attune_dsl.dsl.workflow import workflow

    @stage
    def build(version): ...

    @workflow
    def release(version): ...

    @workflow(name="roll-out")
    def deploy(): ...

    def plain(): ...

    class Team:
        @workflow
        def release(self, version): ...

    team = Team()
    number = 3
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current directory; modules imported from it are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(Path.cwd()))])
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("zz"):
            del sys.modules[name]


def write(path: Path, source: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(source))


def refusal(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        resolve(text)
    return str(caught.value)


def failure(text: str) -> UserCodeError:
    with pytest.raises(UserCodeError) as caught:
        resolve(text)
    return caught.value


def test_a_module_of_the_current_directory_is_importable(project: Path) -> None:
    write(project / "zz_release.py", RELEASE)
    assert resolve("zz_release:release").name == "release"


def test_a_module_inside_a_package_is_found(project: Path) -> None:
    write(project / "zz_pkg/flows/daily.py", RELEASE)
    assert resolve("zz_pkg.flows.daily:release").name == "release"


def test_a_file_is_imported_by_its_name_with_its_folder_importable(project: Path) -> None:
    write(project / "jobs/zz_helper.py", "LIMIT = 7")
    write(project / "jobs/zz_job.py", f"from zz_helper import LIMIT\n{dedent(RELEASE)}")
    flow = resolve("jobs/zz_job.py:release")
    assert flow.fn.__module__ == "zz_job"


def test_a_file_whose_name_is_no_identifier_works(project: Path) -> None:
    write(project / "zz-my-flow.py", RELEASE)
    assert resolve("zz-my-flow.py:release").name == "release"


def test_dotted_attributes_reach_methods(project: Path) -> None:
    write(project / "zz_release.py", RELEASE)
    flow = resolve("zz_release:team.release")
    assert flow.fn.__self__.__class__.__name__ == "Team"  # type: ignore[attr-defined]


@pytest.mark.parametrize("target", ["zz_one", "zz_one:", "zz_one.py"])
def test_the_name_may_be_left_out_where_there_is_one_workflow(project: Path, target: str) -> None:
    write(project / "zz_other.py", RELEASE)
    write(
        project / "zz_one.py",
        """
        from zz_other import deploy
        from attune_dsl.dsl.workflow import workflow

        @workflow
        def only(): ...
        """,
    )
    assert resolve(target).name == "only"


def test_a_module_that_only_imports_one_workflow_offers_it(project: Path) -> None:
    write(project / "zz_other.py", RELEASE)
    write(project / "zz_front.py", "from zz_other import deploy")
    assert resolve("zz_front").name == "roll-out"


def test_several_workflows_are_listed_when_none_is_named(project: Path) -> None:
    write(project / "zz_release.py", RELEASE)
    assert refusal("zz_release") == (
        "module 'zz_release' has 2 workflows; say which: zz_release:release or zz_release:deploy"
    )


def test_a_module_without_a_workflow_says_what_to_do(project: Path) -> None:
    write(project / "zz_empty.py", "")
    assert refusal("zz_empty") == "module 'zz_empty' has no workflow; mark a function with @workflow"


def test_a_missing_module_suggests_its_neighbours(project: Path) -> None:
    write(project / "zz_release.py", RELEASE)
    assert refusal("zz_relase:release") == (
        "there is no module 'zz_relase' here or among the installed packages; did you mean zz_release?"
    )


def test_a_missing_submodule_suggests_its_siblings(project: Path) -> None:
    write(project / "zz_pkg/__init__.py", "")
    write(project / "zz_pkg/nightly.py", "")
    assert refusal("zz_pkg.nightli:flow") == ("there is no module 'zz_pkg.nightli'; did you mean zz_pkg.nightly?")


def test_a_dot_in_place_of_the_colon_is_recognised(project: Path) -> None:
    write(project / "zz_release.py", RELEASE)
    assert refusal("zz_release.deploy") == ("there is no module 'zz_release.deploy'; did you mean zz_release:deploy?")


def test_a_missing_file_suggests_its_neighbours(project: Path) -> None:
    write(project / "jobs/daily.py", "")
    assert refusal("jobs/dayly.py:x") == "there is no file 'jobs/dayly.py'; did you mean jobs/daily.py?"


def test_a_path_without_its_ending_is_recognised(project: Path) -> None:
    write(project / "jobs/daily.py", "")
    assert refusal("jobs/daily:x") == (
        "'jobs/daily' is neither a module nor a Python file; did you mean jobs/daily.py?"
    )


def test_something_that_cannot_be_a_name_is_refused() -> None:
    assert refusal("no way") == "'no way' names no workflow; write MODULE:FLOW or path/file.py:flow"


def test_a_file_named_like_a_loaded_module_asks_to_be_renamed(project: Path) -> None:
    write(project / "pytest.py", RELEASE)
    message = refusal("pytest.py:release")
    assert message.startswith("'pytest.py' cannot be imported: Python already has another module named 'pytest' (")
    assert message.endswith("; rename the file")


def test_a_failing_import_is_the_users_own_error(project: Path) -> None:
    write(project / "zz_broken.py", "value = undefined_name")
    error = failure("zz_broken:flow")
    assert str(error) == "import of zz_broken failed: NameError: name 'undefined_name' is not defined"
    assert isinstance(error.__cause__, NameError)


def test_a_module_that_imports_something_missing_is_not_itself_missing(project: Path) -> None:
    write(project / "zz_needs.py", "import zz_not_installed")
    assert str(failure("zz_needs:flow")) == (
        "import of zz_needs failed: ModuleNotFoundError: No module named 'zz_not_installed'"
    )


def test_a_package_that_imports_its_own_missing_module_is_not_itself_missing(project: Path) -> None:
    write(project / "zz_pkg2/__init__.py", "import zz_pkg2.flows")
    assert "import of zz_pkg2.flows failed: ModuleNotFoundError" in str(failure("zz_pkg2.flows:flow"))


def test_a_syntax_error_is_the_users_own_error(project: Path) -> None:
    write(project / "zz_syntax.py", "def broken(:")
    assert str(failure("zz_syntax")).startswith("import of zz_syntax failed: SyntaxError: ")


def test_a_script_that_exits_while_it_is_imported_says_so(project: Path) -> None:
    write(project / "zz_script.py", "raise SystemExit(0)")
    assert str(failure("zz_script")) == (
        'import of zz_script failed: it called exit(); keep that under `if __name__ == "__main__":`'
    )


def test_a_file_of_a_package_is_told_how_to_run(project: Path) -> None:
    write(project / "zz_pkg3/__init__.py", "")
    write(project / "zz_pkg3/flows.py", "from . import other")
    assert str(failure("zz_pkg3/flows.py:daily")).endswith(
        f"; it belongs to a package: run zz_pkg3.flows:daily in {project}"
    )


def test_a_missing_attribute_suggests_workflows(project: Path) -> None:
    write(project / "zz_release.py", RELEASE)
    assert refusal("zz_release:relese") == "'zz_release' has no attribute 'relese'; did you mean release?"


def test_a_missing_attribute_with_nothing_near_lists_the_workflows(project: Path) -> None:
    write(project / "zz_release.py", RELEASE)
    assert refusal("zz_release:xyzzy") == ("'zz_release' has no attribute 'xyzzy'; its workflows: release, deploy")


def test_the_name_of_a_workflow_leads_to_its_attribute(project: Path) -> None:
    write(project / "zz_release.py", RELEASE)
    assert refusal("zz_release:roll-out") == (
        "'zz_release' has no attribute 'roll-out'; the workflow with this name is zz_release:deploy"
    )


@pytest.mark.parametrize(
    ("attribute", "kind"),
    [
        ("build", "a stage, which runs inside a workflow; its workflows: release, deploy"),
        ("plain", "a function without @workflow; its workflows: release, deploy"),
        ("Team", "a class; its workflows: release, deploy"),
        ("number", "of type int; its workflows: release, deploy"),
    ],
)
def test_what_is_no_workflow_is_named(project: Path, attribute: str, kind: str) -> None:
    write(project / "zz_release.py", RELEASE)
    assert refusal(f"zz_release:{attribute}") == f"zz_release:{attribute} is not a workflow but {kind}"


def test_an_attribute_that_raises_is_the_users_own_error(project: Path) -> None:
    write(
        project / "zz_lazy.py",
        """
        def __getattr__(name):
            raise RuntimeError("no " + name)
        """,
    )
    assert str(failure("zz_lazy:flow")) == "reading zz_lazy.flow failed: RuntimeError: no flow"


def test_a_windows_path_keeps_its_drive() -> None:
    assert parse("C:\\jobs\\daily.py").attribute is None
    assert parse("C:\\jobs\\daily.py:flow").attribute == "flow"
