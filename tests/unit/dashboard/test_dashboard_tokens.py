"""Tokens: made, read, and refused where they would protect nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("starlette")

from attune_dsl.dashboard.tokens import SHORTEST, checked, from_environment, from_file, new_token
from attune_dsl.exceptions import StoreConfigError

TOKEN = "a-token-of-24-characters"


def written(folder: Path, content: str | bytes, mode: int = 0o600) -> Path:
    path = folder / "token"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


def test_a_new_token_may_be_used_and_is_another_each_time() -> None:
    made = {new_token() for _ in range(100)}

    assert len(made) == 100
    assert {checked(token, "here") for token in made} == made


def test_a_file_is_read_without_white_space_around(tmp_path: Path) -> None:
    assert from_file(written(tmp_path, f"  {TOKEN}\n")) == TOKEN


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("x" * (SHORTEST - 1), "is too short: it needs at least 16 characters"),
        ("", "is too short: it needs at least 16 characters"),
        ("two words of 24 letters.", "may have only printable ASCII characters, and no spaces"),
        ("tökén-of-24-characters--", "may have only printable ASCII characters, and no spaces"),
        ("control\x07of-24-characters", "may have only printable ASCII characters, and no spaces"),
        (b"\xff" * 24, "cannot be read: it is no text"),
    ],
)
def test_what_protects_nothing_is_refused_and_not_shown(tmp_path: Path, content: str | bytes, problem: str) -> None:
    path = written(tmp_path, content)

    with pytest.raises(StoreConfigError) as raised:
        from_file(path)

    said = str(raised.value)
    assert said.endswith(problem)
    assert str(path) in said
    assert not content or str(content) not in said


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path, TOKEN, mode)

    with pytest.raises(StoreConfigError) as raised:
        from_file(path)

    assert str(raised.value) == f"others may read the token file {path}: chmod 600 {path}"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none"

    with pytest.raises(StoreConfigError) as raised:
        from_file(path)

    assert str(raised.value) == f"the token file {path} cannot be read: No such file or directory"


def test_the_environment_may_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert from_environment() is None
    monkeypatch.setenv("ATTUNE_TOKEN", TOKEN)
    assert from_environment() == TOKEN
    monkeypatch.setenv("ATTUNE_TOKEN", "short")
    with pytest.raises(StoreConfigError, match="the token from ATTUNE_TOKEN is too short"):
        from_environment()
