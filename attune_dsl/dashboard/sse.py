"""``/sse/events``: the timeline as Server-Sent Events."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from attune_dsl.dashboard.feed import Feed, TooManyClients
from attune_dsl.dashboard.frames import EVENT_STREAM
from attune_dsl.dashboard.problems import problem
from attune_dsl.dashboard.selection import event_id, selection
from attune_dsl.dashboard.stream import Over, Stream

PATIENCE: Final = 5.0
"""Seconds that a client may take to make room for more."""

_BEGIN: Final = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")],
}
_RETRY: Final = b"retry: 1000\n\n"


async def follow(request: Request) -> Response:
    """Send the past behind ``Last-Event-ID`` or ``after``, and then what happens."""
    feed: Feed = request.app.state.feed
    wanted, after = selection(request.query_params), event_id(request.query_params, "after")
    resumed = request.headers.get("last-event-id")
    if resumed:  # a browser that connects again repeats the address, with the ``after`` of the first time
        after = event_id(type(request.query_params)({"Last-Event-ID": resumed}), "Last-Event-ID")
    return _EventStream(feed, Stream(feed, EVENT_STREAM, wanted, after))


class _EventStream(Response):
    """An answer without an end."""

    def __init__(self, feed: Feed, stream: Stream) -> None:
        super().__init__()
        self._feed = feed
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until either side has enough."""
        try:
            async with self._feed.client():
                await self._serve(receive, send)
        except TooManyClients:
            await problem(503, "too many clients; try again later")(scope, receive, send)

    async def _serve(self, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        sending, hearing = loop.create_task(self._send(send)), loop.create_task(_gone(receive))
        try:
            await asyncio.wait({sending, hearing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, hearing):
                task.cancel()
            over, _ = await asyncio.gather(sending, hearing, return_exceptions=True)
        if isinstance(over, Exception) and not isinstance(over, TimeoutError | OSError):
            raise over

    async def _send(self, send: Send) -> None:
        await send(_BEGIN)
        await _body(send, _RETRY)
        try:
            async for frame in self._stream.frames():
                assert isinstance(frame, bytes)
                await _body(send, frame)
        except Over as over:
            await _body(send, EVENT_STREAM.news("closing", over.reason), more=False)
        except TimeoutError:
            return  # to one that does not read nothing can be said any more


async def _body(send: Send, body: bytes, *, more: bool = True) -> None:
    async with asyncio.timeout(PATIENCE):
        await send({"type": "http.response.body", "body": body, "more_body": more})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
