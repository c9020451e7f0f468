"""The tokens of a request that the gateway could only estimate, as LiteLLM tells them; pure.

A stream that was not asked for its usage, or did not get to telling it, ends with an estimate. On
its own lane LiteLLM asks the provider, or counts as well, and tells with the price what it is for.
Those figures then stand in place of the estimate, so that tokens and price are of one answer: in
`finished`, where they have come before it, else as what `priced` adds to what was told.

What was told by the answer itself stays as it is.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from attrs import define, field

from ccproxyd.channel import Message

_REMEMBERED: Final = 10_000
"""Requests whose price, or whose end, may still come."""
_LARGEST_COUNT: Final = 1 << 40
"""What is beyond is no figure but a fault."""
_NAMES: Final = ("input_tokens", "output_tokens", "cache_read_tokens")
_NOTHING: Final = dict.fromkeys(_NAMES, 0)

Counts = dict[str, int]


@define
class Tokens:
    """Reads the messages of the gateway and the workers before anybody adds them up.

    >>> tokens, told = Tokens(), {"request_id": "r", "is_estimate": True, "input_tokens": 4}
    >>> tokens.finished(told)["input_tokens"]
    4
    >>> tokens.priced({"request_id": "r", "input_tokens": 111})["input_tokens"]
    107
    """

    _estimated: OrderedDict[str, Counts] = field(factory=OrderedDict, init=False)
    """Of requests that have ended."""
    _early: OrderedDict[str, Counts] = field(factory=OrderedDict, init=False)

    def finished(self, message: Message) -> Message:
        """The message, with LiteLLM's figures in place of an estimate if they are there."""
        request_id = message["request_id"]
        told = self._early.pop(request_id, None)
        if not message.get("is_estimate"):
            return message
        if told is not None:
            return {**message, **told}
        _remember(self._estimated, request_id, _counts(message))
        return message

    def priced(self, message: Message) -> Message:
        """The message; its tokens are those that come to what was told of the request before."""
        request_id, counts = message.get("request_id"), _counts(message)
        added = _NOTHING
        if isinstance(request_id, str) and any(counts.values()):
            if (before := self._estimated.pop(request_id, None)) is not None:
                added = {name: counts[name] - before[name] for name in _NAMES}
            else:
                earlier = self._early.get(request_id, _NOTHING)
                sums = {name: counts[name] + earlier[name] for name in _NAMES}
                _remember(self._early, request_id, sums)
        return {**message, **added}


def _counts(message: Message) -> Counts:
    told = {name: message.get(name) for name in _NAMES}
    return {
        name: count if isinstance(count, int) and 0 <= count <= _LARGEST_COUNT else 0
        for name, count in told.items()
    }


def _remember(holder: OrderedDict[str, Counts], key: str, value: Counts) -> None:
    holder[key] = value
    while len(holder) > _REMEMBERED:
        holder.popitem(last=False)
