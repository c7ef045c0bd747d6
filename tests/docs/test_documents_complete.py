"""The documents leave nothing out and name nothing that does not exist: names, options, variables, keys, scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click
import pytest
from documents import PAGES, PROJECT

import attune_dsl
from attune_dsl import events, export, join, testing
from attune_dsl.cli.app import COMMANDS, group
from attune_dsl.coordination import records
from attune_dsl.model import AgentChange, AgentRecord, AgentStatus, ChangeKind, StageSummary
from attune_dsl.store import limits
from attune_dsl.store.keys import CAPPED, Keys

if TYPE_CHECKING:
    from conftest import Store

API = PROJECT / "docs" / "reference" / "api.md"
CLI = PROJECT / "docs" / "reference" / "cli.md"
COORDINATION = PROJECT / "docs" / "workflow-coordination.md"
AGENTS = PROJECT / "docs" / "agent-tracking.md"
TIMELINE = PROJECT / "docs" / "timeline.md"
WIRE = PROJECT / "docs" / "wire-format.md"
ARCHITECTURE = PROJECT / "docs" / "architecture.md"
SOURCES = list((PROJECT / "attune_dsl").rglob("*.py"))


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)


def absent(words: Sequence[str], page: Path) -> list[str]:
    """Return the words that stand neither in a heading nor as code in the prose of a page."""
    text = prose(page)
    code = re.findall(r"`([^`]+)`", text) + re.findall(r"^#+ (.*)$", text, re.M)
    known = set(re.findall(r"[\w-]+", " ".join(code)))
    return [word for word in words if word not in known]


def test_every_public_name_is_in_the_reference() -> None:
    assert absent(list(attune_dsl.__all__) + list(testing.__all__), API) == []


@pytest.mark.parametrize("facade", ["Signals", "AsyncSignals"])
def test_every_signal_method_is_described(facade: str) -> None:
    methods = [
        name for name in vars(getattr(attune_dsl, facade)) if name[0] != "_" and name not in ("kind", "is_async")
    ]
    assert len(methods) == 11
    headings = re.findall(r"^### (.*)$", COORDINATION.read_text(), re.M)
    described = {word for heading in headings for word in heading.split(" and ")}
    assert [name for name in methods if name not in described] == []


def test_every_environment_variable_is_described() -> None:
    variables = sorted({name for path in SOURCES for name in re.findall(r'"(ATTUNE_[A-Z_]+)"', path.read_text())})
    assert "ATTUNE_STORE_URL" in variables
    assert absent(variables, COORDINATION) == []
    described = set(re.findall(r"ATTUNE_[A-Z_]+", "".join(page.read_text() for page in PAGES)))
    assert sorted(described - set(variables)) == []


@pytest.mark.parametrize("record", [AgentRecord, StageSummary, AgentChange])
def test_every_field_of_a_record_is_described(record: type) -> None:
    names = [field.name for field in attrs.fields(record)]
    names += [name for name, value in vars(record).items() if isinstance(value, property)]
    assert absent(names, AGENTS) == []


def test_every_status_is_in_its_table_and_in_both_diagrams() -> None:
    text = AGENTS.read_text()
    mermaid, drawing = (re.search(rf"^```{kind}$(.*?)^```$", text, re.M | re.S) for kind in ("mermaid", "text"))
    assert mermaid
    assert drawing
    for status in (*AgentStatus, "stalled"):
        assert f"`{status}`" in text
        assert status in mermaid[1]
        assert status in drawing[1]
    assert re.findall(r"^\| `(\w+)` \| (?!\()", text.partition("## Statuses")[2].partition("\n## ")[0], re.M) == [
        *AgentStatus
    ]


def test_every_kind_of_change_is_in_its_table() -> None:
    table = AGENTS.read_text().partition("| `ChangeKind` |")[2].partition("\n\n")[0]
    described = [kind for row in re.findall(r"^\| (`.*?`) \|", table, re.M) for kind in re.findall(r"`(\w+)`", row)]
    assert described == [*ChangeKind]


def public_names(facade: str) -> list[str]:
    names = [name for kind in getattr(attune_dsl, facade).__mro__ for name in vars(kind) if name[0] != "_"]
    assert len(names) > 2
    return names


@pytest.mark.parametrize("monitor", ["Monitor", "AsyncMonitor", "Changes", "AsyncChanges"])
def test_every_way_to_look_is_described(monitor: str) -> None:
    assert absent(public_names(monitor), AGENTS) == []
    assert absent(public_names(monitor), API) == []


@pytest.mark.parametrize("timeline", ["Timeline", "AsyncTimeline", "Events", "AsyncEvents"])
def test_every_way_to_read_the_timeline_is_described(timeline: str) -> None:
    assert absent(public_names(timeline), TIMELINE) == []
    assert absent(public_names(timeline), API) == []


def test_every_kind_of_event_is_in_its_table_with_all_of_its_data() -> None:
    rows = dict(re.findall(r"^\| `([a-z]+(?:\.[a-z]+)?)` \| .* \| (`[A-Z].*) \|$", TIMELINE.read_text(), re.M))
    assert list(rows) == [*events.EventKind]
    for kind, data in events.DATA.items():
        described, *fields = re.findall(r"`(\w+)`", rows[kind])
        assert described == data.__name__
        assert [field.name for field in attrs.fields(data) if field.name not in fields] == []


@pytest.mark.parametrize("record", [events.Event, attune_dsl.TimelineStats])
def test_every_field_of_an_event_and_of_the_figures_is_described(record: type) -> None:
    names = [field.name for field in attrs.fields(record)]
    assert absent(names, TIMELINE) == []
    assert absent(names, API) == []


def test_every_form_of_an_export_is_in_the_reference() -> None:
    assert absent([*export.__all__, *export.FORMS], API) == []


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Yield a command and all below it, with their names."""
    yield name, command
    if isinstance(command, click.Group):
        for below, each in command.commands.items():
            yield from commands(each, below)


def test_every_command_and_option_is_in_the_reference() -> None:
    context = click.Context(group)
    names, options = [], ["--version"]
    for name, lazy in COMMANDS.items():
        found = group.get_command(context, name)
        assert found is not None
        for below, command in commands(found, name):
            names += [below] if not lazy.hidden else []
            options += [option for parameter in command.params for option in parameter.opts if option[0] == "-"]
    assert {"exec", "progress", "signals", "broadcast", "show"} <= {*names}
    assert {"--stale", "--takeover", "--payload", "--stall-after"} <= {*options}
    assert absent(names, CLI) == []
    assert absent([option for option in options if option.startswith("--")], CLI) == []


def test_every_key_is_described() -> None:
    keys = Keys("<namespace>")
    names = [getattr(keys, slot) for slot in Keys.__slots__ if slot != "prefix"]
    names += [keys.agent("<id>"), keys.mail("<id>"), keys.mail_info("<id>"), keys.seen("<id>"), keys.inbox("<link>")]
    names += [keys.stages("<id>"), keys.reading("<id>"), keys.waited("<id>")]
    names += [keys.barrier("<name>"), keys.barriers("<agent>")]
    described = set(re.findall(r"^\| `([^`]+)` \|", WIRE.read_text(), re.M))
    assert {*CAPPED} <= described
    assert [name for name in names if name.removeprefix(keys.prefix) not in described] == []
    assert keys.once("ab", "k") == keys.prefix + "once:2:ab:k"
    assert "once:<length>:<id>:<key>" in described


def test_every_script_is_described_with_its_own_words() -> None:
    text = " ".join(WIRE.read_text().split())
    shared = {"common", "barriers", "liveness"}
    scripts = [path for path in (PROJECT / "attune_dsl" / "store" / "lua").glob("*.lua") if path.stem not in shared]
    assert len(scripts) == 16
    missing = [
        f"{path.stem}: {line}"
        for path in scripts
        for line in re.findall(r"^-- ((?:KEYS|ARGV) .*)$", path.read_text(), re.M)
        if " ".join(line.split()) not in text or f"**{path.stem}**" not in text
    ]
    assert missing == []


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_every_field_of_an_agents_hash_is_described(store: Store) -> None:
    with join("me", store.url, store.namespace, metadata={"a": 1}) as me:
        me.signals.send("note", target="me")
        fields = [name.decode() for name in store.redis.hkeys(f"{store.prefix}agent:me")]  # type: ignore[union-attr]
    assert {"owner", "token", "seq", "activity"} <= {*fields}
    described = re.findall(r"^\| (`.*?`) \| [\w, ]+ \|", WIRE.read_text(), re.M)
    assert [name for name in (*fields, *records.FIELDS) if f"`{name}`" not in " ".join(described)] == []


def test_every_constant_of_the_scripts_has_its_value() -> None:
    table = dict(re.findall(r"^\| `([A-Z_]+)` \| (\d+) \|", WIRE.read_text(), re.M))
    assert table == {name: str(getattr(limits, name)) for name in limits.SCRIPT_CONSTANTS}


def test_every_promise_has_its_number() -> None:
    contract = ARCHITECTURE.read_text().partition("## The contract")[2].partition("\n## ")[0]
    assert re.findall(r"^(\d+)\. ", contract, re.M) == [str(number) for number in range(1, 13)]


@pytest.mark.parametrize("page", [*PAGES, PROJECT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)]+)\)", prose(page)):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings have on the usual sites."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
