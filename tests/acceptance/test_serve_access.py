"""A real server lets nobody in who has not the token, or comes from a page of somebody else's."""

from __future__ import annotations

import socket

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx")

from cli_support import cli  # noqa: F401 (a fixture)
from serve_support import PATIENCE, TOKEN, Scene, bearer, scene  # noqa: F401 (a fixture)
from waiting import wait_until
from websockets.exceptions import InvalidStatus

embedded_only = pytest.mark.parametrize("store", ["embedded"], indirect=True)


def refused(scene: Scene, **options: object) -> int:  # noqa: F811
    """Return with which status a handshake is refused."""
    with pytest.raises(InvalidStatus) as raised:
        scene.serving.socket(**options)
    return raised.value.response.status_code


@embedded_only
def test_nothing_is_told_without_the_token(scene: Scene) -> None:  # noqa: F811
    """On loopback, too, and in every way in which something can be asked."""
    visitor = scene.serving.visitor()
    paths = ["/", "/api/events", "/api/runs", "/api/agents", "/healthz", "/metrics", "/sse/events", "/static/live.js"]
    assert [visitor.get(path).status_code for path in paths] == [401] * len(paths)
    wrong = {"Authorization": f"Bearer {TOKEN[:-1]}"}
    assert [visitor.get(path, headers=wrong).status_code for path in paths] == [401] * len(paths)
    assert [refused(scene, headers=headers) for headers in ({}, wrong)] == [401, 401]

    assert [scene.serving.http.get(path).status_code for path in paths if path != "/sse/events"] == [200] * 7
    scene.serving.socket().until("live")


@embedded_only
def test_those_who_are_refused_do_not_fill_the_terminal(scene: Scene) -> None:  # noqa: F811
    """Anybody can knock, and that is no error of the program."""
    running = scene.serving.running
    assert refused(scene, headers={}) == 401
    assert refused(scene, origin="http://evil.example") == 403
    assert refused(scene, query="?after=never") == 400
    running.interrupt()
    assert running.end().err == ""


@embedded_only
def test_pages_of_others_are_refused(scene: Scene) -> None:  # noqa: F811
    """A browser sends the cookie of a host to all its ports, and lets any page open sockets; so the origin counts."""
    serving = scene.serving
    browser = serving.visitor()
    browser.get(serving.login)
    cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}
    for origin in ("http://evil.example", "http://127.0.0.1:1", "null"):
        assert refused(scene, headers=cookie, origin=origin) == 403
        assert refused(scene, headers=bearer(), origin=origin) == 403
        assert browser.get("/api/events", headers={"Origin": origin}).status_code == 403
    assert refused(scene, headers=cookie) == 401, "a browser says where a page is from"
    scene.serving.socket(headers=cookie, origin=serving.url).until("live")
    assert browser.get("/", headers={"Host": "evil.example"}).status_code == 421


@embedded_only
def test_the_login_link_works_once(scene: Scene) -> None:  # noqa: F811
    """It leads to the page with a cookie that no script sees and no other site sends along."""
    browser, other = scene.serving.visitor(), scene.serving.visitor()
    answer = browser.get(scene.serving.login)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    flags = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= flags
    assert browser.get("/").status_code == 200
    assert f"<bdi>{scene.store.namespace}</bdi>" in browser.get("/").text
    assert other.get(scene.serving.login).status_code == 403
    assert other.get("/").status_code == 401
    assert "server" not in answer.headers


@embedded_only
def test_what_is_no_request_stops_nobody(scene: Scene) -> None:  # noqa: F811
    """§5.12: noise, halves of requests and endless headers; afterwards it serves as before."""
    noise = [b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n", b"GET /" + b"a" * 100_000, b"\r\n\r\n" * 100]
    for bytes_sent in noise:
        with socket.create_connection(("127.0.0.1", scene.serving.port)) as connection:
            connection.sendall(bytes_sent)
    listener = scene.serving.socket()
    listener.until("live")
    for _ in range(150):
        listener.connection.send("hello")
    assert listener.until_closed() == (1008, "this socket takes no messages")
    assert scene.serving.http.get("/healthz").json()["status"] == "ok"


@embedded_only
def test_metrics_parse_and_name_nobody(scene: Scene) -> None:  # noqa: F811
    from prometheus_client.parser import text_string_to_metric_families

    scene.tell(5)

    def counted() -> str:
        """The figures, once all is counted: where the machine is busy, an answer comes before that, and without."""
        text = scene.serving.http.get("/metrics").text
        return text if "attune_emits_total{" in text and "attune_store_up 1" in text else ""

    text = wait_until(counted, PATIENCE)
    families = list(text_string_to_metric_families(text))
    labels = {name for family in families for sample in family.samples for name in sample.labels}
    values = {sample.name: sample.value for family in families for sample in family.samples}
    assert labels <= {"status", "workflow", "stage", "type", "outcome", "direction", "kind", "le"}
    assert (values["attune_store_up"], values["attune_emits_total"]) == (1, 5)
    assert "release" not in text, "the agent of these events"
