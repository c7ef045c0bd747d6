"""Every snippet and every command of the README and the documents works, and prints what the page says."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from documents import PAGES, PROJECT, Block, Command, Terminal, blocks, commands, missing_line, promises, script

CONFTEST = """
def pytest_configure(config):
    if not config.pluginmanager.has_plugin("attune_dsl"):  # the package is not installed but on the path
        from attune_dsl.testing import plugin

        config.pluginmanager.register(plugin, "attune_dsl")
"""


class Reader:
    """Does what a page says, in a folder of its own."""

    def __init__(self, page: Path, folder: Path) -> None:
        self.page = page
        self.folder = folder
        (folder / "examples").symlink_to(PROJECT / "examples")
        (folder / "conftest.py").write_text(CONFTEST)

    def follow(self) -> None:
        with ExitStack() as stack:
            background: list[Terminal] = []
            for block in blocks(self.page):
                if not block.is_run:
                    continue
                if (name := block.argument("file:")) is not None:
                    self._save(name, block)
                elif block.mark == "pytest":
                    self._save("test_page.py", block)
                    self._run(f"{sys.executable} -m pytest -q -p no:cacheprovider test_page.py")
                elif (text := block.argument("until:")) is not None:
                    background.append(self._background(block, text, stack))
                elif block.language == "console":
                    self._type(block)
            for terminal in background:
                terminal.end()
            self._run_script()

    def _save(self, name: str, block: Block) -> None:
        (self.folder / name).write_text(block.text)
        self._run(f"{sys.executable} {name}")

    def _background(self, block: Block, text: str, stack: ExitStack) -> Terminal:
        (command,) = commands(block)
        terminal = Terminal(command, self.folder)
        stack.callback(terminal.close)
        terminal.wait_for(text)
        return terminal

    def _type(self, block: Block) -> None:
        *others, last = commands(block)
        for command in others:
            Terminal(command, self.folder).end()
        Terminal(last, self.folder).end(int(block.argument("exit code") or 0))

    def _run(self, command: str, expected: list[str] | None = None) -> None:
        Terminal(Command(command, expected or []), self.folder).end()

    def _run_script(self) -> None:
        source = script(self.page)
        if source.strip():
            name = f"{self.page.stem.lower().replace('-', '_')}_page.py"
            (self.folder / name).write_text(source)
            self._run(f"{sys.executable} {name}", promises(source))


@pytest.mark.timeout(300)  # some dozens of commands, one after the other
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_what_the_page_says_works(page: Path, tmp_path: Path) -> None:
    Reader(page, tmp_path).follow()


def test_what_is_left_out_is_little_and_has_a_reason() -> None:
    left_out = [block.mark for page in PAGES for block in blocks(page) if block.mark.startswith("not run:")]
    assert all(len(mark) > len("not run: ") for mark in left_out)
    assert len(left_out) <= 6


def test_every_mark_is_known() -> None:
    kinds = ("file:", "pytest", "until:", "exit code", "not run:")
    unknown = [
        f"{page.name}:{block.line}: {block.mark}"
        for page in PAGES
        for block in blocks(page)
        if block.mark and not block.mark.startswith(kinds)
    ]
    assert unknown == []


def test_these_tests_can_fail(tmp_path: Path) -> None:
    """Output that differs, a wrong exit code and a wrong value in a script are noticed."""
    assert missing_line(["one 12 ms", "three"], ["one 3.1 s", "two", "three"]) is None
    assert missing_line(["three", "one"], ["one", "three"]) == "one"
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1 + 1)  # 3\n```\n")
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(AssertionError, match="did not print '3'"):
        Reader(page, folder).follow()
    with pytest.raises(AssertionError, match="ended with 1"):
        Terminal(Command("false", []), folder).end()
