"""What a server that somebody else runs says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from attune_dsl.exceptions import StoreUnavailable

if TYPE_CHECKING:
    from attune_dsl.store.server import Server


@frozen(kw_only=True)
class ForeignStatus:
    """A server behind a URL as ``store status`` shows it; ``url`` holds no password."""

    running: bool
    url: str
    version: str | None
    clients: int
    keys: int
    memory_bytes: int


def ask(server: Server) -> ForeignStatus:
    """Connect and ask. Raises :class:`StoreUnavailable` or, for a refused login, ``StoreConfigError``."""
    from attune_dsl.store.connection import Connection, ConnectionLost

    connection = Connection(server.url, "attune-dsl-status")
    try:
        (reply,) = connection.ask([("INFO",)])
    except ConnectionLost as error:
        raise StoreUnavailable(f"{server.label} does not answer: {error}") from error
    finally:
        connection.close()
    if not isinstance(reply, bytes):
        raise StoreUnavailable(f"{server.label} does not tell about itself: {reply}")
    facts = read_information(reply.decode("utf-8", "replace"))
    return ForeignStatus(
        running=True,
        url=server.label,
        version=facts.get("valkey_version") or facts.get("redis_version"),
        clients=int(facts.get("connected_clients", 0)),
        keys=sum(_keys(value) for name, value in facts.items() if name[:2] == "db" and name[2:].isdecimal()),
        memory_bytes=int(facts.get("used_memory", 0)),
    )


def read_information(text: str) -> dict[str, str]:
    """Return the fields of an ``INFO`` reply."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value for name, colon, value in pairs if colon}


def _keys(keyspace: str) -> int:
    fields = dict(part.partition("=")[::2] for part in keyspace.split(","))
    return int(fields.get("keys", 0))
