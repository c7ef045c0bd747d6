"""``attune-dsl store``: the embedded server by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cli_support import Cli, cli  # noqa: F401 (a fixture)

if TYPE_CHECKING:
    from conftest import Servers

IDLE = """
    from attune_dsl import Signals, workflow

    @workflow(coordination=True)
    def idle(signals: Signals):
        print("waiting", flush=True)
        signals.wait("never", timeout=60)
"""


@pytest.fixture(params=["store", "memory"])
def group(request: pytest.FixtureRequest) -> str:
    """The command and its hidden alias."""
    name: str = request.param
    return name


def test_start_keeps_it_up_until_stop(cli: Cli, group: str) -> None:  # noqa: F811
    assert cli(group, "status", "--json").json["running"] is False
    started = cli(group, "start", "--json")
    try:
        assert (started.code, started.json["running"], started.json["kept"]) == (0, True, True)
        assert started.json["users"] == []
        assert cli(group, "status", "--json").json["pid"] == started.json["pid"]
    finally:
        stopped = cli(group, "stop", "--json")
    assert (stopped.code, stopped.json["running"]) == (0, False)


def test_status_is_for_people(cli: Cli) -> None:  # noqa: F811
    cli("store", "start")
    try:
        ended = cli("store", "status")
    finally:
        cli("store", "stop")
    lines = dict(line.split(maxsplit=1) for line in ended.out.splitlines())
    assert list(lines) == ["store", "state", "version", "url", "files", "users", "keys", "memory", "disk"]
    assert lines["state"].endswith("stays up without users")
    assert lines["users"] == "none"
    assert lines["memory"].endswith("iB")


def test_stop_refuses_while_it_is_used_and_names_the_user(cli: Cli) -> None:  # noqa: F811
    cli.write("idle.py", IDLE)
    with cli.start("run", "idle") as running:
        running.says("waiting")
        assert f"1 process (pid {running.pid})" in cli("store", "status").out
        refused = cli("store", "stop")
        assert (refused.code, refused.out) == (1, "")
        assert f"pid {running.pid}" in refused.error
        assert cli("store", "stop", "--force").code == 0
        ended = running.end()
    assert (ended.code, ended.error[:9]) == (0, "degraded:")


def test_stop_without_a_server_says_so(cli: Cli) -> None:  # noqa: F811
    ended = cli("store", "stop")
    assert (ended.code, ended.err) == (0, "the embedded store was not running\n")


@pytest.mark.parametrize("verb", ["start", "stop"])
def test_another_store_is_not_ours_to_start_or_stop(cli: Cli, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("ATTUNE_STORE_URL", "redis://:secret@example.org")
    ended = cli("store", verb)
    assert (ended.code, ended.out) == (2, "")
    assert ended.error.startswith("error: ATTUNE_STORE_URL names redis://")
    assert "secret" not in ended.err
    assert ended.error.endswith(f"attune-dsl store {verb} --store embedded://")


def test_status_of_another_store(cli: Cli, servers: Servers) -> None:  # noqa: F811
    store = servers.store("embedded")
    ended = cli("store", "status", "--json", "--store", store.address)
    assert ended.code == 0
    assert (ended.json["running"], ended.json["url"]) == (True, store.address)
    assert ended.json["version"][0].isdigit()
    lines = [line.split()[0] for line in cli("store", "status", "--store", store.address).out.splitlines()]
    assert lines == ["store", "version", "clients", "keys", "memory"]


def test_a_store_inside_a_process_cannot_be_looked_at(cli: Cli) -> None:  # noqa: F811
    ended = cli("store", "status", "--store", "memory://")
    assert (ended.code, ended.out) == (2, "")
