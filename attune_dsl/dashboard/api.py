"""``/api/...``: questions with one answer each."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
from attrs import fields
from starlette.requests import Request
from starlette.responses import Response

from attune_dsl.dashboard.feed import Feed
from attune_dsl.dashboard.metrics import CONTENT_TYPE, Metrics
from attune_dsl.dashboard.selection import event_id, selection
from attune_dsl.events import Event
from attune_dsl.exceptions import StoreUnavailable, UsageError
from attune_dsl.export.event_json import event_json
from attune_dsl.model import AgentRecord

LIMIT: Final = 1_000
"""Events in an answer, if it is not said how many."""
MOST: Final = 10_000
"""Events in an answer, at most."""

_SLICE: Final = 500
"""Events that are encoded before others get their turn."""


async def events(request: Request) -> Response:
    """Answer with events of the past: behind ``after``, before ``before``, or the ``last`` ones."""
    asked, feed = request.query_params, _feed(request)
    wanted = selection(asked).arguments()
    after, before = event_id(asked, "after"), event_id(asked, "before")
    if "last" in asked:
        if after or before or "limit" in asked:
            raise UsageError("last: goes with kinds, agent and run only")
        last = _number(asked["last"], "last")
        told = await feed.timeline.latest(last, **wanted) if last else []
        return await _answer(told, more=False, last_id=await _end(feed, told))
    limit = _number(asked.get("limit", str(LIMIT)), "limit") or 1
    told = await feed.timeline.read(after=after, before=before, limit=limit + 1, **wanted)
    more = len(told) > limit
    return await _answer(told[:limit], more=more, last_id=told[min(len(told), limit) - 1].id if told else after or "0")


async def _end(feed: Feed, told: list[Event]) -> str:
    """Return the id behind which the future begins, as seen by who was told these events."""
    if told:
        return told[-1].id
    return (await feed.timeline.stats()).last_id or "0"


async def agents(request: Request) -> Response:
    """Answer with the live agents, and those that ended lately."""
    records = await request.app.state.monitor.agents()
    return json_response({"agents": [_agent(record) for record in records]})


async def runs(request: Request) -> Response:
    """Answer with the runs that the timeline tells of."""
    return json_response({"runs": await request.app.state.runs()})


async def health(request: Request) -> Response:
    """Answer whether the store can be reached."""
    feed = _feed(request)
    try:
        async with asyncio.timeout(5):
            await feed.timeline.stats()
    except (StoreUnavailable, TimeoutError):
        return json_response({"status": "degraded", "store": "away", "clients": feed.clients}, 503)
    return json_response({"status": "ok", "store": "reachable", "clients": feed.clients})


async def metrics(request: Request) -> Response:
    """Answer with figures for Prometheus."""
    figures: Metrics = request.app.state.metrics
    return Response(await figures.render(), headers={"content-type": CONTENT_TYPE})


def json_response(value: Any, status: int = 200) -> Response:
    """Return an answer in JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


async def _answer(told: list[Event], *, more: bool, last_id: str) -> Response:
    parts: list[bytes] = []
    for begin in range(0, len(told), _SLICE):
        parts += [event_json(event) for event in told[begin : begin + _SLICE]]
        await asyncio.sleep(0)
    head = msgspec.json.encode({"last_id": last_id, "more": more})
    return Response(b'{"events":[' + b",".join(parts) + b"]," + head[1:], media_type="application/json")


def _agent(record: AgentRecord) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(AgentRecord)} | {"state": record.state}


def _number(given: str, name: str) -> int:
    if not (given.isascii() and given.isdigit()) or int(given[:9]) > MOST:
        raise UsageError(f"{name}: a number from 0 to {MOST:,}")
    return int(given[:9])


def _feed(request: Request) -> Feed:
    feed: Feed = request.app.state.feed
    return feed
