"""The Lua scripts as the hub calls them, one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from attune_dsl.store import scripts
from attune_dsl.store.keys import Keys
from attune_dsl.store.scripts import Command, Part, Witness

if TYPE_CHECKING:
    from conftest import Store

CALM_MS = 60_000


class Beat(NamedTuple):
    """The reply to a beat."""

    now: int
    inbox_exists: int
    earliest: float | None


class Sweep(NamedTuple):
    """The reply to a sweep."""

    now: int
    earliest: float | None
    witnessed: bool


class Console:
    """Runs commands in the test's namespace, with all scripts loaded."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.keys = Keys(store.namespace)
        self.redis = store.redis
        self.loaded = [self.run(command) for command in scripts.load_commands()]

    def run(self, command: Command) -> Any:
        return self.redis.execute_command(*command)

    def now(self) -> int:
        """The server's time in milliseconds."""
        seconds, microseconds = self.redis.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    # Agents

    def join(
        self,
        agent_id: str,
        *,
        hub: str = "hub",
        link: int = 1,
        known_epoch: str = "0",
        takeover: str = "0",
        ttl_ms: int = CALM_MS,
        interval_ms: int = CALM_MS // 3,
        by: str = "",
        **fields: str | int,
    ) -> list[bytes]:
        """Join as hubs do: the hash says the ttl and the interval. ``fields`` are what the agent says of itself."""
        told = {"status": "running", "ttl": ttl_ms, "interval": interval_ms, **fields}
        token = str(fields.get("token", ""))
        found: list[bytes] = self.run(
            scripts.join(
                self.keys,
                agent_id,
                f"{hub}.{link}",
                ttl_ms=ttl_ms,
                known_epoch=known_epoch,
                takeover=takeover,
                hub=hub,
                by=by,
                token=token,
                fields=parts(**told),
            )
        )
        return found

    def owner(self, agent_id: str, **how: Any) -> str:
        """Join an agent and return how it signs."""
        assert self.join(agent_id, **how)[0] == b"joined"
        return self.field(agent_id, "owner")

    def field(self, agent_id: str, name: str) -> str:
        value: bytes | None = self.redis.hget(self.keys.agent(agent_id), name)
        return "" if value is None else value.decode()

    def lease(self, agent_id: str, epoch: int | str) -> float | None:
        score: float | None = self.redis.zscore(self.keys.leases, f"{agent_id}#{epoch}")
        return score

    def update(self, agent_id: str, kind: str = "updated", *, owner: str | None = None, **fields: Any) -> bytes:
        """Say something of an agent; return the reply."""
        return self._said(
            scripts.update(
                self.keys, agent_id, self._signed(agent_id, owner), kind=kind, stages={}, fields=parts(**fields)
            )
        )

    def leave(
        self,
        agent_id: str,
        status: str = "completed",
        *,
        owner: str | None = None,
        stages: Mapping[str, bytes] | None = None,
        **fields: Any,
    ) -> bytes:
        """End an agent; return the reply."""
        signed = self._signed(agent_id, owner)
        return self._said(
            scripts.leave(
                self.keys,
                agent_id,
                signed,
                signed.partition("@")[0],
                status=status,
                stages=stages or {},
                fields=parts(**{"error": "", **fields}),
            )
        )

    def _said(self, command: Command) -> bytes:
        reply: bytes = self.run(command)
        return reply

    def _signed(self, agent_id: str, owner: str | None) -> str:
        return self.field(agent_id, "owner") if owner is None else owner

    def lapse(self, agent_id: str, ms_ago: int) -> int:
        """Let the agent's lease have lapsed so long ago; return when that was."""
        at = self.now() - ms_ago
        self.redis.zadd(self.keys.leases, {f"{agent_id}#{self.field(agent_id, 'epoch')}": at})
        return at

    # Liveness

    def witness(self, *, interval: int = CALM_MS // 3, own_at: int = 0, down_at: int = 0, late_ms: int = 0) -> Witness:
        """What a hub says whose command took ``late_ms``."""
        return Witness(interval, own_at, down_at, self.now() - late_ms)

    def renew(self, *members: str, ttl_ms: int = CALM_MS) -> int:
        """Renew the leases of ``agent#epoch``; return how many were changed."""
        until = self.now() + ttl_ms
        changed: int = self.run(scripts.renew(self.keys, [(until, member) for member in members]))
        return changed

    def beat(
        self, *members: str, ttl_ms: int = CALM_MS, link: str = "hub.1", read_up_to: str = "", **witness: int
    ) -> Beat:
        """Beat for ``members``, ``agent#epoch``, as a hub does: first it renews their leases."""
        if members:
            self.renew(*members, ttl_ms=ttl_ms)
        now, inbox_exists, earliest = self.run(
            scripts.beat(self.keys, link, witness=self.witness(**witness), hub_ttl_ms=90_000, read_up_to=read_up_to)
        )
        return Beat(int(now), inbox_exists, float(earliest) if earliest else None)

    def sweep(self, **witness: int) -> Sweep:
        """Look for lapsed leases."""
        now, earliest, witnessed = self.run(scripts.sweep(self.keys, self.witness(**witness)))
        return Sweep(int(now), float(earliest) if earliest else None, bool(witnessed))

    def pulse(self, name: str) -> str:
        value: bytes | None = self.redis.hget(self.keys.pulse, name)
        return "" if value is None else value.decode()

    def quiet(self, ms: int) -> int:
        """Let the last beat of anybody have been so long ago; return when that was."""
        at = self.now() - ms
        self.redis.hset(self.keys.pulse, "at", at)
        self.redis.expire(self.keys.pulse, 60)
        return at

    def told(self) -> list[tuple[str, str]]:
        """What the followers were told: kinds and agents."""
        return [(fields["kind"], f"{fields['agent']}#{fields['epoch']}") for fields in self.timeline()]

    def timeline(self) -> list[dict[str, str]]:
        """What happened to agents; their kinds without the prefix."""
        entries = self.events()
        agents = [entry for entry in entries if entry["kind"].startswith("agent.")]
        return [entry | {"kind": entry["kind"].removeprefix("agent.")} for entry in agents]

    def events(self) -> list[dict[str, str]]:
        """All that the timeline has, as it is stored."""
        entries = self.redis.xrange(self.keys.timeline)
        return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in entries]

    def losses(self) -> list[str]:
        """The incarnations that were declared lost, as often as they were."""
        return [member for kind, member in self.told() if kind == "lost"]

    # Signals

    def send(self, sender: str, target: str, seq: int, *, owner: str | None = None, **how: Any) -> tuple[str, str]:
        """Send ``m<seq>``; return the outcome and the id."""
        given = {"lane": "lane", "signal_id": f"m{seq}", "ttl_ms": CALM_MS, "signal": f"s{seq}".encode(), "key": None}
        signed = self.field(sender, "owner") if owner is None else owner
        outcome, signal_id = self.run(
            scripts.send(self.keys, sender, target, owner=signed, seq=seq, **{**given, **how}),
        )
        return outcome.decode(), signal_id.decode()

    def broadcast(self, sender: str, seq: int, *, owner: str | None = None, **how: Any) -> tuple[str, str]:
        """Broadcast ``m<seq>``; return the outcome and the id."""
        given = {"lane": "lane", "signal_id": f"m{seq}", "ttl_ms": CALM_MS, "signal": f"s{seq}".encode(), "key": None}
        signed = self.field(sender, "owner") if owner is None else owner
        outcome, signal_id = self.run(
            scripts.broadcast(self.keys, sender, owner=signed, seq=seq, **{"late": True, **given, **how}),
        )
        return outcome.decode(), signal_id.decode()

    def stored(self, stream: str) -> list[str]:
        """The ids of the signals in a stream, in order."""
        return [_id(fields) for _, fields in self.redis.xrange(stream)]

    def look(self, agent_id: str, after_mail: int = 0, after_broadcast: int = 0) -> tuple[list[str], list[str]]:
        """The ids that a look finds: mail and broadcasts."""
        _, _, mail, broadcasts = self.run(
            scripts.look(self.keys, agent_id, after_mail=after_mail, after_broadcast=after_broadcast)
        )
        return _ids(mail), _ids(broadcasts)


def parts(**fields: Part) -> list[Part]:
    """Fields as the scripts take them."""
    return [part for pair in fields.items() for part in pair]


def _ids(entries: list[Any]) -> list[str]:
    return [_id(dict(zip(raw[::2], raw[1::2], strict=True))) for _, raw in entries]


def _id(fields: dict[bytes, bytes]) -> str:
    return fields.get(b"head", b"?").decode().split(" ")[-1]
