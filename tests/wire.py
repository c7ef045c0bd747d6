"""The package's connection with a test at its far end instead of a server."""

from __future__ import annotations

import itertools
import socket
from pathlib import Path
from typing import Any

import hiredis

from attune_dsl.store.connection import Connection

_numbers = itertools.count()


class Wire:
    """One connection over a Unix socket in ``folder``; ``far`` is the server's end of it."""

    def __init__(self, folder: Path) -> None:
        path = folder / f"{next(_numbers)}.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(1)
            self.connection = Connection(f"unix://{path}", "wire")
            self.far, _ = listener.accept()
        self.far.settimeout(10)
        self._parser = hiredis.Reader()

    def answer(self, *replies: str) -> None:
        """Answer as a server does: ``answer("+OK", ":1")``."""
        self.far.sendall("".join(f"{reply}\r\n" for reply in replies).encode())

    def commands(self, count: int) -> list[list[bytes]]:
        """Return the next ``count`` commands that were sent."""
        found: list[Any] = []
        while len(found) < count:
            command = self._parser.gets()
            if command is False:
                data = self.far.recv(65536)
                assert data, "the connection was closed"
                self._parser.feed(data)
            else:
                found.append(command)
        return found

    @property
    def is_quiet(self) -> bool:
        """Whether nothing more has been sent than what was read."""
        assert self._parser.gets() is False
        self.far.setblocking(False)
        try:
            return not self.far.recv(65536)
        except BlockingIOError:
            return True
        finally:
            self.far.settimeout(10)

    @property
    def is_closed(self) -> bool:
        """Whether the package has closed its socket."""
        return self.connection._sock.fileno() < 0

    def close(self) -> None:
        self.connection.close()
        self.far.close()
