"""``python -m tests.benchmarks NAME [--json]``."""

from __future__ import annotations

import argparse
from importlib import import_module
from importlib.util import find_spec

BENCHMARKS = {
    "stages": "what a run adds to a call of a stage",
    "signals": "a signal between two processes, there and back, and one that is there already",
    "heartbeats": "the beats of many agents in one process",
    "agents": "ten thousand agents: their beats, a listing, memory",
    "losses": "from kill -9 to the report of the loss",
    "endings": "from the end of an agent to the end of the waits for it",
    "cycles": "the look for a cycle of waits among a thousand",
    "waiters": "ten thousand agents that wait: memory, and a burst to all",
    "timeline": "events where they happen, to those who follow, and a hundred thousand read again",
    "serving": "fifty WebSocket clients, and two thousand events a second to each",
    "startup": "imports, the command line, and a cold run",
}
"""Each is a module of this package with ``measure() -> Report``."""


def main() -> None:
    """Run one benchmark and print its report."""
    known = {name: what for name, what in BENCHMARKS.items() if find_spec(f"{__package__}.{name}")}
    listed = "\n".join(f"  {name:12}{what}" for name, what in known.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=f"benchmarks:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("benchmark", choices=known, metavar="NAME", help=", ".join(known))
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    chosen = parser.parse_args()
    report = import_module(f"{__package__}.{chosen.benchmark}").measure()
    print(report.as_json() if chosen.json else report.as_table())


if __name__ == "__main__":
    main()
