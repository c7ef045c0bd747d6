"""A proxy before a store that can cut, stall and swallow: a bad network, at the moment that a test names."""

from __future__ import annotations

import selectors
import socket
import threading
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

_CHUNK = 256 * 1024


@dataclass(eq=False)
class _Pair:
    """One connection through the proxy."""

    client: socket.socket
    server: socket.socket
    sent: bytearray = field(default_factory=bytearray)
    swallowing: bool = False


class Proxy:
    """Listens on loopback and passes everything on to ``address``, a Redis URL; ``url`` is its own."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._pairs: list[_Pair] = []
        self._marker = b""
        self._dead = False
        self._stalled = False
        self.swallowed = 0
        self.sent = bytearray()
        """What clients have sent, over all connections."""
        self._selector = selectors.DefaultSelector()
        self._waker, self._wake = socket.socketpair()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._selector.register(self._waker, selectors.EVENT_READ, None)
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        parts = urlsplit(address)
        password = f":{parts.password}@" if parts.password else ""
        self.url = f"redis://{password}127.0.0.1:{self._listener.getsockname()[1]}/0"
        self._thread = threading.Thread(target=self._serve, name="test-proxy", daemon=True)
        self._thread.start()

    # What a test does

    def cut(self) -> None:
        """Cut all connections; new ones are welcome."""
        with self._lock:
            for pair in list(self._pairs):
                self._drop(pair)

    def die(self) -> None:
        """Cut all connections and refuse new ones, until :meth:`revive`."""
        self._dead = True
        self.cut()

    def revive(self) -> None:
        """Accept connections again, and pass on what comes over them."""
        self._dead = self._stalled = False

    def stall(self) -> None:
        """Pass nothing on any more, in neither direction, without closing anything."""
        self._stalled = True

    def swallow(self, marker: bytes) -> None:
        """Pass the next request that contains ``marker`` on, then cut its connection instead of passing the reply."""
        self._marker = marker

    def close(self) -> None:
        """End the proxy."""
        self._wake.close()
        self._thread.join()
        self.cut()
        for sock in (self._waker, self._listener):
            sock.close()
        self._selector.close()

    # The thread

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._waker:
                    return
                with self._lock:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.data in self._pairs:
                        self._pass_on(key.data, key.fileobj)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if self._dead:
            client.close()
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = _Pair(client, self._dial())
        self._pairs.append(pair)
        for sock in (pair.client, pair.server):
            self._selector.register(sock, selectors.EVENT_READ, pair)

    def _dial(self) -> socket.socket:
        parts = urlsplit(self._address)
        if parts.scheme == "unix":
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(unquote(parts.path))
            return sock
        return socket.create_connection((parts.hostname or "", parts.port or 6379))

    def _pass_on(self, pair: _Pair, source: object) -> None:
        if self._stalled:
            for sock in (pair.client, pair.server):
                self._selector.unregister(sock)
            return
        assert isinstance(source, socket.socket)
        try:
            data = source.recv(_CHUNK)
        except OSError:
            data = b""
        if not data or (pair.swallowing and source is pair.server):
            self.swallowed += bool(data)
            self._drop(pair)
            return
        try:
            self._forward(pair, source, data)
        except OSError:
            self._drop(pair)

    def _forward(self, pair: _Pair, source: socket.socket, data: bytes) -> None:
        """Pass on what came from one end of a connection. Raises ``OSError`` where the other end is gone."""
        if source is pair.client:
            self._watch_for_marker(pair, data)
        (pair.server if source is pair.client else pair.client).sendall(data)

    def _watch_for_marker(self, pair: _Pair, data: bytes) -> None:
        self.sent += data
        pair.sent += data
        if self._marker and self._marker in pair.sent[-len(data) - len(self._marker) :]:
            self._marker = b""
            pair.swallowing = True

    def _drop(self, pair: _Pair) -> None:
        self._pairs.remove(pair)
        for sock in (pair.client, pair.server):
            if sock.fileno() in self._selector.get_map():
                self._selector.unregister(sock)
            sock.close()
