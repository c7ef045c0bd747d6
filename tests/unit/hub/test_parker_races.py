"""What would go wrong if two threads met at the worst moment; here they do."""

from __future__ import annotations

import os
import select
import socket
from typing import Any

import pytest

from attune_dsl.hub.parker import EpollParker, Waker


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="Linux only")
def test_a_socket_that_is_readable_as_soon_as_it_is_armed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sleeper is back before the thread that arms has done: the one shot is not lost."""
    parker, seen = EpollParker(), []
    ours, theirs = socket.socketpair()

    class Quick:
        """epoll whose sleeper wakes up within ``register``."""

        def __init__(self, epoll: Any) -> None:
            self._epoll = epoll

        def register(self, fd: int, mask: int) -> None:
            self._epoll.register(fd, mask)
            seen.append(parker.sleep(0.0))

        def __getattr__(self, name: str) -> Any:
            return getattr(self._epoll, name)

    monkeypatch.setattr(parker, "_epoll", Quick(parker._epoll))
    with ours, theirs:
        theirs.send(b"x")
        parker.arm(ours.fileno())

        assert seen == [{ours.fileno()}]
    parker.close()


@pytest.mark.skipif(not hasattr(os, "eventfd"), reason="Linux only")
def test_a_waker_that_is_cleared_in_the_middle_of_a_wake(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not stay readable for ever, which would make its sleeper spin."""
    waker, write = Waker(), os.eventfd_write
    waker.wake()

    def clear_and_write(fd: int, value: int) -> None:
        waker.clear()
        write(fd, value)

    monkeypatch.setattr(os, "eventfd_write", clear_and_write)
    waker.wake()
    assert select.select([waker.fd], [], [], 0)[0] == [waker.fd]

    waker.clear()

    assert select.select([waker.fd], [], [], 0)[0] == []
