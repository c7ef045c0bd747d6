"""Files that say which processes use the embedded server, and their locks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fcntl")

from attune_dsl.store import flock, users

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "users").mkdir()
    yield tmp_path / "users"
    users._uses.pop(tmp_path / "users", None)


def in_child(action: object) -> int:
    """Run ``action`` in a forked child and return its exit code: 0 if it returned true."""
    pid = os.fork()
    if pid == 0:
        os._exit(0 if action() else 1)  # type: ignore[operator]
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_one_file_for_all_users_in_a_process(folder: Path) -> None:
    first, second = users.acquire(folder), users.acquire(folder)

    assert first is second
    assert users.everybody(folder) == (os.getpid(),)
    assert users.others(folder) == ()
    assert users.release(folder, first) is False
    assert users.everybody(folder) == (os.getpid(),)
    assert users.release(folder, second) is True
    assert list(folder.iterdir()) == []


def test_releasing_too_often_does_nothing(folder: Path) -> None:
    use = users.acquire(folder)
    users.release(folder, use)

    assert users.release(folder, use) is False


def test_a_file_without_a_lock_is_no_user_and_is_swept(folder: Path) -> None:
    use = users.acquire(folder)
    (folder / "4242-crashed").write_text("")

    assert users.everybody(folder) == (os.getpid(),)
    users.sweep(folder)

    assert list(folder.iterdir()) == [use.path]
    users.release(folder, use)


def test_files_that_are_not_ours_do_not_count(folder: Path) -> None:
    (folder / "notes.txt").write_text("")

    with flock.exclusive(folder / "notes.txt", 1):
        assert users.everybody(folder) == ()


def test_no_folder_means_no_users(tmp_path: Path) -> None:
    assert users.everybody(tmp_path / "nothing") == ()


def test_a_forked_child_never_releases_its_parents_use(folder: Path) -> None:
    use = users.acquire(folder)

    assert in_child(lambda: users.release(folder, use) is False) == 0
    assert in_child(lambda: not users.is_current(folder, use)) == 0

    assert users.everybody(folder) == (os.getpid(),)
    users.release(folder, use)


def test_a_forked_child_does_not_prolong_its_parents_use(folder: Path) -> None:
    use = users.acquire(folder)
    ready, go = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(ready[1], b".")
        os.read(go[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    os.close(use.descriptor)

    alive = users.everybody(folder)

    os.write(go[1], b".")
    os.waitpid(pid, 0)
    for descriptor in (*ready, *go):
        os.close(descriptor)
    assert alive == ()


def test_a_childs_own_use_counts_apart(folder: Path) -> None:
    use = users.acquire(folder)

    def join() -> bool:
        own = users.acquire(folder)
        both = sorted([os.getppid(), os.getpid()])
        seen = users.everybody(folder) == tuple(both) and users.others(folder) == (os.getppid(),)
        return seen and users.release(folder, own)

    assert in_child(join) == 0
    users.release(folder, use)


def test_a_lock_that_is_not_free_in_time_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lock"

    with (
        flock.exclusive(path, 1),
        pytest.raises(TimeoutError, match="held by another"),
        flock.exclusive(path, 0),
    ):
        pass
    with flock.exclusive(path, 0):
        assert flock.is_held(path)
    assert not flock.is_held(path)


def test_two_probes_do_not_take_each_other_for_a_holder(tmp_path: Path) -> None:
    import fcntl

    path = tmp_path / "lock"
    path.touch()
    with path.open() as probing:
        fcntl.flock(probing, fcntl.LOCK_SH)

        assert not flock.is_held(path)
