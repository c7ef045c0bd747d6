"""Who may come in: the token or the cookie, by a name of this machine, and from no page of somebody else's."""

from __future__ import annotations

import hmac
from typing import Any

import pytest

pytest.importorskip("starlette")

from attune_dsl.dashboard.auth import Access, Refusal

TOKEN = "a-token-of-24-characters"
HOST = "127.0.0.1:8765"
HERE = f"http://{HOST}"
BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def access() -> Access:
    return Access(TOKEN)


def scope(path: str = "/api/events", kind: str = "http", *, host: str | None = HOST, **headers: str) -> dict[str, Any]:
    given = ({"host": host} if host is not None else {}) | headers
    return {"type": kind, "path": path, "headers": [(name.encode(), text.encode()) for name, text in given.items()]}


def status(refusal: Refusal | None) -> int | None:
    return None if refusal is None else refusal.status


def cookie(access: Access) -> dict[str, str]:
    return {"cookie": f"{access.cookie_name}={access.cookie_value}"}


@pytest.mark.parametrize("path", ["/", "/api/events", "/ws/events", "/sse/events", "/static/live.js", "/metrics", "/x"])
def test_nothing_works_without_the_token(access: Access, path: str) -> None:
    """Every path needs it, also those that do not exist, also on loopback."""
    assert status(access.refusal(scope(path))) == 401
    assert access.refusal(scope(path, **BEARER)) is None
    assert access.refusal(scope(path, **cookie(access))) is None


def test_the_login_works_without_it_and_is_no_socket(access: Access) -> None:
    assert access.refusal(scope("/login")) is None
    assert status(access.refusal(scope("/login", "websocket"))) == 401
    assert status(access.refusal(scope("/login/"))) == 401


def test_the_login_is_found_where_the_application_is_mounted(access: Access) -> None:
    mounted = scope("/attune/login") | {"root_path": "/attune"}
    assert access.refusal(mounted) is None
    assert status(access.refusal(scope("/attune/login"))) == 401


@pytest.mark.parametrize(
    "given",
    [
        "", "Bearer", "Bearer ", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", f"Bearer {TOKEN.upper()}",
        f"Bearer\t{TOKEN}", f"Basic {TOKEN}", TOKEN,
    ],
)  # fmt: skip
def test_what_is_not_quite_the_token_is_refused(access: Access, given: str) -> None:
    assert status(access.refusal(scope(authorization=given))) == 401


def test_the_scheme_of_the_header_has_no_case(access: Access) -> None:
    assert access.refusal(scope(authorization=f"bearer  {TOKEN}")) is None


def test_the_token_in_a_query_is_none(access: Access) -> None:
    """Addresses are logged and shared."""
    asked = scope() | {"query_string": f"token={TOKEN}".encode()}
    assert status(access.refusal(asked)) == 401


def test_secrets_are_compared_in_constant_time(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    code = access.new_code()
    access.refusal(scope(authorization="Bearer wrong"))
    access.refusal(scope(cookie=f"{access.cookie_name}=wrong"))
    access.redeem("wrong")

    secrets = {TOKEN.encode(), access.cookie_value.encode(), code.encode()}
    assert {other for one, other in compared if one == b"wrong"} == secrets


def test_the_cookie_does_not_give_the_token_away(access: Access) -> None:
    assert TOKEN not in access.cookie_value
    other = Access(TOKEN + "x")
    assert other.cookie_name != access.cookie_name
    assert status(other.refusal(scope(**cookie(access)))) == 401


def test_a_cookie_is_found_among_those_of_others(access: Access) -> None:
    """All servers of a host share one set of cookies, and some write what no standard knows."""
    among = f'_xsrf=2|a"b; {access.cookie_name}={access.cookie_value}; bad cookie; x={{"a": 1}}'
    assert access.refusal(scope(cookie=among)) is None


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://127.0.0.1:9999", "http://127.0.0.1", "null", "", "http://[", "file://"]
)
def test_other_pages_are_refused_with_cookie_or_token(access: Access, kind: str, origin: str) -> None:
    for proof in (cookie(access), BEARER, {}):
        assert status(access.refusal(scope("/ws/events", kind, origin=origin, **proof))) == 403


def test_a_socket_with_a_cookie_says_its_origin(access: Access) -> None:
    """Only browsers send the cookie, and they say where a page is from; programs use the token."""
    socket = ("/ws/events", "websocket")
    assert status(access.refusal(scope(*socket, **cookie(access)))) == 401
    assert access.refusal(scope(*socket, origin=HERE, **cookie(access))) is None
    assert access.refusal(scope(*socket, **BEARER)) is None


@pytest.mark.parametrize("host", ["localhost:8765", "127.0.0.1", "[::1]:8765", "LOCALHOST.:1"])
def test_names_of_this_machine_are_known(access: Access, host: str) -> None:
    assert access.refusal(scope(host=host, **BEARER)) is None


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "", "[::1", "localhost.evil.example", None])
def test_other_names_are_refused(access: Access, host: str | None) -> None:
    """A name of somebody else's that leads to this machine makes a browser take his page for ours."""
    assert status(access.refusal(scope(host=host, **BEARER))) == 421


def test_two_hosts_are_refused(access: Access) -> None:
    asked = scope(**BEARER)
    asked["headers"].append((b"host", b"localhost"))
    assert status(access.refusal(asked)) == 421


def test_any_name_is_known_if_that_was_asked_for() -> None:
    anywhere = Access(TOKEN, hosts=None)
    assert anywhere.refusal(scope(host="build.example", **BEARER)) is None
    assert status(anywhere.refusal(scope(host="build.example", origin="http://evil.example", **BEARER))) == 403


def test_a_login_code_works_once(access: Access) -> None:
    assert access.redeem("") is False
    code = access.new_code()
    assert access.redeem(code + "x") is False
    assert access.redeem(code) is True
    assert access.redeem(code) is False
    assert access.redeem("") is False


def test_a_new_code_makes_the_one_before_void(access: Access) -> None:
    first, second = access.new_code(), access.new_code()
    assert [access.redeem(first), access.redeem(second)] == [False, True]
