"""Whom the hub's reader hands what to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from attune_dsl.hub.entries import EntryReader
from attune_dsl.hub.member import Member, Profile
from attune_dsl.hub.parker import Parker, parker
from attune_dsl.hub.reader import Reader
from attune_dsl.hub.watch import Watch, Watches
from attune_dsl.store import codec
from attune_dsl.store.connection import ConnectionLost, ReplyError
from attune_dsl.store.keys import Keys

LATER = 4_000_000_000_000
KEYS = Keys("team")


class Owner:
    """A hub that only notes what it is told."""

    def __init__(self) -> None:
        self.keys = KEYS
        self.members: dict[str, Member] = {}
        self.entries = EntryReader()
        self.entries.credible_order = 1_000
        self.refreshed: list[str] = []
        self.losses: list[str] = []
        self.expelled: list[tuple[str, str]] = []
        self.watches = Watches(self)  # type: ignore[arg-type]
        self.times_asked_again = 0
        self.blocks = self
        self.told_again: list[str] = []

    def unattended(self) -> None:
        """Nothing is read here."""

    def lost(self, _: Any, error: ConnectionLost) -> None:
        self.losses.append(str(error))

    def refresh(self, member: Member) -> None:
        self.refreshed.append(member.agent_id)

    def ask_again(self) -> None:
        self.times_asked_again += 1

    def tell_again(self, members: list[Member]) -> None:
        self.told_again = [member.agent_id for member in members]

    def expel(self, member: Member, by: str) -> None:
        self.expelled.append((member.agent_id, by))

    def stall_at(self, due: float) -> None:
        """Nothing stalls here."""

    def status_soon(self) -> None:
        """Nothing is published here."""

    def server_ms(self) -> float:
        return 0.0

    def join(self, agent_id: str, *, has_mailbox: bool = True, epoch: int = 1) -> Member:
        profile = Profile(
            agent_id=agent_id,
            ttl=1,
            interval=1,
            takeover=False,
            fields={},
            has_mailbox=has_mailbox,
            is_published=True,
        )
        member = self.members[agent_id] = Member(self, profile, 0.0)  # type: ignore[arg-type]
        if epoch:
            member.accept(epoch, "hub.1", died_at=0)
            member.mailbox.merge([], member.mailbox.hold())
        return member


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def sleeping() -> Iterator[Parker]:
    each = parker()
    yield each
    each.close()


@pytest.fixture
def reader(owner: Owner, sleeping: Parker) -> Reader:
    reader = Reader(owner, sleeping)
    reader._inbox = KEYS.inbox("hub.1")
    reader._cursors = ("1-0", "1-0")
    return reader


def copy(order: int, target: str | None, **more: bytes) -> list[Any]:
    head = f"{order} 1 {LATER} 1 hub.1.{order}".encode()
    fields = {b"head": head, b"signal": codec.encode_envelope("job", "boss", target, order)}
    fields |= {name.encode(): value for name, value in more.items()}
    return [f"2-{order}".encode(), [part for pair in fields.items() for part in pair]]


def mail(order: int, target: str) -> list[Any]:
    return copy(order, target, agent=target.encode(), at=f"9-{order}".encode())


def word(*parts: bytes) -> list[Any]:
    """An entry of the inbox that is no signal."""
    return [b"2-1", list(parts)]


def reply(
    *, inbox: list[Any] | None = None, broadcasts: list[Any] | None = None, events: list[Any] | None = None
) -> dict[bytes, list[Any]]:
    streams = {
        KEYS.inbox("hub.1").encode(): inbox,
        KEYS.broadcast.encode(): broadcasts,
        KEYS.timeline.encode(): events,
    }
    return {name: entries for name, entries in streams.items() if entries}


def orders(member: Member) -> list[int]:
    shelves = member.mailbox._by_type.values()
    return [entry.signal.order for shelf in shelves for entry in shelf.values()]


def test_mail_goes_to_its_agent_and_broadcasts_to_all(owner: Owner, reader: Reader) -> None:
    """In the namespace's order, whatever stream it came over."""
    a, b, mute = owner.join("a"), owner.join("b"), owner.join("mute", has_mailbox=False)

    reader._on_reply(reply(inbox=[mail(3, "a"), mail(5, "a"), mail(6, "stranger")], broadcasts=[copy(4, None)]))

    assert (orders(a), orders(b), orders(mute)) == ([3, 4, 5], [4], [])
    assert reader.read_up_to == "2-6"


def test_pairs_of_resp2_are_read_too(owner: Owner, reader: Reader) -> None:
    """What a server answers that does not speak RESP3."""
    a = owner.join("a")

    reader._on_reply([list(pair) for pair in reply(inbox=[mail(3, "a")]).items()])

    assert orders(a) == [3]


def test_an_agent_that_has_not_joined_yet_gets_no_copies(owner: Owner, reader: Reader) -> None:
    """§5.4: without its epoch nobody knows which broadcasts it may see; its first look finds the others."""
    late = owner.join("late", epoch=0)

    reader._on_reply(reply(inbox=[mail(3, "late")], broadcasts=[copy(4, None)]))
    late.accept(9, "hub.1", died_at=0)
    late.mailbox.merge([], late.mailbox.hold())

    assert orders(late) == []
    assert owner.refreshed == []


def test_a_pointer_makes_its_agent_look(owner: Owner, reader: Reader) -> None:
    """What is over 8 KiB is not copied."""
    owner.join("a")
    owner.join("b")

    reader._on_reply(reply(inbox=[[b"2-1", [b"agent", b"a", b"head", b"3 1 1 1 x"]]]))

    assert owner.refreshed == ["a"]


def test_a_resync_makes_all_look(owner: Owner, reader: Reader) -> None:
    """It stands for copies that were not written."""
    owner.join("a")
    owner.join("b")
    owner.join("mute", has_mailbox=False)

    reader._on_reply(reply(inbox=[[b"2-1", [b"resync", b"1"]]]))

    assert (owner.refreshed, owner.times_asked_again) == (["a", "b"], 1)
    assert owner.told_again == ["a", "b", "mute"]


def test_a_copy_with_an_incredible_order_makes_its_agent_look(owner: Owner, reader: Reader) -> None:
    """§5.12: the store itself knows whether it is true."""
    a = owner.join("a")

    reader._on_reply(reply(inbox=[mail(1_001, "a")]))
    reader._on_reply(reply(inbox=[mail(1_000, "a")]))

    assert owner.refreshed == ["a"]
    assert orders(a) == [1_000]


def test_no_news_is_an_answer(owner: Owner, reader: Reader) -> None:
    """The read timed out on the server: it is asked again, from where it was."""
    reader._on_reply(None)

    assert reader.read_up_to == "1-0"
    assert reader._owed is True


def test_an_error_breaks_the_link(reader: Reader) -> None:
    """A server that does not let itself be read is no store."""
    with pytest.raises(ConnectionLost, match="refused to be read: NOPERM"):
        reader._on_reply(ReplyError("NOPERM no permissions"))


def test_a_read_that_cannot_be_asked_for_breaks_the_link(owner: Owner, reader: Reader) -> None:
    """The owner is told by whom it was noticed."""

    class Broken:
        def write(self, _: bytes) -> bool:
            raise ConnectionLost("gone")

    reader._connection = Broken()  # type: ignore[assignment]
    reader._owed = True

    reader.ask()

    assert owner.losses == ["gone"]


def test_a_reader_is_silent_only_while_it_waits_for_an_answer(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a moved clock: more than 12 s without any."""
    reader._connection = object()  # type: ignore[assignment]
    now = 100.0
    monkeypatch.setattr("attune_dsl.clock.monotonic", lambda: now)
    reader._heard, reader._owed = 100.0, False
    assert reader.is_silent is False
    now = 112.5
    assert reader.is_silent is True
    reader._owed = True
    assert reader.is_silent is False


# What is not for a mailbox


def test_progress_that_another_process_tells_is_the_agents(owner: Owner, reader: Reader) -> None:
    """A command under ``exec`` says how far it is."""
    a = owner.join("a", has_mailbox=False)

    reader._on_reply(reply(inbox=[word(b"agent", b"a", b"progress", b'[0.4,"half of it"]')]))

    assert [a.doing.fields()[name] for name in ("progress", "note")] == ["0.4", "half of it"]


@pytest.mark.parametrize("progress", [b"", b"[", b"[2,null]", b"[-0.1,null]", b'["x",null]', b"{}", b"[" * 99_999])
def test_progress_that_is_none_is_skipped_alone(owner: Owner, reader: Reader, progress: bytes) -> None:
    a = owner.join("a")

    reader._on_reply(reply(inbox=[word(b"agent", b"a", b"progress", progress), mail(3, "a")]))

    assert (a.doing.fields()["progress"], orders(a), owner.entries.skipped) == ("0.0", [3], 1)


@pytest.mark.parametrize(("epoch", "expelled"), [(b"1", [("a", "pid 8 on there")]), (b"2", []), (b"", [])])
def test_only_the_incarnation_that_was_replaced_goes(
    owner: Owner, reader: Reader, epoch: bytes, expelled: list[tuple[str, str]]
) -> None:
    """The one that replaced it may live in this process, too."""
    owner.join("a", epoch=1)

    reader._on_reply(reply(inbox=[word(b"fenced", b"a", b"epoch", epoch, b"by", b"pid 8 on there")]))
    reader._on_reply(reply(inbox=[word(b"fenced", b"stranger", b"epoch", b"1")]))

    assert expelled == owner.expelled


def test_a_nudge_is_nothing_and_what_is_unknown_is_skipped(owner: Owner, reader: Reader) -> None:
    reader._on_reply(reply(inbox=[word(b"nudge", b"1")]))
    assert owner.entries.skipped == 0

    reader._on_reply(reply(inbox=[word(b"dance", b"1")]))
    assert owner.entries.skipped == 1


def test_what_happens_is_handed_to_who_follows(owner: Owner, reader: Reader) -> None:
    watch = Watch(reader.pump)
    owner.watches._watches.append(watch)
    owner.watches.cursor = "4-0"
    event = [b"5-1", [b"kind", b"agent.lost", b"agent", b"b", b"epoch", b"7", b"at", b"2500"]]

    reader._on_reply(reply(inbox=[mail(3, "a")], events=[event]))

    assert watch.pop() == ([event], True)
    assert (owner.watches.cursor, reader.read_up_to) == ("5-1", "2-3")


@pytest.mark.parametrize("cursor", ["", "4-0"])
def test_the_timeline_is_read_only_where_somebody_follows(owner: Owner, reader: Reader, cursor: str) -> None:
    written: list[bytes] = []

    class Line:
        def write(self, data: bytes) -> bool:
            written.append(data)
            return True

    reader._connection = Line()  # type: ignore[assignment]
    reader._owed = True
    owner.watches.cursor = cursor

    reader.ask()

    assert (KEYS.timeline.encode() in written[0]) is bool(cursor)
    assert written[0].endswith(b"$3\r\n4-0\r\n" if cursor else b"$3\r\n1-0\r\n")
