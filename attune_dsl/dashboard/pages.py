"""The page and its files, the login, and what those are told who get nothing."""

from __future__ import annotations

import base64
import hashlib
import html
from functools import cache
from importlib import resources
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from attune_dsl.dashboard.auth import COOKIE_SECONDS, Access, Refusal
from attune_dsl.dashboard.problems import problem

_TYPES: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_OWN: Final = frozenset({"live.css", "live.js", "stream.js", "rows.js", "about.js", "words.js", "icon.svg"})
_OF_EXPORTS: Final = {
    "page.css": b"",
    "text.js": b"\nexport { byId, clean, cleanBlock, clock, cut, date, duration, make, whole };\n",
}
"""Files that exported pages have, too, and what makes a module of them."""

_UNAUTHORIZED: Final = 401
_LOGGED_OUT: Final = (
    "You are not logged in",
    "Open the login link that <code>attune-dsl serve</code> printed when it started. "
    'If you have just done that, <a href="">go on</a>.',
)
_STYLE: Final = (
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:34em;margin:18vh auto;"
    "padding:0 24px}h1{font-size:20px;margin:0 0 8px}p{margin:0 0 12px;opacity:.8}"
    "code{font-family:ui-monospace,monospace}"
)
_PAGE: Final = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    "<title>{title}</title><style>{style}</style><h1>{title}</h1>{body}"
)


async def index(request: Request) -> Response:
    """Answer with the page."""
    name = html.escape(request.app.state.namespace).encode()
    return Response(_content("index.html").replace(b"{{namespace}}", name), media_type="text/html")


async def static(request: Request) -> Response:
    """Answer with a file that the page needs."""
    name = request.path_params["name"]
    if name not in _OWN and name not in _OF_EXPORTS:
        return problem(404, "there is no such file")
    return Response(_content(name), media_type=_TYPES[name.rpartition(".")[2]])


async def login(request: Request) -> Response:
    """Exchange the code of the login link for the cookie, and leave the code behind."""
    access: Access = request.app.state.access
    home = request.scope.get("root_path", "") + "/"
    if request.method == "HEAD":  # programs look at links before people open them; that spends no code
        return Response()
    if access.has_cookie(request.headers):
        return RedirectResponse(home, 303)
    if not access.redeem(request.query_params.get("code", "")):
        return _page(
            403,
            "This login link does not work",
            "It works once, and until the server ends. Start the server again for a new one, or use the browser "
            "that has opened it.",
        )
    answer = RedirectResponse(home, 303)
    answer.set_cookie(
        access.cookie_name,
        access.cookie_value,
        max_age=COOKIE_SECONDS,
        path=home,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return answer


def refused(refusal: Refusal, scope: Scope) -> Response:
    """Return the answer to a request that may go no further: a page for a person, JSON for a program."""
    if refusal.status != _UNAUTHORIZED:
        return problem(refusal.status, refusal.why)
    accepts = dict(scope["headers"]).get(b"accept", b"")
    is_person = scope["type"] == "http" and b"text/html" in accepts
    answer = _page(refusal.status, *_LOGGED_OUT) if is_person else problem(refusal.status, refusal.why)
    answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


@cache
def _content(name: str) -> bytes:
    if name in _OF_EXPORTS:
        return (resources.files("attune_dsl.export") / "assets" / name).read_bytes() + _OF_EXPORTS[name]
    return (resources.files("attune_dsl.dashboard") / "static" / name).read_bytes()


def _page(status: int, title: str, body: str) -> Response:
    """Return a page that needs no other file, because those need the token."""
    content = _PAGE.format(title=html.escape(title), style=_STYLE, body=f"<p>{body}</p>")
    answer = Response(content, status, media_type="text/html")
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    answer.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return answer
