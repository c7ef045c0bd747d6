"""Coroutines that a run handed out and whose end it expects to see."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Coroutine
from itertools import count
from typing import Any


class Pending:
    """The async calls of a run that were made and have not ended.

    Only names are kept: a coroutine that is dropped is still reported by Python itself, at the line that dropped it.
    """

    __slots__ = ("_names", "_next", "remove")

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._next = count(1).__next__
        self.remove: Callable[[int], object] = self._names.__delitem__
        """The call behind a token ended."""

    def add(self, name: str) -> int:
        """A call was made whose end is expected; the token stands for it."""
        token = self._next()
        self._names[token] = name
        return token

    def expect(self, name: str, make: Callable[..., Awaitable[Any]], *args: Any) -> Coroutine[Any, Any, Any]:
        """Return ``make(*args)`` as a coroutine named ``name`` whose end is noted."""
        calling = self._noted(self.add(name), make, args)
        calling.__qualname__ = name  # type: ignore[attr-defined]  # coroutine objects have one
        return calling

    async def _noted(self, token: int, make: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> Any:
        try:
            return await make(*args)
        finally:
            self.remove(token)

    def warn(self, workflow: str) -> None:
        """Warn about what the workflow left behind when it returned."""
        if self._names:
            names = ", ".join(f"{name!r}" for name in dict.fromkeys(self._names.values()))
            first = next(iter(self._names.values()))
            warnings.warn(
                f"workflow {workflow!r} returned before its calls of {names} had ended: "
                f"await each call, as in 'await {first.rpartition('/')[2]}(...)'",
                RuntimeWarning,
                stacklevel=2,
            )
