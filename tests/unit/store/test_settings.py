"""What is read from the environment and from pyproject.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from attune_dsl.exceptions import InvalidName, StoreConfigError
from attune_dsl.model import Coordination, Heartbeat
from attune_dsl.store import settings


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with a subfolder to work in."""
    (tmp_path / "src").mkdir()
    monkeypatch.chdir(tmp_path / "src")
    return tmp_path


def test_namespace_is_default_without_any_setting(project: Path) -> None:
    assert settings.namespace_of(None) == "default"


def test_explicit_namespace_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTUNE_NAMESPACE", "from-environment")

    assert settings.namespace_of("mine") == "mine"
    assert settings.namespace_of(None) == "from-environment"


def test_namespace_comes_from_the_nearest_pyproject(project: Path) -> None:
    (project / "pyproject.toml").write_text('[tool.attune_dsl]\nnamespace = "team"\n')

    assert settings.namespace_of(None) == "team"


def test_environment_wins_over_pyproject(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "pyproject.toml").write_text('[tool.attune_dsl]\nnamespace = "team"\n')
    monkeypatch.setenv("ATTUNE_NAMESPACE", "ci")

    assert settings.namespace_of(None) == "ci"


def test_a_nearer_pyproject_without_our_table_hides_a_farther_one(project: Path) -> None:
    (project / "pyproject.toml").write_text('[tool.attune_dsl]\nnamespace = "team"\n')
    (project / "src" / "pyproject.toml").write_text("[project]\nname = 'attune_dsl_user'\n")

    assert settings.namespace_of(None) == "default"


@pytest.mark.parametrize("content", ["[tool.attune_dsl]\nnamespace = 5\n", "[tool.attune_dsl\n"])
def test_an_unusable_pyproject_is_named(project: Path, content: str) -> None:
    (project / "pyproject.toml").write_text(content)

    with pytest.raises(StoreConfigError, match=r"pyproject\.toml"):
        settings.namespace_of(None)


@pytest.mark.parametrize("name", ["", "a{b", "a}b", "new\nline", "x" * 129])
def test_what_cannot_be_a_namespace_is_refused(name: str) -> None:
    with pytest.raises(InvalidName, match="namespace"):
        settings.namespace_of(name)


def test_an_invalid_namespace_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTUNE_NAMESPACE", "{team}")

    with pytest.raises(InvalidName, match="team"):
        settings.namespace_of(None)


def test_home_follows_attune_home_then_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("ATTUNE_HOME", "~/attune")
    assert settings.home() == Path("/home/somebody/attune")

    monkeypatch.delenv("ATTUNE_HOME")
    assert settings.home() == tmp_path / "attune_dsl"

    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/ignored")
    assert settings.home() == Path("/home/somebody/.local/state/attune_dsl")


@pytest.mark.parametrize(
    ("platform", "expected"),
    [("darwin", "/h/Library/Application Support/attune_dsl"), ("win32", "/h/AppData/Local/attune_dsl")],
)
def test_home_on_other_platforms(monkeypatch: pytest.MonkeyPatch, platform: str, expected: str) -> None:
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setenv("HOME", "/h")
    monkeypatch.delenv("ATTUNE_HOME")
    monkeypatch.delenv("LOCALAPPDATA", raising=False)

    assert settings.home() == Path(expected)


def test_home_without_any_home_directory_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("ATTUNE_HOME")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)

    with pytest.raises(StoreConfigError, match="set ATTUNE_HOME"):
        settings.home()


def test_fsync_is_no_or_always(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.fsync() == "no"
    monkeypatch.setenv("ATTUNE_FSYNC", "always")
    assert settings.fsync() == "always"
    monkeypatch.setenv("ATTUNE_FSYNC", "everysec")
    with pytest.raises(StoreConfigError, match="'everysec'"):
        settings.fsync()


def test_heartbeat_off_on_and_as_given() -> None:
    given = Heartbeat(interval=1, ttl=3, stall_after=60)

    assert settings.heartbeat_policy(False) is None
    assert settings.heartbeat_policy(True) == Heartbeat(interval=5, ttl=15)
    assert settings.heartbeat_policy(given) is given


def test_heartbeat_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTUNE_HEARTBEAT_INTERVAL", "2")
    monkeypatch.setenv("ATTUNE_HEARTBEAT_TTL", "7")
    monkeypatch.setenv("ATTUNE_STALL_AFTER", "0.5")

    assert settings.heartbeat_policy(True) == Heartbeat(interval=2.0, ttl=7.0, stall_after=0.5)


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("ATTUNE_HEARTBEAT_TTL", "3", Heartbeat(interval=1, ttl=3)),
        ("ATTUNE_HEARTBEAT_TTL", "60", Heartbeat(interval=5, ttl=60)),
        ("ATTUNE_HEARTBEAT_INTERVAL", "20", Heartbeat(interval=20, ttl=60)),
        ("ATTUNE_HEARTBEAT_INTERVAL", "1", Heartbeat(interval=1, ttl=15)),
    ],
)
def test_interval_and_ttl_follow_each_other(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: Heartbeat
) -> None:
    monkeypatch.setenv(variable, value)

    assert settings.heartbeat_policy(True) == expected


@pytest.mark.parametrize("value", ["soon", "-1", "0", "nan", "inf"])
def test_times_that_cannot_be_are_refused_by_name(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ATTUNE_STALL_AFTER", value)

    with pytest.raises(StoreConfigError, match=r"ATTUNE_STALL_AFTER must be a number of seconds"):
        settings.heartbeat_policy(True)


@pytest.mark.parametrize(
    "policy",
    [Heartbeat(interval=0), Heartbeat(interval=5, ttl=5), Heartbeat(ttl=-1), Heartbeat(stall_after=0)],
)
def test_heartbeats_that_cannot_work_are_refused(policy: Heartbeat) -> None:
    with pytest.raises(StoreConfigError, match="Heartbeat"):
        settings.heartbeat_policy(policy)


def test_coordination_off_on_and_as_given() -> None:
    given = Coordination(ttl=5, required=True)

    assert settings.coordination_policy(False) is None
    assert settings.coordination_policy(True) == Coordination(ttl=60, required=False)
    assert settings.coordination_policy(given) is given


@pytest.mark.parametrize(("text", "required"), [("1", True), ("YES", True), ("off", False), ("", False)])
def test_coordination_from_the_environment(monkeypatch: pytest.MonkeyPatch, text: str, required: bool) -> None:
    monkeypatch.setenv("ATTUNE_COORDINATION_TTL", "10")
    monkeypatch.setenv("ATTUNE_COORDINATION_REQUIRED", text)

    assert settings.coordination_policy(True) == Coordination(ttl=10.0, required=required)


def test_coordination_that_cannot_work_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreConfigError, match="Coordination ttl"):
        settings.coordination_policy(Coordination(ttl=0))
    monkeypatch.setenv("ATTUNE_COORDINATION_REQUIRED", "perhaps")
    with pytest.raises(StoreConfigError, match="'perhaps'"):
        settings.coordination_policy(True)
