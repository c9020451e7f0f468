"""What had come of a stream that broke, or was left, has its price, where LiteLLM would find none.

LiteLLM prices what a chat had said itself, and tells it with its event of the failure. Here it is
made to for the rest. These are doors as those of `doors`; tests/worker/test_spending.py opens them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

from litellm import main
from litellm.proxy import common_request_processing
from litellm.proxy.pass_through_endpoints.llm_provider_handlers import (
    anthropic_passthrough_logging_handler as assembling,
)
from litellm.responses import streaming_iterator as responding

from ccproxyd.worker.doors import PARTIAL

_ERRORS: Final = (
    *(b"event: error", b"event:error"),
    *(b'data: {"type":"error"', b'data: {"type": "error"', b'data:{"type":"error"'),
)
"""How the event of one begins in a stream of Anthropic's."""


def price_what_had_come() -> None:
    """From now on LiteLLM reckons the price of every stream that broke, or was left.

    It does so itself where a chat breaks, and where a response or a message is left. Of a response
    that breaks it tells no usage; of a message with an error in it, the first token's, since it
    cannot put together what ends so; and of a text completion it cannot find the pieces.
    """
    response = responding.BaseResponsesAPIStreamingIterator
    response._handle_failure = _counted_first(response._handle_failure)  # noqa: SLF001
    message = assembling.AnthropicPassthroughLoggingHandler
    message._assemble_streaming_response = staticmethod(  # noqa: SLF001
        _without_error(message._assemble_streaming_response)  # noqa: SLF001
    )
    main._async_streaming = _remembered(main._async_streaming)  # noqa: SLF001
    proxy = common_request_processing
    proxy._bill_partial_streamed_spend_on_disconnect = _by_its_text(  # noqa: SLF001
        proxy._bill_partial_streamed_spend_on_disconnect  # noqa: SLF001
    )


def _counted_first(fail: Callable[[Any, Exception], None]) -> Callable[[Any, Exception], None]:
    """A way to end a response with a failure that finds what had come of it, as if it was left."""

    def failed(stream: Any, error: Exception) -> None:
        if PARTIAL not in stream.logging_obj.model_call_details:
            partial = responding.partial_responses_incomplete_event_on_disconnect(stream)
            stream._record_failed_response_usage(partial and partial.response)  # noqa: SLF001
        fail(stream, error)

    return failed


def _without_error(build: Callable[..., Any]) -> Callable[..., Any]:
    """A way to put together a message, line by line, that does not stop at the error in it."""

    def built(*, all_chunks: Sequence[str | bytes], **how: Any) -> Any:
        return build(all_chunks=[one for one in all_chunks if not _is_error(one)], **how)

    return built


def _is_error(line: str | bytes) -> bool:
    said = line.encode() if isinstance(line, str) else line
    return said.lstrip().startswith(_ERRORS)


class _Text:
    """What a text completion says, piece by piece, with what has been said."""

    def __init__(self, pieces: AsyncIterator[Any], model: str) -> None:
        self._pieces = pieces
        self.model = model
        self.chunks: list[Any] = []
        self.messages: list[Any] | None = None

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        piece = await anext(self._pieces)
        self.chunks.append(piece)
        return piece


def _remembered(stream: Callable[..., AsyncIterator[Any]]) -> Callable[..., _Text]:
    def streaming(*, model: str, **how: Any) -> _Text:
        return _Text(stream(model=model, **how), model)

    return streaming


def _by_its_text(bill: Callable[..., Awaitable[bool]]) -> Callable[..., Awaitable[bool]]:
    """A way to book a stream that is left, which finds what a text completion has said, too."""

    async def billed(request_data: dict[str, Any], response: Any) -> bool:
        text = getattr(getattr(response, "inner", response), "completion_stream", None)
        if not isinstance(text, _Text):
            return await bill(request_data, response)
        text.messages = request_data["litellm_logging_obj"].model_call_details.get("messages")
        return await bill(request_data, text)

    return billed
