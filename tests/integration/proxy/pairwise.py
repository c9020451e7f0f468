"""Few rows that have every pair of values of many.

Most faults need one value to show, nearly all of the rest need two together; so of thousands of
combinations those suffice in which each pair occurs. Finding the fewest is hard. Taking again and
again the row with the most pairs that are still missing is good enough, and always gives the same
rows in the same order.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import combinations
from typing import TypeVar

Pair = frozenset[tuple[str, Hashable]]
Row = TypeVar("Row")


def pairs(values: Mapping[str, Hashable]) -> frozenset[Pair]:
    """The pairs of values in a row.

    >>> sorted(sorted(pair) for pair in pairs({"a": 1, "b": 2}))
    [[('a', 1), ('b', 2)]]
    """
    return frozenset(map(frozenset, combinations(values.items(), 2)))


def cover(rows: Sequence[Row], proven_by: Callable[[Row], Iterable[Pair]]) -> list[Row]:
    """Rows among these that have every pair which any of them has.

    Args:
        proven_by: the pairs that a row is good for; one that fails early proves nothing of the
            rest. Threes, where they matter, are as good.
    """
    proven = [frozenset(proven_by(row)) for row in rows]
    missing = set[Pair]().union(*proven)
    heap = [(-len(found), number) for number, found in enumerate(proven)]
    heapq.heapify(heap)
    taken: list[Row] = []
    while missing:
        promised, number = heapq.heappop(heap)
        gain = len(proven[number] & missing)
        if -promised > gain:  # it has lost pairs to others, and queues again
            heapq.heappush(heap, (-gain, number))
            continue
        taken.append(rows[number])
        missing -= proven[number]
    return taken
