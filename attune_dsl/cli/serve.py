"""``attune-dsl serve``: the timeline over HTTP, and a page that shows it."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from attune_dsl.cli.errors import OK, CliError, UsageError
from attune_dsl.cli.options import Common, common_options, say

if TYPE_CHECKING:
    import socket

    from starlette.applications import Starlette

PORT: Final = 8765

_NEEDED: Final = frozenset({"prometheus_client", "starlette", "uvicorn", "websockets"})
"""What the extra ``web`` brings."""


@click.command("serve", short_help="Serve the timeline over HTTP, with a page that shows it live.")
@click.option("--host", default="127.0.0.1", metavar="HOST", show_default=True, help="Where to listen.")
@click.option("--port", default=PORT, type=click.IntRange(0, 65535), metavar="PORT", show_default=True, help="0: any.")
@click.option(
    "--token-file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Read the token from here; else ATTUNE_TOKEN, else a new one.",
)
@common_options
def command(common: Common, host: str, port: int, token_file: Path | None) -> int:
    """Serve the timeline of a namespace: an API, a WebSocket, Server-Sent Events, and a page that shows it live.

    Prints a login link that works once, for a browser on this machine. Every request needs the token or the cookie of
    that link. Hosts other than loopback need a token of your own. Ctrl-C ends it.

    Exit codes: 0 ended by Ctrl-C or SIGTERM; 1 the store cannot be reached, or the port is in use; 2 if the command
    line is wrong, or packages are missing.
    """
    try:
        from attune_dsl.dashboard.server import listen, serve
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        raise UsageError(f'serve needs {error.name}, which is not installed: pip install "attune-dsl[web]"') from None
    import asyncio

    from attune_dsl.cli.logs import show_warnings

    show_warnings(quiet=not common.verbose)  # until it serves, what goes wrong is said by this command itself
    app = _app(common, host, token_file)
    try:
        bound = listen(host, port)
    except OSError as error:
        raise CliError(f"cannot listen on port {port} of {host}: {_why(error)}; choose another with --port") from None
    asyncio.run(serve(app, bound, lambda: _greet(app, bound, common)))
    return OK


def _app(common: Common, host: str, token_file: Path | None) -> Starlette:
    """Return the application with the user's token, or a new one where only this machine can come in."""
    from attune_dsl.dashboard import create_app, tokens
    from attune_dsl.dashboard.auth import LOOPBACK

    token = tokens.from_file(token_file) if token_file else tokens.from_environment()
    if token is None and not _is_loopback(host):
        raise UsageError(f"--host {host} lets others come in; set a token with --token-file or ATTUNE_TOKEN first")
    hosts = None if host in ("0.0.0.0", "::") else LOOPBACK | {host.lower()}  # noqa: S104 (only compared)
    return create_app(common.store, common.namespace, token=token, hosts=hosts)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _why(error: OSError) -> str:
    import errno

    return "it is in use" if error.errno == errno.EADDRINUSE else (error.strerror or str(error)).lower()


def _greet(app: Starlette, bound: socket.socket, common: Common) -> None:
    """Say where it is, once it listens; from then on warnings are shown."""
    import json
    import logging

    from attune_dsl.cli.logs import show_warnings

    logging.getLogger("attune_dsl").setLevel(logging.NOTSET)
    show_warnings()
    host, port = bound.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    link = f"{url}login?code={app.state.access.new_code()}"
    timeline = app.state.timeline
    if common.as_json:
        print(json.dumps({"url": url, "login": link, "namespace": timeline.namespace}))
    else:
        say(f"serving the timeline of namespace {timeline.namespace}, store {timeline.store_label}; Ctrl-C ends")
        say("log in with this link, which works once:")
        print(link)
    sys.stdout.flush()
