"""How a completion's stream ends: as its provider has said, or not at all.

One can end in an error, or without any end. LiteLLM takes the status of the one away, which is in
its type, and makes an end for the other, so that half an answer looks whole. Every protocol says
in its last words why an answer is over: a reader that has not heard that has been cut off, or was
given something else than a stream.

LiteLLM has a reader for each protocol; of Cohere's it overhears these last words, and the calls of
tools.

These are doors as those of `doors`; tests/worker/test_endings.py opens each.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final, Self, TypeVar

import httpx
from litellm.llms.anthropic.chat import handler as anthropics
from litellm.llms.anthropic.common_utils import AnthropicError
from litellm.llms.base_llm import base_model_iterator as iterators
from litellm.llms.bedrock.chat import invoke_handler as amazons
from litellm.llms.cohere import common_utils as coheres
from litellm.llms.cohere.chat import v2_transformation as cohere_chats
from litellm.llms.vertex_ai.gemini import vertex_and_google_ai_studio_gemini as googles
from litellm.types.utils import ModelResponseStream
from openai import AsyncStream
from openai._streaming import ServerSentEvent
from openai.resources import completions as texts
from openai.resources.chat.completions import completions as chats

from ccproxyd.errors import NO_REASON, ProxyError, anthropic_status, message_in
from ccproxyd.worker.words import Aside, told_by_an_error

_NO_END: Final = "the stream ended without sending complete message body"
"""As httpx begins it when a body is shorter than its head has said."""
_LAST: Final = "message_stop"
_DATA: Final = "data:"
_CONTENTS: Final = ("is_finished", "text", "tool_use", "usage")
_GOING_ON: Final = frozenset(
    "role trace contentBlockIndex messageStart contentBlockStart contentBlockDelta "
    "contentBlockStop generation outputs text".split()
)
"""What the events of `ConverseStream` have before its last, and those of models in words of their
own: Nova's, Llama's, Mistral's and Cohere's."""
_REASONS: Final = ("stopReason", "stop_reason", "finish_reason")
"""Where these say why they end; until then it is not there, or null."""

_COHERE_FAILED: Final = {"ERROR": 500, "TIMEOUT": 504}
_COHERE_REASONS: Final = {"TOOL_CALL": "tool_calls"}
"""Those that LiteLLM takes for "stop"."""

_Piece = TypeVar("_Piece")
_Advance = Callable[[Any], Awaitable[Any]]


class _Overheard:
    """The lines of an answer, of which the first are kept until they are seen to be a stream's."""

    def __init__(self, lines: AsyncIterator[Any]) -> None:
        self._lines = lines
        self._said = Aside()
        self.is_stream = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        line = await anext(self._lines)
        if not self.is_stream:
            self.is_stream = not isinstance(line, str) or line.startswith(_DATA)
            self._said.hear(f"{line}\n".encode())
        return line

    async def aclose(self) -> None:
        """Whoever leaves before the end lets the provider go."""
        if isinstance(self._lines, AsyncGenerator):
            await self._lines.aclose()

    @property
    def error(self) -> ProxyError | None:
        """What the answer was, if it was no stream."""
        return None if self.is_stream else self._said.error


def _overhearing(begin: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Of a reader's start, which LiteLLM asks for before each piece."""

    def begun(reader: Any) -> Any:
        if not isinstance(reader.streaming_response, _Overheard):
            reader.streaming_response = _Overheard(aiter(reader.streaming_response))
        return begin(reader)

    return begun


def _until_it_is_over(
    advance: _Advance, note: Callable[[Any, Any], None] | None = None
) -> _Advance:
    """Of a reader that knows by `_is_whole` whether it has heard that it is over.

    Args:
        note: makes it know, by each piece.
    """

    async def advanced(reader: Any) -> Any:
        try:
            piece = await advance(reader)
        except StopAsyncIteration:
            if getattr(reader, "_is_whole", False):
                raise
        else:
            if note is not None:
                note(reader, piece)
            return piece
        raise getattr(reader.streaming_response, "error", None) or _cut()

    return advanced


def _cut() -> httpx.RemoteProtocolError:
    """With a request, which LiteLLM asks it for; nobody knows any more where that went."""
    return httpx.RemoteProtocolError(_NO_END, request=httpx.Request("POST", ""))


# -- Anthropic


class _WholeMessage(anthropics.ModelResponseIterator):  # type: ignore[misc]
    """LiteLLM's way from a stream of Anthropic's to a chat's."""

    _is_whole = False

    def chunk_parser(self, chunk: dict[str, Any]) -> Any:
        """
        Raises:
            AnthropicError: the event is an error; with the status that its type stands for.
        """
        kind = chunk.get("type")
        if kind == "error":
            error = chunk.get("error")
            named = error.get("type") if isinstance(error, dict) else None
            said = message_in(chunk) or NO_REASON
            raise AnthropicError(status_code=anthropic_status(named) or 500, message=said)
        self._is_whole = self._is_whole or kind == _LAST
        return super().chunk_parser(chunk)

    __aiter__ = _overhearing(anthropics.ModelResponseIterator.__aiter__)
    __anext__ = _until_it_is_over(anthropics.ModelResponseIterator.__anext__)


# -- OpenAI, and who speaks like it


class _WholeStream(AsyncStream[_Piece]):
    """OpenAI's streams of completions, whose reader leaves at the last event."""

    async def _iter_events(self) -> AsyncIterator[ServerSentEvent]:
        """
        Raises:
            httpx.RemoteProtocolError: the stream is over, and nobody has left.
            ProxyError: it was none.
        """
        said, has_begun = Aside(), False

        async def overheard() -> AsyncIterator[bytes]:
            async for piece in self.response.aiter_bytes():
                if not has_begun:
                    said.hear(piece)
                yield piece

        async for event in self._decoder.aiter_bytes(overheard()):
            has_begun = True
            yield event
        raise _cut() if has_begun else said.error or _cut()


def _note_kind(reader: Any, piece: Any) -> None:
    """Of the reader that LiteLLM has for the many who speak as OpenAI's chat does.

    Those who do not, give it pieces of another kind; so it does itself at `[DONE]`, and, with
    nothing in them, for the lines that it cannot read.
    """
    if isinstance(piece, ModelResponseStream):
        reader.streaming_response.is_stream |= any(map(_says_something, piece.choices))
        reader._is_whole = False  # noqa: SLF001
    elif not isinstance(piece, Mapping) or any(map(piece.get, _CONTENTS)):
        reader._is_whole = True  # noqa: SLF001


def _says_something(choice: Any) -> bool:
    return bool(choice.finish_reason or any(vars(choice.delta).values()))


# -- Google, Amazon and Cohere


def _noting_the_end(
    read: Callable[..., Any], says_why: Callable[[Any], bool]
) -> Callable[..., Any]:
    """Of what a reader does with each event, for which it has a name of its own."""

    def noting(reader: Any, *event: Any, **named: Any) -> Any:
        (said,) = (*event, *named.values())
        reader._is_whole = getattr(reader, "_is_whole", False) or says_why(said)  # noqa: SLF001
        return read(reader, *event, **named)

    return noting


def _google_says_why(event: Mapping[str, Any]) -> bool:
    """A prompt that is refused has no candidates."""
    is_blocked = "blockReason" in (event.get("promptFeedback") or {})
    return is_blocked or any("finishReason" in one for one in event.get("candidates") or ())


def _amazon_says_why(event: Mapping[str, Any]) -> bool:
    """Or may have said so, in words that nobody here knows."""
    parts = (event, *(event.get("outputs") or ()))
    is_over = any(part.get(name) for part in parts for name in _REASONS)
    return is_over or not _GOING_ON.intersection(event)


def _decoded_to_its_end(
    decode: Callable[..., AsyncGenerator[Any, None]],
) -> Callable[..., AsyncGenerator[Any, None]]:
    """Of Amazon's frames, in whichever words; those of Anthropic's have a reader of their own."""

    async def decoded(decoder: Any, *asked: Any, **more: Any) -> AsyncGenerator[Any, None]:
        async with aclosing(decode(decoder, *asked, **more)) as pieces:
            async for piece in pieces:
                yield piece
        reader = getattr(decoder, "anthropic_model_response_iterator", decoder)
        if not getattr(reader, "_is_whole", True):
            raise _cut()

    return decoded


class _WholeCohere(cohere_chats.CohereV2ModelResponseIterator):  # type: ignore[misc]
    """LiteLLM's way from a stream of Cohere's to a chat's.

    It looks for the last words, and for tools, by names that Cohere does not use; source: Cohere's
    `/v2/chat`, whose events have a `type`, and their contents in `delta`.
    """

    def chunk_parser(self, chunk: dict[str, Any]) -> Any:
        """
        Raises:
            CohereError: the answer has failed.
            ProxyError: it is none.
        """
        kind, delta = chunk.get("type"), chunk.get("delta") or {}
        if kind is None:
            raise told_by_an_error(chunk)
        if kind == "message-end" and delta.get("finish_reason") in _COHERE_FAILED:
            status = _COHERE_FAILED[delta["finish_reason"]]
            raise coheres.CohereError(status_code=status, message=message_in(delta) or NO_REASON)
        kind = "tool-call-delta" if kind == "tool-call-start" else kind
        return super().chunk_parser({"data": chunk, "event": kind, **chunk, "type": kind})

    def _parse_message_end(self, chunk: dict[str, Any]) -> tuple[bool, str, Any]:
        is_finished, reason, usage = super()._parse_message_end(chunk)
        return is_finished, _COHERE_REASONS.get(reason, reason), usage

    def _parse_tool_call_delta(self, chunk: dict[str, Any]) -> dict[str, Any]:
        call = chunk["delta"]["message"]["tool_calls"]
        function = {"name": None, "arguments": "", **call["function"]}
        named = {"id": call.get("id"), "type": "function", "index": chunk.get("index", 0)}
        return {**named, "function": function}


def let_streams_end_as_they_do() -> None:
    """From now on a completion's stream that fails has the status of its failure.

    And one that stops before it has given a reason to is cut: LiteLLM would say that it is done. It
    takes no notice where the reason is there, and only the last event is not.
    """
    anthropics.ModelResponseIterator = _WholeMessage
    chats.AsyncStream = texts.AsyncStream = _WholeStream  # type: ignore[attr-defined]
    like_openai = iterators.BaseModelResponseIterator
    like_openai.__aiter__ = _overhearing(like_openai.__aiter__)
    like_openai.__anext__ = _until_it_is_over(like_openai.__anext__, _note_kind)
    google = googles.ModelResponseIterator
    google.__aiter__ = _overhearing(google.__aiter__)
    cohere_chats.CohereV2ModelResponseIterator = _WholeCohere
    readers: tuple[tuple[Any, Callable[[Any], bool]], ...] = (
        (google, _google_says_why),
        (coheres.ModelResponseIterator, lambda event: event.get("is_finished") is True),
        (_WholeCohere, lambda event: event.get("type") == "message-end"),
    )
    for reader, says_why in readers:
        reader.chunk_parser = _noting_the_end(reader.chunk_parser, says_why)
        reader.__anext__ = _until_it_is_over(reader.__anext__)
    amazons.AnthropicModelResponseIterator = _WholeMessage
    decoder = amazons.AWSEventStreamDecoder
    decoder.chunk_parser = _noting_the_end(decoder.chunk_parser, _amazon_says_why)
    decoder.aiter_bytes = _decoded_to_its_end(decoder.aiter_bytes)
