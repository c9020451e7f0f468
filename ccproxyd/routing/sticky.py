"""Which conversations stay on a label that they once got.

A switch of models in mid-conversation costs the prompt cache and the thinking's signatures, so a
sticky rule goes on matching a conversation that it matched before, even when what made it match is
gone (thinking turned off, large results cleared away). That ends when the conversation has been
idle, or is compacted: then it has fewer messages than it had.

A conversation is known by its session and its subagent. Titles, summaries and web searches run in
the session of the conversation that needs them, as requests of one message without tools of the
client; they are neither held with it nor taken for its compaction. A request without such tools
must open with the same message to be the same conversation.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from attrs import frozen

from ccproxyd.routing.content import texts
from ccproxyd.routing.request import Request, each_tool

_Key = tuple[str, str, str, int]


@frozen
class _Seen:
    """The last time that the rule matched, by the monotonic clock, and how long the talk was."""

    at: float
    message_count: int


class StickyTable:
    """Remembers up to `capacity` conversations, each for `idle_seconds` after its last match.

    >>> request = Request({"messages": ["a", "b"]}, headers={"x-claude-code-session-id": "1"})
    >>> table = StickyTable(idle_seconds=60)
    >>> table.remember(request, "think", now=0)
    >>> table.holds(request, "think", now=30), table.holds(request, "think", now=90)
    (True, False)
    """

    def __init__(self, capacity: int = 4096, idle_seconds: float = 3600) -> None:
        self._capacity = capacity
        self._idle_seconds = idle_seconds
        self._seen: OrderedDict[_Key, _Seen] = OrderedDict()
        self._lock = threading.Lock()

    def holds(self, request: Request, label: str, now: float) -> bool:
        """Whether the conversation stays on the label. Changes nothing."""
        key = _key_of(request, label)
        seen = self._seen.get(key) if key else None
        return (
            seen is not None
            and now - seen.at <= self._idle_seconds
            and request.message_count >= seen.message_count
        )

    def remember(self, request: Request, label: str, now: float) -> None:
        """The rule of that label matches the conversation, now."""
        key = _key_of(request, label)
        if key is None:
            return
        with self._lock:
            self._seen[key] = _Seen(now, request.message_count)
            self._seen.move_to_end(key)
            if len(self._seen) > self._capacity:
                self._seen.popitem(last=False)

    def forget(self, request: Request, label: str) -> None:
        """The rule of that label does not match the conversation any more."""
        key = _key_of(request, label)
        if key is not None:
            with self._lock:
                self._seen.pop(key, None)

    def __len__(self) -> int:
        return len(self._seen)


def _key_of(request: Request, label: str) -> _Key | None:
    if request.session_id is None:
        return None
    has_client_tools = any(not tool.type for tool in each_tool(request))
    opening = 0 if has_client_tools else _opening_of(request)
    return request.session_id, request.agent_id or "", label, opening


def _opening_of(request: Request) -> int:
    return hash(tuple(texts(request.messages[:1])))
