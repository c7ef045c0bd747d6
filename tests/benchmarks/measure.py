"""How benchmarks measure and report: floors and figures of one run, as a table for people or JSON for programs.

A figure is never compared with a number from elsewhere, because machines differ; it is compared with a floor, which is
the least that any implementation would have to do, measured beside it. Rounds of all of them alternate, so that a
machine that slows down slows them all down.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SCALES = {"ns": 1e9, "us": 1e6, "ms": 1e3, "s": 1.0}


@dataclass(kw_only=True)
class Figure:
    """One measured thing. ``samples`` and ``target`` are seconds, ``floor`` names the figure to compare with.

    ``over`` compares the difference to the floor with the target instead of the figure itself.
    """

    name: str
    samples: Sequence[float]
    floor: str | None = None
    target: float | None = None
    over: bool = False
    ratio_target: float | None = None
    note: str = ""

    @property
    def best(self) -> float:
        """The least disturbed sample."""
        return min(self.samples)

    @property
    def median(self) -> float:
        """The usual sample."""
        return statistics.median(self.samples)


@dataclass
class Report:
    """The figures of one benchmark, shown in ``unit`` (ns, us, ms, s)."""

    title: str
    unit: str = "us"
    figures: list[Figure] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, samples: Iterable[float], **options: Any) -> Figure:
        """Add a figure; see :class:`Figure` for the options."""
        figure = Figure(name=name, samples=list(samples), **options)
        self.figures.append(figure)
        return figure

    def rows(self) -> list[dict[str, Any]]:
        """Return the figures in the report's unit, each with its ratio to its floor and whether it is in time."""
        return [self._row(figure) for figure in self.figures]

    def as_json(self) -> str:
        """Return everything as one JSON object."""
        report = {
            "benchmark": self.title,
            "unit": self.unit,
            "machine": machine(),
            **self.facts,
            "figures": self.rows(),
        }
        return json.dumps(report, indent=2)

    def as_table(self) -> str:
        """Return everything as text."""
        head = ("", "best", "median", "over floor", "ratio", "target", "")
        lines = [head, *(self._cells(row) for row in self.rows())]
        widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
        table = "\n".join(
            "  ".join(cell.ljust(width) if at in (0, 6) else cell.rjust(width) for at, (cell, width) in columns)
            for columns in (list(enumerate(zip(line, widths, strict=True))) for line in lines)
        )
        facts = "".join(f"\n{name}: {value}" for name, value in self.facts.items())
        return f"{self.title} ({self.unit}; {machine()})\n\n{table}\n{facts}"

    def _row(self, figure: Figure) -> dict[str, Any]:
        floor = next((other for other in self.figures if other.name == figure.floor), None)
        scale = SCALES[self.unit]
        row: dict[str, Any] = {
            "name": figure.name,
            "best": figure.best * scale,
            "median": figure.median * scale,
            "samples": len(figure.samples),
        }
        if floor is not None:
            row |= {
                "floor": floor.name,
                "over_floor": (figure.best - floor.best) * scale,
                "ratio": figure.median / floor.median,
            }
        measured = figure.best - floor.best if figure.over and floor is not None else figure.best
        if figure.target is not None:
            row |= {"target": figure.target * scale, "reached": measured <= figure.target}
        if figure.ratio_target is not None and floor is not None:
            row |= {"ratio_target": figure.ratio_target, "reached": row["ratio"] <= figure.ratio_target}
        if figure.note:
            row["note"] = figure.note
        return row

    def _cells(self, row: dict[str, Any]) -> tuple[str, ...]:
        target = f"{row['target']:.4g}" if "target" in row else ""
        if "ratio_target" in row:
            target = f"{row['ratio_target']:.4g} x"
        verdict = {True: "reached", False: "MISSED", None: ""}[row.get("reached")]
        return (
            row["name"],
            f"{row['best']:.3f}",
            f"{row['median']:.3f}",
            f"{row['over_floor']:.3f}" if "over_floor" in row else "",
            f"{row['ratio']:.2f} x" if "ratio" in row else "",
            target,
            " ".join(part for part in (verdict, row.get("note", "")) if part),
        )


def machine() -> str:
    """Return what was measured on."""
    return f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"


def timed(work: Callable[[], object], calls: int = 1) -> float:
    """Return the seconds that one of the ``calls`` inside ``work`` takes."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) / calls


def alternate(works: Mapping[str, Callable[[], object]], *, calls: int = 1, rounds: int = 15) -> dict[str, list[float]]:
    """Time every work in turn, round after round; return the seconds for each call."""
    samples: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            samples[name].append(timed(work, calls))
    return samples


async def aalternate(
    works: Mapping[str, Callable[[], Awaitable[object]]], *, calls: int = 1, rounds: int = 15
) -> dict[str, list[float]]:
    """Like :func:`alternate`, for async work."""
    samples: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            started = time.perf_counter()
            await work()
            samples[name].append((time.perf_counter() - started) / calls)
    return samples
