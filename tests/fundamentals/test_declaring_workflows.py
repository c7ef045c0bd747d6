"""A workflow is a plain function, marked with @workflow, that calls stages.

Composition is Python: values, branches, loops, and workflows inside of workflows. What a run will probably
do, its plan, is read from the source.
"""

import pytest

from attune_dsl import Heartbeat, stage, workflow
from attune_dsl.dsl.plan import plan_of
from attune_dsl.exceptions import DeclarationError


@stage
def build(version):
    return f"app-{version}.whl"


@stage
def check(artifact):
    return artifact.endswith(".whl")


@stage
def publish(artifact):
    return artifact


@stage
def complain(artifact):
    return None


@workflow
def quality(artifact):
    return check(artifact)


@workflow(heartbeat=True)
def release(version):
    artifact = build(version)
    if quality(artifact):
        return publish(artifact)
    return complain(artifact)


def names(flow):
    return [planned.name for planned in plan_of(flow)]


def test_the_plan_is_read_from_the_source():
    """All branches are planned; a nested workflow's stages carry its name."""
    assert names(release) == ["build", "quality/check", "publish", "complain"]


def test_the_order_is_that_in_which_calls_complete():
    @workflow
    def nested(version):
        return publish(build(version))

    assert names(nested) == ["build", "publish"]


def test_a_plan_that_is_given_is_exact():
    @workflow(stages=[build, publish])
    def brief(version):
        return build(version)

    assert names(brief) == ["build", "publish"]


def test_every_stage_of_a_plan_has_its_own_name():
    other = stage(name="build")(lambda: None)
    with pytest.raises(DeclarationError, match="two stages are named 'build'"):
        workflow(stages=[build, other])


def test_options_of_one_run_are_given_by_a_copy():
    blue = release.options(agent_id="blue", namespace="team", heartbeat=Heartbeat(interval=1, ttl=3))
    assert (blue.spec.agent_id, blue.spec.namespace) == ("blue", "team")
    assert release.spec.agent_id is None
