"""uvicorn, as ``attune-dsl serve`` runs it: it ends when asked to, tells its clients so, and waits for none of them."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from attune_dsl.clock import monotonic

GRACE: Final = 3
"""Seconds for answers that are under way when the server ends."""
FAREWELL: Final = 1.0
"""Seconds in which clients are told why it is over."""
FLUSH: Final = 5.0
"""Seconds in which a connection that was closed has to take what is left for it."""

_MESSAGE_BYTES: Final = 16 * 1024
"""Largest message of a client; nobody has to send any."""


class _WebSocket(WebSocketsSansIOProtocol):
    """Closes also where the peer has stopped reading: it finds the reason behind what it has not read yet."""

    async def send(self, message: Any) -> None:
        if message["type"] == "websocket.close":
            self.writable.set()
        await super().send(message)


def _is_worth_telling(record: logging.LogRecord) -> bool:
    """Whether something is an error of the program.

    It is none that a stream is left without its end where the client does not read it, or that a handshake is refused.
    """
    return not record.getMessage().startswith("ASGI callable returned without completing ")


class Server(uvicorn.Server):
    """Ends on SIGINT and SIGTERM without raising them again."""

    def __init__(self, app: Starlette, on_start: Callable[[], object]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                ws=_WebSocket,
                ws_max_size=_MESSAGE_BYTES,
                ws_per_message_deflate=False,  # it would compress the same bytes for each client
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=GRACE,
            )
        )
        logging.getLogger("uvicorn.error").addFilter(_is_worth_telling)
        self._feed = app.state.feed
        self._on_start = on_start
        self._closing: dict[Any, float] = {}

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self._on_start()

    async def on_tick(self, counter: int) -> bool:
        """Look after connections, several times a second."""
        self._drop_the_deaf()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell the clients, then end."""
        await self._feed.close("the server ends")
        with suppress(TimeoutError):  # clients' tasks have so long to say why it is over
            async with asyncio.timeout(FAREWELL):
                await self._feed.emptied()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM as the wish to end."""
        before = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def _drop_the_deaf(self) -> None:
        """Cut connections that were closed and are still full: the peer does not read, and may never do."""
        now = monotonic()
        closing = {each for each in self.server_state.connections if each.transport.is_closing()}
        self._closing = {each: self._closing.get(each, now) for each in closing}
        for each, since in self._closing.items():
            if now - since >= FLUSH:
                each.transport.abort()


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address. Raises ``OSError``."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


async def serve(app: Starlette, bound: socket.socket, on_start: Callable[[], object]) -> None:
    """Serve until SIGINT or SIGTERM. Raises :class:`StoreUnavailable` if the store is away at the beginning."""
    try:
        await app.state.timeline.stats()
        await Server(app, on_start).serve([bound])
    finally:
        bound.close()
        await app.state.timeline.close()
