"""Every key of the wire layout is named here and nowhere else; tests pin the names.

All keys of a namespace share the cluster hash tag ``{namespace}``, so one namespace lives in one slot and a script may
derive a key (the inbox of a target's hub) from the prefix that it is given.
"""

from __future__ import annotations

from typing import Final

CAPPED: Final = frozenset({"order", "timeline-cap"})
"""Keys without a TTL, by their name behind the prefix, because their size is bounded: each is one integer.

``order`` must outlive every signal and every epoch that it numbered, or old ones would look new; ``timeline-cap`` is
what somebody has decided for the namespace.
"""


class Keys:
    """The keys of one namespace.

    >>> Keys("team").mail("deploy")
    'attune:{team}:mail:deploy'
    """

    __slots__ = (
        *("broadcast", "broadcast_info", "ended", "expiries", "leases", "order", "prefix", "pulse"),
        *("timeline", "timeline_cap", "waits"),
    )

    def __init__(self, namespace: str) -> None:
        self.prefix: Final = f"attune:{{{namespace}}}:"
        self.leases: Final = self.prefix + "leases"
        """zset ``agent#epoch`` -> expiry in server milliseconds; one ZADD beats for all agents of a process."""
        self.ended: Final = self.prefix + "ended"
        """zset of agents that ended -> when their history expires, in server milliseconds."""
        self.pulse: Final = self.prefix + "pulse"
        """Hash of what is known of the namespace's beats: when the last one was, and when nobody beat for long."""
        self.timeline: Final = self.prefix + "timeline"
        """Stream of what happened, capped."""
        self.timeline_cap: Final = self.prefix + "timeline-cap"
        """String: how many entries the timeline keeps, where that is not the default."""
        self.expiries: Final = self.prefix + "expiries"
        """zset of agents with mail -> its earliest expiry, in server milliseconds."""
        self.waits: Final = self.prefix + "waits"
        """Hash of agents that wait for one other and do nothing else -> for whom and for what, as JSON."""
        self.order: Final = self.prefix + "order"
        """Counter that numbers signals, broadcasts and epochs in one sequence."""
        self.broadcast: Final = self.prefix + "broadcast"
        """Stream of broadcasts."""
        self.broadcast_info: Final = self.prefix + "broadcast-info"
        """Hash beside the broadcasts: ``bytes`` they hold, ``due`` their earliest known expiry."""

    def agent(self, agent_id: str) -> str:
        """Hash of what an agent says of itself, and of who owns its id."""
        return f"{self.prefix}agent:{agent_id}"

    def stages(self, agent_id: str) -> str:
        """Hash of what the stages of an agent's run did so far: name -> JSON."""
        return f"{self.prefix}stages:{agent_id}"

    def waited(self, agent_id: str) -> str:
        """Set of the hubs (by their link) that wait for what an agent sends, and are told when it ends."""
        return f"{self.prefix}waited:{agent_id}"

    def mail(self, agent_id: str) -> str:
        """Stream: the agent's mailbox, the truth about targeted signals."""
        return f"{self.prefix}mail:{agent_id}"

    def mail_info(self, agent_id: str) -> str:
        """Hash beside a mailbox: ``bytes`` it holds, ``due`` its earliest known expiry."""
        return f"{self.prefix}mail-info:{agent_id}"

    def seen(self, agent_id: str) -> str:
        """zset of broadcasts (by order) that the agent has taken -> their expiry."""
        return f"{self.prefix}seen:{agent_id}"

    def reading(self, agent_id: str) -> str:
        """String: which process takes mail for an agent that lives in another one, at this moment."""
        return f"{self.prefix}reading:{agent_id}"

    def barrier(self, name: str) -> str:
        """Hash: who stands at a barrier, how many have to, and how its last generations ended."""
        return f"{self.prefix}barrier:{name}"

    def barriers(self, agent_id: str) -> str:
        """Set of the barriers at which an agent stands; they break when it ends."""
        return f"{self.prefix}barriers:{agent_id}"

    def inbox(self, link: str) -> str:
        """Stream that wakes a hub: a copy of, or a pointer to, what came for its agents."""
        return f"{self.prefix}inbox:{link}"

    def once(self, agent_id: str, key: str) -> str:
        """String: the id of the signal that the agent sent under the user's own ``key=``.

        The length keeps agent ``a:b`` with key ``c`` apart from agent ``a`` with key ``b:c``.
        """
        return f"{self.prefix}once:{len(agent_id)}:{agent_id}:{key}"
