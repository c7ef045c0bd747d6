"""A workflow is run by calling it, or with run(), which says how it ended.

Inside the run every call of a stage is tracked. Outside of runs a stage is the plain function.
"""

import pytest

from attune_dsl import AgentStatus, StageStatus, arun, run, stage, workflow


@stage
def build(version: str) -> str:
    return f"app-{version}.whl"


@stage
def publish(artifact: str) -> str:
    if "broken" in artifact:
        raise OSError("the index refused it")
    return f"published {artifact}"


@workflow
def release(version: str) -> str:
    return publish(build(version))


def test_calling_a_workflow_runs_it_and_returns_its_value():
    assert release("1.2") == "published app-1.2.whl"


def test_what_the_code_raises_comes_out_as_it_is():
    with pytest.raises(OSError, match="the index refused it"):
        release("broken")


def test_run_never_raises_for_what_the_code_did():
    result = run(release, "broken")
    assert result.success is False
    assert result.status is AgentStatus.FAILED
    assert result.value is None
    assert str(result.error) == "the index refused it"
    with pytest.raises(OSError, match="the index refused it"):
        result.unwrap()


def test_a_result_has_one_record_for_each_call_of_a_stage():
    result = run(release, "broken")
    first, second = result.stages
    assert (first.name, first.status) == ("build", StageStatus.COMPLETED)
    assert (second.name, second.status) == ("publish", StageStatus.FAILED)
    assert second.error == "OSError: the index refused it"
    assert second.duration >= 0


def test_a_result_says_which_run_it_was():
    one, two = run(release, "1.0"), run(release, version="1.1")
    assert one.run_id != two.run_id
    assert one.agent_id == one.workflow == "release"
    assert run(release.options(agent_id="nightly"), "1.2").agent_id == "nightly"


def test_composition_is_python():
    @workflow
    def release_all(versions):
        done = []
        for version in versions:
            try:
                done.append(publish(build(version)))
            except OSError:
                done.append(f"skipped {version}")
        return done

    assert release_all(["1.0", "broken", "1.1"]) == [
        "published app-1.0.whl",
        "skipped broken",
        "published app-1.1.whl",
    ]


async def test_where_an_event_loop_runs_a_run_is_awaited():
    result = await arun(release, "1.2")
    assert result.unwrap() == "published app-1.2.whl"
