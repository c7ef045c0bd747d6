"""§5.8 with real processes: they meet at a barrier again and again, also when one of them is killed."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from cli_support import Running
from liveness_support import TTL, Processes, processes  # noqa: F401 (a fixture)
from meeting import standing
from waiting import wait_until

if TYPE_CHECKING:
    from conftest import Store

pytestmark = [pytest.mark.parametrize("store", ["embedded"], indirect=True), pytest.mark.timeout(90)]

NAMES = ("ann", "ben", "cho", "dan")
ROUNDS = 20
INTERVAL = 0.2

MEETER = """
    import json, sys, time
    from pathlib import Path
    from attune_dsl import Heartbeat, Signals, run, workflow

    store, namespace, name, count, rounds, pause = *sys.argv[1:4], *map(int, sys.argv[4:])

    @workflow(heartbeat=Heartbeat(interval=0.2, ttl=1.0), coordination=True)
    def meeter(signals: Signals):
        met = 0
        while met < rounds:
            if met == pause:
                print("pausing", flush=True)
                while not Path("go").exists():
                    time.sleep(0.01)
            how = signals.barrier("gate", count, timeout=60)
            entry = {"at": time.time(), "detail": getattr(how, "detail", "")}
            if how:
                met += 1
                entry |= {"generation": how.generation, "agents": how.agents}
            else:
                entry |= {"reason": how.reason, "by": how.by}
            print(json.dumps(entry), flush=True)
        return met

    result = run(meeter.options(agent_id=name, store=store, namespace=namespace))
    sys.exit(0 if result.unwrap() == rounds else 1)
"""


def start(processes: Processes, name: str, rounds: int = ROUNDS, pause: int = -1) -> Running:  # noqa: F811
    """Start a process that meets the others ``rounds`` times; before round ``pause`` it waits to be allowed."""
    return processes.program(MEETER, name, str(len(NAMES)), str(rounds), str(pause))


def journal(*running: Running) -> list[dict[str, Any]]:
    """What a process, and those that were started in its place, wrote down."""
    lines: list[str] = []
    for process in running:
        out = process.end().out
        lines += [*process.heard, *out.splitlines()]
    return [json.loads(line) for line in lines if line.startswith("{")]


def test_processes_meet_though_one_of_them_is_killed(store: Store, processes: Processes) -> None:  # noqa: F811
    """§5.8: the others learn by whom it broke within ttl + interval; started again, it meets them; all agree."""
    half = ROUNDS // 2
    running = {name: start(processes, name, pause=half if name == "dan" else -1) for name in NAMES}
    running["dan"].says("pausing")
    wait_until(lambda: standing(store) == {"ann", "ben", "cho"})

    running["cho"].interrupt(signal.SIGKILL)
    killed_at = time.time()
    first = running["ann"].says('"peer_gone"')
    again = start(processes, "cho", rounds=ROUNDS - half)
    processes.allow()
    journals = {name: journal(process, *([again] if name == "cho" else [])) for name, process in running.items()}

    assert json.loads(first)["at"] - killed_at <= TTL + INTERVAL + 1.5
    for name, entries in journals.items():
        breaks = [entry for entry in entries if "by" in entry]
        assert [(entry["reason"], entry["by"]) for entry in breaks] == ([] if name == "cho" else [("peer_gone", "cho")])
        assert all(entry["detail"] == "agent 'cho' was lost" for entry in breaks)
        if name != "dan":
            assert all(entry["at"] - killed_at <= TTL + INTERVAL + 1.5 for entry in breaks)
        generations = [entry["generation"] for entry in entries if "agents" in entry]
        assert generations == [*range(1, half + 1), *range(half + 2, ROUNDS + 2)]
    for n in range(ROUNDS):
        released = [[entry for entry in entries if "agents" in entry][n]["agents"] for entries in journals.values()]
        assert sorted(released[0]) == list(NAMES)
        assert all(one == released[0] for one in released)
    assert standing(store) == set()
    assert [process.end().code for name, process in running.items() if name != "cho"] == [0, 0, 0]


def test_a_process_that_is_interrupted_at_a_barrier_breaks_it(store: Store, processes: Processes) -> None:  # noqa: F811
    """§5.8: at once, because it says so itself."""
    others = [start(processes, name, rounds=1) for name in ("ann", "ben")]
    leaver = start(processes, "cho", rounds=1)
    wait_until(lambda: standing(store) == {"ann", "ben", "cho"})

    leaver.interrupt(signal.SIGINT)

    for other in others:
        how = json.loads(other.says('"by": "cho"'))
        detail = "agent 'cho' does not wait any more: its wait was ended by KeyboardInterrupt"
        assert (how["reason"], how["detail"]) == ("unavailable", detail)
    assert leaver.end().code != 0
