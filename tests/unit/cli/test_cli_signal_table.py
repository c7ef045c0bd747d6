"""The table of what waits for an agent at several widths, and the lines that say what was sent."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from attune_dsl.cli import formats
from attune_dsl.cli.signal_json import signal_object
from attune_dsl.cli.signal_table import sent_line, signal_table, told_of
from attune_dsl.hub.mailbox import Entry
from attune_dsl.model import Signal

NOW = 10_000.0


def signal(type_: str, **fields: Any) -> Signal:
    usual = {"source": "kitchen-1", "target": "bob", "payload": None, "sent_at": NOW - 65, "expires_at": NOW + 3900}
    return Signal(id="1", type=type_, order=1, **(usual | fields))


def lines(*signals: Signal, width: int) -> list[str]:
    entries = [Entry(each, "1-0", 2048, 0) for each in signals]
    out = StringIO()
    Console(file=out, width=width).print(signal_table(entries, NOW, width))
    return [line.rstrip() for line in out.getvalue().splitlines()]


ORDER = signal("order_received", payload={"dish": "soup", "note": "x" * 300})


def test_with_room_everything_is_shown() -> None:
    assert lines(signal("order", payload={"n": 1}), signal("news", target=None), width=100) == [
        "type   source     to      age  expires in     size  payload",
        'order  kitchen-1       1m 05s      1h 05m  2.0 KiB  {"n":1}',
        "news   kitchen-1  all  1m 05s      1h 05m  2.0 KiB",
    ]


@pytest.mark.parametrize(
    ("width", "header"),
    [
        (150, ["type", "source", "age", "expires", "in", "size", "payload"]),
        (80, ["type", "source", "age", "expires", "in", "size", "payload"]),
        (60, ["type", "source", "age", "expires", "in", "payload"]),
        (40, ["type", "source", "age"]),
    ],
)
def test_a_narrow_terminal_loses_what_matters_least(width: int, header: list[str]) -> None:
    first, row = lines(ORDER, width=width)

    assert first.split() == header
    assert row.startswith("order_received  kitchen-1")
    assert max(len(first), len(row)) <= width


@pytest.mark.parametrize("width", range(10, 41, 5))
def test_it_fits_whatever_the_width(width: int) -> None:
    assert max(map(len, lines(signal("t" * 100, source="s" * 100), width=width))) <= width


def test_what_others_wrote_cannot_move_the_cursor() -> None:
    _, row = lines(signal("a\x9bb", payload="\x1b[2J"), width=120)

    assert "\x9b" not in row
    assert "\x1b" not in row


@pytest.mark.parametrize(
    ("sent", "line"),
    [
        (signal("go", payload=[1, "ä"]), 'go  kitchen-1 → bob  [1,"ä"]'),
        (signal("go"), "go  kitchen-1 → bob"),
        (signal("go", target=None, payload=0), "go  kitchen-1 → all  0"),
    ],
)
def test_a_line_says_what_was_sent(sent: Signal, line: str) -> None:
    assert sent_line(told_of(sent), unicode=True) == f"{formats.moment(NOW - 65)}  {line}"
    assert sent_line(told_of(sent), unicode=False, dated=False).endswith(line.replace("→", "->"))
    assert sent_line(told_of(sent), unicode=True, dated=False).startswith(formats.moment(NOW - 65).split()[1])


def test_a_long_payload_is_shortened() -> None:
    assert len(sent_line(told_of(ORDER), unicode=True)) < 300


def test_programs_get_the_whole_of_it() -> None:
    assert signal_object(ORDER)["payload"] == ORDER.payload
    assert list(signal_object(ORDER)) == ["id", "type", "source", "target", "payload", "sent_at", "expires_at"]
