"""Reading the project's pages, and doing what they say as a reader would: in an empty folder, with a store of its own.

A fenced block says in the HTML comment right above it what is special about it:

- ``file: NAME`` a Python file that the reader saves; it is saved here too, and run;
- ``pytest`` tests; they are run by pytest;
- ``until: TEXT`` commands in a terminal of their own: the next block follows once they have said this;
- ``exit code N`` the last command of the block ends with this code;
- ``not run: REASON`` it is left out.

All other Python blocks of a page are one script, run last. Its ``print(...)  # text`` lines must print that text.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).parents[2]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
PATIENCE = 45
"""Seconds for a command; far more than any takes."""

_FENCE = re.compile(r"```(\w*)\s*$")
_COMMENT = re.compile(r"<!--\s*(.*?)\s*-->$")
_PROMISE = re.compile(r"print\(.*\)  # (.+)$")

_VARIABLE = {
    r"\d+m \d\ds|\d+h \d\dm|\d+ ms|\d+\.\d s|\b\d+s\b": r"(?:\d+ ms|[\d.]+ ?s|\d+m \d\ds|\d+h \d\dm)",
    r"embedded \([^)]*\)": r"embedded \(.*\)",
    r"\b\d{4,}\b": r"\d+",
    r"laptop": r"\S+",
    r"…": r".*",
}
"""What differs from run to run: times, where the store is, pids, the host, and what a page leaves out."""


class Block(NamedTuple):
    """A fenced block: its language, its text, the line where that begins, and the comment above it."""

    language: str
    text: str
    line: int
    mark: str

    @property
    def is_run(self) -> bool:
        return self.language in ("python", "console") and not self.mark.startswith("not run:")

    def argument(self, kind: str) -> str | None:
        """What the comment says after ``kind``, if it is of this kind."""
        head, _, rest = self.mark.partition(kind)
        return rest.strip() if not head and self.mark else None


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    lines = page.read_text(encoding="utf-8").splitlines()
    mark, start, language = "", None, ""
    for number, line in enumerate(lines, start=1):
        if start is not None:
            if line.strip() == "```":
                yield Block(language, "\n".join(lines[start : number - 1]) + "\n", start + 1, mark)
                mark, start = "", None
        elif fence := _FENCE.match(line):
            language, start = fence[1], number
        elif line.strip():
            comment = _COMMENT.match(line.strip())
            mark = comment[1] if comment else ""


class Command(NamedTuple):
    """A command of a console block and the lines that it is said to print."""

    text: str
    expected: list[str]


def commands(block: Block) -> list[Command]:
    """Return the commands of a console block; a backslash continues one."""
    found: list[Command] = []
    for line in block.text.replace("\\\n", "").splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:], []))
        elif line.strip():
            assert found, f"line {block.line}: output without a command"
            found[-1].expected.append(line)
    return found


def missing_line(expected: list[str], actual: list[str]) -> str | None:
    """Return the first expected line that does not come, in this order, among the actual ones."""
    left = iter(" ".join(line.split()) for line in actual)
    for line in expected:
        wanted = _pattern(line)
        if not any(wanted.fullmatch(each) for each in left):
            return line
    return None


def _pattern(line: str) -> re.Pattern[str]:
    text = " ".join(line.split())
    found = re.compile("|".join(f"({variable})" for variable in _VARIABLE))
    pattern, end = "", 0
    for match in found.finditer(text):
        assert match.lastindex is not None
        pattern += re.escape(text[end : match.start()]) + list(_VARIABLE.values())[match.lastindex - 1]
        end = match.end()
    return re.compile(pattern + re.escape(text[end:]))


class Terminal:
    """A command whose output is read as it comes."""

    def __init__(self, command: Command, folder: Path) -> None:
        self.command = command
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", command.text],
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()

    def wait_for(self, text: str) -> None:
        """Block until a line with ``text`` was printed."""
        with self._changed:
            said = self._changed.wait_for(lambda: any(text in line for line in self.lines), PATIENCE)
        assert said, f"{self.command.text} did not say {text!r}: {self.lines}"

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def end(self, code: int = 0) -> None:
        """Block until the command has ended; it must have printed what the page says."""
        try:
            ended = self._process.wait(PATIENCE)
        finally:
            self.close()
        output = "\n".join(self.lines)
        assert ended == code, f"{self.command.text} ended with {ended}:\n{output}"
        missing = missing_line(self.command.expected, self.lines)
        assert missing is None, f"{self.command.text} did not print {missing!r} but:\n{output}"

    def close(self) -> None:
        """Kill what is left of it, also of what it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


def environment() -> dict[str, str]:
    """Return what a reader has who installed the package: ``python`` finds it."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"}


def script(page: Path) -> str:
    """Return the page's unmarked Python blocks as one script, each at its own line, so that tracebacks lead there."""
    lines: list[str] = []
    for block in blocks(page):
        if block.language == "python" and not block.mark:
            lines += [""] * (block.line - 1 - len(lines)) + block.text.splitlines()
    return "\n".join(lines) + "\n"


def promises(source: str) -> list[str]:
    """Return what the script says that it prints."""
    return [match[1] for line in source.splitlines() if (match := _PROMISE.search(line))]
