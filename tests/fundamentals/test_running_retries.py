"""retries=3 means up to four attempts; between them are pauses that grow, with jitter.

The pauses are stamina's, and so is the switch that tests turn them off with.
"""

import pytest
import stamina

from attune_dsl import Context, run, stage, workflow


@pytest.fixture(autouse=True)
def no_pauses():
    with stamina.set_testing(True, attempts=10, cap=True):
        yield


def test_a_failed_attempt_is_repeated():
    answers = iter([OSError("busy"), OSError("busy"), "answer"])

    @stage(retries=3)
    def ask():
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    @workflow
    def flow():
        return ask()

    result = run(flow)
    assert result.value == "answer"
    assert [record.attempts for record in result.stages] == [3]


def test_only_errors_that_are_worth_it_are_retried():
    @stage(retries=3, retry_on=OSError)
    def ask():
        raise KeyError("wrong question")

    @workflow
    def flow():
        return ask()

    assert [record.attempts for record in run(flow).stages] == [1]


def test_a_stage_can_know_which_attempt_it_is():
    @stage(retries=2)
    def ask(ctx: Context):
        if ctx.attempt < 3:
            raise OSError
        return f"attempt {ctx.attempt}"

    @workflow
    def flow():
        return ask()

    assert flow() == "attempt 3"


def test_one_call_may_be_given_other_options():
    @stage
    def ask():
        raise OSError

    @workflow
    def flow():
        ask.options(retries=4)()

    assert [record.attempts for record in run(flow).stages] == [5]
