"""A record that comes again and again is told less and less often.

LiteLLM warns at every request of something that is so once and for all, and such a line a request
fills a disk. The first is told, then the tenth, the hundredth and so on, each with its count.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

_REMEMBERED: Final = 1000


class Repeats:
    """Counts of the records that have been seen lately.

    >>> repeats = Repeats()
    >>> [count for _ in range(100) if (count := repeats.worth_telling("same"))]
    [1, 10, 100]
    """

    def __init__(self) -> None:
        self._counts: OrderedDict[Hashable, int] = OrderedDict()

    def worth_telling(self, record: Hashable) -> int | None:
        """How often it has come, if that is to be told, else None."""
        count = self._counts.pop(record, 0) + 1
        self._counts[record] = count
        if len(self._counts) > _REMEMBERED:
            self._counts.popitem(last=False)
        return count if _is_power_of_ten(count) else None


def _is_power_of_ten(count: int) -> bool:
    return str(count).strip("0") == "1"
