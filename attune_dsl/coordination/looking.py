"""What those have in common who only look at a namespace: one connection, made when it is first needed."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from attune_dsl.hub.drive import drive
from attune_dsl.hub.hub import Hub
from attune_dsl.hub.registry import connect_hub, release_hub


class Looking:
    """Both colours of a facade share this: opening, closing, and where they look. As neutral coroutines."""

    def __init__(self, store: str | None = None, namespace: str | None = None) -> None:
        """Nothing is contacted yet. ``store`` and ``namespace`` are found as everywhere else if they are not given."""
        self._store = store
        self._namespace = namespace
        self._hub: Hub | None = None

    async def _open(self) -> Hub:
        if self._hub is None:
            hub = await connect_hub(self._store, self._namespace)
            if self._hub is None:
                self._hub = hub
            else:  # another task was quicker
                await release_hub(hub)
        return self._hub

    async def _close(self) -> None:
        hub, self._hub = self._hub, None
        if hub is not None:
            await release_hub(hub)

    @property
    def store_label(self) -> str:
        """The store as people are shown it, without password; empty before the first call."""
        return "" if self._hub is None else self._hub.server.label

    @property
    def namespace(self) -> str:
        """The namespace that is looked at; empty before the first call."""
        return "" if self._hub is None else self._hub.namespace


class BlockingLooking(Looking):
    """Looking from blocking code."""

    def __enter__(self) -> Self:
        drive(self._open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect. The next call would connect again."""
        drive(self._close())


class AsyncLooking(Looking):
    """Looking from async code."""

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Disconnect. The next call would connect again."""
        await self._close()
