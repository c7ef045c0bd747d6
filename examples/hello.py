"""The smallest workflow: two stages, called like the functions that they are.

python -m attune_dsl run examples/hello.py name=world
"""

from attune_dsl import stage, workflow


@stage
def greet(name: str) -> str:
    return f"Hello, {name}!"


@stage
def underline(text: str) -> str:
    return f"{text}\n{'=' * len(text)}"


@workflow(heartbeat=True)
def hello(name: str = "world") -> str:
    """Greet somebody in style."""
    return underline(greet(name))


if __name__ == "__main__":
    print(hello())
