"""What of a timeline belongs to the story of one run."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field

from attune_dsl.events import (
    AgentAbort,
    AgentEnd,
    AgentJoin,
    AgentLoss,
    AgentNews,
    Event,
    EventKind,
    SignalExpired,
    SignalReceived,
    SignalSent,
)


def story_of(run_id: str, events: Sequence[Event]) -> list[Event]:
    """Return the events that tell a run's story, in the order in which they were given: oldest first.

    These are the events of the run; what happened to its agent in the same incarnation; of other agents the sending of
    what the run received, and what became of what it sent; and gaps that may hide a part of it. Empty if there is no
    event of the run.
    """
    own = [index for index, event in enumerate(events) if event.run == run_id]
    if not own:
        return []
    run = _Run(run_id, own[0], own[-1], starts=events[own[0]].kind in (EventKind.RUN_STARTED, EventKind.AGENT_JOINED))
    for index in own:
        run.learn(events[index])
    return [event for index, event in enumerate(events) if event.run == run_id or run.concerns(index, event)]


@define
class _Run:
    """What of a run is needed to recognise what else belongs to it. ``first`` and ``last`` are places of its events."""

    id: str
    first: int
    last: int
    starts: bool
    agents: set[str] = field(factory=set)
    incarnations: set[tuple[str | None, int]] = field(factory=set)
    sent: set[str] = field(factory=set)
    received: set[str] = field(factory=set)

    def learn(self, event: Event) -> None:
        if event.agent is not None:
            self.agents.add(event.agent)
        match event.data:
            case SignalSent(id=id):
                self.sent.add(id)
            case SignalReceived(id=id):
                self.received.add(id)
            case AgentJoin() | AgentAbort() | AgentLoss() | AgentEnd() | AgentNews():
                self.incarnations.add((event.agent, event.data.epoch))

    def concerns(self, index: int, event: Event) -> bool:
        """Whether an event that is not of the run belongs to its story."""
        match event.data:
            case SignalSent(id=id):
                return id in self.received
            case SignalReceived(id=id) | SignalExpired(id=id):
                return id in self.sent
            case AgentJoin() | AgentAbort() | AgentLoss() | AgentEnd() | AgentNews():
                return self._is_incarnation(index, event, event.data.epoch)
        return event.kind == EventKind.GAP and self._may_hide(index, event)

    def _is_incarnation(self, index: int, event: Event, epoch: int) -> bool:
        if event.agent not in self.agents:
            return False
        if self.incarnations:
            return (event.agent, epoch) in self.incarnations
        return event.run is None and self.first <= index <= self.last

    def _may_hide(self, index: int, event: Event) -> bool:
        """Whether what is missing there can be of the run; ahead of its first event, if that is no start."""
        if event.run is not None or (event.agent is not None and event.agent not in self.agents):
            return False
        return index <= self.last and (index >= self.first or not self.starts)
