"""A stage is a plain function that is marked with @stage.

Marking it changes nothing about how it is called or tested. Inside a run of a workflow each call is tracked,
retried and timed, as its options say.
"""

import pytest

from attune_dsl import stage
from attune_dsl.exceptions import DeclarationError


@stage
def build(version: str) -> str:
    """Build the wheel."""
    return f"app-{version}.whl"


@stage(tier="capable", retries=3, backoff=0.5, retry_on=(OSError, TimeoutError), timeout=30)
async def review(text: str) -> int:
    return len(text)


async def test_a_stage_is_called_and_tested_like_the_function():
    assert build("1.2") == "app-1.2.whl"
    assert build(version="1.2") == "app-1.2.whl"
    assert await review("hello") == 5


def test_it_still_looks_like_the_function():
    assert build.__doc__ == "Build the wheel."
    assert build.name == "build"
    assert build.fn("1.2") == "app-1.2.whl"


def test_options_for_one_call_are_given_by_a_copy():
    careful = build.options(retries=5, tier="premium")
    assert careful("1.2") == "app-1.2.whl"
    assert (careful.spec.retries, build.spec.retries) == (5, 0)


def test_a_lambda_needs_a_name():
    shout = stage(name="shout")(lambda text: text.upper())
    assert shout("hi") == "HI"
    with pytest.raises(DeclarationError, match=r"write stage\(name='...'\)"):
        stage(lambda text: text.upper())


def test_a_stage_can_be_a_method():
    class Shop:
        def __init__(self, price):
            self.price = price

        @stage
        def total(self, pieces):
            return self.price * pieces

    assert Shop(3).total(4) == 12


def test_a_mistake_says_what_to_write_instead():
    with pytest.raises(DeclarationError, match="no option 'retires': did you mean 'retries'"):
        stage(retires=3)

    with pytest.raises(DeclarationError, match="make it 'async def', or set the timeout on the client"):

        @stage(timeout=5)
        def download(url): ...

    with pytest.raises(DeclarationError, match=r"consume inside the stage and pass on .* ctx.emit\(chunk\)"):

        @stage
        def chunks():
            yield 1
