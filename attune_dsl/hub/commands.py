"""The hub's writing half: every command goes over one connection, in order, and is answered in order.

One connection makes the order total: what an agent took is marked before what it does next becomes visible. Requests
that a broken connection left unanswered are sent again over the next one, unless their caller has given up; a message
keeps its number then, so that the store recognises it. The hub has one lane: numbers rise over all of its connections,
because a number that began anew with a connection would not be recognised once two connections broke.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from attune_dsl import clock
from attune_dsl.hub.drive import Source, Ticket
from attune_dsl.hub.parker import Parker
from attune_dsl.hub.pump import Pump
from attune_dsl.store.connection import Batch, Connection, ConnectionLost, Reply, ReplyError, pack_command
from attune_dsl.store.scripts import Command


class Request(Ticket[Reply]):
    """A command and the ticket for its answer; ``value`` is the reply, or a :class:`ReplyError`.

    ``render`` makes the command when it is written, because the owner of an agent changes with the connection. A
    request whose caller gave up is not sent again, unless it is one to ``keep``. A ``numbered`` one is a message: its
    ``lane`` and ``seq`` are fixed when it is first written, so that the store recognises it. A ``fleeting`` one does
    not outlive its connection. With ``many`` commands instead of one to render, its value is the list of their replies.
    """

    __slots__ = ("fleeting", "given_up", "keep", "lane", "many", "numbered", "render", "replies", "seq", "then")
    replies: list[Reply]

    def __init__(self, source: Source, render: Callable[[Request], Command], *, numbered: bool, keep: bool) -> None:
        # Ticket's own attributes are set here: a request is made for every command.
        self.source = source
        self.deadline = None
        self.done = False
        self.value = None
        self._nudged = False
        self.wake = None
        self.render = render
        self.numbered = numbered
        self.keep = keep
        self.given_up = False
        self.fleeting = False
        self.lane = ""
        self.seq = 0
        self.many: Batch | None = None
        self.then: Callable[[Reply], object] | None = None
        """Takes the answer in as soon as it is read, so that answers take effect in the order of the requests."""

    @property
    def id(self) -> str:
        """The id of a message: its lane, which names the hub, and its number there."""
        return f"{self.lane}.{self.seq}"

    @property
    def is_dropped(self) -> bool:
        """Whether it is not sent any more. One may become one to keep while its caller gives it up."""
        return self.done or (self.given_up and not self.keep)


class Commands:
    """Sends requests and finishes them with their replies."""

    def __init__(
        self,
        parker: Parker,
        on_lost: Callable[[Connection, ConnectionLost], None],
        after_write: Callable[[], None],
        lane: str,
    ) -> None:
        """``after_write`` is called after each write, while the server is busy with it anyway."""
        self.pump = Pump(parker, self._on_reply, on_lost)
        self._after_write = after_write
        self._on_lost = on_lost
        self._connection: Connection | None = None
        self._lane = lane
        self._seq = 0
        self.link = ""
        """The present link's name, which the hub's inbox bears."""
        self._writing = threading.Lock()
        self._unanswered: deque[Request] = deque()

    def request(self, render: Callable[[Request], Command], *, numbered: bool = False, keep: bool = False) -> Request:
        """Make a request that is not sent yet."""
        return Request(self.pump, render, numbered=numbered, keep=keep)

    def submit(self, requests: Sequence[Request]) -> None:
        """Send requests in one write, or keep them for the next connection. Never blocks."""
        lost = None
        with self._writing:
            connection = self._connection
            if connection is None:
                # While there is no store nothing piles up: what was given up goes.
                self._unanswered = deque(request for request in self._unanswered if not request.is_dropped)
                self._unanswered.extend(requests)
                return
            data = b"".join([self._render(request) for request in requests])
            try:
                self._unanswered.extend(requests)
                done = connection.write(data)
            except ConnectionLost as error:
                lost = error
            except BaseException:
                # A Ctrl-C, say. Whether all of it was written is unknown, and answers would be taken for others.
                self._on_lost(connection, ConnectionLost("the writing was interrupted"))
                raise
        if lost is not None:
            self._on_lost(connection, lost)
            return
        if not done:
            self.pump.drain_soon()
        self._after_write()

    def open(self, connection: Connection, link: str) -> None:
        """Use a new connection: first what the last one left unanswered, then what comes."""
        with self._writing:
            self.link = link
            kept = [request for request in self._unanswered if not request.is_dropped]
            self._unanswered = deque(kept)
            self._connection = connection
            if kept:
                connection.write(b"".join([self._render(request) for request in kept]))
            self.pump.attach(connection)

    def close(self) -> None:
        """Give the connection up; unanswered requests wait for the next one."""
        with self._writing:
            self._connection = None
            self.pump.detach()

    def drop_fleeting(self) -> None:
        """The connection broke: finish what is not to be sent again, and have nobody wait for what is kept.

        The hub's thread has a link to make, and may wait for such a request. Whoever else does, as an agent for its
        departure from a barrier, has to go on waiting by itself.
        """
        for request in list(self._unanswered):
            if request.fleeting:
                request.finish(ReplyError("the connection broke"))
            elif request.keep:
                request.deadline = clock.monotonic()
                request.nudge()

    def give_up(self, requests: Sequence[Request]) -> None:
        """Have requests that were submitted together not sent any more, but for those to keep.

        The last one first: a connection that is made meanwhile looks at them in their order, and a message must not be
        sent without what goes ahead of it.
        """
        for request in reversed(requests):
            request.given_up = not request.keep

    def abandon(self) -> None:
        """Finish all that is unanswered with an error: there will be no next connection."""
        with self._writing:
            left, self._unanswered = self._unanswered, deque()
        for request in left:
            request.finish(ReplyError("the hub was closed"))

    def _render(self, request: Request) -> bytes:
        if request.many is not None:
            request.replies = []
            return request.many.data
        if request.numbered and not request.lane:
            self._seq += 1
            request.lane, request.seq = self._lane, self._seq
        return pack_command(request.render(request))

    def _on_reply(self, reply: Reply) -> None:
        if isinstance(reply, ReplyError) and str(reply).startswith(("NOSCRIPT", "LOADING")):
            raise ConnectionLost(f"the server was restarted: {reply}")
        if self._unanswered:
            request = self._unanswered[0]
            if request.many is not None:
                request.replies.append(reply)
                if len(request.replies) < request.many.size:
                    return
                reply = request.replies
            self._unanswered.popleft()
            if request.then is not None:
                request.then(reply)
            request.finish(reply)
