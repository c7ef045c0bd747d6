"""What a run's stages did so far, as others read it while the run goes on."""

import json
import threading

import pytest

from attune_dsl import Context, RunAborted, StageTimeout, run, stage, workflow
from attune_dsl.runner import history, ledger
from attune_dsl.runner.calls import StageUse
from attune_dsl.runner.history import History
from attune_dsl.runner.ledger import COMPLETED_AT_ONCE, Ledger


@stage(tier="cheap")
def build(value=0):
    return value


@pytest.fixture
def clocked(monkeypatch):
    """A ledger that began at 1000 by the wall clock, when the monotonic one said 10."""
    monkeypatch.setattr(ledger.clock, "monotonic", lambda: 10.0)
    monkeypatch.setattr(ledger.clock, "wall", lambda: 1000.0)
    return Ledger()


def use(name="build"):
    return StageUse(build, name)


def read(source):
    return {name: json.loads(row) for name, row in source.read().items()}


def test_a_row_adds_up_the_calls_of_one_name(clocked):
    one = use()
    clocked.calls += [(one, 11.0, 12.0, COMPLETED_AT_ONCE), (one, 12.0, 12.5, COMPLETED_AT_ONCE)]
    assert read(History(clocked)) == {
        "build": {
            "status": "completed",
            "calls": 2,
            "failures": 0,
            "attempts": 2,
            "tier": "cheap",
            "started_at": 1001.0,
            "duration": 1.5,
            "error": None,
        }
    }


def test_only_rows_that_changed_are_read_again_and_each_call_is_counted_once(clocked):
    told, one, other = History(clocked), use("one"), use("other")
    assert read(told) == {}
    clocked.calls += [(one, 11.0, 12.0, COMPLETED_AT_ONCE), (other, 12.0, 13.0, COMPLETED_AT_ONCE)]
    assert [row["calls"] for row in read(told).values()] == [1, 1]
    assert read(told) == {}
    clocked.calls.append((one, 13.0, 14.0, COMPLETED_AT_ONCE))
    assert {name: row["calls"] for name, row in read(told).items()} == {"one": 2}
    assert len(clocked.calls) == 3


def test_all_rows_can_be_read_once_more(clocked):
    told, one, other = History(clocked), use("one"), use("other")
    clocked.calls.append((one, 11.0, 12.0, COMPLETED_AT_ONCE))
    first = told.read()
    clocked.calls.append((other, 12.0, 13.0, COMPLETED_AT_ONCE))
    assert list(told.read(everything=True)) == ["one", "other"]
    assert told.read(everything=True)["one"] == first["one"]
    assert told.read() == {}


def test_calls_side_by_side_began_with_the_earliest_of_them(clocked):
    one = use()
    clocked.calls += [(one, 12.0, 13.0, (history.StageStatus.COMPLETED, 1, 1, None))]
    clocked.calls += [(one, 11.0, 14.0, (history.StageStatus.COMPLETED, 1, 0, None))]
    assert read(History(clocked))["build"]["started_at"] == 1001.0


def recorded(flow):
    """Run a flow, and return its history's rows and its result."""
    seen = []

    @workflow
    def outer(ctx: Context):
        seen.append(History(ctx._frame.run.ledger))
        flow()

    return read(seen[0]) if (result := run(outer)) else {}, result


def test_failures_attempts_and_the_last_error_are_counted():
    @stage(retries=2, backoff=0)
    def shaky(ctx: Context, fails):
        if fails or ctx.attempt < 3:
            raise OSError("not yet")

    def flow():
        shaky(False)
        with pytest.raises(OSError, match="not yet"):
            shaky(True)
        shaky(False)

    rows, result = recorded(flow)
    row = rows["shaky"]
    assert (row["status"], row["calls"], row["failures"], row["attempts"]) == ("completed", 3, 1, 9)
    assert row["error"] == "OSError: not yet"
    assert result.success


@pytest.mark.parametrize(
    ("error", "status", "failures"),
    [(ValueError("x"), "failed", 1), (StageTimeout("x"), "failed", 1), (RunAborted("x"), "aborted", 0)],
)
def test_the_status_is_that_of_the_last_call(error, status, failures):
    @stage
    def ends(error):
        if error is not None:
            raise error

    def flow():
        ends(None)
        ends(error)

    rows, _ = recorded(flow)
    assert (rows["ends"]["status"], rows["ends"]["failures"]) == (status, failures)


def test_items_of_a_map_count_as_calls():
    rows, _ = recorded(lambda: build.map(range(5)))
    assert (rows["build"]["calls"], rows["build"]["attempts"]) == (5, 5)


def test_more_names_than_a_run_has_rows_share_one(clocked, monkeypatch):
    monkeypatch.setattr(history, "MAX_NAMES", 2)
    told = History(clocked)
    for name in ("a", "b", "c", "d", "a"):
        clocked.calls.append((use(name), 11.0, 12.0, COMPLETED_AT_ONCE))
    assert {name: row["calls"] for name, row in read(told).items()} == {"a": 2, "b": 1, "…": 2}
    clocked.calls += [(use(name), 11.0, 12.0, COMPLETED_AT_ONCE) for name in ("e", "b")]
    assert {name: row["calls"] for name, row in read(told).items()} == {"…": 3, "b": 2}


def test_a_run_has_200_rows_at_most():
    assert history.MAX_NAMES == 200


def test_an_error_is_kept_short_and_is_always_text_that_json_has(clocked):
    detail = (history.StageStatus.FAILED, 1, None, "Odd: \ud800" + "x" * 1000)
    clocked.calls.append((use(), 11.0, 12.0, detail))
    error = read(History(clocked))["build"]["error"]
    assert error.startswith("Odd: \\ud800xxx")
    assert (error[-1], len(error)) == ("…", history.MAX_ERROR + 5)


def test_a_call_that_ends_during_a_read_is_counted_by_the_next(clocked):
    call = (use(), 11.0, 12.0, COMPLETED_AT_ONCE)

    class Growing(list):
        def __getitem__(self, index):
            found = super().__getitem__(index)
            self.append(call)
            return found

    clocked.calls = Growing([call])
    told = History(clocked)
    assert [read(told)["build"]["calls"] for _ in range(3)] == [1, 2, 3]


def test_it_is_read_while_threads_of_the_run_append(clocked):
    """Each call is counted once, by whoever reads it first; the run's list is never changed."""
    told, one, count = History(clocked), use(), 2000
    start = threading.Barrier(3)

    def append():
        start.wait(10)
        for _ in range(count):
            clocked.calls.append((one, 11.0, 12.0, COMPLETED_AT_ONCE))

    threads = [threading.Thread(target=append) for _ in range(2)]
    for thread in threads:
        thread.start()
    start.wait(10)
    totals = [0]
    while any(thread.is_alive() for thread in threads):
        totals += [row["calls"] for row in read(told).values()]
    totals += [row["calls"] for row in read(told).values()]
    assert totals == sorted(set(totals))
    assert (totals[-1], len(clocked.calls)) == (2 * count, 2 * count)
