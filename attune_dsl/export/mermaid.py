"""A story as a sequence diagram in mermaid's language: who told whom what, and what happened meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from attrs import frozen

from attune_dsl.events import Event
from attune_dsl.export.folding import fold
from attune_dsl.export.scene import Arrow, Scene
from attune_dsl.export.wording import say, short

MOST: Final = 50_000
"""Characters of a diagram that mermaid draws without being asked to draw more."""

_NOTES: Final = frozenset({"run.started", "run.ended", "stage.ended", "stage.retried", "wait.ended"})
"""Kinds that have a note as long as there is room."""
_ALWAYS: Final = frozenset(
    {"agent.aborted", "agent.lost", "agent.fenced", "agent.stalled", "agent.resumed", "timeline.gap"}
)
_LABEL: Final = 80
_PLAIN: Final = frozenset(" .,_-/()=?!+*'·…")


def mermaid(events: Sequence[Event]) -> bytes:
    """Return a sequence diagram: agents as participants, signals as arrows, and notes.

    There are notes for runs, stages, waits, aborts, losses and gaps. Where there is not room for all in
    :data:`MOST` characters, notes of what went well are left out first, then the end; the diagram says how many.
    """
    scene = fold(events)
    ids = {agent: f"a{number}" for number, agent in enumerate(scene.agents)} or {"": "a0"}
    named = (f"    participant {short_id} as {_text(agent or 'nobody')}" for agent, short_id in ids.items())
    head = ["sequenceDiagram", *named]
    lines = list(_lines(scene, ids))
    if not lines:
        return "\n".join([*head, "    Note over a0: no events", ""]).encode()
    room = MOST - sum(len(line.encode()) + 1 for line in head) - 200
    return "\n".join([*head, *_fitting(lines, room, _over(ids)), ""]).encode()


@frozen
class _Line:
    """A line of the diagram; one that matters stays in longer."""

    text: str
    matters: bool = True


def _lines(scene: Scene, ids: dict[str, str]) -> Iterator[_Line]:
    ends = {(arrow.sent if arrow.received is None else arrow.received): arrow for arrow in scene.arrows}
    for index in sorted(range(len(scene.events)), key=scene.times.__getitem__):
        event = scene.events[index]
        if (arrow := ends.get(index)) is not None:
            yield _Line(_arrow(arrow, ids))
        elif event.kind == "signal.sent" and getattr(event.data, "target", "") is None:
            yield _Line(_note(ids, event, "broadcasts " + short(getattr(event.data, "type", ""), _LABEL)))
        elif event.kind in _ALWAYS:
            yield _Line(_note(ids, event, say(event)))
        elif event.kind in _NOTES:
            yield _Line(_note(ids, event, say(event)), matters="failed" in say(event))


def _arrow(arrow: Arrow, ids: dict[str, str]) -> str:
    source = ids.get(arrow.source, "a0")
    label = _text(arrow.type) or "signal"
    if arrow.target is None:
        return f"    Note over {source}: {_text('broadcasts ' + arrow.type + ', nobody took it')}"
    head, more = {"received": ("->>", ""), "expired": ("--x", " (expired)")}.get(arrow.end, ("--)", " (not taken)"))
    return f"    {source}{head}{ids[arrow.target]}: {label}{more}"


def _note(ids: dict[str, str], event: Event, text: str) -> str:
    over = _over(ids) if event.agent is None else ids[event.agent]
    return f"    Note over {over}: {_text(text)}"


def _over(ids: dict[str, str]) -> str:
    first, *_, last = [*ids.values(), *ids.values()]
    return first if first == last else f"{first},{last}"


def _fitting(lines: list[_Line], room: int, over: str) -> list[str]:
    """Return the lines for which there is room, and at the end how many were left out."""
    sizes = [len(line.text.encode()) + 1 for line in lines]
    if sum(sizes) <= room:
        return [line.text for line in lines]
    kept: list[str] = []
    for line, size in zip(lines, sizes, strict=True):
        if line.matters and size <= room:
            room -= size
            kept.append(line.text)
        elif line.matters:
            break
    return [*kept, f"    Note over {over}: {len(lines) - len(kept)} more lines are left out"]


def _text(text: str) -> str:
    """Return text as mermaid reads it back: whatever could mean something in its language is a character's number."""
    words = " ".join(short(text, _LABEL).split()).split(" ")
    return " ".join(_word(word) for word in words)


def _word(word: str) -> str:
    if word.lower() == "end":  # alone it closes a block, even in a text
        return f"#{ord(word[0])};{word[1:]}"
    return "".join(map(_character, word))


def _character(character: str) -> str:
    if character in _PLAIN or character.isalnum():
        return character
    return f"#{ord(character)};" if character.isprintable() else "�"
