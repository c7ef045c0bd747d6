"""The script ``abort``: whom it asks to stop, what it keeps of that, and what those who join later get of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest
from console import CALM_MS, Console

from attune_dsl.store import limits, scripts

if TYPE_CHECKING:
    from conftest import Store


class Aborting(Console):
    """With agents that ask, and hubs that are told."""

    def abort(
        self,
        *names: str,
        sender: tuple[str, str] | None = None,
        by: str = "ops",
        reason: str = "why",
        leases: bool = False,
    ) -> Any:
        """Ask agents to stop; return the ids of those that were asked, or the refusal."""
        command = scripts.abort(self.keys, names, sender=sender, by=by, reason=reason, leases=leases)
        reply = self.run(command)
        return [agent_id.decode() for agent_id in reply] if isinstance(reply, list) else reply

    def kept(self, agent_id: str) -> tuple[str, str]:
        """What is kept of it with an agent: the reason, and who asked."""
        return self.field(agent_id, "abort_reason"), self.field(agent_id, "abort_by")

    def inbox(self, link: str = "hub.1") -> str:
        """Open a hub's inbox."""
        self.run(scripts.open_inbox(self.keys, link, ttl_ms=CALM_MS))
        return self.keys.inbox(link)

    def heard(self, link: str = "hub.1") -> list[dict[str, str]]:
        """What an inbox holds, but for its first entry."""
        entries = self.redis.xrange(self.keys.inbox(link))
        found = [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in entries]
        return [fields for fields in found if "open" not in fields]


@pytest.fixture
def console(store: Store) -> Aborting:
    return Aborting(store)


def told(agent_id: str = "ann", epoch: int = 1, by: str = "ops", reason: str = "why") -> dict[str, str]:
    return {"abort": agent_id, "epoch": str(epoch), "by": by, "reason": reason}


# Whom it reaches


def test_one_that_lives_is_asked_and_its_hub_is_told(console: Aborting) -> None:
    """§5.9: kept with the agent, put into its hub's inbox, and noted for who follows."""
    console.inbox()
    console.join("ann")

    assert console.abort("ann") == ["ann"]
    assert console.kept("ann") == ("why", "ops")
    assert console.heard() == [told()]
    assert console.told()[-1] == ("updated", "ann#1")


def test_one_that_never_lived(console: Aborting) -> None:
    """§5.9: nobody is asked, and nothing is kept for a newcomer."""
    assert console.abort("ann") == []
    assert console.store.keys() == []


def test_one_that_has_ended(console: Aborting) -> None:
    """§5.10: its status is final, also if somebody put a lease of it back."""
    console.join("ann")
    console.leave("ann")
    assert console.abort("ann") == []

    console.redis.zadd(console.keys.leases, {"ann#1": console.now() + CALM_MS})
    console.redis.expire(console.keys.leases, 60)

    assert console.abort("ann") == []
    assert console.kept("ann") == ("", "")


def test_one_that_was_lost(console: Aborting) -> None:
    """§5.10: that is final for its incarnation."""
    console.join("ann")
    console.lapse("ann", 2 * CALM_MS)
    console.sweep()

    assert console.field("ann", "status") == "lost"
    assert console.abort("ann") == []


def test_one_whose_lease_is_gone(console: Aborting) -> None:
    """§5.9: it does not live, whatever its hash says."""
    console.join("ann")
    console.redis.zrem(console.keys.leases, "ann#1")

    assert console.abort("ann") == []
    assert console.kept("ann") == ("", "")


def test_one_whose_hub_has_no_inbox_is_asked_all_the_same(console: Aborting) -> None:
    """§5.9: its link is away; a new one asks. No inbox is made for it."""
    console.join("ann")

    assert console.abort("ann") == ["ann"]
    assert not console.redis.exists(console.keys.inbox("hub.1"))
    assert console.join("ann", link=2, known_epoch="1")[4:] == [b"why", b"ops"]


def test_a_full_inbox_says_that_the_hub_has_to_ask(console: Aborting) -> None:
    """§5.9: the word itself is dropped, and is with the agent."""
    inbox = console.inbox()
    console.join("ann")
    with console.redis.pipeline() as pipeline:
        for _ in range(limits.INBOX_COUNT):
            pipeline.xadd(inbox, {"nudge": "1"})
        pipeline.execute()

    assert console.abort("ann") == ["ann"]
    assert console.heard() == [{"resync": "1"}]
    assert console.kept("ann") == ("why", "ops")


def test_many_names(console: Aborting) -> None:
    """§5.9: as many as go into one call; those that do not live are left out, the order stays."""
    names = [f"agent-{n}" for n in range(limits.ABORT_CHUNK)]
    for name in names[::2]:
        console.join(name)

    assert console.abort(*names) == names[::2]
    assert {console.kept(name) for name in names[::2]} == {("why", "ops")}


def test_no_names(console: Aborting) -> None:
    """§5.9: nobody."""
    assert console.abort() == []


# Incarnations


def test_a_lease_names_one_incarnation(console: Aborting) -> None:
    """§5.9: no newcomer under its id is meant."""
    console.join("ann")
    assert console.abort("ann#1", leases=True) == ["ann"]

    console.leave("ann")
    console.join("ann", hub="other")
    assert console.abort("ann#1", leases=True) == []
    assert console.kept("ann") == ("", "")
    assert console.abort("ann#2", leases=True) == ["ann"]


def test_an_id_is_never_read_as_a_lease(console: Aborting) -> None:
    """§5.2: nothing in a name acts as a pattern."""
    console.join("ann")

    assert console.abort("ann#1") == []
    assert console.kept("ann") == ("", "")


def test_a_lease_is_never_read_as_an_id(console: Aborting) -> None:
    """§5.2: also where an agent's name looks like another's lease."""
    console.join("ann")
    console.join("ann#1")

    assert console.abort("ann#1", leases=True) == ["ann"]
    assert (console.kept("ann"), console.kept("ann#1")) == (("why", "ops"), ("", ""))
    assert console.abort("ann#1#2", leases=True) == ["ann#1"]


@pytest.mark.parametrize("name", ["", "ann", "#", "ann#", "#1", "ann#x", "ann#1 ", "ann#01"])
def test_what_is_no_lease_is_passed_over(console: Aborting, name: str) -> None:
    """§5.12: somebody wrote nonsense into the leases."""
    console.join("ann")
    assert console.abort(name, "ann#1", leases=True) == ["ann"]


# The first one counts


def test_the_first_reason_counts(console: Aborting) -> None:
    """§5.9: it may have been acted on; a second one counts as asked."""
    console.inbox()
    console.join("ann")
    console.abort("ann", reason="first", by="ops")

    assert console.abort("ann", reason="second", by="boss") == ["ann"]
    assert console.kept("ann") == ("first", "ops")


def test_a_second_one_tells_the_first_reason(console: Aborting) -> None:
    """§5.9: the hub may not have heard of the first, and would take the second for it."""
    console.inbox()
    console.join("ann")
    console.abort("ann", reason="first", by="ops")
    console.redis.xtrim(console.keys.inbox("hub.1"), maxlen=0)
    console.abort("ann", reason="second", by="boss")

    assert console.heard() == [told(reason="first", by="ops")]


# Who asks


def test_an_agent_asks_in_its_own_name(console: Aborting) -> None:
    """§5.9: as the owner of its id."""
    owner = console.owner("ops")
    console.join("ann")

    assert console.abort("ann", sender=("ops", owner)) == ["ann"]


def test_a_fenced_sender_is_refused(console: Aborting) -> None:
    """§5.2: another owner has its id, or it has a new link; nobody is asked."""
    old = console.owner("ops")
    console.join("ops", hub="other", takeover="1")
    console.join("ann")

    assert console.abort("ann", sender=("ops", old)) == b"fenced"
    assert console.kept("ann") == ("", "")


@pytest.mark.parametrize("sender", ["ended", "never"])
def test_a_sender_that_is_no_agent_is_refused(console: Aborting, sender: str) -> None:
    """§5.2: it has ended, or never was one."""
    owner = console.owner("ended")
    console.leave("ended")
    console.join("ann")

    assert console.abort("ann", sender=(sender, owner)) == b"fenced"


# Bad data


def test_a_hash_of_the_wrong_type_is_passed_over_alone(console: Aborting) -> None:
    """§5.12: somebody put a string in the place of an agent."""
    console.redis.set(console.keys.agent("bad"), "x", ex=60)
    console.redis.zadd(console.keys.leases, {"bad#1": console.now() + CALM_MS})
    console.join("ann")

    assert console.abort("bad", "ann") == ["ann"]
    assert console.abort("bad#1", "ann#1", leases=True) == ["ann"]


def test_an_inbox_of_the_wrong_type_stops_nobody(console: Aborting) -> None:
    """§5.12: the others are asked and told; that hub learns of it with its next link."""
    console.redis.set(console.keys.inbox("hub.1"), "x", ex=60)
    console.join("ann")
    console.join("ben", hub="other")
    console.inbox("other.1")

    assert console.abort("ann", "ben") == ["ann", "ben"]
    assert console.kept("ann") == ("why", "ops")
    assert console.heard("other.1") == [told("ben", 2)]


def test_text_of_any_kind_arrives_as_it_is(console: Aborting) -> None:
    """§5.9: the reason is people's."""
    console.inbox()
    console.join("ann")
    reason = 'schlecht: {"a": 1}\r\n* ? \' \\ \x00 ☂'
    console.abort("ann", reason=reason)

    assert console.kept("ann")[0] == reason
    assert console.heard()[0]["reason"] == reason


# Those who join later


def joined(reply: Sequence[bytes]) -> tuple[bytes, ...] | None:
    """Why one that joined is asked to stop, and by whom; ``None`` if it is not."""
    assert reply[0] == b"joined", reply
    return tuple(reply[4:]) if reply[4] else None


def test_it_comes_back_over_a_new_link(console: Aborting) -> None:
    """§5.9: the same incarnation asks again."""
    console.join("ann")
    console.abort("ann")
    assert joined(console.join("ann", link=2, known_epoch="1")) == (b"why", b"ops")


@pytest.mark.parametrize("takeover", ["0", "1"])
def test_a_successor_of_one_that_was_lost_is_asked_too(console: Aborting, takeover: str) -> None:
    """§5.9: it died before its end; once its end is there, the next one is free."""
    console.join("ann")
    console.abort("ann")
    console.lapse("ann", 2 * CALM_MS)
    console.sweep()

    assert joined(console.join("ann", hub="other", takeover=takeover)) == (b"why", b"ops")
    assert console.kept("ann") == ("why", "ops")
    console.leave("ann", "aborted")
    assert joined(console.join("ann", hub="third")) is None
    assert console.kept("ann") == ("", "")


def test_a_successor_of_one_whose_process_is_gone_is_asked_too(console: Aborting) -> None:
    """§5.9: it was killed, and its lease has not lapsed yet."""
    console.join("ann")
    console.abort("ann")
    assert joined(console.join("ann", hub="other", takeover="#1")) == (b"why", b"ops")


def test_a_successor_of_a_successor(console: Aborting) -> None:
    """§5.9: however often it dies before it ends."""
    console.join("ann")
    console.abort("ann")
    for n in range(3):
        assert joined(console.join("ann", hub=f"hub-{n}", takeover=f"#{n + 1}")) == (b"why", b"ops")


def test_one_that_was_lost_and_comes_back_itself_is_still_asked(console: Aborting) -> None:
    """§5.9: its program has not ended."""
    console.join("ann")
    console.abort("ann")
    console.lapse("ann", 2 * CALM_MS)
    console.sweep()
    assert joined(console.join("ann", known_epoch="1")) == (b"why", b"ops")


@pytest.mark.parametrize("was_lost", [False, True])
def test_another_run_of_the_same_process_is_not_asked(console: Aborting, was_lost: bool) -> None:
    """§5.9: the one before it has ended, though the store was not told; nor does it stand where that one stood."""
    owner = console.owner("ann", token="one")
    console.run(scripts.arrive(console.keys, "ann", "gate", owner=owner, parties=2, since=1, generation=None))
    console.abort("ann")
    if was_lost:
        console.lapse("ann", 2 * CALM_MS)
        console.sweep()

    reply = console.join("ann", link=2, token="two")
    assert joined(reply) is None
    assert console.kept("ann") == ("", "")
    assert (int(reply[1]) > 1, int(reply[3]) > 0) == (True, True)  # what that one took may come again
    owner, since = console.field("ann", "owner"), int(reply[1])
    again = scripts.arrive(console.keys, "ann", "gate", owner=owner, parties=2, since=since, generation=None)
    assert console.run(again) == [b"waiting", b"2"]


def test_a_run_whose_join_was_not_answered_is_the_same_one(console: Aborting) -> None:
    """§5.9: it says so by its token, and joins again as one that never knew its epoch."""
    console.join("ann", token="one")
    console.abort("ann")
    reply = console.join("ann", link=2, token="one")
    assert (reply[1], joined(reply)) == (b"1", (b"why", b"ops"))


@pytest.mark.parametrize("status", ["completed", "failed", "aborted", "cancelled"])
def test_any_end_is_the_end_of_it(console: Aborting, status: str) -> None:
    """§5.9: it was meant for what has ended."""
    console.join("ann")
    console.abort("ann")
    console.leave("ann", status)
    assert joined(console.join("ann")) is None


def test_who_takes_a_living_owner_s_id_is_not_asked(console: Aborting) -> None:
    """§5.9: another was meant."""
    console.join("ann")
    console.abort("ann")
    assert joined(console.join("ann", hub="other", takeover="1")) is None
    assert console.kept("ann") == ("", "")


def test_it_leaves_no_key_without_a_ttl(console: Aborting) -> None:
    """§5.12: what is bookkeeping goes by itself."""
    console.inbox()
    console.join("ann")
    console.abort("ann")
    assert console.store.keys_for_ever() == []
