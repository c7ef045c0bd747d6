"""Whether a process of the same machine has ended: then its agent id is free before its lease has lapsed."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


@cache
def machine() -> str:
    """Return what two processes have in common only if they see the same pids; empty where that cannot be known.

    It is the kernel's boot, and the namespace in which pids are counted: containers may share a host name.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}.{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def has_ended(where: str, pid: str) -> bool:
    """Whether it is certain that the process ``pid`` of the machine ``where`` has ended, though maybe unnoticed."""
    if not where or where != machine() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return True
    except (OSError, IndexError, ValueError, OverflowError):  # the pid is what somebody wrote into the store
        return False
    return state in {"Z", "X"}
