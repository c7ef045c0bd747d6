"""A server of the benchmark's own: the embedded one, in a temporary folder, as a user's processes would share it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attune_dsl.store.embedded import EmbeddedServer


@contextmanager
def scratch_store() -> Iterator[str]:
    """Yield the URL of a fresh embedded server; processes that are started inside the block use it by default."""
    with tempfile.TemporaryDirectory(prefix="attune-bench-") as folder:
        server = EmbeddedServer(Path(folder))
        server.start()
        before = os.environ.get("ATTUNE_HOME")
        os.environ["ATTUNE_HOME"] = folder
        try:
            yield server.url
        finally:
            server.close()
            del os.environ["ATTUNE_HOME"]
            if before is not None:
                os.environ["ATTUNE_HOME"] = before
