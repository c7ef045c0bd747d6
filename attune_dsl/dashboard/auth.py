"""Who may use the application: a token for every request, one host, one origin.

A browser has the token's place taken by a cookie that is made from it and does not give it away. A page of somebody
else's can make a browser send requests, with the cookie too where only the port differs; so whatever says its origin
has to come from this application, and a WebSocket with a cookie has to say it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import Scope

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
"""Host names under which a browser on this machine knows it."""

COOKIE_SECONDS: Final = 7 * 24 * 3600


class Refusal(NamedTuple):
    """Why a request gets nothing."""

    status: int
    why: str


class Access:
    """Holds the token and decides. Secrets are compared in constant time."""

    def __init__(self, token: str, hosts: Collection[str] | None = LOOPBACK) -> None:
        """``hosts`` are the names by which the application may be called, without port; ``None``: by any."""
        self._token = token.encode()
        self._hosts = None if hosts is None else {host.lower() for host in hosts}
        self._code = ""
        digest = hmac.new(self._token, b"attune_dsl: cookie", hashlib.sha256).hexdigest()
        self.cookie_value: Final = digest[:-8]
        self.cookie_name: Final = f"attune_{digest[-8:]}"
        """Another one for each token, because all servers of one host share one set of cookies."""

    def new_code(self) -> str:
        """Return a code that can be exchanged for the cookie once; one that was made before is void."""
        self._code = secrets.token_urlsafe(32)
        return self._code

    def redeem(self, code: str) -> bool:
        """Whether this is the code; it is void from then on."""
        is_it = bool(self._code) and hmac.compare_digest(code.encode(), self._code.encode())
        if is_it:
            self._code = ""
        return is_it

    def refusal(self, scope: Scope) -> Refusal | None:
        """Return why a request or a handshake gets nothing, ``None`` if it may go on."""
        headers = Headers(scope=scope)
        host = headers.getlist("host")
        if len(host) != 1 or not self._knows(host[0]):
            return Refusal(421, "this server is not called by that name; the option hosts, or --host, adds names")
        origin = headers.get("origin")
        if origin is not None and urlsplit_netloc(origin) != host[0].lower():
            return Refusal(403, "requests of other pages are refused")
        if is_login(scope) or self._has_token(headers):
            return None
        if self.has_cookie(headers) and (scope["type"] == "http" or origin is not None):
            return None
        return Refusal(401, "this needs the token: Authorization: Bearer TOKEN, or the cookie of the login link")

    def _knows(self, host: str) -> bool:
        if self._hosts is None:
            return True
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name.rstrip(".") in self._hosts

    def _has_token(self, headers: Mapping[str, str]) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token)

    def has_cookie(self, headers: Mapping[str, str]) -> bool:
        """Whether a browser has logged in."""
        found = cookie_parser(headers.get("cookie", "")).get(self.cookie_name, "")
        return hmac.compare_digest(found.encode(), self.cookie_value.encode())


def urlsplit_netloc(origin: str) -> str:
    """Return host and port of an origin; empty for ``null`` and what is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def path_of(scope: Scope) -> str:
    """Return the path within the application, wherever that is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) or "/"


def is_login(scope: Scope) -> bool:
    """Whether this is the one path that works without the token."""
    return scope["type"] == "http" and path_of(scope) == "/login"
