"""Imports, the command line, and a cold run, as whole processes against bare Python.

Bytecode is cached, as after any installation; the first run of each is not counted. ``bare Python`` is the floor: what
starting the interpreter costs anybody.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.measure import Report

ROUNDS = 15
FLOW = """
from attune_dsl import stage, workflow

@stage
def greet(name: str) -> str:
    return f"hello {name}"

@workflow(heartbeat=True, coordination=True)
def hello(name: str) -> str:
    return greet(name)
"""
COMMANDS = {
    "bare Python": ["-c", "pass"],
    "import attune_dsl": ["-c", "import attune_dsl"],
    "import stage, workflow, Signals": ["-c", "from attune_dsl import Signals, stage, workflow"],
    "--help": ["-m", "attune_dsl", "--help"],
    "cold run, server start included": ["-m", "attune_dsl", "run", "flow.py:hello", "name=world", "--quiet"],
}


def run(arguments: list[str], folder: Path) -> float:
    """Run Python in ``folder`` with an embedded store of its own; return the seconds it took."""
    root = str(Path(__file__).parents[2])
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"ATTUNE_HOME": str(folder / "home"), "PYTHONPATH": root}
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=True, capture_output=True)
    return time.perf_counter() - started


def measure() -> Report:
    """Measure whole processes in turn."""
    report = Report("starting up, as whole processes", unit="ms")
    samples: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory(prefix="attune-bench-") as name:
        folder = Path(name)
        (folder / "flow.py").write_text(FLOW)
        for counted in range(ROUNDS + 1):
            for command, arguments in COMMANDS.items():
                seconds = run(arguments, folder)
                if counted:
                    samples[command].append(seconds)
    report.add("bare Python", samples["bare Python"])
    for command, target in (
        ("import attune_dsl", 0.040),
        ("import stage, workflow, Signals", None),
        ("--help", 0.080),
    ):
        report.add(command, samples[command], floor="bare Python", target=target, over=True)
    cold = "cold run, server start included"
    report.add(cold, samples[cold], floor="bare Python", target=0.350)
    return report
