"""How the reader keeps its inbox short between two beats."""

from __future__ import annotations

import redis

from attune_dsl.hub import reader
from tests.conftest import Store
from tests.peers import Peers


def test_what_was_read_is_trimmed_in_a_burst(store: Store, peers: Peers) -> None:
    """§5.12: a burst does not fill the inbox of one who reads it; no beat is needed for that."""
    receiver, sender = peers.join("receiver"), peers.join("sender", url=peers.elsewhere())
    count = 2 * reader.TRIM
    for number in range(count):
        sender.signals.send("job", "receiver", number)
        assert receiver.signals.wait("job").payload == number  # type: ignore[union-attr]
    with redis.Redis.from_url(store.address) as client:
        assert client.xlen(receiver.hub.keys.inbox(receiver.hub.commands.link)) <= reader.TRIM + 1
