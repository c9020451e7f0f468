"""What every answer passes on its way out of LiteLLM: its headers are sorted, its failures told.

LiteLLM's own headers name addresses, deployments, prices and spending of a key that is ours: none
of them goes further, but for those by which the gateway learns of retries and fallbacks. What
the provider said of rate limits and of the request's id LiteLLM puts behind a prefix of its own,
where no client looks for it; here it gets its name back.

A failure is held back until it is whole, and then told as `failures` knows it. Its header
`x-ccproxy-failure` says to the gateway whose words these are. That an answer is a failure can show
in its first bytes alone, while LiteLLM's status is 200.

A transcription may be wanted without the JSON around it (`transcripts`).

LiteLLM ends a stream that broke as if it were complete. Here it keeps its error event and loses its
end, so that the gateway and its client see a transfer that is cut.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from typing import Any, Final

from ccproxyd.worker import failures
from ccproxyd.worker.events import cleared
from ccproxyd.worker.failures import Failure, Headers
from ccproxyd.worker.transcripts import words_in
from ccproxyd.worker.underway import Slot

HEADER: Final = b"x-ccproxy-failure"
RETRIES: Final = b"x-litellm-attempted-retries"
"""LiteLLM puts it on what succeeded alone; a failure gets it here."""
FAILED_FALLBACKS: Final = b"x-ccproxy-failed-fallbacks"
"""Those that LiteLLM counts are all that it tried, and it tells them of what succeeded alone."""

_HELD_BACK: Final = (b"application/json", b"text/event-stream")
_OF_LITELLM: Final = b"x-litellm-"
_OURS: Final = b"x-ccproxy-"
"""What a provider says by this name, it did not hear from us."""
_FOR_THE_GATEWAY: Final = frozenset(
    {b"x-litellm-attempted-fallbacks", RETRIES, b"x-litellm-model-group"}
)
_OF_ANY_FAILURE: Final = (200, 500)
"""What LiteLLM may have answered with, whatever the failure."""
_NO_ANSWER: Final = 300
"""The least status of what is none: LiteLLM hands on that it is sent elsewhere."""
_OF_THE_PROVIDER: Final = b"llm_provider-"
_RESTORED: Final = (b"anthropic-ratelimit-", b"x-ratelimit-", b"request-id", b"x-request-id")

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


class Answering:
    """ASGI's `send` for one answer of LiteLLM's."""

    def __init__(self, send: Send, slot: Slot, *, routed: bool) -> None:
        self._send = send
        self._slot = slot
        self._routed = routed
        """What is only relayed is the provider's own; LiteLLM's failures are in the slot."""
        self._sent = False
        self._begun: Message | None = None
        """The head of an answer that can turn out to be a failure."""
        self._failed: Message | None = None
        self._wordy: Message | None = None
        """The head of one that has more around its words than is asked for."""
        self._pieces: list[bytes] = []

    async def __call__(self, message: Message) -> None:
        """Pass one message on, or keep it until the failure that it is part of is whole."""
        if message["type"] == "http.response.start":
            await self._start(message)
        elif self._failed is not None:
            await self._collect(self._failed, message)
        elif self._begun is not None:
            await self._begin(self._begun, message)
        elif self._wordy is not None:
            await self._take_words(self._wordy, message)
        else:
            message["body"] = cleared(message.get("body", b""), self._slot)
            if self._slot.has_broken:
                message["more_body"] = True
            await self._send(message)

    async def fail(self, error: Exception) -> bool:
        """Answer for a LiteLLM that has raised this, and say whether that is still possible."""
        if self._sent:
            return False
        await self._tell(self._slot.failure or failures.unforeseen(error))
        return True

    async def _start(self, message: Message) -> None:
        message["status"] = failures.a_status(message["status"])
        if message["status"] >= _NO_ANSWER and (self._routed or self._slot.failure):
            self._failed = message
        elif self._routed and _kind(message["headers"]).startswith(_HELD_BACK):
            self._begun = message
        else:
            await self._show(message)

    async def _show(self, started: Message) -> None:
        self._sent = True
        headers = [*shown(started["headers"]), *self._fallbacks()]
        await self._send({**started, "headers": headers})

    async def _begin(self, started: Message, message: Message) -> None:
        self._begun = None
        if failures.is_no_success(message.get("body", b"")):
            self._failed = started
        elif self._slot.wants_text or self._slot.wants_events:
            self._wordy = started
        else:
            await self._show(started)
        await self(message)

    async def _take_words(self, started: Message, message: Message) -> None:
        """The words of an answer, when it is whole; all of it, if it has none."""
        self._pieces.append(message.get("body", b""))
        if message.get("more_body"):
            return
        whole, self._wordy = b"".join(self._pieces), None
        kind, words = words_in(whole, self._slot) or (_kind(started["headers"]), whole)
        said = ((b"content-type", kind), (b"content-length", str(len(words)).encode()))
        others = [pair for pair in started["headers"] if pair[0] not in dict(said)]
        await self._show({**started, "headers": [*others, *said]})
        await self._send({**message, "body": words})

    async def _collect(self, started: Message, message: Message) -> None:
        self._pieces.append(message.get("body", b""))
        if message.get("more_body"):
            return
        status, slot = started["status"], self._slot
        known = slot.status if status in _OF_ANY_FAILURE and slot.status else status
        failure = slot.failure or failures.of_litellm(
            known, started["headers"], b"".join(self._pieces)
        )
        await self._tell(failure)

    async def _tell(self, failure: Failure) -> None:
        self._sent = True
        length = (b"content-length", str(len(failure.body)).encode())
        retries = (RETRIES, str(self._slot.retries).encode())
        told = ((HEADER, failure.source), length, retries)
        headers = [*failure.headers, *told, *self._fallbacks()]
        start = {"type": "http.response.start", "status": failure.status, "headers": headers}
        await self._send(start)
        await self._send({"type": "http.response.body", "body": failure.body})

    def _fallbacks(self) -> Iterator[tuple[bytes, bytes]]:
        if count := self._slot.failed_fallbacks:
            yield FAILED_FALLBACKS, str(count).encode()


def _kind(headers: Headers) -> bytes:
    return dict(headers).get(b"content-type", b"")


def shown(headers: Headers) -> Iterator[tuple[bytes, bytes]]:
    """The headers of an answer, less what is LiteLLM's own business."""
    told = {name for name, _ in headers}
    for name, value in headers:
        if name.startswith(_OF_THE_PROVIDER):
            own = name.removeprefix(_OF_THE_PROVIDER)
            if own.startswith(_RESTORED) and own not in told:
                yield own, value
        elif not name.startswith((_OF_LITELLM, _OURS)) or name in _FOR_THE_GATEWAY:
            yield name, value


def prefixed(headers: Mapping[str, str]) -> dict[str, str]:
    """Of a provider's headers those that a client should see, as LiteLLM would hand them on."""
    prefix = _OF_THE_PROVIDER.decode()
    return {
        prefix + name.lower(): value
        for name, value in headers.items()
        if name.lower().encode().startswith(_RESTORED)
    }
