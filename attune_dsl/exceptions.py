"""Everything this package raises on purpose. One root, documented leaves; messages say what to do.

What the user's own code raises is never wrapped. Errors of the store are translated at its border, so no caller has to
know redis-py's exceptions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class AttuneError(Exception):
    """Root of every error that attune_dsl raises on purpose."""


class DeclarationError(AttuneError, TypeError):
    """A decorator or an option was used in a way that cannot work; the message shows what to write instead."""


class UsageError(AttuneError, RuntimeError):
    """A call was made in a place or a way in which it cannot work; the message says what to call instead."""


class BlockingCallInLoop(UsageError):
    """A blocking call was made on a thread whose event loop is running; it would freeze every other task."""


class NotAJsonValue(AttuneError, TypeError):
    """A value has to be JSON and is not. ``path`` names the place inside the value, such as ``$.items[3]``."""

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message)
        self.path = path


class PayloadInvalid(AttuneError, ValueError):
    """A payload is not what its :class:`SignalType` declares. ``path`` names the place inside it: ``$.votes.ann``."""

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message)
        self.path = path


class InvalidName(AttuneError, ValueError):
    """A name is not 1-128 characters without control characters, or a namespace contains a brace."""


class PayloadTooLarge(AttuneError, ValueError):
    """A payload is larger than 256 KiB once encoded."""


class MailboxFull(AttuneError):
    """The mailbox holds 10,000 signals or 64 MiB, or the broadcast stream does; nothing was stored."""


class StoreConfigError(AttuneError, ValueError):
    """A store URL or a setting of the store cannot be used; nothing was contacted."""


class StoreUnavailable(AttuneError, ConnectionError):
    """The store cannot be reached and the caller said that it is required."""


class AgentIdTaken(AttuneError):
    """Another live process owns this agent id. ``host`` and ``pid`` say which."""

    def __init__(self, agent_id: str, host: str, pid: int) -> None:
        super().__init__(
            f"agent id {agent_id!r} is taken by a live agent (pid {pid} on {host}); "
            "choose another agent_id, wait for it to end, or pass takeover=True"
        )
        self.agent_id = agent_id
        self.host = host
        self.pid = pid


class StageTimeout(AttuneError, TimeoutError):
    """An async stage or workflow ran longer than its ``timeout`` (seconds)."""


class RunAborted(AttuneError):
    """A participant asked for this run to stop. Raise it yourself to end your run as ``aborted``."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "aborted")
        self.reason = reason


class MapError(AttuneError, ExceptionGroup[Exception]):
    """Some items of a ``map`` failed; all of them were finished first.

    ``failures`` holds ``(index, item, error)`` in the order of the items, ``successes`` maps an index to its value.
    """

    failures: Sequence[tuple[int, Any, Exception]]
    successes: dict[int, Any]

    def __new__(
        cls, message: str, failures: Sequence[tuple[int, Any, Exception]], successes: dict[int, Any]
    ) -> MapError:
        """Make the group of the failures' errors."""
        self = super().__new__(cls, message, [error for _, _, error in failures])
        self.failures = tuple(failures)
        self.successes = successes
        return self

    def __init__(self, *_: Any) -> None:
        """Attributes are set in ``__new__``, as exception groups want it."""

    def derive(self, excs: Sequence[Exception]) -> MapError:  # type: ignore[override]
        """Return a group of ``excs`` that keeps their items and all successes (for ``except*`` and ``split``)."""
        kept = [failure for failure in self.failures if failure[2] in excs]
        return MapError(self.message, kept, self.successes)
