"""The Lua scripts as typed Python functions. Each returns the parts of one EVALSHA; the wire sees nothing else.

One small script an operation, in ``store/lua``; ``common.lua`` and the constants of :mod:`attune_dsl.store.limits` are
put before each of them, ``barriers.lua`` before those that end a wait at a barrier, and ``liveness.lua`` before those
that say who lives. :func:`load_commands` gives what every
new connection sends first, because a server that was restarted answers NOSCRIPT while later commands of a pipeline run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from attune_dsl.store import limits
from attune_dsl.store.keys import Keys

Part = str | int | bytes
Command = tuple[Part, ...]

_FOLDER: Final = Path(__file__).parent / "lua"
_CONSTANTS: Final = "".join(f"local {name} = {getattr(limits, name)}\n" for name in limits.SCRIPT_CONSTANTS)
_PRELUDE: Final = _CONSTANTS + (_FOLDER / "common.lua").read_text(encoding="utf-8")
_BARRIERS: Final = _PRELUDE + (_FOLDER / "barriers.lua").read_text(encoding="utf-8")
_LIVENESS: Final = _BARRIERS + (_FOLDER / "liveness.lua").read_text(encoding="utf-8")


class _Script:
    """One file of ``store/lua`` with what it is called by."""

    __slots__ = ("sha", "text")

    def __init__(self, name: str, *, prelude: str = _PRELUDE) -> None:
        self.text = prelude + (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, keys: Sequence[str], *args: Part) -> Command:
        return (*self.head(keys), *args)

    def head(self, keys: Sequence[str]) -> Command:
        """Return the part of the command that stays the same for the same keys."""
        return ("EVALSHA", self.sha, len(keys), *keys)


_SEND: Final = _Script("send")
_BROADCAST: Final = _Script("broadcast")
_RECORD: Final = _Script("record")
_LOOK: Final = _Script("look")
_JOIN: Final = _Script("join", prelude=_LIVENESS)
_UPDATE: Final = _Script("update", prelude=_LIVENESS)
_LEAVE: Final = _Script("leave", prelude=_LIVENESS)
_BEAT: Final = _Script("beat", prelude=_LIVENESS)
_SWEEP: Final = _Script("sweep", prelude=_LIVENESS)
_TELL: Final = _Script("tell")
_WAIT: Final = _Script("wait")
_BLOCK: Final = _Script("block")
_ABORT: Final = _Script("abort", prelude=_LIVENESS)
_ARRIVE: Final = _Script("arrive", prelude=_BARRIERS)
_DEPART: Final = _Script("depart", prelude=_BARRIERS)
_OPEN: Final = _Script("open")
_ALL: Final = (
    *(_SEND, _BROADCAST, _RECORD, _LOOK, _JOIN, _UPDATE, _LEAVE, _BEAT, _SWEEP, _TELL, _WAIT, _BLOCK, _OPEN),
    *(_ABORT, _ARRIVE, _DEPART),
)


class Witness(NamedTuple):
    """What a hub can say about a time in which nobody beat. All in milliseconds of the server's clock.

    ``own_at`` is its last beat and ``down_at`` when its link broke since then, each 0 for never; ``asked_at`` is now,
    as far as the hub knows.
    """

    interval: int
    own_at: int
    down_at: int
    asked_at: int


class Story(NamedTuple):
    """What an agent did, for the timeline: entries as (kind, ms of the server's clock, stage, data as JSON).

    ``first`` is the number of the first one, by which they are recognised; with 0 they have none. ``run`` and
    ``workflow`` are empty where there is none.
    """

    run: str
    workflow: str
    first: int
    entries: Sequence[tuple[str, int, str, bytes]]


class Told(NamedTuple):
    """What the timeline tells of a signal beside what is stored: the sender's stage, and of a long one ``short``."""

    stage: str = ""
    short: bytes = b""


_UNTOLD: Final = Told()


def load_commands() -> list[Command]:
    """Return the commands that load every script; sent at every connect."""
    return [("SCRIPT", "LOAD", script.text) for script in _ALL]


def open_inbox(keys: Keys, link: str, *, ttl_ms: int) -> Command:
    """Open a hub's inbox. Reply: ``[now, first inbox id, newest broadcast id, newest timeline id]``."""
    return _OPEN((keys.inbox(link), keys.broadcast, keys.timeline), ttl_ms)


def join(
    keys: Keys,
    agent_id: str,
    link: str,
    *,
    ttl_ms: int,
    known_epoch: str,
    takeover: str,
    hub: str,
    by: str,
    token: str = "",
    fields: Iterable[Part],
) -> Command:
    """Join an agent.

    Reply: ``[b"joined", epoch, now, died_at, abort_reason, abort_by]`` or ``[b"taken", host, pid, machine, epoch]``.

    ``takeover`` is ``"0"``, ``"1"``, or ``"#<epoch>"`` of an owner whose process is known to be gone; ``by`` says to an
    owner that is replaced who did it. ``token`` is that of the ``fields``, by which runs of one process are told apart.
    """
    names = (
        keys.agent(agent_id),
        keys.leases,
        keys.order,
        keys.ended,
        keys.pulse,
        keys.timeline,
        keys.stages(agent_id),
    )
    return _JOIN(names, agent_id, link, ttl_ms, known_epoch, takeover, hub, keys.prefix, by, token, *fields)


def look(keys: Keys, agent_id: str, *, after_mail: int, after_broadcast: int) -> Command:
    """Read an agent's mail and broadcasts beyond two orders. Reply: ``[now, counter, mail, broadcasts]``."""
    names = (keys.mail(agent_id), keys.broadcast, keys.seen(agent_id), keys.order)
    return _LOOK(names, after_mail, after_broadcast)


def send(
    keys: Keys,
    sender: str,
    target: str,
    *,
    owner: str,
    lane: str,
    seq: int,
    signal_id: str,
    ttl_ms: int,
    signal: bytes,
    key: str | None,
    told: Told = _UNTOLD,
) -> Command:
    """Send a targeted signal. Reply: ``[b"stored", id]``, ``[b"full", b""]`` or ``[b"fenced", b""]``."""
    if key is None:
        head = _send_head(keys, sender, target)
    else:
        head = _SEND.head((*_send_keys(keys, sender, target), keys.once(sender, key)))
    return (*head, owner, lane, seq, signal_id, ttl_ms, signal, keys.prefix, target, sender, *told)


def _send_keys(keys: Keys, sender: str, target: str) -> tuple[str, ...]:
    mailbox = keys.mail(target), keys.mail_info(target)
    return (keys.agent(sender), keys.order, *mailbox, keys.agent(target), keys.timeline)


@lru_cache(1024)
def _send_head(keys: Keys, sender: str, target: str) -> Command:
    return _SEND.head(_send_keys(keys, sender, target))


def broadcast(
    keys: Keys,
    sender: str,
    *,
    owner: str,
    lane: str,
    seq: int,
    signal_id: str,
    ttl_ms: int,
    signal: bytes,
    late: bool,
    key: str | None,
    told: Told = _UNTOLD,
) -> Command:
    """Send a signal to every agent. Replies as :func:`send`."""
    names = [keys.agent(sender), keys.order, keys.broadcast, keys.broadcast_info, keys.timeline]
    if key is not None:
        names.append(keys.once(sender, key))
    return _BROADCAST(names, owner, lane, seq, signal_id, ttl_ms, signal, int(late), sender, *told)


def record(
    keys: Keys,
    agent_id: str,
    owner: str,
    *,
    mail: Sequence[tuple[str, int]] = (),
    broadcasts: Sequence[tuple[int, int]] = (),
    story: Story | None = None,
) -> Command:
    """Note what an agent took, mail as (stream id, bytes), broadcasts as (order, expiry in ms), and what it did.

    Reply: ``b"noted"`` or ``b"fenced"``.
    """
    parts: list[Part] = [owner, agent_id, len(mail), len(broadcasts)]
    parts += [part for pair in mail for part in pair]
    parts += [part for pair in broadcasts for part in pair]
    if story is not None:
        parts += (story.run, story.workflow, story.first)
        parts += [part for entry in story.entries for part in entry]
    return (*_record_head(keys, agent_id), *parts)


@lru_cache(1024)
def _record_head(keys: Keys, agent_id: str) -> Command:
    mailbox = (keys.mail(agent_id), keys.mail_info(agent_id), keys.seen(agent_id))
    return _RECORD.head((keys.agent(agent_id), *mailbox, keys.timeline))


def update(
    keys: Keys, agent_id: str, owner: str, *, kind: str, fields: Iterable[Part], stages: Mapping[str, bytes]
) -> Command:
    """Change what an agent says of itself; ``kind`` is what its followers are told.

    Reply: ``b"updated"``, ``b"fenced"`` or ``b"ended"``.
    """
    names = (keys.agent(agent_id), keys.timeline, keys.stages(agent_id))
    return _UPDATE(names, owner, agent_id, kind, *_rows(stages), *fields)


def leave(
    keys: Keys,
    agent_id: str,
    owner: str,
    epoch: str,
    *,
    status: str,
    fields: Iterable[Part],
    stages: Mapping[str, bytes],
) -> Command:
    """End an agent. Reply: ``b"left"``, ``b"fenced"`` or ``b"ended"``."""
    names = (keys.agent(agent_id), keys.leases, keys.ended, keys.timeline, keys.stages(agent_id))
    return _LEAVE(names, owner, agent_id, epoch, status, keys.prefix, *_rows(stages), *fields)


def _rows(stages: Mapping[str, bytes]) -> list[Part]:
    return [len(stages), *(part for pair in stages.items() for part in pair)]


def renew(keys: Keys, leases: Sequence[tuple[int, str]], *, may_shorten: bool = False) -> Command:
    """Renew leases, given as (expiry in ms of the server's clock, ``agent#epoch``). Reply: how many were changed.

    A plain command, because a script that is handed a thousand names costs the server five times as much. XX: a lease
    that was taken over or removed is never brought back by a late beat. GT: one that arrives over a connection that is
    long dead shortens none; unless it ``may_shorten`` them, because the last one was far ahead of the server's clock.
    """
    terms = ("XX", "CH") if may_shorten else ("XX", "GT", "CH")
    return ("ZADD", keys.leases, *terms, *(part for lease in leases for part in lease))


def present(keys: Keys, leases: Sequence[str]) -> Command:
    """Ask which leases there still are. Reply: their expiry, or ``None``."""
    return ("ZMSCORE", keys.leases, *leases)


def beat(keys: Keys, link: str, *, witness: Witness, hub_ttl_ms: int, read_up_to: str) -> Command:
    """Say that the hub lives, and look for leases that have lapsed. Reply: ``[now, inbox exists, earliest expiry]``.

    The earliest expiry is in ms, ``b""`` without any lease.
    """
    names = (keys.leases, keys.inbox(link), keys.pulse, keys.ended, keys.timeline)
    return _BEAT(names, keys.prefix, *witness, hub_ttl_ms, read_up_to)


def sweep(keys: Keys, witness: Witness) -> Command:
    """Look for lapsed leases. Reply: ``[now, earliest expiry or b"", witnessed]``."""
    names = (keys.leases, keys.pulse, keys.ended, keys.timeline)
    return _SWEEP(names, keys.prefix, *witness)


def tell(keys: Keys, agent_id: str, *, token: str, fields: Iterable[Part]) -> Command:
    """Tell an agent's process something, proving that one may act for it; without ``fields`` only prove it.

    Reply: ``[b"told", owner]``, ``[b"refused", b""]`` or ``[b"away", owner]``.
    """
    return _TELL((keys.agent(agent_id),), agent_id, token, keys.inbox(""), *fields)


def wait(keys: Keys, source: str, link: str) -> Command:
    """Have a hub told when an agent ends.

    Reply: ``[epoch or b"", ended_at or b"", ended_order, status, stage, error, alive, lease or b""]``.
    """
    return _WAIT((keys.agent(source), keys.waited(source), keys.leases, keys.pulse), link, source, keys.prefix)


def block(keys: Keys, agent_id: str, *, owner: str, record: bytes) -> Command:
    """Say for whom an agent waits, doing nothing else; ``record`` is JSON as ``block.lua`` describes it.

    Reply: the cycle that this closes, as a flat list of waiting agent, awaited agent and types; empty if there is none.
    """
    names = (keys.agent(agent_id), keys.waits, keys.leases, keys.broadcast)
    return _BLOCK(names, owner, agent_id, keys.prefix, record)


def unblock(keys: Keys, agent_id: str) -> Command:
    """Say that an agent does not only wait any more."""
    return ("HDEL", keys.waits, agent_id)


def abort(
    keys: Keys,
    names: Sequence[str],
    *,
    sender: tuple[str, str] | None,
    by: str,
    reason: str | bytes,
    leases: bool = False,
) -> Command:
    """Ask agents to stop; ``names`` are their ids, or with ``leases`` leases, of which only that incarnation is meant.

    ``sender`` is the agent that asks and its owner, ``None`` where it is nobody's agent. Reply: the ids of those that
    live and were asked, or ``b"fenced"``.
    """
    agents = () if sender is None else (keys.agent(sender[0]),)
    owner = "" if sender is None else sender[1]
    return _ABORT((keys.leases, keys.timeline, *agents), keys.prefix, owner, by, reason, int(leases), *names)


def arrive(
    keys: Keys,
    agent_id: str,
    name: str,
    *,
    owner: str,
    parties: int | Collection[str],
    since: int,
    generation: int | None,
    again: bool = False,
) -> Command:
    """Arrive at a barrier; with the ``generation`` in which the agent arrived, ask again how that stands.

    ``parties`` is how many there are, or their names. ``since`` is up to where in the namespace's order the agent knows
    how the barrier fared; ``again`` says that it may have arrived already. Reply: ``[b"waiting", generation]``,
    ``[b"over", generation, outcome, order]``, ``[b"parties", parties of the others]`` or ``[b"fenced"]``.
    """
    names = (keys.agent(agent_id), keys.barrier(name), keys.barriers(agent_id), keys.order)
    stood = "" if generation is None else generation
    return _ARRIVE(names, owner, agent_id, name, _meant(parties), since, stood, keys.prefix, int(again))


def _meant(parties: int | Collection[str]) -> str:
    """Return what all who stand at a barrier have to agree on."""
    if isinstance(parties, int):
        return str(parties)
    digest = hashlib.sha1("\n".join(sorted(parties)).encode(), usedforsecurity=False).hexdigest()
    return f"{len(parties)}:{digest}"


def depart(
    keys: Keys, agent_id: str, name: str, *, owner: str, generation: int | None, reason: str, by: str, detail: str
) -> Command:
    """Wait at a barrier no longer: it breaks, unless it is over. Without a ``generation``, wherever the agent stands.

    Reply: as :func:`arrive`.
    """
    names = (keys.agent(agent_id), keys.barrier(name), keys.order)
    stood = "" if generation is None else generation
    return _DEPART(names, owner, agent_id, name, stood, keys.prefix, reason, by, detail)
