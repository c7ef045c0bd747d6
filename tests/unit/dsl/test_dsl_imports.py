"""Declaring is cheap: it imports nothing that the runner needs."""

import subprocess
import sys

DEAR = (
    "asyncio",
    "attrs",
    "inspect",
    "msgspec",
    "redis",
    "stamina",
    "structlog",
    "ast",
    "dis",
    "difflib",
    "dataclasses",
)


def loaded_by(code):
    """Return which of the dear modules a bare interpreter has loaded after ``code``."""
    check = f"{code}\nimport sys; print(*(name for name in {DEAR!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-S", "-c", check], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_importing_and_declaring_loads_nothing_dear():
    declare = (
        "import sys, types; package = types.ModuleType('attune_dsl'); package.__path__ = ['attune_dsl']\n"
        "sys.modules['attune_dsl'] = package\n"
        "from attune_dsl.dsl.stage import stage\nfrom attune_dsl.dsl.workflow import workflow\n"
        "@stage(retries=3)\ndef build(version: str, signals) -> str: return version\n"
        "@workflow(heartbeat=True, stages=[build])\ndef release(): return build('1')\n"
        "build.options(tier='cheap')"
    )
    assert loaded_by(declare) == []
