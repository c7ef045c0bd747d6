"""Acting for an agent that lives in another process: by the token that its process handed on."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Final, Self

from attune_dsl import clock
from attune_dsl.coordination import aborting, outgoing
from attune_dsl.coordination.asking import unanswered
from attune_dsl.coordination.outgoing import Outgoing
from attune_dsl.dsl.fraction import check_fraction
from attune_dsl.exceptions import StoreUnavailable, UsageError
from attune_dsl.hub.drive import Ticket
from attune_dsl.hub.hub import Hub
from attune_dsl.hub.link import GRACE, SLEEPING
from attune_dsl.hub.registry import connect_hub, release_hub
from attune_dsl.model import Coordination
from attune_dsl.store import codec, scripts
from attune_dsl.store.names import check_name
from attune_dsl.store.scripts import Part

_PAUSE: Final = 0.05
"""Seconds between two attempts to find an agent whose process has just lost its link."""


class Deputy:
    """Says what an agent does, and sends in its name. Its methods are neutral coroutines.

    All raise :class:`UsageError` once the agent has ended or belongs to somebody else, and :class:`StoreUnavailable`.
    """

    def __init__(self, hub: Hub, agent_id: str, token: str, ttl: float) -> None:
        """Made by :meth:`open`."""
        self._hub = hub
        self._agent_id = agent_id
        self._token = token
        self._ttl = ttl

    @classmethod
    async def open(
        cls,
        agent_id: str,
        token: str,
        store: str | None = None,
        namespace: str | None = None,
        *,
        coordination: Coordination | None = None,
    ) -> Self:
        """Connect to the store. Raises :class:`StoreUnavailable`, :class:`StoreConfigError`, :class:`InvalidName`."""
        check_name("agent id", agent_id)
        hub = await connect_hub(store, namespace)
        return cls(hub, agent_id, token, (coordination or Coordination()).ttl)

    async def close(self) -> None:
        """Disconnect."""
        await release_hub(self._hub)

    async def progress(self, fraction: float | None = None, note: str | None = None) -> None:
        """Say how far the agent is, as a ``fraction`` from 0 to 1, and in words. Its progress never moves back.

        Raises ``ValueError`` for a fraction outside of 0 to 1.
        """
        check_fraction(fraction)
        fields = _progress(None if fraction is None else float(fraction), note)
        outcome = await self._again(lambda: self._tell(fields), lambda outcome: outcome[0] == b"told")
        if outcome[0] != b"told":
            raise StoreUnavailable(
                f"the process of agent {self._agent_id!r} has no link to the store {self._hub.server.label} at present"
            )

    async def send(
        self,
        type: str,  # noqa: A002 (as in Signals)
        target: str,
        payload: Any = None,
        *,
        ttl: float | None = None,
        key: str | None = None,
    ) -> str:
        """Send a signal as the agent; see :meth:`Signals.send`."""
        check_name("target", target)
        return await self._post(self._encode(type, target, payload, ttl, key), "sent", type, "to", target)

    async def broadcast(
        self,
        type: str,  # noqa: A002
        payload: Any = None,
        *,
        ttl: float | None = None,
        late: bool = True,
        key: str | None = None,
    ) -> str:
        """Send a signal to all as the agent; see :meth:`Signals.broadcast`."""
        return await self._post(self._encode(type, None, payload, ttl, key, late=late), "broadcast", type)

    async def abort(self, reason: str, target: str | None) -> list[str] | None:
        """Ask ``target`` to stop as the agent (``None``: all others that live now); see :func:`aborting.abort`."""
        aborting.check(reason, target)
        await self._tell(["did", codec.encode_payload(["asked", target or "all others", "to stop"])])
        return await aborting.abort(self._hub, reason, target, sender=None, by=self._agent_id, but=self._agent_id)

    def _encode(
        self, type_: str, target: str | None, payload: Any, ttl: float | None, key: str | None, *, late: bool = True
    ) -> Outgoing:
        seconds = self._ttl if ttl is None else ttl
        return outgoing.encode(self._agent_id, type_, target, payload, ttl=seconds, key=_key(key), late=late)

    async def _post(self, message: Outgoing, *did: str) -> str:
        """Send a message, and again under the agent's new owner string if its process has a new link meanwhile."""
        hub = self._hub

        async def attempt() -> str | None:
            # A signal is proof of work, so its process is told; whether that is reachable does not matter.
            owner = (await self._tell(["did", codec.encode_payload(did)]))[1].decode()
            reply = await hub.ask(
                [hub.request(lambda request: message.command(hub.keys, request, owner), numbered=True)]
            )
            return outgoing.stored_id(reply, message.target, hub.namespace)

        return await self._again(attempt, lambda signal_id: signal_id is not None) or ""

    async def _tell(self, fields: list[Part]) -> list[bytes]:
        hub = self._hub
        reply = await hub.ask(
            [hub.request(lambda _: scripts.tell(hub.keys, self._agent_id, token=self._token, fields=fields))]
        )
        if not isinstance(reply, list):
            raise unanswered(hub)
        if reply[0] == b"refused":
            raise UsageError(
                f"the token is not, or no longer, that of a live agent {self._agent_id!r} in namespace "
                f"{hub.namespace!r}: it has ended, was lost, or has another owner"
            )
        return reply

    async def _again(self, attempt: Callable[[], Any], is_done: Callable[[Any], bool]) -> Any:
        """Repeat an attempt within the grace time until it is done; return what the last one returned."""
        deadline = clock.monotonic() + GRACE
        while not is_done(outcome := await attempt()) and clock.monotonic() < deadline:
            await Ticket[None](SLEEPING, clock.monotonic() + _PAUSE)
        return outcome


def _progress(fraction: float | None, note: str | None) -> list[Part]:
    return ["progress", codec.encode_payload([fraction, note])]


def _key(key: str | None) -> str:
    """Return the key, or one made up: all who act for an agent share what the store remembers of its sends.

    Only the key lets it recognise a send that is repeated because the link broke.
    """
    return uuid.uuid4().hex if key is None else key
