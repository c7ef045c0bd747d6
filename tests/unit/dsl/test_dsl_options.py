"""Options of @stage and @workflow: what they take, and what a mistake in them says."""

from functools import partial

import pytest

from attune_dsl.dsl.stage import stage
from attune_dsl.dsl.workflow import workflow
from attune_dsl.exceptions import DeclarationError
from attune_dsl.model import Coordination, Heartbeat, Tier


@stage
def build(version: str) -> str:
    return f"app-{version}"


@stage
async def fetch(url: str) -> str:
    return url


@workflow
def release(version: str) -> str:
    return build(version)


@workflow
async def deploy() -> None:
    return None


def message(declare):
    """Return what the DeclarationError says that ``declare()`` raises."""
    with pytest.raises(DeclarationError) as raised:
        declare()
    return str(raised.value)


def test_a_bare_stage_has_the_documented_defaults():
    assert build.spec._asdict() == {
        "name": "build",
        "tier": None,
        "retries": 0,
        "backoff": 0.1,
        "retry_on": (Exception,),
        "timeout": None,
        "limit": None,
        "on_error": "raise",
        "stall_after": None,
    }


def test_a_bare_workflow_has_the_documented_defaults():
    assert release.spec._asdict() == {
        "name": "release",
        "heartbeat": False,
        "coordination": False,
        "stages": None,
        "agent_id": None,
        "timeout": None,
        "store": None,
        "namespace": None,
        "takeover": False,
        "display_name": None,
        "metadata": None,
    }


def test_empty_parentheses_are_like_none():
    assert stage()(build.fn).spec == build.spec
    assert workflow()(release.fn).spec == release.spec


def test_stage_options_are_kept_in_their_normal_form():
    options = {
        "name": "call",
        "tier": Tier.CHEAP,
        "retries": 3,
        "backoff": 1,
        "retry_on": OSError,
        "timeout": 5,
        "stall_after": 60,
    }
    spec = stage(**options)(fetch.fn).spec
    assert spec == ("call", "cheap", 3, 1.0, (OSError,), 5.0, None, "raise", 60.0)
    assert type(spec.tier) is str


def test_workflow_options_are_kept():
    beat, part = Heartbeat(interval=1), Coordination(required=True)
    options = {"agent_id": "blue", "timeout": 9, "display_name": "Blue deploy", "metadata": {"team": "data"}}
    flow = workflow(heartbeat=beat, coordination=part, stages=[fetch], **options)(deploy.fn)
    shown = ("Blue deploy", {"team": "data"})
    assert flow.spec == ("deploy", beat, part, (fetch,), "blue", 9.0, None, None, False, *shown)


def test_options_returns_a_configured_copy_and_leaves_the_original():
    copy = build.options(tier="premium", retries=2, limit=4, on_error="collect")
    assert (copy.spec.tier, copy.spec.retries, copy.spec.limit, copy.spec.on_error) == (
        "premium",
        2,
        4,
        "collect",
    )
    assert build.spec == ("build", None, 0, 0.1, (Exception,), None, None, "raise", None)
    assert copy("1") == "app-1"


def test_options_of_a_copy_start_from_the_copy():
    assert build.options(retries=2).options(tier="cheap").spec[:3] == ("build", "cheap", 2)


def test_workflow_options_for_one_run():
    copy = release.options(agent_id="blue", store="memory://", namespace="team", takeover=True, heartbeat=True)
    assert copy.spec == ("release", True, False, None, "blue", None, "memory://", "team", True, None, None)


def test_a_run_s_options_replace_what_was_declared():
    declared = workflow(display_name="Release", metadata={"team": "data", "by": "cron"})(release.fn)
    own = declared.options(display_name=None, metadata={"by": "hand"})
    assert (own.spec.display_name, own.spec.metadata) == (None, {"by": "hand"})
    assert (declared.spec.display_name, declared.spec.metadata) == ("Release", {"team": "data", "by": "cron"})
    assert declared.options(metadata=None).spec.metadata is None


def test_a_stage_s_stall_after_can_be_changed_and_taken_off():
    slow = stage(stall_after=60)(build.fn)
    assert slow.options(stall_after=0.5).spec.stall_after == 0.5
    assert slow.options(stall_after=None).spec.stall_after is None


def test_metadata_is_a_copy_that_nobody_changes():
    inner, items = {"name": "data"}, [1, 2]
    written = {"team": inner, "items": items, "pair": (1, {"x": 1})}
    flow = workflow(metadata=written)(release.fn)
    written["more"], inner["name"] = True, "other"
    items.append(3)
    assert flow.spec.metadata == {"team": {"name": "data"}, "items": [1, 2], "pair": [1, {"x": 1}]}
    with pytest.raises(TypeError):
        flow.spec.metadata["more"] = True


def test_what_is_no_json_in_metadata_is_kept_until_a_run_joins():
    value = object()
    assert workflow(metadata={"value": value})(release.fn).spec.metadata["value"] is value


def test_metadata_that_contains_itself_is_refused():
    loop = {}
    loop["itself"] = loop
    assert "it is nested too deeply, or contains itself" in message(lambda: workflow(metadata=loop))


def test_a_copy_can_have_another_name():
    assert (build.options(name="again").name, build.name) == ("again", "build")


def test_the_order_of_retry_on_is_kept():
    assert stage(retry_on=[OSError, ValueError])(build.fn).spec.retry_on == (OSError, ValueError)


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        (
            lambda: stage(retires=3),
            "@stage has no option 'retires': did you mean 'retries'? It takes name, tier",
        ),
        (lambda: stage(zzz=3), "@stage has no option 'zzz': it takes name, tier, retries"),
        (lambda: stage(limit=3), "@stage has no option 'limit'"),
        (lambda: build.options(teir="cheap"), "build.options has no option 'teir': did you mean 'tier'?"),
        (
            lambda: workflow(heartbeats=True),
            "@workflow has no option 'heartbeats': did you mean 'heartbeat'?",
        ),
        (lambda: workflow(takeover=True), "@workflow has no option 'takeover'"),
        (
            lambda: release.options(agentid="x"),
            "release.options has no option 'agentid': did you mean 'agent_id'?",
        ),
    ],
)
def test_an_unknown_option_is_named_with_its_near_miss(declare, said):
    assert said in message(declare)


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        (lambda: stage(retries=-1), "@stage(retries=-1): write how often a failed attempt is repeated"),
        (lambda: stage(retries=True), "@stage(retries=True): write how often"),
        (lambda: stage(retries=1.5), "as a whole number of 0 or more"),
        (lambda: stage(backoff=-0.1), "@stage(backoff=-0.1): write seconds, as a number of 0 or more"),
        (lambda: stage(backoff=float("nan")), "write seconds"),
        (lambda: stage(timeout=0), "@stage(timeout=0): write seconds, as a number above 0, or None"),
        (lambda: stage(timeout="5"), "@stage(timeout='5'): write seconds"),
        (lambda: stage(timeout=float("inf")), "or None for no limit"),
        (
            lambda: stage(tier="expensive"),
            "@stage(tier='expensive'): a tier is 'cheap', 'capable' or 'premium'",
        ),
        (
            lambda: stage(tier="auto"),
            "choosing the tier automatically is not available yet; write 'cheap', 'capable' or 'premium'",
        ),
        (lambda: stage(tier=1), "a tier is 'cheap', 'capable' or 'premium'"),
        (lambda: stage(retry_on=()), "to repeat nothing write retries=0"),
        (
            lambda: stage(retry_on="OSError"),
            "write a class of exceptions or a tuple of them, as in retry_on=(TimeoutError, OSError)",
        ),
        (lambda: stage(retry_on=OSError()), "write a class of exceptions"),
        (lambda: stage(retry_on=(OSError, KeyboardInterrupt)), "write a class of exceptions"),
        (lambda: build.options(retries=-1), "build.options(retries=-1): write how often"),
        (
            lambda: build.options(limit=0),
            "build.options(limit=0): write how many items may run at the same time",
        ),
        (lambda: build.options(on_error="ignore"), "write 'raise' (a MapError after all items) or 'collect'"),
        (
            lambda: workflow(heartbeat=5),
            "write True, False or a policy such as Heartbeat(interval=5, ttl=15)",
        ),
        (lambda: workflow(heartbeat=Coordination()), "a policy such as Heartbeat("),
        (lambda: workflow(heartbeat=Heartbeat), "a policy such as Heartbeat("),
        (lambda: workflow(coordination="yes"), "write True, False or a policy such as Coordination(ttl=60)"),
        (lambda: workflow(timeout=-1), "@workflow(timeout=-1): write seconds"),
        (lambda: workflow(agent_id=5), "@workflow(agent_id=5): write a name as a string"),
        (lambda: stage(stall_after=0), "@stage(stall_after=0): write seconds, as a number above 0, or None for what"),
        (lambda: stage(stall_after=True), "or None for what the workflow's heartbeat says"),
        (lambda: stage(stall_after=float("inf")), "write seconds, as a number above 0"),
        (lambda: build.options(stall_after="1"), "build.options(stall_after='1'): write seconds"),
        (lambda: workflow(stall_after=1), "@workflow has no option 'stall_after'"),
        (lambda: workflow(display_name=""), "@workflow(display_name=''): a name has 1 to 128 characters"),
        (lambda: workflow(display_name="a\nb"), "a name has no control characters"),
        (lambda: release.options(display_name=5), "release.options(display_name=5): write a name as a string"),
        (lambda: workflow(metadata="team"), "write a mapping, as in metadata={'team': 'data'}"),
        (lambda: workflow(metadata=[("a", 1)]), "write a mapping"),
        (lambda: workflow(metadata={1: "one"}), "@workflow(metadata={1: 'one'}): its keys are strings, and 1 is none"),
        (lambda: workflow(stages="build"), "write a list of stages, as in stages=[build, announce]"),
        (lambda: workflow(stages=[len]), "is not a stage: list functions marked @stage"),
        (lambda: workflow(stages=["build"]), "'build' is not a stage"),
        (lambda: release.options(store=""), "release.options(store=''): write a string that is not empty"),
        (lambda: release.options(namespace=3), "release.options(namespace=3): write a string"),
        (lambda: release.options(takeover=1), "release.options(takeover=1): write True or False"),
    ],
)
def test_a_wrong_value_is_shown_with_what_to_write(declare, said):
    assert said in message(declare)


@pytest.mark.parametrize("mark", [stage, workflow])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "a name has 1 to 128 characters, this one has 0"),
        ("x" * 129, "a name has 1 to 128 characters, this one has 129"),
        ("a\nb", "a name has no control characters"),
        ("a\x7fb", "a name has no control characters"),
        ("a/b", "'/' and '#' are reserved for the names of nested workflows"),
        ("a#2", "'/' and '#' are reserved for the names of nested workflows"),
        (7, "write a name as a string"),
        (None, "write a name as a string"),
    ],
)
def test_a_name_that_cannot_be_used(mark, name, said):
    assert said in message(lambda: mark(name=name))


def test_names_of_128_characters_and_of_any_script_are_fine():
    assert stage(name="x" * 128)(build.fn).name == "x" * 128
    assert stage(name="prüfen 検査")(build.fn).name == "prüfen 検査"


@pytest.mark.parametrize(
    "declare",
    [
        lambda: stage(timeout=5)(build.fn),
        lambda: build.options(timeout=5),
        lambda: workflow(timeout=5)(release.fn),
        lambda: release.options(timeout=5),
    ],
)
def test_a_timeout_on_a_sync_function_says_what_to_do_instead(declare):
    said = message(declare)
    assert "is a plain 'def' and cannot have a timeout, because a running thread cannot be stopped" in said
    assert "make it 'async def', or set the timeout on the client that it calls" in said


def test_a_timeout_can_be_taken_off():
    limited = stage(timeout=5)(fetch.fn)
    assert limited.options(timeout=None).spec.timeout is None
    assert build.options(timeout=None).spec.timeout is None


@pytest.mark.parametrize("mark", [stage, workflow])
def test_generators_are_refused_with_the_pattern_to_use(mark):
    def chunks():
        yield 1

    async def achunks():
        yield 1

    for fn in (chunks, achunks, partial(chunks)):
        said = message(lambda fn=fn: mark(name="chunks")(fn))
        assert f"'chunks' is a generator and cannot be a {mark.__name__}" in said
        assert "consume inside the stage and pass on what comes with ctx.emit(chunk)" in said


@pytest.mark.parametrize("mark", [stage, workflow])
def test_lambdas_partials_and_objects_need_a_name(mark):
    class Doubler:
        def __call__(self, x):
            return 2 * x

    assert f"a lambda has no name of its own: write {mark.__name__}(name='...')" in message(lambda: mark(lambda x: x))
    assert "a partial has no name of its own" in message(lambda: mark(partial(max, 1)))
    assert "has no name of its own" in message(lambda: mark(Doubler()))
    assert mark(name="double")(Doubler()).name == "double"


def test_named_lambdas_partials_and_objects_work():
    assert stage(name="twice")(lambda x: 2 * x)(3) == 6
    assert stage(name="at-least-one")(partial(max, 1))(0) == 1
    assert stage(len)("abc") == 3


def test_what_is_marked_already_is_refused():
    assert message(lambda: stage(build)) == (
        "'build' is a stage already: mark it once, and change options with .options(...)"
    )
    assert "'release' is a workflow already and cannot be a stage too" in message(lambda: stage(release))
    assert "'build' is a stage already and cannot be a workflow too" in message(lambda: workflow(build))
    assert "'release' is a workflow already: mark it once" in message(lambda: workflow(release))


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        (classmethod(build.fn), "write @classmethod above @stage, not below"),
        (staticmethod(build.fn), "write @staticmethod above @stage, not below"),
        (dict, "@stage marks functions, and dict is a class"),
        (
            "build",
            "@stage marks functions, and 'build' is none; give options by name, as in @stage(name='build')",
        ),
    ],
)
def test_what_cannot_be_marked_is_refused(thing, said):
    assert said in message(lambda: stage(thing))


def test_two_stages_of_one_name_in_an_exact_plan_are_refused():
    other = stage(name="build")(lambda: None)
    assert "two stages are named 'build'; rename one with @stage(name='...')" in message(
        lambda: workflow(stages=[build, other])
    )
    assert "the stage 'build' is listed twice" in message(lambda: workflow(stages=[build, build]))
    assert "the stage 'build' is listed twice" in message(lambda: workflow(stages=[build, build.options(retries=1)]))


def test_a_stage_and_a_nested_workflow_may_share_a_name():
    child = workflow(name="build")(release.fn)
    assert workflow(stages=[build, child])(release.fn).spec.stages == (build, child)
