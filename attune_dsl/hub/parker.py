"""Where the hub's own thread sleeps: until a time, until it is woken, or until an armed socket has something to read.

Arming is for one event (ONESHOT). A thread that wants to read a socket itself disarms it first: with epoll that takes
effect at once and wakes nobody, which is what keeps a round trip free of hand-overs. Elsewhere the sleeper is nudged.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from typing import Final, Protocol

_LONGEST: Final = 24 * 3600.0
"""Seconds; epoll takes no more than 24 days, and a heartbeat's interval may be any number."""


class Waker:
    """A descriptor that becomes readable when another thread says so. Freed with its last user."""

    def __init__(self) -> None:
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) if hasattr(os, "eventfd") else -1
        self._pair = () if self._event >= 0 else socket.socketpair()
        for end in self._pair:
            end.setblocking(False)
        self._is_set = False
        self.fd = self._pair[0].fileno() if self._pair else self._event

    def wake(self) -> None:
        """Make the descriptor readable; once is enough."""
        try:
            if self._pair:
                self._pair[1].send(b".")
            else:
                os.eventfd_write(self._event, 1)
        except BlockingIOError:
            pass  # it is readable already
        # Not before the write, which lets other threads run: a clear() in between would leave it readable for ever.
        self._is_set = True

    def clear(self) -> None:
        """Make the descriptor unreadable again."""
        if not self._is_set:
            return
        self._is_set = False
        try:
            if self._pair:
                self._pair[0].recv(4096)
            else:
                os.eventfd_read(self._event)
        except BlockingIOError:
            return  # nobody woke it

    def __del__(self) -> None:
        for end in self._pair:
            end.close()
        if self._event >= 0:
            os.close(self._event)


class Parker(Protocol):
    """One thread sleeps in it; every thread may arm, disarm and wake."""

    def arm(self, fd: int) -> None:
        """Let :meth:`sleep` return when ``fd`` is readable, once."""

    def disarm(self, fd: int) -> None:
        """Undo :meth:`arm`; unknown descriptors are fine."""

    def forget(self, fd: int) -> None:
        """Undo :meth:`arm` for good; called before the descriptor is closed."""

    def wake(self) -> None:
        """Let :meth:`sleep` return."""

    def sleep(self, timeout: float) -> set[int]:
        """Sleep at most ``timeout`` seconds; return the armed descriptors that became readable."""

    def close(self) -> None:
        """Free its descriptors."""


class EpollParker:
    """Linux: disarming costs one system call and disturbs nobody."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._waker = Waker()
        self._epoll.register(self._waker.fd, select.EPOLLIN)
        self._known: set[int] = set()
        self._lock = threading.Lock()

    def arm(self, fd: int) -> None:
        """See :class:`Parker`."""
        with self._lock:
            if fd in self._known:
                self._epoll.modify(fd, select.EPOLLIN | select.EPOLLONESHOT)
            else:
                self._known.add(fd)  # before, or the sleeper does not know what woke it, and the one shot is lost
                self._epoll.register(fd, select.EPOLLIN | select.EPOLLONESHOT)

    def disarm(self, fd: int) -> None:
        """See :class:`Parker`."""
        with self._lock:
            if fd in self._known:
                self._epoll.modify(fd, 0)

    def forget(self, fd: int) -> None:
        """See :class:`Parker`."""
        with self._lock:
            if fd in self._known:
                self._known.discard(fd)
                self._epoll.unregister(fd)

    def wake(self) -> None:
        """See :class:`Parker`."""
        self._waker.wake()

    def sleep(self, timeout: float) -> set[int]:
        """See :class:`Parker`."""
        ready = {fd for fd, _ in self._epoll.poll(_within_bounds(timeout))}
        if self._waker.fd in ready:
            self._waker.clear()
        return ready & self._known

    def close(self) -> None:
        """See :class:`Parker`."""
        self._epoll.close()


class SelectParker:
    """Everywhere else: the sleeper is nudged through a socket pair whenever the armed set changes."""

    def __init__(self) -> None:
        self._waker = Waker()
        self._armed: set[int] = set()
        self._sleeping = False
        self._lock = threading.Lock()

    def arm(self, fd: int) -> None:
        """See :class:`Parker`."""
        with self._lock:
            self._armed.add(fd)
            sleeping = self._sleeping
        if sleeping:
            self.wake()

    def disarm(self, fd: int) -> None:
        """See :class:`Parker`."""
        with self._lock:
            if fd not in self._armed:
                return
            self._armed.discard(fd)
            sleeping = self._sleeping
        if sleeping:
            self.wake()

    forget = disarm

    def wake(self) -> None:
        """See :class:`Parker`."""
        self._waker.wake()

    def sleep(self, timeout: float) -> set[int]:
        """See :class:`Parker`."""
        with self._lock:
            armed = set(self._armed)
            self._sleeping = True
        try:
            readable, _, _ = select.select([self._waker.fd, *armed], [], [], _within_bounds(timeout))
        except (OSError, ValueError):
            readable = []  # a descriptor was closed under us; its owner forgets it
        with self._lock:
            self._sleeping = False
            ready = self._armed.intersection(readable)
            self._armed -= ready
        if self._waker.fd in readable:
            self._waker.clear()
        return ready

    def close(self) -> None:
        """See :class:`Parker`."""


def parker() -> Parker:
    """Return the best parker of this platform."""
    return EpollParker() if hasattr(select, "epoll") else SelectParker()


def _within_bounds(timeout: float) -> float:
    return min(max(0.0, timeout), _LONGEST)
