"""The scripts of signals, on both servers: send, broadcast, look, take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from console import Console

from attune_dsl.store import limits, scripts

if TYPE_CHECKING:
    from conftest import Store

FAR = 2**45
"""Milliseconds; long after any test."""


@pytest.fixture
def console(store: Store) -> Console:
    """Two agents have joined: ann and bob."""
    console = Console(store)
    console.join("ann")
    console.join("bob", hub="bobs")
    return console


def test_every_script_loads_under_the_name_it_is_called_by(console: Console) -> None:
    assert [script.sha for script in scripts._ALL] == [sha.decode() for sha in console.loaded]


def test_every_file_is_a_script_that_is_loaded() -> None:
    files = sorted(path.name for path in (Path(scripts.__file__).parent / "lua").iterdir())

    assert len(files) == len(scripts._ALL) + len(["common.lua", "barriers.lua", "liveness.lua"])


@pytest.mark.parametrize("owner", ["", "1", "999@hub.1", "1@hub.2"])
def test_who_is_not_the_owner_is_fenced(console: Console, owner: str) -> None:
    assert console.send("ann", "bob", 1, owner=owner) == ("fenced", "")
    assert console.broadcast("ann", 1, owner=owner) == ("fenced", "")
    assert console.send("nobody", "bob", 1, owner=owner or "1@hub.1") == ("fenced", "")
    assert console.look("bob") == ([], [])


def test_a_rejoined_owner_is_fenced_over_its_earlier_link(console: Console) -> None:
    late = console.field("ann", "owner")
    console.join("ann", link=2, known_epoch=console.field("ann", "epoch"))

    assert console.send("ann", "bob", 1, owner=late) == ("fenced", "")
    assert console.send("ann", "bob", 1) == ("stored", "m1")


@pytest.mark.parametrize("kind", ["send", "broadcast"])
def test_a_retry_is_recognised_by_its_number(console: Console, kind: str) -> None:
    post = (
        console.broadcast
        if kind == "broadcast"
        else lambda *args, **how: console.send(args[0], "bob", *args[1:], **how)
    )
    stream = console.keys.broadcast if kind == "broadcast" else console.keys.mail("bob")

    answers = [post("ann", seq) for seq in (1, 2, 2, 1, 3)]

    assert [("stored", f"m{seq}") for seq in (1, 2, 2, 1, 3)] == answers
    assert console.stored(stream) == ["m1", "m2", "m3"]


def test_numbers_of_another_lane_begin_anew(console: Console) -> None:
    console.send("ann", "bob", 5)

    assert console.send("ann", "bob", 1, lane="lane 2", signal_id="other") == ("stored", "other")
    assert console.stored(console.keys.mail("bob")) == ["m5", "other"]


def fill(console: Console, info: str) -> None:
    console.redis.hset(info, mapping={"bytes": limits.MAIL_BYTES, "due": FAR})
    console.redis.expire(info, 60)


@pytest.mark.parametrize("kind", ["send", "broadcast"])
def test_what_was_refused_is_refused_again(console: Console, kind: str) -> None:
    post = console.broadcast if kind == "broadcast" else lambda *args: console.send(args[0], "bob", *args[1:])
    info = console.keys.broadcast_info if kind == "broadcast" else console.keys.mail_info("bob")
    fill(console, info)
    refused = [post("ann", seq) for seq in (1, 2)]
    console.redis.delete(info)

    answers = [post("ann", seq) for seq in (1, 3, 2, 3)]

    assert refused == [("full", "")] * 2
    assert answers == [("full", ""), ("stored", "m3"), ("full", ""), ("stored", "m3")]


def test_what_is_remembered_of_refusals_is_bounded(console: Console) -> None:
    fill(console, console.keys.mail_info("bob"))

    for seq in range(1_000_000, 1_000_400):
        console.send("ann", "bob", seq)

    assert len(console.field("ann", "refused")) == limits.REFUSED_LENGTH
    assert console.send("ann", "bob", 1_000_399) == ("full", "")


def test_a_users_key_is_remembered_as_long_as_its_signal(console: Console) -> None:
    answers = [
        console.send("ann", "bob", 1, key="k"),
        console.send("ann", "bob", 2, key="k"),
        console.send("ann", "bob", 3, key="other"),
        console.broadcast("ann", 4, key="k"),
    ]

    assert answers == [("stored", "m1"), ("stored", "m1"), ("stored", "m3"), ("stored", "m1")]
    assert console.stored(console.keys.mail("bob")) == ["m1", "m3"]
    assert 0 < console.redis.pttl(console.keys.once("ann", "k")) <= 60_000


def test_what_was_refused_does_not_use_up_its_key(console: Console) -> None:
    fill(console, console.keys.mail_info("bob"))
    console.send("ann", "bob", 1, key="k")
    console.redis.delete(console.keys.mail_info("bob"))

    assert console.send("ann", "bob", 2, key="k") == ("stored", "m2")


def test_the_head_of_a_signal_says_when_it_was_sent_and_until_when_it_lives(console: Console) -> None:
    before = console.now()
    console.send("ann", "bob", 1, ttl_ms=5_000)
    console.broadcast("ann", 2, ttl_ms=7_000, late=False)
    after = console.now()

    for stream, ttl, late, place in (
        (console.keys.mail("bob"), 5_000, "1", 1),
        (console.keys.broadcast, 7_000, "0", 2),
    ):
        ((_, fields),) = console.redis.xrange(stream)
        order, sent, expires, for_newcomers, signal_id = fields[b"head"].decode().split(" ")
        assert before <= int(sent) <= after
        assert (int(sent) + ttl, late, f"m{place}") == (int(expires), for_newcomers, signal_id)
        assert fields[b"signal"] == f"s{place}".encode()
        assert int(order) == int(console.redis.get(console.keys.order)) - 2 + place


def test_the_keys_of_a_mailbox_outlive_its_last_signal_and_are_not_moved_by_each(console: Console) -> None:
    console.send("ann", "bob", 1, ttl_ms=100_000)
    until = console.redis.hget(console.keys.mail_info("bob"), "until")
    first = [console.redis.pttl(key) for key in (console.keys.mail("bob"), console.keys.mail_info("bob"))]
    console.send("ann", "bob", 2, ttl_ms=90_000)

    assert until == console.redis.hget(console.keys.mail_info("bob"), "until")
    assert all(100_000 < ttl <= 200_000 for ttl in first)

    console.send("ann", "bob", 3, ttl_ms=1_000_000)
    assert all(
        1_000_000 < console.redis.pttl(key) <= 2_000_000
        for key in (console.keys.mail("bob"), console.keys.mail_info("bob"))
    )


def test_what_has_expired_makes_room(console: Console, wait_until: Callable[..., object]) -> None:
    console.send("ann", "bob", 1, ttl_ms=1, signal=b"x" * 100)
    console.send("ann", "bob", 2, signal=b"x" * 10)
    sent = console.now()
    wait_until(lambda: console.now() > sent + 1)
    console.send("ann", "bob", 3, signal=b"x" * 5)

    assert console.stored(console.keys.mail("bob")) == ["m2", "m3"]
    assert console.redis.hget(console.keys.mail_info("bob"), "bytes") == b"15"


def test_the_bytes_of_a_mailbox_whose_hash_is_gone_are_counted_again(console: Console) -> None:
    console.send("ann", "bob", 1, signal=b"x" * 100)
    console.redis.delete(console.keys.mail_info("bob"))
    console.send("ann", "bob", 2, signal=b"x" * 10)

    assert console.redis.hget(console.keys.mail_info("bob"), "bytes") == b"110"
    assert console.redis.pttl(console.keys.mail_info("bob")) > 0


# The inbox of the target's hub


def opened(console: Console, link: str = "bobs.1") -> str:
    console.run(scripts.open_inbox(console.keys, link, ttl_ms=60_000))
    return console.keys.inbox(link)


def test_a_copy_goes_to_the_inbox_of_the_targets_hub(console: Console) -> None:
    inbox = opened(console)
    console.send("ann", "bob", 1)

    ((at, mail),) = console.redis.xrange(console.keys.mail("bob"))
    assert {b"agent": b"bob", b"at": at, **mail} == console.redis.xrange(inbox)[-1][1]


def test_a_large_signal_leaves_only_a_word_in_the_inbox(console: Console) -> None:
    inbox = opened(console)
    console.send("ann", "bob", 1, signal=b"x" * limits.INLINE_BYTES)
    console.send("ann", "bob", 2, signal=b"x" * (limits.INLINE_BYTES + 1))

    _, inline, pointer = (fields for _, fields in console.redis.xrange(inbox))
    assert b"signal" in inline
    assert {b"agent", b"head"} == pointer.keys()


def test_an_inbox_that_is_not_read_gets_words_only(console: Console) -> None:
    """§5.12: copies for a process that stands still would take ten times as much."""
    inbox = opened(console)
    with console.redis.pipeline(transaction=False) as pipeline:
        for _ in range(limits.INLINE_COUNT - 2):
            pipeline.xadd(inbox, {"agent": "bob"})
        pipeline.execute()

    for seq in (1, 2):
        console.send("ann", "bob", seq)

    *_, inline, pointer = (fields for _, fields in console.redis.xrange(inbox))
    assert b"signal" in inline
    assert {b"agent", b"head"} == pointer.keys()


def test_nobody_makes_an_inbox_that_its_hub_has_not_opened(console: Console) -> None:
    console.send("ann", "bob", 1)
    console.send("ann", "nobody", 2)

    assert not console.redis.exists(console.keys.inbox("bobs.1"), console.keys.inbox(""))


def test_an_inbox_that_nobody_reads_is_replaced_by_one_word(console: Console) -> None:
    inbox = opened(console)
    with console.redis.pipeline(transaction=False) as pipeline:
        for _ in range(limits.INBOX_COUNT - 1):
            pipeline.xadd(inbox, {"agent": "bob"})
        pipeline.execute()

    console.send("ann", "bob", 1)

    assert [fields for _, fields in console.redis.xrange(inbox)] == [{b"resync": b"1"}]
    assert console.stored(console.keys.mail("bob")) == ["m1"]


# Looking


def test_a_look_finds_all_in_order_however_much_it_is(console: Console) -> None:
    for seq in range(1, 251):
        console.send("ann", "bob", seq)
    for seq in range(251, 361):
        console.broadcast("ann", seq)

    assert (
        [f"m{seq}" for seq in range(1, 251)],
        [f"m{seq}" for seq in range(251, 361)],
    ) == console.look("bob")


@pytest.mark.parametrize("beyond", [0, 1, 99, 100, 101, 119, 120])
def test_a_look_finds_what_is_beyond_what_is_known(console: Console, beyond: int) -> None:
    start = int(console.redis.get(console.keys.order))
    for seq in range(1, 121):
        console.send("ann", "bob", seq)
    for seq in range(121, 241):
        console.broadcast("ann", seq)

    mail, broadcasts = console.look("bob", start + beyond, start + 120 + beyond)

    assert [f"m{seq}" for seq in range(beyond + 1, 121)] == mail
    assert [f"m{seq}" for seq in range(beyond + 121, 241)] == broadcasts


def test_a_look_tells_the_time_and_the_counter(console: Console) -> None:
    console.send("ann", "bob", 1)
    before = console.now()

    now, counter, _, _ = console.run(scripts.look(console.keys, "bob", after_mail=0, after_broadcast=0))

    assert before <= int(now) <= console.now()
    assert console.redis.get(console.keys.order) == counter


def test_a_look_goes_on_behind_what_is_malformed(console: Console) -> None:
    start = int(console.redis.get(console.keys.order))
    console.send("ann", "bob", 1)
    console.redis.xadd(console.keys.mail("bob"), {"head": "nonsense x", "signal": "?"})
    console.redis.xadd(console.keys.mail("bob"), {"something": "else"})
    console.send("ann", "bob", 2)

    mail, _ = console.look("bob", start)

    assert mail == ["m1", "x", "?", "m2"]


# Taking


def places(console: Console) -> list[tuple[str, int]]:
    found = console.redis.xrange(console.keys.mail("bob"))
    return [(at.decode(), len(fields[b"signal"])) for at, fields in found]


def test_what_was_taken_leaves_the_mailbox_and_frees_its_bytes(console: Console) -> None:
    owner = console.field("bob", "owner")
    for seq in (1, 2, 3):
        console.send("ann", "bob", seq, signal=b"x" * 10 * seq)
    first, _, third = places(console)

    taken = scripts.record(console.keys, "bob", owner, mail=[first, third], broadcasts=[])
    answers = [console.run(taken), console.run(taken)]

    assert answers == [b"noted", b"noted"]
    assert console.stored(console.keys.mail("bob")) == ["m2"]
    assert console.redis.hget(console.keys.mail_info("bob"), "bytes") == b"20"


def test_who_does_not_own_the_mailbox_takes_nothing(console: Console) -> None:
    console.send("ann", "bob", 1)

    reply = console.run(scripts.record(console.keys, "bob", "1@hub.9", mail=places(console), broadcasts=[(1, FAR)]))

    assert reply == b"fenced"
    assert console.stored(console.keys.mail("bob")) == ["m1"]
    assert not console.redis.exists(console.keys.seen("bob"))


def test_a_place_that_is_none_keeps_no_other_mark(console: Console) -> None:
    console.send("ann", "bob", 1)
    mail = [("not-an-id", 5), *places(console)]

    console.run(scripts.record(console.keys, "bob", console.field("bob", "owner"), mail=mail, broadcasts=[]))

    assert console.stored(console.keys.mail("bob")) == []
    assert console.redis.hget(console.keys.mail_info("bob"), "bytes") == b"0"


def test_taking_makes_no_hash_beside_a_mailbox_that_has_none(console: Console) -> None:
    console.send("ann", "bob", 1)
    mail = places(console)
    console.redis.delete(console.keys.mail_info("bob"))

    console.run(scripts.record(console.keys, "bob", console.field("bob", "owner"), mail=mail, broadcasts=[]))

    assert not console.redis.exists(console.keys.mail_info("bob"))


def test_a_broadcast_that_was_taken_is_not_found_again_by_this_agent(console: Console) -> None:
    start = int(console.redis.get(console.keys.order))
    expires = console.now() + 30_000
    for seq in (1, 2, 3):
        console.broadcast("ann", seq)

    console.run(
        scripts.record(
            console.keys, "bob", console.field("bob", "owner"), mail=[], broadcasts=[(start + 2, expires), (1, 5)]
        )
    )

    assert console.look("bob")[1] == ["m1", "m3"]
    assert console.look("cid")[1] == ["m1", "m2", "m3"]
    assert [(str(start + 2).encode(), expires)] == console.redis.zrange(
        console.keys.seen("bob"), 0, -1, withscores=True
    )
    assert 0 < console.redis.pttl(console.keys.seen("bob")) <= 30_000
