"""The example that waits for approval: approved, refused, and left alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from documents import PATIENCE, PROJECT, environment

from attune_dsl import Monitor, join

APPROVAL = PROJECT / "examples" / "approval.sh"


def deploy(folder: Path, patience: str = "20") -> subprocess.Popen[str]:
    """Start it as an agent."""
    command = [sys.executable, "-m", "attune_dsl", "exec", "--agent-id", "deploy", "--", "sh", str(APPROVAL), "1.2"]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment() | {"PATIENCE": patience},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("answer", "said", "code"), [("approved", "deploying 1.2", 0), ("refused", 'refused: {"id":"', 1)]
)
def test_it_does_what_it_is_told(tmp_path: Path, answer: str, said: str, code: int) -> None:
    with join("ann") as ann, deploy(tmp_path) as running:
        wanted = ann.signals.wait("approval_wanted", timeout=PATIENCE)
        assert wanted
        assert (wanted.source, wanted.payload) == ("deploy", {"version": "1.2"})
        ann.signals.send(answer, "deploy")
        out, err = running.communicate(timeout=PATIENCE)

    first, second = out.splitlines()
    assert (running.returncode, err, first) == (code, "", "waiting for approval of 1.2")
    assert second.startswith(said)


def test_it_gives_up(tmp_path: Path, wait_until: Callable[..., Any]) -> None:
    with deploy(tmp_path, patience="0.1") as running, Monitor() as monitor:
        out, err = running.communicate(timeout=PATIENCE)
        record = wait_until(lambda: monitor.agent("deploy"))

    assert (running.returncode, err) == (1, "timeout: no signal 'approved' or 'refused' within 0.1 s\n")
    assert out.splitlines()[-1] == "nobody has answered"
    assert (record.state, record.note) == ("failed", "waits for approval of 1.2")
