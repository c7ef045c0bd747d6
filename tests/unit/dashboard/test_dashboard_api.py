"""Requests with one answer each: the API, the page and its files, the login."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx")

import httpx
from prometheus_client.parser import text_string_to_metric_families
from telling import tell

from attune_dsl import join
from attune_dsl.dashboard import api, create_app, metrics
from attune_dsl.events import AgentJoin, Emit, RunEnd, RunStart, StageEnd, StageStart
from attune_dsl.exceptions import InvalidName, StoreConfigError, StoreUnavailable

if TYPE_CHECKING:
    from conftest import Store
    from starlette.applications import Starlette

TOKEN = "a-token-of-24-characters"
BASE = "http://127.0.0.1:8765"
memory_only = pytest.mark.parametrize("store", ["memory"], indirect=True)


@pytest.fixture
async def app(store: Store) -> AsyncIterator[Starlette]:
    app = create_app(store.url, store.namespace, token=TOKEN)
    async with app.router.lifespan_context(app):
        yield app


def visitor(app: Starlette) -> httpx.AsyncClient:
    """Somebody who has nothing yet."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=BASE)


@pytest.fixture
async def client(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """A program that has the token."""
    async with visitor(app) as client:
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        yield client


def notes(store: Store, count: int) -> list[str]:
    return [tell(store, "emit", Emit(kind="note", data=number)) for number in range(count)]


def ids(answer: dict[str, Any]) -> list[str]:
    return [event["id"] for event in answer["events"]]


async def test_events_are_read_in_pages(store: Store, client: httpx.AsyncClient) -> None:
    """Each answer says where the next one begins, and whether there is more."""
    told = notes(store, 7)
    first = (await client.get("/api/events", params={"limit": 3})).json()
    second = (await client.get("/api/events", params={"limit": 3, "after": first["last_id"]})).json()
    third = (await client.get("/api/events", params={"limit": 3, "after": second["last_id"]})).json()
    fourth = (await client.get("/api/events", params={"after": third["last_id"]})).json()

    assert [ids(each) for each in (first, second, third, fourth)] == [told[:3], told[3:6], told[6:], []]
    assert [each["more"] for each in (first, second, third, fourth)] == [True, True, False, False]
    assert fourth["last_id"] == told[-1]
    event = first["events"][0]
    assert list(event) == ["id", "kind", "at", "namespace", "agent", "run", "workflow", "stage", "data"]
    assert (event["namespace"], event["kind"], event["data"]) == (store.namespace, "emit", {"kind": "note", "data": 0})


async def test_the_last_events_and_those_before_one(store: Store, client: httpx.AsyncClient) -> None:
    told = notes(store, 5)
    last = (await client.get("/api/events", params={"last": 2})).json()
    before = (await client.get("/api/events", params={"before": told[2], "after": told[0]})).json()
    none = (await client.get("/api/events", params={"last": 0})).json()

    assert last == last | {"more": False, "last_id": told[-1]}
    assert (ids(last), ids(before)) == (told[3:], [told[1]])
    assert none == {"events": [], "last_id": told[-1], "more": False}


async def test_events_are_chosen(store: Store, client: httpx.AsyncClient) -> None:
    notes(store, 2)
    started = tell(store, "stage.started", StageStart(call=1), run="4b1f", agent="release", stage="build")
    ended = tell(store, "stage.ended", StageEnd(call=1, status="completed", duration=0.1), run="4b1f", agent="release")
    tell(store, "stage.started", StageStart(call=1), run="90c2", agent="review")

    stages = {"kinds": "stage", "run": "4b1f"}
    assert ids((await client.get("/api/events", params=stages)).json()) == [started, ended]
    assert ids((await client.get("/api/events", params=stages | {"last": 1})).json()) == [ended]
    one = (await client.get("/api/events", params={"kinds": "stage.started", "agent": "release"})).json()
    assert ids(one) == [started]


@memory_only
async def test_a_timeline_in_which_nothing_happened(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/events")).json() == {"events": [], "last_id": "0", "more": False}
    assert (await client.get("/api/events?last=9")).json() == {"events": [], "last_id": "0", "more": False}
    assert (await client.get("/api/runs")).json() == {"runs": []}
    assert (await client.get("/api/agents")).json() == {"agents": []}


@memory_only
@pytest.mark.parametrize(
    ("asked", "about"),
    [
        ("after=x", "after"),
        ("before=1-2-3", "before"),
        ("limit=-1", "limit"),
        ("limit=10001", "limit"),
        ("limit=1e3", "limit"),
        ("last=99999999999", "last"),
        ("last=5&after=0-1", "last"),
        ("kinds=%3Cb%3E", "kinds"),
        ("agent=%00", "agent"),
    ],
)
async def test_what_cannot_be_meant_is_refused(client: httpx.AsyncClient, asked: str, about: str) -> None:
    answer = await client.get(f"/api/events?{asked}")

    assert answer.status_code == 400
    assert answer.json()["error"].startswith(about)
    assert answer.headers["content-type"] == "application/json"


@memory_only
async def test_a_large_answer_is_made_of_slices(
    store: Store, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "_SLICE", 4)
    told = notes(store, 10)
    assert ids((await client.get("/api/events")).json()) == told


async def test_agents_and_runs(store: Store, client: httpx.AsyncClient) -> None:
    async with join("ops", store.url, store.namespace, metadata={"team": "a"}):
        (agent,) = (await client.get("/api/agents")).json()["agents"]
    tell(store, "agent.joined", AgentJoin(epoch=1), agent="release")
    tell(store, "run.started", RunStart(plan=("build", "test")), agent="release", run="4b1f", workflow="release")
    tell(store, "stage.started", StageStart(call=1), agent="release", run="4b1f", workflow="release", stage="build")
    tell(store, "run.ended", RunEnd(status="failed", duration=2.0, error="E: no"), agent="release", run="4b1f")
    (run,) = (await client.get("/api/runs")).json()["runs"]

    assert agent == agent | {"agent_id": "ops", "status": "starting", "state": "starting", "metadata": {"team": "a"}}
    expected = {
        "run_id": "4b1f",
        "agent_id": "release",
        "status": "failed",
        "duration": 2.0,
        "error": "E: no",
        "total": 2,
    }
    assert run == run | expected


async def test_health_says_whether_the_store_answers(
    store: Store, app: Starlette, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "store": "reachable", "clients": 0})

    async def away() -> None:
        raise StoreUnavailable("it is gone")

    monkeypatch.setattr(app.state.timeline, "stats", away)
    answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (503, {"status": "degraded", "store": "away", "clients": 0})


@memory_only
async def test_questions_without_a_store_have_an_answer(
    app: Starlette, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.11: not a page of an exception."""

    async def away(**_: Any) -> None:
        raise StoreUnavailable("the store cannot be reached")

    monkeypatch.setattr(app.state.timeline, "read", away)
    answer = await client.get("/api/events")
    assert (answer.status_code, answer.json()) == (503, {"error": "the store cannot be reached"})


async def test_metrics_are_text_for_prometheus(
    store: Store, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "MOMENT", 60.0)  # what is left out when the machine is busy is tested elsewhere
    for number in range(3):
        ended = StageEnd(call=1, status="completed", duration=0.5)
        tell(
            store, "stage.ended", ended, run=f"run-{number}", agent=f"agent-{number}", workflow="release", stage="build"
        )
    async with join("ops", store.url, store.namespace):
        answer = await client.get("/metrics")

    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    samples = {
        (one.name, *sorted(one.labels.values())): one.value for each in families.values() for one in each.samples
    }
    assert samples["attune_store_up",] == 1
    assert samples["attune_stage_duration_seconds_count", "build", "completed", "release"] == 3
    assert samples["attune_agents", "starting"] == 1
    assert samples["attune_timeline_events",] >= 3
    assert re.findall(r"run-\d|agent-\d|ops", answer.text) == []


@memory_only
async def test_a_login_link_gives_a_cookie_once(app: Starlette) -> None:
    """The cookie is for this host alone, out of reach of scripts, and not sent along by other sites."""
    code = app.state.access.new_code()
    async with visitor(app) as browser:
        looked = await browser.head("/login", params={"code": code})
        assert (looked.status_code, "set-cookie" in looked.headers) == (200, False), "a look spends no code"
        answer = await browser.get("/login", params={"code": code})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"]
        assert {part.strip().lower() for part in cookie.split(";")[1:]} == {
            "httponly", "samesite=strict", "path=/", "max-age=604800",
        }  # fmt: skip
        assert TOKEN not in cookie
        assert code not in cookie
        assert (await browser.get("/api/events")).status_code == 200
        assert (await browser.get("/login", params={"code": code})).status_code == 303, "it is logged in already"
    async with visitor(app) as other:
        answer = await other.get("/login", params={"code": code})
        assert answer.status_code == 403
        assert "This login link does not work" in answer.text
        assert "set-cookie" not in answer.headers
        assert (await other.get("/api/events")).status_code == 401


@memory_only
async def test_the_cookie_of_a_secure_page_stays_secure(app: Starlette) -> None:
    async with visitor(app) as browser:
        code = app.state.access.new_code()
        answer = await browser.get("https://127.0.0.1:8765/login", params={"code": code})
    assert "secure" in answer.headers["set-cookie"].lower()


@memory_only
async def test_who_has_nothing_is_told_what_is_missing(app: Starlette) -> None:
    """A person gets a page, a program an object."""
    async with visitor(app) as browser:
        page = await browser.get("/", headers={"Accept": "text/html,*/*"})
        answer = await browser.get("/api/events")
    assert (page.status_code, answer.status_code) == (401, 401)
    assert "You are not logged in" in page.text
    assert answer.json() == {
        "error": "this needs the token: Authorization: Bearer TOKEN, or the cookie of the login link"
    }
    assert [each.headers["www-authenticate"] for each in (page, answer)] == ["Bearer", "Bearer"]


@memory_only
@pytest.mark.parametrize("path", ["/", "/static/live.js", "/api/events", "/login", "/nothing", "/metrics"])
async def test_every_answer_says_what_browsers_have_to_heed(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path, headers={"Accept": "text/html"})).headers

    assert headers["content-security-policy"].startswith("default-src 'none'; ")
    assert "unsafe" not in headers["content-security-policy"]
    expected = {
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
        "cache-control": "no-store",
    }
    assert {name: headers[name] for name in expected} == expected


@memory_only
async def test_the_page_and_all_that_it_names(client: httpx.AsyncClient, store: Store) -> None:
    """No script and no style stands in the page, and every file is there, with its type."""
    page = (await client.get("/")).text
    named = re.findall(r'(?:src|href)="([^"]+)"', page)
    scripts = [name for name in named if name.endswith(".js")]
    assert len(named) == 4
    assert store.namespace in page
    assert re.findall(r"<style|style=|<script(?! type=\"module\" src=)|\son\w+=", page) == []
    while scripts:
        text = (await client.get(f"/{scripts[0]}")).text
        imported = [f"static/{name}" for name in re.findall(r'from "\./([\w.]+)"', text)]
        scripts = scripts[1:] + [name for name in imported if name not in named]
        named += [name for name in imported if name not in named]
    answers = {name: await client.get(f"/{name}") for name in named}
    types = {answer.headers["content-type"].partition(";")[0] for answer in answers.values()}
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(named, 200)
    assert types == {"text/css", "text/javascript", "image/svg+xml"}
    assert len(named) == 9


@memory_only
@pytest.mark.parametrize(
    "path", ["/static/index.html", "/static/..%2Fapi.py", "/static/%2Fetc%2Fpasswd", "/static/", "/x"]
)
async def test_other_files_are_not_served(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 404
    assert "error" in answer.json()


@memory_only
async def test_other_methods_change_nothing(client: httpx.AsyncClient) -> None:
    answers = [await client.request(method, "/api/events") for method in ("POST", "PUT", "DELETE", "PATCH")]
    assert [answer.status_code for answer in answers] == [405] * 4


@memory_only
async def test_a_namespace_is_text_on_the_page(store: Store) -> None:
    """§5.12: a name may have any characters but those of control."""
    app = create_app(store.url, "<img src=x onerror=alert(1)>&\"'", token=TOKEN)
    async with app.router.lifespan_context(app), visitor(app) as client:
        page = (await client.get("/", headers={"Authorization": f"Bearer {TOKEN}"})).text
    assert "<img" not in page
    assert "<title>&lt;img src=x onerror=alert(1)&gt;&amp;&quot;&#x27; · attune_dsl</title>" in page


def test_an_application_refuses_what_protects_nothing() -> None:
    with pytest.raises(StoreConfigError, match="the token from create_app is too short"):
        create_app("memory://", token="short")
    with pytest.raises(InvalidName):
        create_app("memory://", "a{b}", token=TOKEN)


def test_an_application_without_a_token_makes_one_or_takes_that_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, other = (create_app("memory://").state.access.cookie_value for _ in range(2))
    assert one != other
    monkeypatch.setenv("ATTUNE_TOKEN", TOKEN)
    named = create_app("memory://").state.access
    assert named.cookie_value == create_app("memory://", token=TOKEN).state.access.cookie_value
