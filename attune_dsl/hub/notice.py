"""Something that happens to an agent at most once, and those who want to know."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Notice(Generic[T]):
    """``value`` is what has happened, ``None`` until then."""

    __slots__ = ("_lock", "_tell", "value")

    def __init__(self) -> None:
        self.value: T | None = None
        self._tell: list[Callable[[T], object]] = []
        self._lock = threading.Lock()

    def on(self, tell: Callable[[T], object]) -> None:
        """Have ``tell(value)`` called once when it happens, on that thread; now, if it has happened."""
        with self._lock:
            value = self.value
            if value is None:
                self._tell.append(tell)
                return
        tell(value)

    def happen(self, value: T) -> bool:
        """It has happened: tell everybody, in the order in which they asked. Return whether it was news."""
        with self._lock:
            if self.value is not None:
                return False
            self.value = value
            tell, self._tell = self._tell, []
        for one in tell:
            one(value)
        return True
