"""Asking for asyncio's running loop without importing asyncio, which costs more than a whole sync run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop


def running_loop() -> AbstractEventLoop | None:
    """Return the event loop that runs on this thread, if there is one."""
    # Another thread may be importing asyncio at this moment: no loop runs here before it is complete.
    running = getattr(sys.modules.get("asyncio.events"), "_get_running_loop", None)
    return None if running is None else running()
