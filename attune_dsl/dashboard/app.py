"""The ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route, WebSocketRoute

from attune_dsl.coordination.monitor import AsyncMonitor
from attune_dsl.coordination.timeline import AsyncTimeline
from attune_dsl.dashboard import api, pages, problems, sockets, sse, tokens
from attune_dsl.dashboard.auth import LOOPBACK, Access
from attune_dsl.dashboard.feed import Feed
from attune_dsl.dashboard.guard import Guard
from attune_dsl.dashboard.metrics import Metrics
from attune_dsl.dashboard.runs import Runs
from attune_dsl.exceptions import StoreUnavailable, UsageError
from attune_dsl.store.settings import namespace_of


def create_app(
    store: str | None = None,
    namespace: str | None = None,
    *,
    token: str | None = None,
    hosts: Collection[str] | None = LOOPBACK,
) -> Starlette:
    """Return an application that serves the timeline of a namespace.

    ``store`` and ``namespace`` are found as everywhere else if they are not given; nothing is contacted yet.
    ``token`` is what every request needs, at least 16 characters; without it that is ``ATTUNE_TOKEN``, else one that is
    made up. ``hosts`` are the names, without port, by which it may be called: those of loopback, if nothing else is
    said; ``None`` for any.

    ``app.state.access.new_code()`` returns a code for ``/login?code=...``, which gives a browser its cookie, once.

    Raises :class:`StoreConfigError` for a token that protects nothing, :class:`InvalidName` for the namespace.
    """
    if token is not None:
        tokens.checked(token, "create_app")
    access = Access(token or tokens.from_environment() or tokens.new_token(), hosts)
    app = Starlette(
        routes=_routes(),
        middleware=[Middleware(Guard, access=access)],
        exception_handlers={
            UsageError: problems.on_usage,
            StoreUnavailable: problems.on_store,
            HTTPException: problems.on_http,
        },
        lifespan=_lifespan,
    )
    app.state.namespace = namespace = namespace_of(namespace)
    app.state.access = access
    app.state.monitor = AsyncMonitor(store, namespace)
    app.state.timeline = AsyncTimeline(store, namespace)
    app.state.feed = Feed(app.state.timeline)
    app.state.runs = Runs(store, namespace)
    app.state.metrics = Metrics(timeline=app.state.timeline, monitor=app.state.monitor)
    return app


def _routes() -> list[BaseRoute]:
    return [
        Route("/", pages.index),
        Route("/static/{name}", pages.static),
        Route("/login", pages.login, methods=["GET"]),
        Route("/api/events", api.events),
        Route("/api/runs", api.runs),
        Route("/api/agents", api.agents),
        Route("/healthz", api.health),
        Route("/metrics", api.metrics),
        WebSocketRoute("/ws/events", sockets.follow),
        Route("/sse/events", sse.follow),
    ]


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await app.state.feed.close("the server ends")
        await app.state.metrics.stop()
        await app.state.timeline.close()
        await app.state.monitor.close()
