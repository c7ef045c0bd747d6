"""fakeredis on a loopback socket, with a password and without the command that unpickles.

fakeredis' own handler looks for data 100 times a second, cuts the connection after any error reply and lets everybody
in; this one blocks in its read, goes on after errors, and refuses whoever does not know the password.
"""

from __future__ import annotations

import hmac
import socket
import threading
from queue import Empty
from typing import Any

from fakeredis import TcpFakeServer
from fakeredis._clients._tcp_server import TCPFakeRequestHandler

_POLL = 0.05
"""Seconds between two looks of the accepting thread at whether it shall end."""


class FakeServer:
    """One fakeredis server on 127.0.0.1, served by threads of this process until :meth:`close`."""

    def __init__(self, password: str) -> None:
        self._server = _Listener(password)
        self.url = f"redis://:{password}@127.0.0.1:{self._server.server_address[1]}/0"
        threading.Thread(
            target=self._server.serve_forever, args=(_POLL,), name="attune-memory-store", daemon=True
        ).start()

    def close(self) -> None:
        """Stop listening and cut all connections."""
        self._server.shutdown()
        self._server.server_close()
        self._server.cut()

    def abandon(self) -> None:
        """Close this process's copy of the socket only (after a fork, in the child)."""
        self._server.socket.close()


class _Listener(TcpFakeServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, password: str) -> None:
        super().__init__(("127.0.0.1", 0))
        self.daemon_threads = True  # the class above sets it to false on the instance
        self.RequestHandlerClass = _Handler
        self.password = password.encode()
        self.connections: set[socket.socket] = set()

    def cut(self) -> None:
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: a client that vanishes in the middle of a reply is nothing to print a traceback for."""


class _Handler(TCPFakeRequestHandler):
    disable_nagle_algorithm = True
    server: _Listener

    def setup(self) -> None:
        super().setup()
        self.connection.setblocking(True)  # the class above makes it non-blocking
        self.server.connections.add(self.connection)
        self._known = False
        # RESTORE unpickles what a client sends. Looked up by name for direct calls, transactions and scripts alike.
        self._fake: Any = self.current_client.get_socket()
        self._fake.restore = None

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def handle(self) -> None:
        """Serve commands one by one until the client leaves."""
        try:
            while (command := self._read_command()) is not None:
                self._serve(command)
        except (OSError, ValueError):
            return

    def _serve(self, command: list[bytes]) -> None:
        name = command[0].upper()
        if name == b"AUTH":
            self.writer.write(self._admit(command[-1]))
        elif name == b"HELLO" and b"AUTH" in (upper := [field.upper() for field in command]):
            at = upper.index(b"AUTH")
            reply = self._admit(command[at + 2] if len(command) > at + 2 else b"")
            if self._known:
                self._forward(command[:at] + command[at + 3 :])
            else:
                self.writer.write(reply)
        elif not self._known:
            self.writer.write(b"-NOAUTH Authentication required.\r\n")
        elif name == b"RESTORE":
            self.writer.write(b"-ERR unknown command 'RESTORE': it unpickles\r\n")
        else:
            self._forward(command)

    def _admit(self, password: bytes) -> bytes:
        if hmac.compare_digest(password, self.server.password):
            self._known = True
            return b"+OK\r\n"
        return b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"

    def _forward(self, command: list[bytes]) -> None:
        parts = [b"*%d\r\n" % len(command)]
        parts += [b"$%d\r\n%s\r\n" % (len(field), field) for field in command]
        self._fake.sendall(b"".join(parts))
        while True:
            try:
                reply = self._fake.responses.get_nowait()
            except Empty:
                return
            self.writer.dump(reply)

    def _read_command(self) -> list[bytes] | None:
        """Return the next command's fields; ``None`` at the end, also in the middle of a command."""
        head = self.rfile.readline()
        if not head.startswith(b"*"):
            return (head.split() or [b""]) if head else None
        command = []
        for _ in range(int(head[1:])):
            length = int(self.rfile.readline()[1:])
            field = self.rfile.read(length + 2)
            if len(field) < length + 2:
                return None
            command.append(field[:length])
        return command or [b""]
