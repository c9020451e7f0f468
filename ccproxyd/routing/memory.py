"""A bounded memory of numbers by hashes, nearly "least recently used".

There are two generations. When the younger is full it becomes the older, whose contents are
forgotten unless somebody puts them in again. So nothing has to be noted when something is found,
and a whole list of keys can be looked up in `younger` by built-in functions alone.
"""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Memory(Generic[Value]):
    """Remembers up to `capacity` values, by the hashes that Python computes. Safe among threads.

    >>> memory = Memory(capacity=2)
    >>> for number in (1, 2, 3):
    ...     memory.put(number, str(number))
    >>> memory.get(1), memory.get(2), memory.get(3)
    (None, '2', '3')
    """

    def __init__(self, capacity: int) -> None:
        self._generation_size = max(1, capacity // 2)
        self._older: dict[int, Value] = {}
        self._writing = threading.Lock()
        self.younger: dict[int, Value] = {}

    def get(self, key: int) -> Value | None:
        found = self.younger.get(key)
        return self._older.get(key) if found is None else found

    def put(self, key: int, value: Value) -> None:
        with self._writing:
            if len(self.younger) >= self._generation_size and key not in self.younger:
                self._older, self.younger = self.younger, {}
            self.younger[key] = value

    def __len__(self) -> int:
        return len(self.younger) + len(self._older)
