"""A server for a browser: the events of a story in a store, and ``attune-dsl serve`` beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from telling import entry

from attune_dsl.events import Emit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conftest import Store

    from attune_dsl.events import Event

PROJECT = Path(__file__).parents[2]
TOKEN = "a-token-of-24-characters"
PATIENCE = 20


class Served:
    """``attune-dsl serve`` as a process, on the namespace of a test."""

    def __init__(self, store: Store, port: int = 0, token: str = TOKEN) -> None:
        self.store = store
        self._port = port
        self._environment = os.environ | {"PYTHONPATH": str(PROJECT), "ATTUNE_TOKEN": token}

    def __enter__(self) -> Self:
        options = ["--port", str(self._port), "--store", self.store.address, "--namespace", self.store.namespace]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "attune_dsl", "serve", "--json", *options],
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        said = json.loads(self._process.stdout.readline())
        self.url: str = said["url"]
        self.login: str = said["login"]
        self.port = int(self.url.rstrip("/").rpartition(":")[2])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.communicate(timeout=PATIENCE)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)

    def tell(self, events: Sequence[Event]) -> None:
        """Write a story into the timeline."""
        pipeline = self.store.redis.pipeline(transaction=False)
        for event in events:
            of_whom = {name: getattr(event, name) or "" for name in ("agent", "run", "workflow", "stage")}
            told = entry(event.kind, event.data, at=event.at, **of_whom)  # type: ignore[arg-type]
            pipeline.xadd(f"{self.store.prefix}timeline", told)  # type: ignore[arg-type]
        pipeline.expire(f"{self.store.prefix}timeline", 3600)
        pipeline.execute()

    def notes(self, *texts: str, agent: str = "release") -> None:
        """Write notes that happen now."""
        pipeline = self.store.redis.pipeline(transaction=False)
        for text in texts:
            told = entry("emit", Emit(kind="note", data=text), agent=agent)
            pipeline.xadd(f"{self.store.prefix}timeline", told)  # type: ignore[arg-type]
        pipeline.expire(f"{self.store.prefix}timeline", 3600)
        pipeline.execute()
