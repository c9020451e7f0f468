"""A provider for the tests: everybody's APIs on a loopback port of this process.

    async with MockProvider() as provider:     # in the test's own loop
        provider.url, provider.requests
    with running_provider() as provider:       # in a thread, for tests that start processes
        ...

It keeps every request and answers each with the text `mock: ok` from the model asked for. What
else it does is asked for by a directive in the model's name or in the newest user message, so that
requests at the same time do not disturb each other:

    @@status=429;retry-after=7;times=2@@

    status=N        fail with this status (and the API's own error type and shape)
    retry-after=S   that header, beside a status
    should-retry=B  the header `x-should-retry`, true or false
    location=URL    that header, beside a status: where to go
    message=TEXT    the error's message
    echo            the error's message repeats the prompt, as some providers do
    times=N         only the first N requests with this directive fail
    delay=S         seconds before the first byte
    gap=S           seconds between the events of a stream
    hold=N          wait before event N, or before the answer, until `release()`
    cut=N           close the connection after N events (or N bytes of a plain answer)
    short=N         end the stream after N events, as if these were all
    error=N         an error event in place of event N ends the stream
    type=NAME       the type of that event's error, or its code where the API has those
    reset           close the connection without an answer
    events=N        a text of N short pieces
    size=N          a text of N characters, in pieces of 16 KB
    model=ID        the model that the answer names
    say=TEXT        the text of the answer
    header=TEXT     the header `x-said`, in UTF-8
    body=TEXT       this in place of any answer, with status 200; a stream, if it begins as one
    refuse          a chat's text is a refusal
    failed=CODE     a response (of OpenAI's newer API) that failed, with status 200
    number=N        the number in the ids of the answer, in place of the request's
    for=ID          all of this is meant for requests to this model alone
    input=N         input tokens, in place of a guess by the request's length
    cached=N        input tokens that came from the cache
    gzip            a compressed answer

The newest user message wins over the model's name, key by key. Waiting for the mock is by event:
`seen(n)` for requests that have arrived, `holding(n)` for answers held back.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from email import message_from_bytes
from types import TracebackType
from typing import Any, Final, Self

import anyio
import orjson
from aiohttp import web
from anyio.from_thread import BlockingPortal, start_blocking_portal
from attrs import define, field, frozen

from ccproxyd.demo import answers
from ccproxyd.demo.answers import Answer, Body, words
from tests.support import abroad

MODELS: Final = ("claude-opus-4-8", "claude-sonnet-5", "claude-haiku-4-5", "gpt-5")

_DIRECTIVE: Final = re.compile(r"@@([a-z][^@]*)@@")
_INVOKED: Final = "/invoke-with-response-stream"
_STREAMING: Final = (":streamGenerateContent", "/converse-stream", _INVOKED)
_ABROAD: Final = ("/v1/chat", "/v2/chat")
_PROMPTS: Final = (
    "messages message contents input prompt query document input_file_id name file".split()
)
_PIECE: Final = 16 * 1024
_FIRST_CHOICE: Final = b'"index":0'
_BODY_LIMIT: Final = 1024**3
_HEADER_LIMIT: Final = 64 * 1024
_PATIENCE: Final = 20.0

_ANTHROPIC_ERRORS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


@define
class Recorded:
    """One request as it came, and what became of it.

    `outcome` is "" while the answer is on its way, then `answered`, `cut` (by a directive) or
    `abandoned` (the client left first).
    """

    number: int
    method: str
    path: str
    query: str
    headers: dict[str, str]
    raw: bytes = field(repr=False)
    body: Any = field(repr=False)
    outcome: str = ""

    @property
    def fields(self) -> dict[str, Any]:
        return self.body if isinstance(self.body, dict) else {}

    @property
    def model(self) -> str:
        return str(self.fields.get("model", ""))

    @property
    def stream(self) -> bool:
        return self.fields.get("stream") is True or self.path.endswith(_STREAMING)

    @property
    def anthropic(self) -> bool:
        return "/messages" in self.path or "anthropic-version" in self.headers

    @property
    def input_tokens(self) -> int:
        return max(1, len(self.raw) // 4)

    @property
    def prompt(self) -> str:
        """The newest user message's text, or the input of an API that has no messages."""
        for key in _PROMPTS:
            if key in self.fields:
                return _newest_text(self.fields[key])
        return ""


@frozen
class Script:
    """How one request is to be answered, out of its directives."""

    text: str = ""
    options: Mapping[str, str] = {}

    @classmethod
    def of(cls, *sources: str) -> Script:
        texts = [found for source in sources for found in _DIRECTIVE.findall(source)]
        pairs = (part.partition("=")[::2] for text in texts for part in text.split(";"))
        return cls(";".join(texts), {key.strip(): value.strip() for key, value in pairs})

    def has(self, key: str) -> bool:
        return key in self.options

    def number(self, key: str) -> int | None:
        return int(self.options[key]) if key in self.options else None

    def seconds(self, key: str) -> float:
        return float(self.options.get(key, 0))

    def is_for(self, model: str) -> bool:
        return self.options.get("for", model) == model

    def pieces(self) -> tuple[str, ...]:
        if (count := self.number("events")) is not None:
            return tuple(f"word{number} " for number in range(count))
        if (size := self.number("size")) is not None:
            whole, rest = divmod(size, _PIECE)
            return ("x" * _PIECE,) * whole + (("x" * rest,) if rest else ())
        if "say" in self.options:
            return words(self.options["say"])
        return ("mock:", " ok")


class MockProvider:
    """The server; `requests` is what came, oldest first, and `url` has no path."""

    def __init__(self, *, models: Iterable[str] = MODELS) -> None:
        self.requests: list[Recorded] = []
        self.models = tuple(models)
        self.held = 0
        self.url = ""
        self._failures: Counter[str] = Counter()
        self._released = anyio.Event()
        self._news = anyio.Event()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        self._runner = web.AppRunner(
            self._app(),
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=0.5,
            max_field_size=_HEADER_LIMIT,
            max_line_size=_HEADER_LIMIT,
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
        if self._runner is not None:
            await self._runner.cleanup()

    async def seen(self, count: int, *, path: str = "") -> list[Recorded]:
        """The first `count` requests (for this path), as soon as they have arrived."""

        def found() -> list[Recorded]:
            return [one for one in self.requests if one.path.startswith(path)]

        await self._until(lambda: len(found()) >= count)
        return found()[:count]

    async def holding(self, count: int) -> None:
        """Return when this many answers are held back by `hold`."""
        await self._until(lambda: self.held >= count)

    async def settled(self, count: int) -> list[Recorded]:
        """The first `count` requests, as soon as each one has its outcome."""

        def found() -> list[Recorded]:
            return [one for one in self.requests if one.outcome]

        await self._until(lambda: len(found()) >= count)
        return found()[:count]

    def release(self) -> None:
        """Let go what is held, and hold nothing from now on."""
        self._released.set()

    async def _until(self, condition: Callable[[], bool]) -> None:
        with anyio.fail_after(_PATIENCE):
            while not condition():
                await self._news.wait()

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    # -- requests

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=_BODY_LIMIT)
        for path, reply in self._replies().items():
            app.router.add_post(path, self._handler(reply))
        app.router.add_post("/v1beta/models/{called:.*}", self._handler(self._google))
        app.router.add_post("/model/{called:.*}", self._handler(self._amazon))
        app.router.add_get("/v1/models", self._handler(self._list_models))
        app.router.add_get("/models", self._handler(self._list_models))
        app.router.add_get("/v1/realtime", self._handler(self._realtime))
        app.router.add_route("*", "/{anything:.*}", self._handler(self._anything))
        return app

    def _replies(self) -> dict[str, Reply]:
        openai: dict[str, Reply] = {
            "/chat/completions": self._chat,
            "/responses": self._responses,
            "/completions": self._completions,
            "/embeddings": self._embeddings,
            "/moderations": self._moderations,
            "/images/generations": self._images,
            "/images/edits": self._images,
            "/audio/transcriptions": self._transcription,
            "/audio/speech": self._speech,
            "/rerank": self._rerank,
            "/ocr": self._ocr,
            "/videos": self._video,
        }
        return {
            "/v1/messages": self._messages,
            "/v1/messages/count_tokens": self._count_tokens,
            **openai,
            **{f"/v1{path}": reply for path, reply in openai.items()},
            "/v2/rerank": self._rerank,
            "/v2/chat": self._cohere,
            "/v1/chat": self._old_cohere,
        }

    def _handler(self, reply: Reply) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            recorded = await self._record(request)
            try:
                exchange = Exchange(self, request, recorded, _script_of(recorded))
                response = await reply(exchange)
                recorded.outcome = recorded.outcome or "answered"
                return response
            finally:
                recorded.outcome = recorded.outcome or "abandoned"
                self._tell()

        return handle

    async def _record(self, request: web.Request) -> Recorded:
        raw = await request.read()
        recorded = Recorded(
            number=len(self.requests) + 1,
            method=request.method,
            path=request.path,
            query=request.query_string,
            headers={name.lower(): value for name, value in request.headers.items()},
            raw=raw,
            body=_parsed(request.headers.get("content-type", ""), raw),
        )
        self.requests.append(recorded)
        self._tell()
        return recorded

    def fails(self, script: Script) -> bool:
        """Whether this request is one of those that are to fail."""
        if not script.has("status"):
            return False
        self._failures[script.text] += 1
        times = script.number("times")
        return times is None or self._failures[script.text] <= times

    async def hold(self) -> None:
        self.held += 1
        self._tell()
        try:
            await self._released.wait()
        finally:
            self.held -= 1

    # -- replies

    async def _messages(self, exchange: Exchange) -> web.StreamResponse:
        answer = exchange.answer()
        return await exchange.send(answers.message(answer), answers.message_frames(answer))

    async def _count_tokens(self, exchange: Exchange) -> web.StreamResponse:
        return await exchange.send({"input_tokens": exchange.recorded.input_tokens})

    async def _chat(self, exchange: Exchange) -> web.StreamResponse:
        answer = exchange.answer()
        options = exchange.recorded.fields.get("stream_options") or {}
        usage = options.get("include_usage") is True
        body, frames = answers.chat(answer), answers.chat_frames(answer, usage=usage)
        if exchange.script.has("refuse"):
            body, frames = _refused(body), (_renamed(frame) for frame in frames)
        return await exchange.send(body, _chosen(frames, exchange.recorded.fields.get("n") or 1))

    async def _responses(self, exchange: Exchange) -> web.StreamResponse:
        answer = exchange.answer()
        if exchange.script.has("failed"):
            return await exchange.send(_failed_response(answer, exchange.script.options["failed"]))
        return await exchange.send(answers.response(answer), answers.response_frames(answer))

    async def _google(self, exchange: Exchange) -> web.StreamResponse:
        answer = exchange.answer()
        return await exchange.send(abroad.google(answer), abroad.google_frames(answer))

    async def _amazon(self, exchange: Exchange) -> web.StreamResponse:
        answer, path = exchange.answer(), exchange.recorded.path
        if path.endswith(_INVOKED):
            return await exchange.send({}, abroad.invoked_frames(path, answer))
        return await exchange.send(abroad.amazon(answer), abroad.amazon_frames(answer))

    async def _cohere(self, exchange: Exchange) -> web.StreamResponse:
        answer = exchange.answer()
        return await exchange.send(abroad.cohere(answer), abroad.cohere_frames(answer))

    async def _old_cohere(self, exchange: Exchange) -> web.StreamResponse:
        answer = exchange.answer()
        body = {"text": answer.text, "finish_reason": "COMPLETE"}
        return await exchange.send(body, abroad.old_cohere_frames(answer))

    async def _completions(self, exchange: Exchange) -> web.StreamResponse:
        answer = exchange.answer()
        return await exchange.send(_completion(answer), _completion_frames(answer))

    async def _embeddings(self, exchange: Exchange) -> web.StreamResponse:
        asked = exchange.recorded.fields
        many = asked.get("input")
        count = len(many) if isinstance(many, list) else 1
        encoded = asked.get("encoding_format") == "base64"
        tokens = exchange.recorded.input_tokens
        return await exchange.send(
            answers.embeddings(exchange.answer().model, count, tokens, encoded=encoded)
        )

    async def _moderations(self, exchange: Exchange) -> web.StreamResponse:
        kinds = ("harassment", "hate", "self-harm", "sexual", "violence")
        result = {
            "flagged": False,
            "categories": dict.fromkeys(kinds, False),
            "category_scores": dict.fromkeys(kinds, 0.0),
        }
        answer = exchange.answer()
        id_ = f"modr-{answer.number:06d}"
        return await exchange.send({"id": id_, "model": answer.model, "results": [result]})

    async def _images(self, exchange: Exchange) -> web.StreamResponse:
        one_pixel = "R0lGODlhAQABAAAAACwAAAAAAQABAAA="
        details = {"image_tokens": 0, "text_tokens": 4}
        counts = {"input_tokens": 4, "output_tokens": 16, "total_tokens": 20}
        usage = {"input_tokens_details": details, **counts}
        body = {"created": answers.CREATED, "data": [{"b64_json": one_pixel}], "usage": usage}
        return await exchange.send(body)

    async def _transcription(self, exchange: Exchange) -> web.StreamResponse:
        details = {"text_tokens": 0, "audio_tokens": 14}
        counts = {"input_tokens": 14, "output_tokens": 2, "total_tokens": 16}
        usage = {"type": "tokens", "input_token_details": details, **counts}
        text, asked = exchange.answer().text, exchange.recorded.fields
        if asked.get("stream") == "true":
            done = answers.unnamed({"type": "transcript.text.done", "text": text, "usage": usage})
            return web.Response(body=done, content_type="text/event-stream")
        if asked.get("response_format") == "text":
            return web.Response(text=f"{text}\n")
        return await exchange.send({"text": text, "usage": usage})

    async def _speech(self, exchange: Exchange) -> web.StreamResponse:
        await exchange.held()
        if self.fails(exchange.script):
            return exchange.failure()
        return web.Response(body=b"ID3 mock: ok", content_type="audio/mpeg")

    async def _ocr(self, exchange: Exchange) -> web.StreamResponse:
        page = {"index": 0, "markdown": "mock: ok", "images": [], "dimensions": None}
        usage = {"pages_processed": 1, "doc_size_bytes": 4}
        model = exchange.answer().model
        return await exchange.send({"pages": [page], "model": model, "usage_info": usage})

    async def _video(self, exchange: Exchange) -> web.StreamResponse:
        about = {"object": "video", "status": "queued", "created_at": answers.CREATED}
        id_ = f"video_{exchange.recorded.number:06d}"
        return await exchange.send({"id": id_, "model": exchange.answer().model, **about})

    async def _realtime(self, exchange: Exchange) -> web.StreamResponse:
        """What the client says comes back."""
        socket = web.WebSocketResponse(protocols=["realtime"])
        await socket.prepare(exchange.request)
        await socket.send_json({"type": "session.created", "session": {"id": "sess_1"}})
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    async def _rerank(self, exchange: Exchange) -> web.StreamResponse:
        documents = exchange.recorded.fields.get("documents") or []
        results = [
            {"index": index, "relevance_score": 1 / (index + 1)} for index in range(len(documents))
        ]
        units = {"billed_units": {"search_units": 1}}
        id_ = f"rerank-{exchange.recorded.number:06d}"
        return await exchange.send({"id": id_, "results": results, "meta": units})

    async def _list_models(self, exchange: Exchange) -> web.StreamResponse:
        if exchange.recorded.anthropic:
            return await exchange.send(_anthropic_models(self.models))
        data = [
            {"id": name, "object": "model", "created": answers.CREATED, "owned_by": "mock"}
            for name in self.models
        ]
        return await exchange.send({"object": "list", "data": data})

    async def _anything(self, exchange: Exchange) -> web.StreamResponse:
        if exchange.recorded.path == "/":
            return web.Response()
        if self.fails(exchange.script):
            return exchange.failure()
        return exchange.error(404, f"mock: no {exchange.recorded.path}")


@frozen
class Exchange:
    """One request and the way to answer it."""

    provider: MockProvider
    request: web.Request
    recorded: Recorded
    script: Script

    def answer(self) -> Answer:
        model = _DIRECTIVE.sub("", self.recorded.model)
        cached = self.script.number("cached") or 0
        return Answer(
            model=self.script.options.get("model", model),
            pieces=self.script.pieces(),
            input_tokens=max(self.script.number("input") or self.recorded.input_tokens, cached),
            cached_tokens=cached,
            number=self.script.number("number") or self.recorded.number,
        )

    async def send(self, body: Body, frames: Iterable[bytes] = ()) -> web.StreamResponse:
        """The body, or the frames if the request asked for a stream; or what its script says."""
        await anyio.sleep(self.script.seconds("delay"))
        if self.script.has("reset"):
            return self._hang_up(web.Response())
        if self.provider.fails(self.script):
            return self.failure()
        if self.script.has("body"):
            return _as_it_is(self.script.options["body"])
        if frames and self.recorded.stream:
            return await self._stream(frames)
        return await self._plain(orjson.dumps(body))

    def error(self, status: int, message: str) -> web.Response:
        options = self.script.options
        names = {
            "retry-after": "retry-after",
            "should-retry": "x-should-retry",
            "location": "location",
        }
        extra = {header: options[key] for key, header in names.items() if key in options}
        body = orjson.dumps(_error(self.recorded, status, message))
        return web.Response(
            status=status,
            body=body,
            content_type="application/json",
            headers=self._headers() | extra,
        )

    def failure(self) -> web.Response:
        status = self.script.number("status") or 500
        message = self.script.options.get("message", f"mock: failed with {status}")
        if self.script.has("echo"):
            message = f"{message}: {self.recorded.prompt}"
        return self.error(status, message)

    async def held(self) -> None:
        """Wait, if the script says so."""
        if self.script.has("hold"):
            await self.provider.hold()

    async def _plain(self, body: bytes) -> web.StreamResponse:
        await self.held()
        response = web.Response(body=body, content_type="application/json", headers=self._headers())
        if self.script.has("gzip"):
            response.enable_compression(web.ContentCoding.gzip)
        if (cut := self.script.number("cut")) is not None:
            return await self._cut_short(body, cut)
        return response

    async def _cut_short(self, body: bytes, cut: int) -> web.StreamResponse:
        headers = self._headers() | {"content-type": "application/json"}
        response = web.StreamResponse(headers=headers)
        response.content_length = len(body)
        await response.prepare(self.request)
        await response.write(body[:cut])
        return self._hang_up(response)

    async def _stream(self, frames: Iterable[bytes]) -> web.StreamResponse:
        headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        response = web.StreamResponse(headers=self._headers() | headers)
        if self.script.has("gzip"):
            response.enable_compression(web.ContentCoding.gzip)
        await response.prepare(self.request)
        async for frame in self._paced(frames):
            await response.write(frame)
        if self.script.has("cut"):
            return self._hang_up(response)
        await response.write_eof()
        return response

    async def _paced(self, frames: Iterable[bytes]) -> AsyncIterator[bytes]:
        """The frames at the script's speed, as far as it lets them come."""
        script = self.script
        for number, frame in enumerate(frames):
            if number in (script.number("cut"), script.number("short")):
                return
            if number == script.number("hold"):
                await self.provider.hold()
            if number == script.number("error"):
                yield _error_frame(self.recorded, script.options.get("type"))
                return
            if number:
                await anyio.sleep(script.seconds("gap"))
            yield frame

    def _hang_up(self, response: web.StreamResponse) -> web.StreamResponse:
        """Close after what was written: no last chunk tells the client that it has everything."""
        self.recorded.outcome = "cut"
        if self.request.transport is not None:
            self.request.transport.close()
        return response

    def _headers(self) -> dict[str, str]:
        name = "request-id" if self.recorded.anthropic else "x-request-id"
        number = self.script.number("number") or self.recorded.number
        said = {"x-said": self.script.options["header"]} if self.script.has("header") else {}
        return {name: f"req_{number:06d}", **said}


Reply = Callable[[Exchange], Awaitable[web.StreamResponse]]


class RunningProvider:
    """A `MockProvider` that runs in a thread, with the same names for a test without a loop."""

    def __init__(self, provider: MockProvider, portal: BlockingPortal) -> None:
        self._provider = provider
        self._portal = portal

    @property
    def url(self) -> str:
        return self._provider.url

    @property
    def requests(self) -> list[Recorded]:
        return self._provider.requests

    def seen(self, count: int, *, path: str = "") -> list[Recorded]:
        return self._portal.call(lambda: self._provider.seen(count, path=path))

    def settled(self, count: int) -> list[Recorded]:
        return self._portal.call(self._provider.settled, count)

    def holding(self, count: int) -> None:
        self._portal.call(self._provider.holding, count)

    def release(self) -> None:
        self._portal.call(self._provider.release)


@contextmanager
def running_provider(*, models: Iterable[str] = MODELS) -> Iterator[RunningProvider]:
    """A provider in a thread of its own, while the block runs."""

    async def make() -> MockProvider:
        return MockProvider(models=models)

    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(portal.call(make)) as provider,
    ):
        yield RunningProvider(provider, portal)


# -- reading


def _script_of(recorded: Recorded) -> Script:
    script = Script.of(recorded.model, recorded.prompt)
    return script if script.is_for(recorded.model) else Script()


def _parsed(content_type: str, raw: bytes) -> Any:
    """JSON as it is, a form as its text fields and its files' names, anything else as None."""
    if content_type.startswith("multipart/form-data"):
        return _form_fields(content_type, raw)
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None


def _form_fields(content_type: str, raw: bytes) -> dict[str, str]:
    form = message_from_bytes(b"content-type: %s\r\n\r\n%s" % (content_type.encode(), raw))
    return {
        str(part.get_param("name", header="content-disposition")): str(
            part.get_filename() or part.get_payload()
        )
        for part in form.walk()
        if not part.is_multipart()
    }


def _as_it_is(text: str) -> web.Response:
    is_stream = text.startswith(("data:", "event:"))
    kind = "text/event-stream" if is_stream else "application/json"
    return web.Response(text=text, content_type=kind)


def _newest_text(value: Any) -> str:
    """The text of the last user message in a list of them, or of whatever stands there instead."""
    if isinstance(value, list):
        messages = [item for item in value if isinstance(item, dict) and "role" in item]
        if messages:
            users = [item for item in messages if item["role"] == "user"]
            newest = users[-1] if users else {}
            return _text_of(newest.get("content") or newest.get("parts"))
    return _text_of(value)


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(_text_of(part) for part in content)
    if isinstance(content, dict):
        return _text_of(content.get("text") or content.get("document_url"))
    return ""


# -- shapes that the demo has no use for


def _completion(answer: Answer) -> Body:
    body = answers.chat(answer)
    choice = {"index": 0, "text": answer.text, "logprobs": None, "finish_reason": "stop"}
    id_ = f"cmpl-{answer.number:06d}"
    return body | {"id": id_, "object": "text_completion", "choices": [choice]}


def _completion_frames(answer: Answer) -> Iterator[bytes]:
    whole = _completion(answer)
    del whole["usage"]
    for number, piece in enumerate(answer.pieces, start=1):
        reason = "stop" if number == len(answer.pieces) else None
        choice = {"index": 0, "text": piece, "logprobs": None, "finish_reason": reason}
        yield answers.unnamed(whole | {"choices": [choice]})
    yield answers.DONE


def _refused(body: Body) -> Body:
    for choice in body["choices"]:
        said = choice["message"]
        said["content"], said["refusal"] = None, said["content"]
    return body


def _chosen(frames: Iterable[bytes], count: int) -> Iterator[bytes]:
    """So many choices side by side, each in frames of its own."""
    for frame in frames:
        for number in range(count if _FIRST_CHOICE in frame else 1):
            yield frame.replace(_FIRST_CHOICE, b'"index":%d' % number)


def _renamed(frame: bytes) -> bytes:
    return frame.replace(b'"content":', b'"refusal":')


def _failed_response(answer: Answer, code: str) -> Body:
    error = {"code": code, "message": f"mock: failed with {code}"}
    return answers.response(answer) | {"status": "failed", "output": [], "error": error}


def _anthropic_models(names: tuple[str, ...]) -> Body:
    made = "2026-01-01T00:00:00Z"
    data = [
        {"type": "model", "id": name, "display_name": name, "created_at": made} for name in names
    ]
    return {
        "data": data,
        "has_more": False,
        "first_id": names[0] if names else None,
        "last_id": names[-1] if names else None,
    }


def _error(recorded: Recorded, status: int, message: str) -> Body:
    if recorded.anthropic:
        type_ = _ANTHROPIC_ERRORS.get(status, "api_error")
        return {"type": "error", "error": {"type": type_, "message": message}}
    type_ = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": type_, "param": None, "code": None}}


def _error_frame(recorded: Recorded, kind: str | None = None) -> bytes:
    """The error in mid-stream, as each API says it."""
    if recorded.anthropic:
        body = _error(recorded, 529, "Overloaded")
        named = {"type": kind} if kind else {}
        return answers.event("error", {**body, "error": {**body["error"], **named}})
    if recorded.path in _ABROAD or recorded.path.endswith(_STREAMING):
        return abroad.error_frame(recorded.path, "Overloaded")
    if recorded.path.endswith("/responses"):
        code = kind or "server_error"
        error = {"type": "error", "code": code, "message": "Overloaded", "param": None}
        return answers.event("error", error)
    error = _error(recorded, 503, "Overloaded")
    return answers.unnamed({"error": {**error["error"], "code": 503}})
