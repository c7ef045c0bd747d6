"""The Lua scripts as typed Python functions. Each returns the parts of one EVALSHA; the wire sees nothing else.

One small script an operation, in ``store/lua``; ``common.lua`` and the constants of :mod:`attune_dsl.store.limits` are
put before each of them. :func:`load_commands` gives what every new connection sends first, because a server that was
restarted answers NOSCRIPT while later commands of a pipeline run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from attune_dsl.store import limits
from attune_dsl.store.keys import Keys

Part = str | int | bytes
Command = tuple[Part, ...]

_FOLDER: Final = Path(__file__).parent / "lua"
_CONSTANTS: Final = "".join(f"local {name} = {getattr(limits, name)}\n" for name in limits.SCRIPT_CONSTANTS)
_PRELUDE: Final = _CONSTANTS + (_FOLDER / "common.lua").read_text(encoding="utf-8")


class _Script:
    """One file of ``store/lua`` with what it is called by."""

    __slots__ = ("sha", "text")

    def __init__(self, name: str) -> None:
        self.text = _PRELUDE + (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, keys: Sequence[str], *args: Part) -> Command:
        return (*self.head(keys), *args)

    def head(self, keys: Sequence[str]) -> Command:
        """Return the part of the command that stays the same for the same keys."""
        return ("EVALSHA", self.sha, len(keys), *keys)


_SEND: Final = _Script("send")
_BROADCAST: Final = _Script("broadcast")
_TAKE: Final = _Script("take")
_LOOK: Final = _Script("look")
_JOIN: Final = _Script("join")
_UPDATE: Final = _Script("update")
_LEAVE: Final = _Script("leave")
_BEAT: Final = _Script("beat")
_OPEN: Final = _Script("open")
_ALL: Final = (_SEND, _BROADCAST, _TAKE, _LOOK, _JOIN, _UPDATE, _LEAVE, _BEAT, _OPEN)


def load_commands() -> list[Command]:
    """Return the commands that load every script; sent at every connect."""
    return [("SCRIPT", "LOAD", script.text) for script in _ALL]


def open_inbox(keys: Keys, link: str, *, ttl_ms: int) -> Command:
    """Open a hub's inbox. Reply: ``[now, first inbox id, newest broadcast id]``."""
    return _OPEN((keys.inbox(link), keys.broadcast), ttl_ms)


def join(
    keys: Keys,
    agent_id: str,
    link: str,
    *,
    ttl_ms: int,
    known_epoch: str,
    takeover: bool,
    hub: str,
    fields: Iterable[Part],
) -> Command:
    """Join an agent. Reply: ``[b"joined", epoch, now, died_at]`` or ``[b"taken", host, pid]``."""
    names = (keys.agent(agent_id), keys.leases, keys.order, keys.ended)
    return _JOIN(names, agent_id, link, ttl_ms, known_epoch, int(takeover), hub, *fields)


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
) -> Command:
    """Send a targeted signal. Reply: ``[b"stored", id]``, ``[b"full", b""]`` or ``[b"fenced", b""]``."""
    if key is None:
        head = _send_head(keys, sender, target)
    else:
        head = _SEND.head((*_send_keys(keys, sender, target), keys.once(sender, key)))
    return (*head, owner, lane, seq, signal_id, ttl_ms, signal, keys.inbox(""), target)


def _send_keys(keys: Keys, sender: str, target: str) -> tuple[str, ...]:
    return (keys.agent(sender), keys.order, keys.mail(target), keys.mail_info(target), keys.agent(target))


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
) -> Command:
    """Send a signal to every agent. Replies as :func:`send`."""
    names = [keys.agent(sender), keys.order, keys.broadcast, keys.broadcast_info]
    if key is not None:
        names.append(keys.once(sender, key))
    return _BROADCAST(names, owner, lane, seq, signal_id, ttl_ms, signal, int(late))


def take(
    keys: Keys,
    agent_id: str,
    owner: str,
    *,
    mail: Sequence[tuple[str, int]],
    broadcasts: Sequence[tuple[int, int]],
) -> Command:
    """Mark as taken: mail as (stream id, bytes), broadcasts as (order, expiry in ms). Reply: a word."""
    parts: list[Part] = [part for pair in mail for part in pair]
    parts += [part for pair in broadcasts for part in pair]
    return (*_take_head(keys, agent_id), owner, len(mail), *parts)


@lru_cache(1024)
def _take_head(keys: Keys, agent_id: str) -> Command:
    return _TAKE.head((keys.agent(agent_id), keys.mail(agent_id), keys.mail_info(agent_id), keys.seen(agent_id)))


def update(keys: Keys, agent_id: str, owner: str, *, progressed: bool, fields: Iterable[Part]) -> Command:
    """Change what an agent says of itself. Reply: ``b"updated"``, ``b"fenced"`` or ``b"ended"``."""
    return _UPDATE((keys.agent(agent_id),), owner, int(progressed), *fields)


def leave(keys: Keys, agent_id: str, owner: str, epoch: str, *, fields: Iterable[Part]) -> Command:
    """End an agent. Reply: ``b"left"``, ``b"fenced"`` or ``b"ended"``."""
    return _LEAVE((keys.agent(agent_id), keys.leases, keys.ended), owner, agent_id, epoch, *fields)


def beat(
    keys: Keys,
    link: str,
    *,
    hub_ttl_ms: int,
    read_up_to: str,
    leases: Sequence[tuple[int, str]],
) -> Command:
    """Renew leases given as (ttl in ms, ``agent#epoch``). Reply: ``[now, inbox exists, lost positions]``."""
    parts = [part for pair in leases for part in pair]
    return _BEAT((keys.leases, keys.inbox(link)), hub_ttl_ms, read_up_to, *parts)
