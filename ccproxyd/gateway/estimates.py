"""The usage of a stream that does not tell it, as near as our own count comes.

OpenAI's chat, and its text completions, tell the usage of a stream only to who asks for it
(`stream_options.include_usage`), and most clients do not. The request goes as it came all the same:
some servers that speak this dialect refuse what they do not know. So the input is counted from the
request, in a thread, once the answer has begun; and the output is the sum of what each frame adds,
counted while frames pass, so that nothing of the answer is kept. What the stream does tell of its
usage wins, unless it is all zeros.

Who does tell it, does so at the end: Anthropic's streams begin with the input and a first token or
two of the output, and OpenAI's with nothing. Of one that its client leaves, or that is cut, the
provider wants its money all the same, so what came after its last figures is added to them, by
length: nearly every stream ends as it should, and is to pay neither for a tokenizer nor a parser.

A text is counted by four bytes a token where the tokenizer's files are missing, while they are read
for the first time, and where a frame is so long that counting it would hold up other requests.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from typing import Any, Final

import orjson
from attrs import define, evolve, field

from ccproxyd.routing import Request, TokenCounter
from ccproxyd.routing.content import texts
from ccproxyd.telemetry.usage import Usage

IN_THREAD: Final = 20_000
"""Characters of new text beyond which counting would hold up the other requests (about 2 ms)."""

_BYTES_PER_TOKEN: Final = 4
_SILENT: Final = frozenset({"acompletion", "atext_completion"})
_ADDED: Final = re.compile(
    rb'"(?:text|thinking|partial_json|content|reasoning(?:_content)?|refusal|arguments|delta)"'
    rb': ?"([^"\\]*(?:\\.[^"\\]*)*)"'
)
"""What a frame adds to an answer, under the names that the APIs have for it; a signature of
Anthropic's is none of it."""
_REPEATS: Final = re.compile(rb'data: ?\{"type": ?"response\.(?:audio\.|(?![a-z_.]+\.delta"))')
"""The events of OpenAI's responses that say again what their deltas have said, and of sound."""
_MENTION: Final = b'_tokens"'
_TELLING: Final = _SILENT | {"anthropic_messages", "aresponses"}
_ASKED: Final = ("system", "instructions")


def estimate_for(request: Request, counter: TokenCounter) -> Estimate | None:
    """One for an answer whose stream is not going to tell its usage, None for any other."""
    if request.call_type not in _SILENT or not request.stream:
        return None
    options = _section(request.body.get("stream_options"))
    return None if options.get("include_usage") is True else Estimate(request, counter)


def shortfall_for(request: Request) -> Shortfall | None:
    """One for an answer whose stream tells its usage when it ends, None for any other."""
    tells = request.call_type in _TELLING and request.stream
    return Shortfall(request) if tells else None


def tokens_of(request: Request) -> int:
    """Of the input, by our own count, or by its length where nothing can be counted."""
    try:
        return request.token_count
    except Exception:  # the answer is out, or to be: nothing that a request has may spoil it
        return _length_of(request)


@define(eq=False)
class Estimate:
    """What one stream comes to, counted while it passes."""

    request: Request = field(repr=False)
    counter: TokenCounter = field(repr=False)
    _output: int | None = None
    """None until the stream has said something."""
    _input: asyncio.Task[int] | None = None

    def read(self, lines: Iterable[bytes]) -> None:
        """Count what these lines of the stream say."""
        for choice in chain.from_iterable(map(_choices, lines)):
            self._begin()
            self._output = (self._output or 0) + sum(map(self._count, _said(choice)))

    async def settled(self) -> None:
        """Wait until the input is counted, too."""
        if self._input is not None:
            await self._input

    def in_place_of(self, told: Usage) -> Usage:
        """The usage that a stream has told, or if it has told none, what it is about."""
        if self._output is None or told.prompt_tokens or told.output_tokens:
            return told
        return evolve(told, input_tokens=self._input_tokens, output_tokens=self._output)

    def _begin(self) -> None:
        if self._input is None:
            counting = asyncio.to_thread(tokens_of, self.request)
            self._input = asyncio.get_running_loop().create_task(counting)

    @property
    def _input_tokens(self) -> int:
        """By its length alone where a client leaves before it is counted."""
        counting = self._input
        if counting is not None and counting.done() and not counting.cancelled():
            return counting.result()
        return _length_of(self.request)

    def _count(self, text: str) -> int:
        if self.counter.is_ready and len(text) <= IN_THREAD:
            return self.counter.count_text(text)
        return by_length(text.encode())


@define(eq=False)
class Shortfall:
    """What one stream has said since it last told its usage."""

    request: Request = field(repr=False)
    _bytes: int = 0

    def read(self, lines: Iterable[bytes]) -> None:
        """Add up what these lines of the stream say."""
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            if _MENTION in line and _tells_output(_frame(line)):
                self._bytes = 0
            elif not _REPEATS.match(line):
                self._bytes += sum(map(len, _ADDED.findall(line)))

    async def settled(self) -> None:
        """Nothing is counted beside the stream."""

    def in_place_of(self, told: Usage) -> Usage:
        """The usage that a stream has told, and what it has said beyond that."""
        if not self._bytes:
            return told
        inputs = told.input_tokens if told.prompt_tokens else _length_of(self.request)
        outputs = (told.output_tokens or 0) + max(1, self._bytes // _BYTES_PER_TOKEN)
        return evolve(told, input_tokens=inputs, output_tokens=outputs)


def _frame(line: bytes) -> Mapping[str, Any]:
    """What a line of a stream holds, nothing if it is no object."""
    if not line.startswith(b"data:"):
        return {}
    try:
        return _section(orjson.loads(line[5:]))
    except orjson.JSONDecodeError:
        return {}


def _choices(line: bytes) -> list[Mapping[str, Any]]:
    """What a line of a stream has of each answer that was asked for."""
    choices = _frame(line).get("choices")
    return list(map(_section, choices)) if isinstance(choices, list) else []


def _tells_output(frame: Mapping[str, Any]) -> bool:
    """Whether a frame has what all output was up to it; zeros are what servers say for nothing."""
    usage = _section(frame.get("usage")) or _section(_section(frame.get("response")).get("usage"))
    return bool(usage.get("output_tokens") or usage.get("completion_tokens"))


def _said(choice: Mapping[str, Any]) -> Iterator[str]:
    """The texts that a frame adds to an answer. Reasoning has two names; some servers send both."""
    delta = _section(choice.get("delta"))
    calls = delta.get("tool_calls")
    functions = [_section(call).get("function") for call in calls or () if isinstance(calls, list)]
    values = (
        choice.get("text"),
        delta.get("content"),
        delta.get("reasoning_content") or delta.get("reasoning"),
        delta.get("refusal"),
        *chain.from_iterable(map(_called, [delta.get("function_call"), *functions])),
    )
    return filter(None, chain.from_iterable(map(texts, values)))


def _called(function: Any) -> tuple[Any, Any]:
    section = _section(function)
    return section.get("name"), section.get("arguments")


def _section(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _length_of(request: Request) -> int:
    """Of the texts and the tools: an image is as long as a book."""
    body = request.body
    contents = [*map(body.get, _ASKED), *chain.from_iterable(map(_asked, request.messages))]
    said = map(texts, contents)
    length = sum(len(text.encode("utf-8", "replace")) for text in chain.from_iterable(said))
    with suppress(orjson.JSONEncodeError):  # nested deeper than it can write
        length += len(orjson.dumps(body.get("tools") or ""))
    return max(1, length // _BYTES_PER_TOKEN)


def _asked(message: Any) -> tuple[Any, ...]:
    """What a message says; in OpenAI's responses a tool's result has a name of its own."""
    if isinstance(message, str):
        return (message,)
    section = _section(message)
    return section.get("content"), section.get("output")


def by_length(raw: bytes) -> int:
    """Tokens, where nothing better can be said of a text."""
    return max(1, len(raw) // _BYTES_PER_TOKEN)
