"""What several tests of the hub get."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pumping import Rig, WaitUntil


@pytest.fixture
def rig(tmp_path: Path, wait_until: WaitUntil) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    rig.until = wait_until
    yield rig
    rig.pump.detach()
    for ticket in rig.tickets:
        ticket.finish("the test is over")
    rig.join()
    for wire in rig.wires:
        wire.close()
