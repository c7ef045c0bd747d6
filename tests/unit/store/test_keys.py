"""The wire layout's names. A change here breaks every process that is running with the earlier release."""

from __future__ import annotations

import pytest

from attune_dsl.store.keys import CAPPED, Keys

KEYS = Keys("team")


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (KEYS.prefix, "attune:{team}:"),
        (KEYS.leases, "attune:{team}:leases"),
        (KEYS.ended, "attune:{team}:ended"),
        (KEYS.pulse, "attune:{team}:pulse"),
        (KEYS.timeline, "attune:{team}:timeline"),
        (KEYS.order, "attune:{team}:order"),
        (KEYS.broadcast, "attune:{team}:broadcast"),
        (KEYS.broadcast_info, "attune:{team}:broadcast-info"),
        (KEYS.agent("a:b"), "attune:{team}:agent:a:b"),
        (KEYS.stages("a:b"), "attune:{team}:stages:a:b"),
        (KEYS.mail("a:b"), "attune:{team}:mail:a:b"),
        (KEYS.mail_info("a:b"), "attune:{team}:mail-info:a:b"),
        (KEYS.seen("a:b"), "attune:{team}:seen:a:b"),
        (KEYS.reading("a:b"), "attune:{team}:reading:a:b"),
        (KEYS.inbox("hub.1"), "attune:{team}:inbox:hub.1"),
        (KEYS.once("ann", "k"), "attune:{team}:once:3:ann:k"),
    ],
)
def test_every_key_has_its_name(key: str, name: str) -> None:
    assert name == key


def test_only_two_integers_live_for_ever() -> None:
    assert {"order", "timeline-cap"} == CAPPED


def test_no_two_pairs_of_sender_and_key_share_a_name() -> None:
    pairs = [("a:b", "c"), ("a", "b:c"), ("1:a", "c"), ("a", "c"), ("ab", "c"), ("a:1", "b:c"), ("3:a", "b:c")]

    assert len(pairs) == len({KEYS.once(agent_id, key) for agent_id, key in pairs})


@pytest.mark.parametrize("name", ["a", "a:b", "}", "{x}", "{", "deploy*"])
def test_all_keys_of_a_namespace_are_in_one_slot(name: str) -> None:
    from redis.crc import key_slot

    keys = [
        KEYS.leases,
        KEYS.ended,
        KEYS.pulse,
        KEYS.timeline,
        KEYS.agent(name),
        KEYS.stages(name),
        KEYS.mail(name),
        KEYS.mail_info(name),
        KEYS.seen(name),
        KEYS.inbox(name),
        KEYS.reading(name),
        KEYS.once(name, name),
    ]

    assert {key_slot(b"{team}")} == {key_slot(key.encode()) for key in keys}


def test_agents_names_do_not_make_one_kind_of_key_into_another() -> None:
    kinds = (KEYS.mail, KEYS.mail_info, KEYS.agent, KEYS.stages, KEYS.seen)
    names = [kind(name) for name in ("info:x", "x", "info", "") for kind in kinds]

    assert len(names) == len(set(names))
