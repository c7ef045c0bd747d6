"""What tests of workflows need. The pytest fixture ``attune_store`` comes by itself with the installed package.

:class:`FakeSignals` stands in for an agent's signals when a stage is called as the plain function that it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attune_dsl.testing.outbox import Sent
    from attune_dsl.testing.signals import FakeAsyncSignals, FakeSignals, fake_signal
    from attune_dsl.testing.store import IsolatedStore

__all__ = ["FakeAsyncSignals", "FakeSignals", "IsolatedStore", "Sent", "fake_signal"]

_HOMES = {
    "FakeAsyncSignals": "signals",
    "FakeSignals": "signals",
    "IsolatedStore": "store",
    "Sent": "outbox",
    "fake_signal": "signals",
}


def __getattr__(name: str) -> Any:
    """Load a name when it is first used: pytest imports this package, for its plugin, at every start."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
