"""A code review in two workflows: ``scan`` reads a folder of Python files, ``report`` writes down what it found.

From two terminals, in either order:

python -m attune_dsl run examples/code_review.py:report output=review.md
python -m attune_dsl run examples/code_review.py:scan folder=path/to/project

Or both from one script:

python examples/code_review.py path/to/project review.md
"""

import ast
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from attune_dsl import AsyncSignals, Context, Runner, SignalType, stage, workflow

THIS_PACKAGE = Path(__file__).resolve().parents[1] / "attune_dsl"

FILE_LINES = 400
FUNCTION_LINES = 60
COMPLEXITY = 10
"""Above these numbers a file, a function, or the number of paths through a function is worth a remark."""

MOST_FINDINGS = 500
"""Findings that are handed over, worst first; a signal has room for 256 KiB."""

KEPT = 24 * 3600
"""Seconds that the findings wait for a report to be written."""

PARSER = Lock()
"""One thread at a time: before Python 3.12.2, parsing in several at once can fail (gh-106905)."""


@dataclass(frozen=True)
class Finding:
    """Something worth a remark. ``excess`` says how bad it is: 1.5 is 50 % above the limit."""

    file: str
    line: int
    kind: str
    message: str
    excess: float = 1.0


@dataclass(frozen=True)
class Review:
    """What one file looks like."""

    lines: int = 0
    functions: int = 0
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class Findings:
    """What a scan hands over: the folder, how much was counted there, and the worst findings, worst first."""

    folder: str
    totals: dict[str, int]
    worst: list[Finding]


FINDINGS = SignalType("findings", Findings)
"""Both workflows name this: one sends ``Findings``, the other gets ``Findings``, and a type checker knows."""


# Scanning


@stage
def find_files(folder: Path) -> list[Path]:
    """Return the Python files below ``folder``, without those in hidden folders such as ``.venv``."""
    if not folder.is_dir():
        raise NotADirectoryError(f"there is no folder {str(folder)!r}")
    files = sorted(file for file in folder.rglob("*.py") if not is_hidden(file.relative_to(folder)))
    if not files:
        raise FileNotFoundError(f"there are no Python files in {str(folder)!r}")
    return files


@stage
def review(file: Path) -> Review:
    """Review one file. One that cannot be read or parsed is itself a finding, and stops nobody."""
    try:
        source = file.read_bytes()
        with PARSER:
            tree = ast.parse(source, filename=str(file))
    except SyntaxError as error:
        return unreadable(file, error.lineno or 1, f"does not parse: {error.msg}")
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        return unreadable(file, 1, f"cannot be read: {error}")
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lines = len(source.splitlines())
    findings = [*long_file(file, lines), *missing_docstrings(file, tree)]
    for function in functions:
        findings += [*long_function(file, function), *complex_function(file, function)]
    return Review(lines, len(functions), findings)


@stage(retries=2)
def hand_over(ctx: Context, findings: Findings) -> None:
    """Signal the findings to ``report``. The key makes a second attempt the same signal, not another one."""
    sent = ctx.signals.send(FINDINGS, target="report", payload=findings, ttl=KEPT, key=ctx.run_id)
    if not sent:
        raise ConnectionError("the findings could not be handed over: the store does not answer")


@workflow(heartbeat=True, coordination=True)
def scan(folder: Path = THIS_PACKAGE) -> dict[str, int]:
    """Review all Python files below a folder and hand the findings to the workflow ``report``."""
    reviews = review.map(find_files(folder))
    findings = [finding for each in reviews for finding in each.findings]
    worst = sorted(findings, key=lambda finding: finding.excess, reverse=True)[:MOST_FINDINGS]
    totals = {
        "files": len(reviews),
        "lines": sum(each.lines for each in reviews),
        "functions": sum(each.functions for each in reviews),
        "findings": len(findings),
    }
    hand_over(Findings(str(folder), totals, worst))
    return totals


# Reporting


@stage
async def latest_findings(signals: AsyncSignals, patience: float) -> Findings:
    """Wait for the findings of a scan. Where several scans left theirs, the last one counts."""
    signal = await signals.wait(FINDINGS, timeout=patience)
    if not signal:
        raise TimeoutError(f"no scan has handed anything over: {signal.detail}")
    while newer := await signals.check(FINDINGS):
        signal = newer
    return signal.payload


@stage
def write(findings: Findings, output: Path) -> None:
    output.write_text(markdown(findings), encoding="utf-8")


@workflow(heartbeat=True, coordination=True, agent_id="report")
async def report(output: Path = Path("code_review.md"), patience: float = 300.0) -> str:
    """Wait ``patience`` seconds for the findings of a scan and write them as Markdown."""
    findings = await latest_findings(patience)
    await write.acall(findings, output)  # a blocking stage, in a thread
    return f"{findings.totals['findings']} findings, see {output}"


def markdown(review: Findings) -> str:
    """Return the report: totals, then the findings of each kind, worst first."""
    folder, totals, worst = review.folder, review.totals, review.worst
    lines = [f"# Code review of {folder}", "", *(f"- {count:,} {what}" for what, count in totals.items()), ""]
    if len(worst) < totals["findings"]:
        lines += [f"The {len(worst):,} worst findings:", ""]
    for kind in sorted({finding.kind for finding in worst}):
        lines += [f"## {kind}", ""]
        lines += [f"- `{place(finding, folder)}` {finding.message}" for finding in worst if finding.kind == kind]
        lines.append("")
    return "\n".join(lines)


def place(finding: Finding, folder: str) -> str:
    return f"{os.path.relpath(finding.file, folder)}:{finding.line}"


# What is worth a remark


def long_file(file: Path, lines: int) -> Iterator[Finding]:
    if lines > FILE_LINES:
        yield Finding(str(file), 1, "Long files", f"has {lines:,} lines", lines / FILE_LINES)


def missing_docstrings(file: Path, tree: ast.Module) -> Iterator[Finding]:
    """Public functions and classes, of the module and of its classes, say what they are for."""
    holders: list[ast.Module | ast.ClassDef] = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]
    for holder in holders:
        for node in holder.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                is_overload = any("overload" in ast.unparse(decorator) for decorator in node.decorator_list)
                if not node.name.startswith("_") and not is_overload and not ast.get_docstring(node):
                    yield Finding(str(file), node.lineno, "Missing docstrings", f"`{node.name}` has no docstring")


def long_function(file: Path, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Finding]:
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if lines > FUNCTION_LINES:
        message = f"`{function.name}` has {lines:,} lines"
        yield Finding(str(file), function.lineno, "Long functions", message, lines / FUNCTION_LINES)


def complex_function(file: Path, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Finding]:
    paths = 1 + sum(branches(node) for node in own_nodes(function))
    if paths > COMPLEXITY:
        message = f"`{function.name}` has {paths} paths"
        yield Finding(str(file), function.lineno, "Complex functions", message, paths / COMPLEXITY)


def branches(node: ast.AST) -> int:
    """Return how many paths a node adds (McCabe's cyclomatic complexity)."""
    match node:
        case ast.BoolOp():
            return len(node.values) - 1
        case ast.comprehension():
            return 1 + len(node.ifs)
        case ast.If() | ast.IfExp() | ast.For() | ast.AsyncFor() | ast.While() | ast.ExceptHandler():
            return 1
        case ast.Assert() | ast.match_case():
            return 1
        case _:
            return 0


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """Walk a function without those that are defined inside it, which are reviewed for themselves."""
    left = list(ast.iter_child_nodes(function))
    while left:
        node = left.pop()
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            left += ast.iter_child_nodes(node)


def unreadable(file: Path, line: int, message: str) -> Review:
    return Review(findings=[Finding(str(file), line, "Unreadable files", message, excess=1000.0)])


def is_hidden(file: Path) -> bool:
    return any(part.startswith(".") for part in file.parts)


def main(folder: str = str(THIS_PACKAGE), output: str = "code_review.md") -> str | None:
    """Run both workflows side by side; return what went wrong, if anything did."""
    with Runner(namespace=f"code-review-{os.getpid()}", on_failure="abort") as runner:
        reporting = runner.start(report, Path(output))
        scanning = runner.start(scan, Path(folder))
        scanned, reported = scanning.wait(), reporting.wait()
    if reported.success:
        print(reported.value)
        return None
    return f"error: {scanned.error or reported.error}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
