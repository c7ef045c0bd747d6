"""``attune-dsl serve`` as a command: what it prints, what it refuses, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx")

import httpx
from cli_support import PROJECT, Cli, cli  # noqa: F401 (a fixture)
from serve_support import TOKEN, Serving

if TYPE_CHECKING:
    from conftest import Store

embedded_only = pytest.mark.parametrize("store", ["embedded"], indirect=True)


def options(store: Store) -> tuple[str, ...]:
    return ("--store", store.address, "--namespace", store.namespace)


@embedded_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_a_login_link_and_ends_when_asked_to(cli: Cli, store: Store, number: signal.Signals) -> None:  # noqa: F811
    """The link alone is on standard output; what the user has to know is beside it."""
    with cli.start("serve", "--port", "0", *options(store)) as running:
        link = running.says("login")
        found = re.fullmatch(r"http://127\.0\.0\.1:\d+/login\?code=[\w-]{43}", link)
        assert found
        assert httpx.get(link, trust_env=False).status_code == 303
        running.interrupt(number)
        ended = running.end()
    assert ended.code == 0
    assert ended.out == ""
    first, second = ended.err.splitlines()
    assert first.startswith(f"serving the timeline of namespace {store.namespace}, store ")
    assert first.endswith("; Ctrl-C ends")
    assert second == "log in with this link, which works once:"


@embedded_only
def test_without_a_token_it_makes_one_that_nobody_else_has(cli: Cli, store: Store) -> None:  # noqa: F811
    with cli.start("serve", "--port", "0", *options(store)) as running:
        link = running.says("login")
        assert httpx.get(link.partition("login")[0], trust_env=False).status_code == 401


@embedded_only
def test_a_token_from_a_file(cli: Cli, store: Store) -> None:  # noqa: F811
    path = cli.folder / "token"
    path.write_text(f"{TOKEN}-of-a-file\n")
    path.chmod(0o600)
    with Serving(cli, "--port", "0", "--token-file", str(path), *options(store)) as serving:
        given = {"Authorization": f"Bearer {TOKEN}-of-a-file"}
        assert serving.visitor().get("/healthz", headers=given).status_code == 200
        assert serving.http.get("/healthz").status_code == 401, "the file goes before the environment"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "build.example"])
def test_other_hosts_need_a_token_of_the_users(cli: Cli, host: str) -> None:  # noqa: F811
    ended = cli("serve", "--host", host)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        f"error: --host {host} lets others come in; set a token with --token-file or ATTUNE_TOKEN first\n"
    )


@embedded_only
def test_with_a_token_it_listens_everywhere(cli: Cli, store: Store) -> None:  # noqa: F811
    with Serving(cli, "--port", "0", "--host", "0.0.0.0", *options(store)) as serving:
        address = f"http://127.0.0.1:{serving.port}/healthz"
        given = {"Authorization": f"Bearer {TOKEN}", "Host": "build.example"}
        assert httpx.get(address, headers=given, trust_env=False).status_code == 200
        assert httpx.get(address, trust_env=False).status_code == 401


@pytest.mark.parametrize(
    ("content", "mode", "problem"),
    [
        ("short", 0o600, "the token from the file token is too short: it needs at least 16 characters"),
        pytest.param(
            TOKEN, 0o644, "others may read the token file token: chmod 600 token",
            marks=pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's"),
        ),
    ],
)  # fmt: skip
def test_a_token_file_that_protects_nothing(cli: Cli, content: str, mode: int, problem: str) -> None:  # noqa: F811
    cli.write("token", content)
    (cli.folder / "token").chmod(mode)
    ended = cli("serve", "--token-file", "token")
    assert (ended.code, ended.err) == (2, f"error: {problem}\n")


@embedded_only
def test_a_port_that_is_in_use(cli: Cli, store: Store) -> None:  # noqa: F811
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = cli("serve", "--port", str(port), *options(store))
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        f"error: cannot listen on port {port} of 127.0.0.1: it is in use; choose another with --port\n"
    )


def test_a_host_that_is_none(cli: Cli) -> None:  # noqa: F811
    cli.environment["ATTUNE_TOKEN"] = TOKEN
    ended = cli("serve", "--port", "0", "--host", "no-such-host.invalid")
    assert ended.code == 1
    assert ended.err.startswith("error: cannot listen on port 0 of no-such-host.invalid: ")
    assert len(ended.err.splitlines()) == 1


def test_a_store_that_is_away(cli: Cli) -> None:  # noqa: F811
    ended = cli("serve", "--port", "0", "--store", "redis://127.0.0.1:1")
    assert (ended.code, ended.out) == (1, "")
    assert len(ended.err.splitlines()) == 1
    assert ended.err.startswith("error: ")


@pytest.mark.parametrize("package", ["starlette", "uvicorn", "websockets", "prometheus_client"])
def test_packages_that_are_missing_are_named(cli: Cli, package: str) -> None:  # noqa: F811
    missing = cli.folder / "without" / package
    missing.mkdir(parents=True)
    (missing / "__init__.py").write_text(f'raise ModuleNotFoundError("No module named {package!r}", name="{package}")')
    cli.environment["PYTHONPATH"] = f"{missing.parent}{os.pathsep}{PROJECT}"
    ended = cli("serve", "--port", "0")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f'error: serve needs {package}, which is not installed: pip install "attune-dsl[web]"\n'


def test_help_needs_none_of_them() -> None:
    """They take a while to import, and may be missing."""
    source = (
        "import sys\n"
        "from attune_dsl.cli.app import group\n"
        "group.main(['serve', '--help'], standalone_mode=False)\n"
        "group.main(['--help'], standalone_mode=False)\n"
        "print({'starlette', 'uvicorn', 'websockets', 'prometheus_client', 'asyncio'} & {*sys.modules})\n"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.endswith("set()\n")
    assert "Serve the timeline over HTTP, with a page that shows it live." in done.stdout
    assert "--token-file FILE" in done.stdout
