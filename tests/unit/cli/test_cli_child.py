"""A command as a child process. Each runs in a process of its own, because signals are held back for good."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from textwrap import dedent

import pytest

from attune_dsl.cli import held_signals

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_spawnp"), reason="exec is for Linux and macOS")


def python(source: str, *, alone: bool = False) -> str:
    """Run a script, ``alone`` without a terminal, and return what it printed."""
    head = "import os, signal, sys, threading\nfrom attune_dsl.cli import child, held_signals\n"
    command = [sys.executable, "-c", head + dedent(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, start_new_session=alone)
    assert done.stderr == ""
    return done.stdout


def test_one_that_does_not_end_when_asked_is_killed() -> None:
    out = python("""
        held = held_signals.HeldSignals()
        read_end, write_end = os.pipe()
        os.dup2(write_end, 9, inheritable=True)
        script = "trap '' TERM; echo ready >&9; while :; do sleep 0.05; done"
        command = child.Child(["sh", "-c", script], os.environ, held)
        os.read(read_end, 6)
        command.end(0.1)
        print(tuple(command.wait()))
    """)

    assert out == f"({128 + signal.SIGKILL}, {int(signal.SIGKILL)}, None)\n"


def test_one_that_is_stopped_can_be_ended_too() -> None:
    out = python("""
        held = held_signals.HeldSignals()
        command = child.Child(["sleep", "20"], os.environ, held)
        os.kill(command.pid, signal.SIGSTOP)
        command.end(20)
        print(command.wait())
    """)

    assert out == "killed by SIGTERM\n"


def test_orders_come_from_any_thread_while_it_waits() -> None:
    out = python("""
        held = held_signals.HeldSignals()
        command = child.Child(["sleep", "20"], os.environ, held)
        threading.Thread(target=command.end, args=[20]).start()
        print(command.wait())
    """)

    assert out == "killed by SIGTERM\n"


def test_an_order_that_comes_too_late_does_nothing() -> None:
    out = python("""
        held = held_signals.HeldSignals()
        command = child.Child(["true"], os.environ, held)
        print(command.wait())
        command.end(0.01)
    """)

    assert out == "exit code 0\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_before_it_starts_signals_are_obeyed_for_a_while(number: int) -> None:
    out = python(f"""
        held = held_signals.HeldSignals()
        before = signal.getsignal({number})
        try:
            with held.obeyed():
                os.kill(os.getpid(), {number})
                print("went on")
        except held_signals.Interrupted as error:
            print(error, error.number, signal.getsignal({number}) == before)
        os.kill(os.getpid(), {number})
        print("held back")
    """)

    assert out == f"{signal.Signals(number).name} {int(number)} True\nheld back\n"


def test_without_sigwaitinfo_a_key_of_the_terminal_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS does not say who sent a signal: where we have the terminal, it was most likely that."""
    for has_terminal in (True, False):
        monkeypatch.setattr(held_signals, "_has_terminal", lambda has=has_terminal: has)
        assert held_signals._guess(signal.SIGINT).from_terminal is has_terminal
        assert held_signals._guess(signal.SIGTERM).from_terminal is False


def test_without_sigwaitinfo_signals_are_passed_on_all_the_same() -> None:
    out = python(
        """
        del signal.sigwaitinfo
        held = held_signals.HeldSignals()
        command = child.Child(["sleep", "20"], os.environ, held)
        os.kill(os.getpid(), signal.SIGINT)
        print(tuple(command.wait()))
    """,
        alone=True,
    )

    assert out == f"({128 + signal.SIGINT}, {int(signal.SIGINT)}, {int(signal.SIGINT)})\n"


def test_a_process_without_a_terminal_does_not_have_it() -> None:
    assert python("print(held_signals._has_terminal())", alone=True) == "False\n"


def test_signals_have_names() -> None:
    assert held_signals.name_of(signal.SIGTERM) == "SIGTERM"
    assert held_signals.name_of(signal.SIGRTMIN + 1) == f"signal {signal.SIGRTMIN + 1}"


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_a_name_that_cannot_be_one_is_told(name: str) -> None:
    out = python(f"""
        try:
            child.Child([{name!r}], os.environ, held_signals.HeldSignals())
        except child.CannotStart as error:
            print(error.exit_code, error)
    """)

    assert out.startswith(f"126 the command {name!r} cannot be run: ")
