"""Running the command line on a terminal of its own."""

from __future__ import annotations

import codecs
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Self

import pytest
from cli_support import PROJECT, Cli

pty = pytest.importorskip("pty")
termios = pytest.importorskip("termios")


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, cli: Cli, columns: int, *arguments: str, pipe: bool = False, kind: str = "xterm") -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, columns))
        inherited = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "attune_dsl", *arguments],
            cwd=cli.folder,
            env=inherited | {"PYTHONPATH": str(PROJECT), "TERM": kind, "PYTHONIOENCODING": "utf-8"},
            stdin=slave,
            stdout=subprocess.PIPE if pipe else slave,
            stderr=slave,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 (no threads here)
        )
        os.close(slave)
        self.seen = ""
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        os.close(self._master)

    def until(self, text: str | None) -> str:
        """Read until the terminal has shown ``text``, or (``None``) until the command has ended."""
        with suppress(OSError):  # a terminal whose last user has left gives an error
            while text is None or text not in self.seen:
                self.seen += self._decode(os.read(self._master, 65536))
        assert text is None or text in self.seen, self.seen
        return self.seen


def on_terminal(cli: Cli, columns: int, *arguments: str, pipe: bool = False, kind: str = "xterm") -> tuple[str, str]:
    """Run a command to its end; return what the terminal showed, and what went into the pipe as standard output."""
    with Terminal(cli, columns, *arguments, pipe=pipe, kind=kind) as terminal:
        seen = terminal.until(None)
        return seen, terminal.process.stdout.read().decode() if terminal.process.stdout else ""


def plain(text: str) -> list[str]:
    """The lines without colours and movements of the cursor."""
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n").split("\n")]
