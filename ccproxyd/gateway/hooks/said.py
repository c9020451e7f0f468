"""What a request says that is new, as texts for moderation to look at.

The *newest turn* of a conversation is all that stands behind the model's last answer: messages and
the results of tools. An answer at the very end is no answer but the beginning of one, which the
client wants continued; it belongs to the turn.
"""

from __future__ import annotations

from typing import Any

import orjson

from ccproxyd.routing import Request
from ccproxyd.routing.content import texts


def said_in(request: Request) -> list[str]:
    """The texts of the newest turn; of what is no conversation, every text that there is.

    >>> hello, hi = {"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}
    >>> said_in(Request({"messages": [hello, hi, {"role": "user", "content": "How are you?"}]}))
    ['How are you?']
    """
    if not request.is_conversation or not request.messages:
        return strings_of(request.body)
    return [text for item in _newest(request.messages) for text in texts(item)]


def said_in_bytes(raw: bytes) -> list[str]:
    """The strings of a JSON document, or the text as it is; nothing of what is no text."""
    try:
        return strings_of(orjson.loads(raw))
    except orjson.JSONDecodeError:
        pass
    try:
        return [raw.decode()]
    except UnicodeDecodeError:
        return []


def strings_of(value: Any) -> list[str]:
    """Every string at whatever depth, but not the keys.

    >>> strings_of({"input": ["a", {"text": "b"}], "n": 1})
    ['a', 'b']
    """
    found: list[str] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, list):
            waiting.extend(reversed(item))
        elif isinstance(item, dict):
            waiting.extend(reversed(list(item.values())))
    return found


def _newest(items: list[Any]) -> list[Any]:
    end = len(items)
    while end and _is_the_models(items[end - 1]):
        end -= 1
    start = end
    while start and not _is_the_models(items[start - 1]):
        start -= 1
    return items[start:]


def _is_the_models(item: Any) -> bool:
    """An answer, or an item of one in the shape of OpenAI's responses."""
    if not isinstance(item, dict):
        return False
    kind = item.get("type")
    is_item = isinstance(kind, str) and (kind == "reasoning" or kind.endswith("_call"))
    return is_item or item.get("role") == "assistant"
