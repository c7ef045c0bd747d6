"""From what the store knows of an agent to the records that people and programs read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from attune_dsl.hub.endings import ABORT_FIELDS, Abort
from attune_dsl.model import AgentRecord, AgentStatus, StageStatus, StageSummary
from attune_dsl.store import codec

FIELDS: Final = (
    "epoch", "status", "display_name", "workflow", "run_id", "stage", "attempt", "tier", "progress", "note", "activity",
    "cost", "error", "exit_code", *ABORT_FIELDS, "stage_started_at", "stalled_at", "stall_after",
    "progress_at", "started_at", "ended_at", "host", "pid", "stages", "metadata", "keep", "ttl", "beat_at", "extended",
)  # fmt: skip
"""The fields of an agent's hash that a record is made of, in the order in which they are asked for."""

_STATUSES: Final = {status.value.encode(): status for status in AgentStatus}


def record(member: str, lease: float | None, values: Sequence[bytes | None], now: float) -> AgentRecord | None:
    """Return one agent; ``None`` if what the store has belongs to another incarnation, or is gone.

    ``member`` is ``agent#epoch``, ``lease`` its expiry and ``now`` the server's time, in ms; ``values`` are those of
    :data:`FIELDS`.
    """
    (
        epoch, status, display_name, workflow, run_id, stage, attempt, tier, progress, note, activity,
        cost, error, exit_code, abort_reason, abort_by, stage_started_at, stalled_at, stall_after,
        progress_at, started_at, ended_at, host, pid, stages, metadata, keep, ttl, beat_at, extended,
    ) = values  # fmt: skip
    agent_id, _, incarnation = member.rpartition("#")
    if epoch is None or epoch.decode(errors="replace") != incarnation:
        return None
    moved_at = _time(progress_at) if progress_at else None
    return AgentRecord(  # most values are empty, and this is done ten thousand times: only the others cost a call
        agent_id=agent_id,
        epoch=_whole(epoch) or 0,
        status=_STATUSES.get(status or b"", AgentStatus.RUNNING),
        display_name=_text(display_name) if display_name else None,
        workflow=_text(workflow) if workflow else None,
        run_id=_text(run_id) if run_id else None,
        stage=_text(stage) if stage else None,
        attempt=_whole(attempt) if attempt else None,
        tier=_text(tier) if tier else None,
        progress=_number(progress) if progress else None,
        note=_text(note) if note else None,
        activity=_text(activity) if activity else None,
        cost=_number(cost) if cost else None,
        error=_text(error) if error else None,
        exit_code=_whole(exit_code) if exit_code else None,
        abort=str(Abort.read(abort_reason, abort_by)) if abort_reason else None,
        stage_started_at=_time(stage_started_at) if stage_started_at else None,
        stalled_at=_time(stalled_at) if stalled_at else None,
        stall_after=_time(stall_after) if stall_after else None,
        beat_age=_beat_age(lease, ttl, beat_at, extended, now),
        progress_age=None if moved_at is None else max(0.0, now / 1000 - moved_at),
        started_at=_time(started_at) if started_at else None,
        ended_at=_time(ended_at) if ended_at else None,
        kept_until=_sum(ended_at, keep) if ended_at and keep else None,
        host=_text(host) if host else None,
        pid=_whole(pid) if pid else None,
        stages=_stages(stages) if stages and stages != b"[]" else (),
        metadata=_metadata(metadata) if metadata else {},
    )


def is_extended(lease: float | None, values: Sequence[bytes | None]) -> bool:
    """Whether the lease was only extended, because nobody had beaten for long: that proves nothing."""
    extended = values[-1]
    return lease is not None and extended is not None and _number(extended) == lease


def last_words(entry: Mapping[bytes, bytes], at: float) -> dict[str, Any]:
    """Return the fields of a record that the timeline's entry of a loss tells; ``at`` is its time in seconds."""
    beat_at, stage, progress = (entry.get(name, b"") for name in (b"beat_at", b"stage", b"progress"))
    told = {
        "stage": _text(stage) or None,
        "progress": _number(progress) if progress else None,
        "beat_age": _beat_age(None, None, beat_at, None, at * 1000),
    }
    return {name: value for name, value in told.items() if value is not None}


def summary(name: bytes, row: bytes) -> StageSummary | None:
    """Return what a stage did so far; ``None`` for what cannot be read."""
    try:
        fields: dict[str, Any] = codec.decode_payload(row)
        return StageSummary(
            name=name.decode(errors="replace"),
            status=StageStatus(fields["status"]),
            calls=int(fields["calls"]),
            failures=int(fields["failures"]),
            attempts=int(fields["attempts"]),
            tier=_name(fields["tier"]),
            started_at=float(fields["started_at"]),
            duration=float(fields["duration"]),
            error=_name(fields["error"]),
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def pairs(reply: Any) -> Iterable[tuple[bytes, bytes]]:
    """Return names with values, of a reply that is a map (RESP3), pairs, or a flat list (RESP2)."""
    if isinstance(reply, dict):
        return reply.items()
    if not isinstance(reply, list):
        return []  # an error: what is there is something else
    if reply and not isinstance(reply[0], list):
        return zip(reply[::2], reply[1::2], strict=True)
    return [(name, value) for name, value in reply]


def _beat_age(
    lease: float | None, ttl: bytes | None, beat_at: bytes | None, extended: bytes | None, now: float
) -> float | None:
    """Return the seconds since the last proof of life; ``None`` for one that has ended properly."""
    if lease is not None and not (extended and _number(extended) == lease):
        beat = lease - (_number(ttl or b"") or 0.0)
    elif beat_at:
        beat = _number(beat_at) or now
    else:
        return None
    return max(0.0, now - beat) / 1000


def _name(value: Any) -> str | None:
    return None if value is None else str(value)


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def _whole(value: bytes) -> int | None:
    try:
        return int(value)
    except ValueError:
        return None


def _number(value: bytes) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _time(value: bytes) -> float | None:
    """Return milliseconds as seconds."""
    try:
        return int(value) / 1000
    except (ValueError, OverflowError):
        return None


def _sum(then: bytes, keep: bytes) -> float | None:
    moment, seconds = _time(then), _time(keep)
    return None if moment is None or seconds is None else moment + seconds


def _stages(value: bytes) -> tuple[str, ...]:
    try:
        return tuple(str(name) for name in codec.decode_payload(value))
    except (ValueError, TypeError, RecursionError):
        return ()


def _metadata(value: bytes) -> dict[str, Any]:
    try:
        metadata = codec.decode_payload(value)
    except (ValueError, RecursionError):
        return {}
    return metadata if isinstance(metadata, dict) else {}
