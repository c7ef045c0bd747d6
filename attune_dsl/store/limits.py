"""The bounds that the contract names (§5.12) and the TTLs of bookkeeping keys; scripts get them from here."""

from __future__ import annotations

from typing import Final

PAYLOAD_BYTES: Final = 256 * 1024
"""Largest payload of one signal, as encoded JSON."""
MAIL_COUNT: Final = 10_000
"""Most signals in one mailbox, and most broadcasts in a namespace."""
MAIL_BYTES: Final = 64 * 1024 * 1024
"""Most bytes of signals in one mailbox, and of broadcasts in a namespace."""
SIGNAL_BYTES: Final = PAYLOAD_BYTES + 4 * 1024
"""Largest signal as it is stored: the payload with type, sender and target, 128 characters each."""
SIGNAL_TTL: Final = 100 * 365 * 24 * 3600
"""Longest time that a signal waits for its receiver, in seconds; the store could not add up more."""
INLINE_BYTES: Final = 8 * 1024
"""A signal up to this size is copied into the inbox; of a larger one the inbox gets a pointer."""
INLINE_COUNT: Final = 1_000
"""Entries of an inbox beyond which signals are not copied into it: a hub that stands still does not read them."""
INBOX_COUNT: Final = 10_000
"""Most entries in a hub's inbox; beyond, one ``resync`` entry replaces them all."""
BEAT_CHUNK: Final = 1_000
"""Most leases renewed by one command, so that the server serves others in between."""
REFUSED_LENGTH: Final = 2_000
"""Most characters of refused message numbers remembered for a sender, so that a retry hears the same refusal."""

AGENT_TTL: Final = 24 * 3600
"""Seconds an agent's hash lives without an update; hubs update hourly."""
ENDED_TTL: Final = 3600
"""Seconds an ended agent stays in the listing, where it did not say itself."""
ENDED_COUNT: Final = 10_000
"""Most ended agents kept in the listing."""

METADATA_BYTES: Final = 8 * 1024
"""Largest metadata of one agent, as encoded JSON."""
TIMELINE_COUNT: Final = 100_000
"""About as many entries as the timeline keeps, unless its namespace was told otherwise; older ones are dropped."""
TIMELINE_LEAST: Final = 1_000
"""The fewest that it can be told to keep: followers read behind."""
TIMELINE_MOST: Final = 10_000_000
"""The most that it can be told to keep: some gigabytes of the store's memory."""
TIMELINE_TTL: Final = 7 * 24 * 3600
"""Seconds that the timeline outlives its last entry: a weekend, and some."""
TOLD_BYTES: Final = 1024
"""The timeline tells all of a signal up to this size; of a larger one not the payload."""
EXPIRED_COUNT: Final = 100
"""Signals that one script call tells of, at most, where more have expired."""
EXPIRY_LINGER: Final = 60_000
"""Milliseconds that a mailbox outlives its signals, at least, so that a beat finds what has expired."""
PURGE_COUNT: Final = 2
"""Mailboxes that one beat looks through for expired signals, at most: a full one takes 10 ms."""
EMIT_BYTES: Final = 8 * 1024
"""Largest ``emit``, as encoded JSON."""

CLOCK_STEP: Final = 1_000
"""Milliseconds that the server's clock may go back without all leases being moved along."""
LATE: Final = 2_000
"""Milliseconds after which a command was so late that beats may have been, too."""
RETURN: Final = 2_000
"""Milliseconds, beyond their interval, that hubs have to come back after a time in which nobody beat."""
CYCLE_COUNT: Final = 64
"""Most agents of a cycle of waits that is looked for."""
CYCLE_SCAN: Final = 500
"""Most signals, and KiB of them, not received yet by its agents, that are read for one cycle; with more it is none."""
CLOSE: Final = 100
"""Milliseconds before its end in which a wait counts as over: its agent may know that earlier than the store."""
OUTCOME_COUNT: Final = 8
"""Generations of a barrier whose end is kept, for those who were cut off when it came."""
PARTIES: Final = 10_000
"""Most agents that one barrier waits for."""
REASON_LENGTH: Final = 1_000
"""Characters of the reason of an abort, at most."""
ABORT_CHUNK: Final = 200
"""Agents that one script call asks to stop, at most, so that it stays below 5 ms."""
FRESH: Final = 1_500
"""Milliseconds for which a wait goes on in any case once its hub has told of it, be its link broken at once.

Less than the grace time (:mod:`attune_dsl.hub.link`), after which a wait without a link is given up.
"""
CONFIRM: Final = 500
"""Milliseconds in which a hub is asked once, at most, whether a wait goes on."""
SWEEP_COUNT: Final = 200
"""Most lapsed leases that one script call deals with, so that it stays below 5 ms; the next call goes on."""

SCRIPT_CONSTANTS: Final = (
    "MAIL_COUNT",
    "MAIL_BYTES",
    "INLINE_BYTES",
    "INLINE_COUNT",
    "INBOX_COUNT",
    "REFUSED_LENGTH",
    "AGENT_TTL",
    "ENDED_TTL",
    "ENDED_COUNT",
    "TIMELINE_COUNT",
    "TIMELINE_TTL",
    "TOLD_BYTES",
    "EXPIRED_COUNT",
    "EXPIRY_LINGER",
    "PURGE_COUNT",
    "CLOCK_STEP",
    "LATE",
    "RETURN",
    "SWEEP_COUNT",
    "OUTCOME_COUNT",
    "CYCLE_COUNT",
    "CYCLE_SCAN",
    "CLOSE",
    "FRESH",
    "CONFIRM",
)
"""Names from this module that every Lua script sees as local constants."""
