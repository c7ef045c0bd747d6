"""Signals that are handed on to somebody outside of this process, who may not take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attune_dsl.coordination.mail import MailOperations
from attune_dsl.hub.mailbox import Entry
from attune_dsl.model import Signal

Hand = Callable[[Signal[Any]], object]
"""Hands a signal on, and raises if nobody takes it."""


class HandingOperations(MailOperations):
    """Operations that take a signal only once ``hand`` has returned; if that raises, the signal stays where it was.

    If the process dies in between, it comes again (§5.7): handed on twice rather than not at all.
    """

    def __init__(self, *of: Any, hand: Hand) -> None:
        """``of`` is what :class:`MailOperations` takes."""
        super().__init__(*of)
        self._hand = hand

    def _received(self, entry: Entry, signal: Signal[Any], waited: float | None = None) -> Signal[Any]:
        try:
            self._hand(signal)
        except BaseException:
            self._member.mailbox.put_back(entry)
            raise
        return super()._received(entry, signal, waited)
