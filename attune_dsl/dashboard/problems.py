"""How the application says that it cannot answer."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from attune_dsl.exceptions import StoreUnavailable, UsageError


def problem(status: int, why: str) -> Response:
    """Return an answer that says why there is none: ``{"error": ...}``."""
    return Response(msgspec.json.encode({"error": why}), status, media_type="application/json")


def on_usage(request: Request, error: Exception) -> Response:
    """A request that cannot be meant."""
    assert isinstance(error, UsageError)
    return problem(400, str(error))


def on_store(request: Request, error: Exception) -> Response:
    """The store is away."""
    assert isinstance(error, StoreUnavailable)
    return problem(503, str(error))


def on_http(request: Request, error: Exception) -> Response:
    """No such path, or no such method."""
    status = getattr(error, "status_code", 500)
    return problem(status, str(getattr(error, "detail", "")).lower())
