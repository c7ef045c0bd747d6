"""Say so when an agent is lost, stalled or failed, and when it works again; runs until Ctrl-C.

python examples/watcher.py

What it prints could as well go to a chat or a pager. It does not ask the store again and again: changes come as they
happen. What happened while the store was out of reach is told afterwards.
"""

from attune_dsl import AgentChange, AgentRecord, AgentStatus, ChangeKind, Monitor, StoreUnavailable


def trouble(agent: AgentRecord) -> str | None:
    """Say what is wrong with an agent; ``None`` if nothing is."""
    where = f", on stage {agent.stage}" if agent.stage else ""
    did = f", last {agent.activity}" if agent.activity else ""
    if agent.status is AgentStatus.LOST:
        return f"is lost{where}{did}"
    if agent.is_stalled:
        return f"has made no progress for {agent.progress_age or 0:.0f} s{where}{did}"
    return f"failed: {agent.error}" if agent.status is AgentStatus.FAILED else None


def news(change: AgentChange) -> str | None:
    """Say what a change means for somebody on call; ``None`` if nothing."""
    if change.kind is ChangeKind.RESUMED:
        return "works again"
    if change.kind is ChangeKind.FENCED:
        return "was replaced by another process"
    is_new = change.kind in (ChangeKind.LOST, ChangeKind.STALLED, ChangeKind.ENDED)
    return trouble(change.agent) if is_new else None


def say(agent: AgentRecord, text: str | None) -> None:
    if text is not None:
        print(f"{agent.display_name or agent.agent_id} {text}", flush=True)


def watch() -> None:
    """Tell the present trouble, then what changes, until Ctrl-C."""
    with Monitor() as monitor, monitor.follow() as changes:
        print(f"watching namespace {monitor.namespace}", flush=True)
        for agent in changes.agents.values():
            say(agent, trouble(agent))
        while True:
            try:
                for change in changes.next(timeout=None):
                    say(change.agent, news(change))
            except StoreUnavailable as error:
                print(f"nobody can be seen: {error}", flush=True)  # the next call waits until the store is back


if __name__ == "__main__":
    try:
        watch()
    except KeyboardInterrupt:
        print("watched until here")
