"""The Lua scripts as the hub calls them, one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attune_dsl.store import scripts
from attune_dsl.store.keys import Keys
from attune_dsl.store.scripts import Command

if TYPE_CHECKING:
    from conftest import Store

CALM_MS = 60_000


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
        takeover: bool = False,
        ttl_ms: int = CALM_MS,
        **fields: str,
    ) -> list[bytes]:
        found: list[bytes] = self.run(
            scripts.join(
                self.keys,
                agent_id,
                f"{hub}.{link}",
                ttl_ms=ttl_ms,
                known_epoch=known_epoch,
                takeover=takeover,
                hub=hub,
                fields=[part for pair in (fields or {"status": "running"}).items() for part in pair],
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

    def lapse(self, agent_id: str, ms_ago: int) -> int:
        """Let the agent's lease have lapsed so long ago; return when that was."""
        at = self.now() - ms_ago
        self.redis.zadd(self.keys.leases, {f"{agent_id}#{self.field(agent_id, 'epoch')}": at})
        return at

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


def _ids(entries: list[Any]) -> list[str]:
    return [_id(dict(zip(raw[::2], raw[1::2], strict=True))) for _, raw in entries]


def _id(fields: dict[bytes, bytes]) -> str:
    return fields.get(b"head", b"?").decode().split(" ")[-1]
