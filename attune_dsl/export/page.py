"""A story as one HTML file that needs nothing else: no network, no server, no installation."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any, Final

import msgspec
from attrs import asdict

from attune_dsl.events import Event
from attune_dsl.export.event_json import event_json
from attune_dsl.export.folding import fold
from attune_dsl.export.rows import rows
from attune_dsl.export.scene import Bar, Scene
from attune_dsl.export.wording import say, short

_SCRIPTS: Final = ("text.js", "model.js", "paint.js", "chart.js", "details.js", "list.js", "main.js")
_HARMLESS: Final = {
    b"<": rb"\u003c", b">": rb"\u003e", b"&": rb"\u0026", "\u2028".encode(): rb"\u2028", "\u2029".encode(): rb"\u2029",
}  # fmt: skip
"""Bytes that mean something to HTML or JavaScript, as JSON also writes them."""


def page(events: Sequence[Event]) -> bytes:
    """Return a page that shows events: lanes of agents, bars for what lasted, arrows for signals, all details.

    The page runs one script, its own: the policy that it brings along names the script's hash and allows nothing else.
    What events say is data to it, and is never read as HTML.
    """
    scene = fold(events)
    parts = _parts() | {"title": html.escape(_title(scene)).encode(), "data": _harmless(_data(scene))}
    first, *rest = _asset("page.html").split(b"{{")
    filled = [first]
    for piece in rest:
        name, _, after = piece.partition(b"}}")
        filled += [parts[name.decode()], after]
    return b"".join(filled)


@cache
def _asset(name: str) -> bytes:
    return (resources.files("attune_dsl.export") / "assets" / name).read_bytes()


@cache
def _parts() -> dict[str, bytes]:
    """What is the same on every page."""
    script = b'"use strict";\n(() => {\n' + b"\n".join(_asset(name) for name in _SCRIPTS) + b"})();\n"
    style = _asset("page.css")
    policy = (
        f"default-src 'none'; script-src {_source(script)}; style-src {_source(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return {"script": script, "style": style, "policy": policy.encode()}


def _source(content: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}'"


def _harmless(data: bytes) -> bytes:
    for raw, escaped in _HARMLESS.items():
        data = data.replace(raw, escaped)
    return data


def _title(scene: Scene) -> str:
    """Return what the page is called: its first run, or how many there are."""
    if not scene.runs:
        return "Timeline"
    run = scene.runs[0]
    more = f" and {len(scene.runs) - 1} more" if len(scene.runs) > 1 else ""
    name = "".join(character if character.isprintable() else "�" for character in run.workflow or run.agent or "run")
    return f"{short(name, 60)}{more}"


def _data(scene: Scene) -> bytes:
    lanes = {agent: place for place, agent in enumerate(scene.agents)}
    placed = rows(scene.bars)
    told: dict[str, Any] = {
        "title": _title(scene),
        "origin": scene.origin,
        "end": scene.end,
        "runs": [asdict(run) for run in scene.runs],
        "lanes": scene.agents,
        "bars": [
            (lanes[bar.agent], row, bar.what, _name(bar), bar.start, bar.end, bar.status, bar.events, bar.run)
            for bar, row in zip(scene.bars, placed, strict=True)
        ],
        "arrows": [
            (arrow.type, lanes.get(arrow.source), _lane(lanes, arrow.target), arrow.sent, arrow.received, arrow.end)
            for arrow in scene.arrows
        ],
        "at": scene.times,
        "of": [_lane(lanes, event.agent) for event in scene.events],
        "said": [say(event) for event in scene.events],
        "events": [msgspec.Raw(event_json(event)) for event in scene.events],
    }
    return msgspec.json.encode(told)


def _name(bar: Bar) -> str:
    return bar.name if bar.item is None else f"{bar.name} [{bar.item}]"


def _lane(lanes: dict[str, int], agent: str | None) -> int | None:
    return None if agent is None else lanes.get(agent)
