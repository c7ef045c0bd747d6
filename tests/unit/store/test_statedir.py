"""Where the embedded server's files and its socket are, and whom they are safe from."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from attune_dsl.exceptions import StoreUnavailable
from attune_dsl.store.statedir import MAX_SOCKET_PATH, StateDir

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the embedded server needs a POSIX system")


@pytest.fixture
def long_home(tmp_path: Path) -> Path:
    return tmp_path / ("x" * 120)


def test_the_folder_is_its_owners_alone(tmp_path: Path) -> None:
    directory = StateDir(tmp_path / "home")
    directory.prepare()
    assert directory.root.stat().st_mode & 0o777 == 0o700

    directory.root.chmod(0o755)
    directory.prepare()
    assert directory.root.stat().st_mode & 0o777 == 0o700


def test_a_short_path_keeps_the_socket_in_the_folder(tmp_path: Path) -> None:
    home = Path(os.path.relpath(tmp_path)) if len(str(tmp_path)) > 80 else tmp_path

    assert StateDir(home).new_socket() == str(home / "store" / "sock")


def test_a_long_path_gets_a_short_private_socket_folder(
    long_home: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    directory = StateDir(long_home)

    path = directory.new_socket()
    directory.make_socket_folder(path)

    assert len(os.fsencode(path)) <= MAX_SOCKET_PATH
    assert Path(path).parent.stat().st_mode & 0o777 == 0o700
    with socket.socket(socket.AF_UNIX) as link:
        link.bind(path)
    Path(path).unlink()
    Path(path).parent.rmdir()


def test_the_runtime_folder_is_preferred_where_there_is_one(long_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Path("/tmp/attune-test-runtime")
    runtime.mkdir(mode=0o700, exist_ok=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))

    path = Path(StateDir(long_home).new_socket())

    assert path.parent.parent == runtime / "attune"
    runtime.rmdir()


def test_two_homes_get_two_sockets(tmp_path: Path) -> None:
    one, other = (StateDir(tmp_path / (letter * 120)).new_socket() for letter in "ab")

    assert one != other


def test_a_folder_that_somebody_planted_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who owns the folder of the socket can put another server there."""
    home = tmp_path / "home"
    directory = StateDir(home)
    directory.prepare()
    monkeypatch.setattr(os, "getuid", lambda: 12345)

    with pytest.raises(StoreUnavailable, match="belongs to another user"):
        directory.prepare()
    with pytest.raises(StoreUnavailable, match="belongs to another user"):
        directory.make_socket_folder(str(home / "store" / "users" / "sock"))


def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (home / "store").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(StoreUnavailable, match="is not a folder"):
        StateDir(home).prepare()


def test_a_home_that_is_a_file_says_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")

    with pytest.raises(StoreUnavailable, match="set ATTUNE_HOME"):
        StateDir(tmp_path / "home").prepare()


@pytest.mark.parametrize("content", [None, "", "{", "[1]", '{"socket": 5}'])
def test_an_unreadable_record_is_as_good_as_none(tmp_path: Path, content: str | None) -> None:
    directory = StateDir(tmp_path)
    directory.prepare()
    if content is not None:
        directory.record.write_text(content)

    assert directory.socket == directory.new_socket()


def test_the_socket_of_a_running_server_comes_from_its_record(tmp_path: Path) -> None:
    """Two sessions of one user may see different runtime folders; the one who started the server decides."""
    directory = StateDir(tmp_path)
    directory.prepare()

    directory.write_record(socket="/run/other/sock")

    assert directory.socket == "/run/other/sock"
