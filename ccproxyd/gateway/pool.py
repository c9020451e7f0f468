"""The workers, and which of them takes the next request.

A request goes to the ready worker with the fewest in flight. While there is none, requests wait
their turn, in order, up to a bound in number and in time: a restart of LiteLLM takes seconds and
must look like a slow answer, not like a refusal.

Where the daemon starts LiteLLM only when it is needed, a request that finds nobody says so, once
for as long as nobody comes.

A worker that the daemon takes off the list gets nothing new. When its last request is done it is
reported idle, and only then stopped.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from attrs import define, frozen

from ccproxyd.errors import ProxyError

MAX_WAITING: Final = 2000
WAIT_SECONDS: Final = 120.0
"""LiteLLM's own start limit: who waits longer waits for something that does not come."""
_AVOID_SECONDS: Final = 0.5
"""How long a worker that is gone is passed over, until the daemon knows."""


class NoWorkerError(ProxyError):
    """Nobody can take the request now."""

    code = 503


@frozen
class Address:
    """How to reach one worker."""

    name: str
    generation: int
    socket: str
    secret: str
    key: str

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Address:
        return cls(**{name: message[name] for name in cls.__annotations__})


@define
class Seat:
    """One worker as the gateway knows it."""

    address: Address
    in_flight: int = 0
    listed: bool = True
    avoid_until: float = 0.0


class Pool:
    """All workers that have, or may get, requests."""

    def __init__(
        self, on_idle: Callable[[str], None], on_wanted: Callable[[], None] = lambda: None
    ) -> None:
        self._seats: dict[str, Seat] = {}
        self._queue: deque[asyncio.Future[None]] = deque()
        self._on_idle = on_idle
        self._on_wanted = on_wanted
        self._said_wanted = False
        self.reason = "no worker is ready yet"

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def ready(self) -> int:
        return sum(seat.listed for seat in self._seats.values())

    def in_flight(self) -> dict[str, int]:
        return {name: seat.in_flight for name, seat in self._seats.items()}

    def replace(self, addresses: Iterable[Address]) -> None:
        """Take the daemon's word for who is ready; whoever is not named gets nothing new."""
        named = {address.name: address for address in addresses}
        for name in [name for name in self._seats if name not in named]:
            self._unlist(self._seats[name])
        for name, address in named.items():
            seat = self._seats.setdefault(name, Seat(address))
            seat.address, seat.listed, seat.avoid_until = address, True, 0.0
        self._said_wanted = False
        self._wake()

    async def take(self, tried: frozenset[str], deadline: float) -> Seat:
        """The next worker for a request, to be given back with `release`.

        Args:
            tried: names that have failed this request; they are used only when nobody else is left.
            deadline: when to give up, by the loop's clock.

        Raises:
            NoWorkerError: too many wait already, or none came in time.
        """
        while (seat := self._best(tried)) is None:
            await self._wait(deadline)
        seat.in_flight += 1
        return seat

    def release(self, seat: Seat) -> None:
        seat.in_flight -= 1
        if not seat.listed and seat.in_flight == 0:
            self._forget(seat)

    def avoid(self, seat: Seat) -> None:
        """The worker refused a connection, or broke one: it is gone, or about to be replaced."""
        loop = asyncio.get_running_loop()
        seat.avoid_until = loop.time() + _AVOID_SECONDS
        loop.call_later(_AVOID_SECONDS, self._wake)

    def _best(self, tried: frozenset[str]) -> Seat | None:
        now = asyncio.get_running_loop().time()
        free = [seat for seat in self._seats.values() if seat.listed and seat.avoid_until <= now]
        fresh = [seat for seat in free if seat.address.name not in tried]
        return min(fresh or free, key=lambda seat: seat.in_flight, default=None)

    async def _wait(self, deadline: float) -> None:
        if len(self._queue) >= MAX_WAITING:
            raise NoWorkerError(f"{MAX_WAITING} requests are waiting already: {self.reason}")
        self._say_wanted()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(future)
        try:
            async with asyncio.timeout_at(deadline):
                await future
        except TimeoutError:
            raise NoWorkerError(f"waited {WAIT_SECONDS:.0f} s: {self.reason}") from None
        finally:
            if future in self._queue:
                self._queue.remove(future)

    def _say_wanted(self) -> None:
        if self.ready == 0 and not self._said_wanted:
            self._said_wanted = True
            self._on_wanted()

    def _wake(self) -> None:
        while self._queue:
            future = self._queue.popleft()
            if not future.done():
                future.set_result(None)

    def _unlist(self, seat: Seat) -> None:
        seat.listed = False
        if seat.in_flight == 0:
            self._forget(seat)

    def _forget(self, seat: Seat) -> None:
        self._seats.pop(seat.address.name, None)
        self._on_idle(seat.address.name)
