"""The one place where this package asks what time it is.

Everything else calls :func:`monotonic` or :func:`wall` through this module, so a test moves time by replacing them
here. Leases and TTLs follow the *server's* clock instead (``TIME`` inside the scripts); what a process knows of it is
kept by its link. They are the functions of :mod:`time` themselves, because a stage asks twice and may cost 1 us in all.
"""

from __future__ import annotations

import time

monotonic = time.monotonic
"""Seconds on a clock that is never set back; only differences mean something."""

wall = time.time
"""Seconds since the Unix epoch by this machine's clock; shown to people, never compared between machines."""
