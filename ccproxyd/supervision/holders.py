"""Which gateways may still have requests at which workers.

A worker that drains may go when nobody has anything of it left. While one gateway replaces another
there are two or more to ask, and each knows only its own requests; one that has just been told of a
change has not said yet what it makes of it. So a worker is free when every gateway has answered and
none of them names it. A gateway that has gone holds nothing, and where there is no gateway
everybody is free.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable


class Holders:
    """What each gateway last said that it has.

    >>> holders = Holders()
    >>> holders.asked("first")
    >>> holders.is_free("1.0")
    False
    >>> holders.has("first", ["1.0", "2.0"])
    >>> holders.released("first", "1.0")
    >>> holders.is_free("1.0"), holders.is_free("2.0")
    (True, False)
    """

    def __init__(self) -> None:
        self._held: dict[Hashable, set[str] | None] = {}

    def asked(self, gateway: Hashable) -> None:
        """It is being told of a change: what it said before no longer counts."""
        self._held[gateway] = None

    def has(self, gateway: Hashable, workers: Iterable[str]) -> None:
        """All that it may send requests to, or has requests at."""
        self._held[gateway] = set(workers)

    def released(self, gateway: Hashable, worker: str) -> None:
        """Its last request there is done, and it will send no other."""
        if held := self._held.get(gateway):
            held.discard(worker)

    def left(self, gateway: Hashable) -> None:
        self._held.pop(gateway, None)

    def is_free(self, worker: str) -> bool:
        return all(held is not None and worker not in held for held in self._held.values())
