"""The clients: what they send is ready, what they note is two stamps a request.

`closed_loop` is so many clients that each send the next request when they have the last answer: it
finds out how much a server can do. `open_loop` sends at a rate, whatever comes back: it finds out
how long a request takes on a server that has other ones to do. There a request's time runs from
when it was *due*, also when the server's slowness, or this process, let it leave later.

A timer of the event loop is good for a millisecond only, so the open loop's clock is SIGALRM.

Each good answer is looked at: status 200, and the provider's own words to the end.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Final, cast

import httptools
from attrs import define, field

from scripts.bench.bodies import Address, Feed, Pieces
from scripts.bench.samples import Sample, Taken

MOST_FAILURES: Final = 10
MOST_WAITING: Final = 256
"""So many unanswered requests of an open loop, and the rate is not held."""
PATIENCE: Final = 30.0
_KEPT_SECONDS: Final = 2.0
"""A connection that was idle for longer may be about to be closed by the server."""

Answered = Callable[["Connection", str], None]
"""Called at the end of an answer with what is wrong with it, or an empty text."""


class Connection(asyncio.Protocol):
    """One connection and the request that is on it."""

    def __init__(self, wanted: bytes, answered: Answered) -> None:
        self._wanted = wanted
        self._answered = answered
        self.due = 0.0
        self.first = 0.0
        self.last = 0.0
        self.busy = False
        self.usable = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)
        self.usable = True

    def send(self, request: Pieces, due: float) -> None:
        self.due, self.first, self.busy = due, 0.0, True
        self._pieces: list[bytes] = []
        self._transport.writelines(request)

    def data_received(self, data: bytes) -> None:
        if not self.first:
            self.first = perf_counter()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._finish("the answer is no HTTP")
            self._transport.abort()

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        self.last = perf_counter()
        self.usable = self._parser.should_keep_alive()
        status, body = self._parser.get_status_code(), b"".join(self._pieces)
        if status != 200:
            self._finish(f"status {status}: {body[:200].decode('utf-8', 'replace')}")
        else:
            self._finish("" if self._wanted in body else "another answer than the provider's")

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        self._finish(f"the connection was lost ({type(error).__name__ if error else 'closed'})")

    def _finish(self, failure: str) -> None:
        if self.busy:
            self.busy = False
            self._answered(self, failure)

    def sample(self) -> Sample:
        return Sample(self.first - self.due, self.last - self.due)

    def leave(self) -> None:
        self.busy = False
        self._transport.abort()


@define
class Load:
    """What both loops have in common: whom they ask, and what they note."""

    address: Address
    feed: Feed
    wanted: bytes
    taken: Taken = field(factory=Taken)
    over: asyncio.Event = field(factory=asyncio.Event)
    _connections: list[Connection] = field(factory=list)
    _tasks: set[asyncio.Task[None]] = field(factory=set)

    async def connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: Connection(self.wanted, self.answered), self.address.host, self.address.port
        )
        self._connections.append(connection)
        return connection

    def answered(self, connection: Connection, failure: str) -> None:
        raise NotImplementedError

    def send(self, connection: Connection, due: float) -> None:
        connection.send(next(self.feed), due)

    def send_on_new(self, due: float | None = None) -> None:
        """What needs a connection first; without a time it is due once there is one."""

        async def opened() -> None:
            try:
                connection = await self.connect()
            except OSError as error:
                self.failed(f"cannot connect ({type(error).__name__})")
            else:
                self.send(connection, due or perf_counter())

        task = asyncio.get_running_loop().create_task(opened())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def failed(self, failure: str) -> None:
        self.taken.failures.append(failure)
        if len(self.taken.failures) >= MOST_FAILURES:
            self.over.set()

    async def finished(self, seconds: float) -> Taken:
        """What was taken down, when the loop is over, or when that takes too long."""
        try:
            async with asyncio.timeout(seconds + PATIENCE):
                await self.over.wait()
        except TimeoutError:
            self.taken.failures.append(f"it took more than {PATIENCE:.0f} s too long")
        self.over.set()
        for task in self._tasks:
            task.cancel()
        for connection in self._connections:
            connection.leave()
        return self.taken


@define
class ClosedLoop(Load):
    """Clients that ask again at once; what is answered between `begins` and `ends` counts."""

    clients: int = 1
    warm_up: float = 0.0
    """In seconds; it lasts longer where not every client has had its first answer."""
    seconds: float = 1.0
    _warm_at: float = 0.0
    _ends: float = 0.0
    _active: int = 0

    async def run(self) -> Taken:
        running = [await self.connect() for _ in range(self.clients)]
        self._active, self.taken.seconds = len(running), self.seconds
        with undisturbed():
            self._warm_at = perf_counter() + self.warm_up
            for connection in running:
                self.send(connection, perf_counter())
            return await self.finished(self.warm_up + self.seconds)

    def answered(self, connection: Connection, failure: str) -> None:
        now = perf_counter()
        if failure:
            self.failed(failure)
        else:
            self._take(connection, now)
        if self.over.is_set() or (self._ends and now >= self._ends):
            self._active -= 1
            if not self._active:
                self.over.set()
        elif connection.usable:
            self.send(connection, now)
        else:
            self.send_on_new()

    def _take(self, connection: Connection, now: float) -> None:
        self.taken.answered += 1
        if self._ends:
            if now < self._ends:
                self.taken.samples.append(connection.sample())
        elif now >= self._warm_at and self.taken.answered >= self.clients:
            self._ends = now + self.seconds


@define
class OpenLoop(Load):
    """Requests at a rate, each on a connection that is free, or on a new one."""

    rate: float = 100.0
    warm_up: float = 0.0
    seconds: float = 1.0
    _idle: list[tuple[Connection, float]] = field(factory=list)
    _interval: float = 0.0
    _next_due: float = 0.0
    _begins: float = 0.0
    _ends: float = 0.0
    _waiting: int = 0

    async def run(self) -> Taken:
        loop = asyncio.get_running_loop()
        self.taken.seconds, self._interval = self.seconds, 1 / self.rate
        with undisturbed():
            loop.add_signal_handler(signal.SIGALRM, self._tick)
            self._schedule(perf_counter())
            signal.setitimer(signal.ITIMER_REAL, self._interval, self._interval)
            try:
                return await self.finished(self.warm_up + self.seconds)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                loop.remove_signal_handler(signal.SIGALRM)

    def _schedule(self, now: float) -> None:
        self._next_due = now + self._interval
        self._begins = now + self.warm_up
        self._ends = self._begins + self.seconds

    def _tick(self) -> None:
        """Send what is due; one signal may stand for several."""
        now = perf_counter()
        while self._next_due <= min(now, self._ends) and not self.over.is_set():
            due, self._next_due = self._next_due, self._next_due + self._interval
            if due > self._begins:
                self.taken.due += 1
                self.taken.late.append(now - due)
            self._waiting += 1
            self._dispatch(due, now)
        if self._waiting > MOST_WAITING:
            self.over.set()

    def _dispatch(self, due: float, now: float) -> None:
        connection = self._free(now)
        if connection is None:
            self.send_on_new(due)
        else:
            self.send(connection, due)

    def _free(self, now: float) -> Connection | None:
        """The one that was used last, unless the server may be closing it."""
        while self._idle:
            connection, since = self._idle.pop()
            if connection.usable and now - since < _KEPT_SECONDS:
                return connection
        return None

    def answered(self, connection: Connection, failure: str) -> None:
        self._waiting -= 1
        if failure:
            self.failed(failure)
        else:
            self.taken.answered += 1
            if connection.due > self._begins:
                self.taken.samples.append(connection.sample())
        if connection.usable:
            self._idle.append((connection, connection.last))
        if not self._waiting and self._next_due > self._ends:
            self.over.set()


async def ask(address: Address, feed: Feed, wanted: bytes, *, clients: int = 1) -> None:
    """A request from each client, or a few more; all answers have to be the provider's.

    Raises:
        OSError: nobody listens there.
        WrongAnswerError: an answer is another, or did not come.
    """
    taken = await ClosedLoop(address, feed, wanted, clients=clients, seconds=0.0).run()
    if taken.failures:
        raise WrongAnswerError(taken.failures[0])


class WrongAnswerError(Exception):
    """Its text says what was answered."""


@contextmanager
def undisturbed() -> Iterator[None]:
    """Without garbage collection, whose pauses would count as the server's."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
