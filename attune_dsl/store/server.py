"""Which server a store's name means. Opening one contacts nothing; :meth:`Server.start` does."""

from __future__ import annotations

import re
from functools import cache
from typing import Literal, Protocol
from urllib.parse import parse_qsl, urlsplit

from attune_dsl import log
from attune_dsl.exceptions import StoreConfigError
from attune_dsl.store import settings

ACCEPTED = "redis://host:6379, rediss://host:6379, unix:///path/to/socket, memory:// or embedded://"

_OPTIONS = frozenset(
    (
        *("db", "username", "password", "client_name"),
        *(
            "ssl_ca_certs",
            "ssl_ca_path",
            "ssl_ca_data",
            "ssl_cert_reqs",
            "ssl_certfile",
            "ssl_check_hostname",
        ),
        *("ssl_ciphers", "ssl_keyfile", "ssl_min_version", "ssl_password"),
    )
)
"""Query options of a URL. Not those that would change timeouts, retries or the protocol under the hub."""


class Server(Protocol):
    """A store's server, as the hub uses it."""

    @property
    def kind(self) -> Literal["embedded", "memory", "url"]:
        """Who runs the server: all of the user's processes together, this process, or somebody else."""

    @property
    def identity(self) -> str:
        """The same for all openers of one server, started or not. It may hold a password."""

    @property
    def url(self) -> str:
        """What redis-py connects to; certain only once :meth:`start` has returned. It may hold a password."""

    @property
    def label(self) -> str:
        """What people are shown: it holds no password."""

    def start(self) -> None:
        """Start the server or attach to it; may be called again, on each reconnect.

        Raises :class:`~attune_dsl.exceptions.StoreUnavailable`.
        """

    def close(self) -> None:
        """Leave the server; one that nobody uses any more may end. Never raises."""


class UrlServer:
    """A server that somebody else runs."""

    kind: Literal["url"] = "url"

    def __init__(self, url: str) -> None:
        self.identity = self.url = url
        self.label = masked(url)

    def start(self) -> None:
        """Nothing to start: it runs, or connecting fails."""

    def close(self) -> None:
        """Nothing to leave."""


def open_server(store: str | None) -> Server:
    """Return the server that ``store`` means: a URL, else ``ATTUNE_STORE_URL``, else the embedded server.

    Contacts nothing. Raises :class:`~attune_dsl.exceptions.StoreConfigError` for a URL that cannot be used.
    """
    url = settings.store_url(store)
    if url is None:
        return _default_server()
    scheme, separator, rest = url.partition("://")
    if separator and scheme == "embedded":
        if rest:
            raise _refused(url, "embedded:// takes nothing after it; ATTUNE_HOME says where its files are")
        return _embedded_server()
    if separator and scheme == "memory":
        from attune_dsl.store.memory import MemoryServer

        return MemoryServer(rest)
    _check(url)
    return UrlServer(url)


def masked(url: str) -> str:
    """Return ``url`` without its passwords, also one that is malformed."""
    scheme, separator, rest = url.rpartition("://")
    # Up to the last @: a password may hold unquoted slashes and at signs.
    login, at, place = rest.rpartition("@")
    user, colon, _ = login.partition(":")
    if colon:
        rest = f"{user}:***@{place}" if user else f"***@{place}"
    elif at and "/" not in login:
        rest = f"***@{place}"
    return scheme + separator + re.sub(r"(?i)(?<=[?&])(\w*password)=[^&#]*", r"\1=***", rest)


def _default_server() -> Server:
    from attune_dsl.store import launcher

    if launcher.find_binary() is not None:
        return _embedded_server()
    from attune_dsl.store.memory import MemoryServer

    server = MemoryServer("")
    _tell_about_memory()
    return server


def _embedded_server() -> Server:
    from attune_dsl.store.embedded import EmbeddedServer

    return EmbeddedServer()


@cache
def _tell_about_memory() -> None:
    log.warning(
        "store.in_memory",
        detail="no valkey-server or redis-server was found, so this process has a store of its own (memory://) that "
        "no other process sees; install one, or set ATTUNE_STORE_URL",
    )


def _check(url: str) -> None:
    # Nothing of what is wrong is quoted beyond the masked URL: it may be a part of a password.
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _refused(url, _malformed(url, str(error))) from None
    if parts.scheme not in ("redis", "rediss", "unix") or "://" not in url:
        raise _refused(url, "its scheme is not one of these")
    if parts.scheme == "unix":
        if not parts.path:
            raise _refused(url, "it names no socket")
    elif "@" in url.partition(parts.netloc)[2]:
        raise _refused(url, _UNQUOTED)
    elif port == 0 or not (parts.path.strip("/") or "0").isdecimal():
        raise _refused(url, "its port is 0" if port == 0 else "its database is not a number")
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in _OPTIONS:
            raise _refused(url, f"the option {name!r} is not one of {', '.join(sorted(_OPTIONS))}")
        if name == "db" and not value.isdecimal():
            raise _refused(url, "its database is not a number")


_UNQUOTED = "special characters in its password must be quoted (%2F for /, %3F for ?, %23 for #, %40 for @)"


def _malformed(url: str, error: str) -> str:
    if re.search("[/?#].*@", url.partition("://")[2]):
        return _UNQUOTED
    return "its port is not a number from 1 to 65535" if "ort" in error else "it is malformed"


def _refused(url: str, reason: str) -> StoreConfigError:
    return StoreConfigError(f"store {masked(url)!r} cannot be used: {reason}; accepted are {ACCEPTED}")
