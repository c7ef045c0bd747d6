"""``attune-dsl store``: the embedded server, and a look at any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from attune_dsl.cli import formats
from attune_dsl.cli.errors import OK, UsageError
from attune_dsl.cli.options import Common, common_options, require_subcommand, say

if TYPE_CHECKING:
    from attune_dsl.store.embedded import StoreStatus
    from attune_dsl.store.server import Server

_TITLES = 9
"""Cells of the widest title, and a gap."""


@click.group("store", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Look after the embedded server: the store of all your processes where no other is named.

    It starts by itself with the first process that needs it and ends with the last.
    """
    require_subcommand(ctx)


@command.command(short_help="Start it, and keep it up without users.")
@common_options
def start(common: Common) -> int:
    """Start the embedded server and keep it up when its last user leaves."""
    from attune_dsl.store import embedded

    _require_embedded(common.store, "start")
    embedded.start(keep=True)
    status = embedded.status()  # once more, because just now this command itself was a user
    if not common.as_json:
        say("the embedded store is up; it stays up until: attune-dsl store stop")
    _show(status, as_json=common.as_json)
    return OK


@command.command(short_help="Show where it is, who uses it and what it holds.")
@common_options
def status(common: Common) -> int:
    """Show where the store is, its version, who uses it, and how much it holds."""
    from attune_dsl.store import embedded
    from attune_dsl.store.server import open_server

    server = open_server(common.store)
    if server.kind == "embedded":
        _show(embedded.status(), as_json=common.as_json)
    elif server.kind == "memory":
        raise UsageError(f"{server.label} lives inside one process and cannot be looked at from another")
    else:
        _show_foreign(server, as_json=common.as_json)
    return OK


@command.command(short_help="Stop it; what it holds is kept.")
@click.option("--force", is_flag=True, help="Stop it also while processes use it; they go on degraded.")
@common_options
def stop(common: Common, force: bool) -> int:
    """Stop the embedded server. What it holds is kept and there again at the next start."""
    from attune_dsl.store import embedded

    _require_embedded(common.store, "stop")
    was_running = embedded.status().running
    status = embedded.stop(force=force)
    if common.as_json:
        _show(status, as_json=True)
    else:
        say("the embedded store is stopped" if was_running else "the embedded store was not running")
    return OK


def _require_embedded(store: str | None, verb: str) -> None:
    from attune_dsl.store import settings
    from attune_dsl.store.server import open_server

    server = open_server(store)
    if server.kind == "embedded":
        return
    named = "--store names" if store else "ATTUNE_STORE_URL names" if settings.store_url(None) else "the store is"
    raise UsageError(
        f"{named} {server.label}, and this command can only {verb} the embedded store; "
        f"for that one write: attune-dsl store {verb} --store embedded://"
    )


def _show(status: StoreStatus, *, as_json: bool) -> None:
    if as_json:
        _print_json(status)
        return
    lines = {
        "store": "embedded",
        "state": _state(status),
        "version": status.version or "",
        "url": status.url,
        "files": status.data,
        "users": _users(status.users),
    }
    if status.running:
        lines |= {"keys": f"{status.keys:,}", "memory": formats.size(status.memory_bytes)}
    _print_lines(lines | {"disk": formats.size(status.disk_bytes)})


def _users(pids: tuple[int, ...]) -> str:
    if not pids:
        return "none"
    noun = "process" if len(pids) == 1 else "processes"
    return f"{len(pids):,} {noun} (pid {', '.join(map(str, pids))})"


def _state(status: StoreStatus) -> str:
    if not status.running:
        return "not running; the first process that needs it starts it"
    kept = "stays up without users" if status.kept else "ends with its last user"
    return f"running (pid {status.pid}), {kept}"


def _show_foreign(server: Server, *, as_json: bool) -> None:
    from attune_dsl.cli import foreign_store

    status = foreign_store.ask(server)
    if as_json:
        _print_json(status)
        return
    _print_lines(
        {
            "store": status.url,
            "version": status.version or "",
            "clients": f"{status.clients:,}",
            "keys": f"{status.keys:,}",
            "memory": formats.size(status.memory_bytes),
        }
    )


def _print_json(record: object) -> None:
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(record), indent=2))


def _print_lines(lines: dict[str, str]) -> None:
    for title, text in lines.items():
        if text:
            click.echo(f"{click.style(title.ljust(_TITLES), dim=True)}{text}")
