"""``/ws/events``: the timeline over a WebSocket."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from starlette.websockets import WebSocket, WebSocketDisconnect

from attune_dsl.dashboard.feed import Feed, TooManyClients
from attune_dsl.dashboard.frames import WEB_SOCKET
from attune_dsl.dashboard.problems import problem
from attune_dsl.dashboard.selection import event_id, selection
from attune_dsl.dashboard.stream import Over, Stream
from attune_dsl.exceptions import UsageError

PATIENCE: Final = 5.0
"""Seconds that a client may take to make room for a message."""
HEARD: Final = 100
"""Messages of a client that are ignored; one that goes on sending is let go."""

_POLICY = 1008


async def follow(websocket: WebSocket) -> None:
    """Send the past behind ``after``, if that is given, and then what happens."""
    feed: Feed = websocket.app.state.feed
    try:
        wanted, after = selection(websocket.query_params), event_id(websocket.query_params, "after")
    except UsageError as error:
        await websocket.send_denial_response(problem(400, str(error)))
        return
    try:
        async with feed.client():
            await websocket.accept()
            await _serve(websocket, Stream(feed, WEB_SOCKET, wanted, after))
    except TooManyClients:
        await websocket.send_denial_response(problem(503, "too many clients; try again later"))


async def _serve(websocket: WebSocket, stream: Stream) -> None:
    """Send and listen until one of the two is over."""
    loop = asyncio.get_running_loop()
    sending, hearing = loop.create_task(_send(websocket, stream)), loop.create_task(_hear(websocket))
    try:
        await asyncio.wait({sending, hearing}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, hearing):
            task.cancel()
        over, heard = await asyncio.gather(sending, hearing, return_exceptions=True)
    for ended in (over, heard):
        if isinstance(ended, Over):
            await _let_go(websocket, ended)
        elif isinstance(ended, Exception) and not isinstance(ended, WebSocketDisconnect | OSError):
            raise ended


async def _send(websocket: WebSocket, stream: Stream) -> None:
    async for frame in stream.frames():
        assert isinstance(frame, str)
        try:
            async with asyncio.timeout(PATIENCE):
                await websocket.send_text(frame)
        except TimeoutError:
            raise stream.stalled() from None


async def _hear(websocket: WebSocket) -> None:
    """Read what nobody asked for, so that the end of the connection is heard."""
    for _ in range(HEARD):
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
    raise Over(_POLICY, "this socket takes no messages")


async def _let_go(websocket: WebSocket, over: Over) -> None:
    """Say why, and close; one that does not read may still see why in the closing frame."""
    with suppress(TimeoutError, WebSocketDisconnect, OSError, RuntimeError):
        async with asyncio.timeout(1.0):
            await websocket.send_text(WEB_SOCKET.news("closing", over.reason))
    with suppress(TimeoutError, WebSocketDisconnect, OSError, RuntimeError):
        async with asyncio.timeout(PATIENCE):
            await websocket.close(over.code, over.reason)
