"""How the streams of all protocols end; each is asked for through LiteLLM itself."""

import asyncio
import re

import orjson
import pytest

from ccproxyd.errors import NO_REASON
from ccproxyd.worker.failures import CUT, OURS, find, of_litellm
from tests.support.provider import MockProvider
from tests.worker.asking import (
    CLAUDE,
    CLAUDE_AT_AMAZONS,
    COHERE,
    GEMINI,
    GPT,
    LLAMA,
    MISTRAL,
    NOVA,
    OLD_COHERE,
    TEXT,
    address,
    streamed,
)

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("whole_streams"),
]

AT_AMAZONS = (NOVA, CLAUDE_AT_AMAZONS, LLAMA, MISTRAL)
LIKE_OPENAI = tuple(
    f"{provider}/m"
    for provider in (
        "azure_ai databricks deepseek fireworks_ai groq hosted_vllm mistral openrouter perplexity "
        "together_ai xai"
    ).split()
)
"""By every kind of iterator that LiteLLM has for who speaks as OpenAI's chat does."""
MODELS = (CLAUDE, GPT, TEXT, GEMINI, COHERE, OLD_COHERE, *AT_AMAZONS, *LIKE_OPENAI)


@pytest.fixture
def whole_streams(endings, monkeypatch):
    readers = (
        endings.iterators.BaseModelResponseIterator,
        endings.googles.ModelResponseIterator,
        endings.coheres.ModelResponseIterator,
        endings._WholeCohere,
        endings.amazons.AWSEventStreamDecoder,
    )
    names = ("__anext__", "chunk_parser", "aiter_bytes")
    for reader in readers:
        for name in set(names) & set(vars(reader)):
            monkeypatch.setattr(reader, name, getattr(reader, name))
    for module, name in (
        (endings.anthropics, "ModelResponseIterator"),
        (endings.amazons, "AnthropicModelResponseIterator"),
        (endings.cohere_chats, "CohereV2ModelResponseIterator"),
        (endings.chats, "AsyncStream"),
        (endings.texts, "AsyncStream"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))
    endings.let_streams_end_as_they_do()


@pytest.mark.parametrize("model", MODELS)
async def test_a_stream_that_says_that_it_is_over_is_whole(litellm, model):
    async with MockProvider() as provider:
        assert await streamed(litellm, provider, model, "events=3") == {"stop"}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("events", [0, 1, 3])
async def test_a_stream_that_stops_before_its_end_is_cut(litellm, model, events):
    """LiteLLM would say that it is done, and why."""
    async with MockProvider() as provider:
        ended = await streamed(litellm, provider, model, f"events=8;short={events}")
    assert isinstance(ended, Exception)
    if events or model not in AT_AMAZONS:  # where there are no frames LiteLLM says so itself
        assert find(ended, streams=True).source == CUT


@pytest.mark.parametrize(
    ("model", "events"),
    [(CLAUDE, 13), (GPT, 10), (TEXT, 8), (NOVA, 11), *((model, 10) for model in LIKE_OPENAI)],
)
async def test_a_stream_that_has_said_why_it_ends_is_whole(litellm, model, events):
    """All of it is there but `message_stop`, or `[DONE]`, which not every server sends."""
    async with MockProvider() as provider:
        ended = await streamed(litellm, provider, model, f"events=8;short={events}")
    assert ended == {"stop"}


def overloaded(ended):
    """The status in which a stream has ended, and whether it says what the provider said."""
    told = ended.__cause__ or ended.__context__ or ended
    return told.status_code, "Overloaded" in str(told)


UNREADABLE = "the provider's answer is none that LiteLLM can read"


@pytest.mark.parametrize(
    "model", [CLAUDE, GPT, TEXT, GEMINI, COHERE, "azure_ai/m", "hosted_vllm/m", "xai/m"]
)
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"error":{"message":"slow down","type":"busy"}}', "slow down"),
        ('{"message":"slow down"}', "slow down"),
        ('{"id":"x","choices":[]}', UNREADABLE),
        ("<html>a login</html>", UNREADABLE),
    ],
)
async def test_an_answer_that_is_no_stream_is_told_by_what_it_says(litellm, model, body, said):
    """LiteLLM would make an empty answer of some."""
    async with MockProvider() as provider:
        ended = await streamed(litellm, provider, model, f"body={body}")
    found = find(ended, streams=True) or of_litellm(500, (), str(ended).encode())
    assert (found.status in (500, 502), found.source) == (True, OURS)
    assert said in orjson.loads(found.body)["error"]["message"]


@pytest.mark.parametrize("model", [GPT, GEMINI, NOVA, COHERE, "hosted_vllm/m"])
async def test_a_stream_that_is_left_lets_its_provider_go(litellm, model):
    async with MockProvider() as provider:
        turns = [{"role": "user", "content": "hello @@events=8;hold=5@@"}]
        where = address(provider, model)
        answer = await litellm.acompletion(model=model, messages=turns, stream=True, **where)
        await anext(answer)
        await answer.aclose()
        [asked] = await provider.settled(1)
    assert asked.outcome == "abandoned"


class Served:
    """A provider that answers everything with these bytes, and 200."""

    def __init__(self, said):
        self.said = said

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    async def answer(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(re.search(rb"content-length: (\d+)", head.lower())[1]))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
        writer.write(b"content-length: %d\r\nconnection: close\r\n\r\n" % len(self.said))
        writer.write(self.said)
        writer.close()


each_reader = pytest.mark.parametrize("model", [CLAUDE, GPT, GEMINI, "hosted_vllm/m"])


@each_reader
async def test_comments_that_keep_a_stream_alive_are_no_words(litellm, model):
    async with Served(b": PROCESSING\n\n" * 3) as provider:
        ended = await streamed(litellm, provider, model, "")
    assert find(ended, streams=True).source == CUT


@each_reader
async def test_a_long_page_costs_no_more_than_its_beginning(litellm, model):
    """LiteLLM looks through the words of an exception again and again."""
    async with Served(b"upstream is down " * 100_000) as provider:
        found = find(await streamed(litellm, provider, model, ""), streams=True)
    assert (found.status, found.source, len(found.body) < 5000) == (502, OURS, True)
    assert b"upstream is down" in found.body


@each_reader
@pytest.mark.parametrize("event", ["[1,2]", "7", '"x"', '{"choices": 1, "candidates": 1}'])
async def test_an_event_that_is_none_is_told_as_what_nobody_can_read(litellm, model, event):
    """Python's words about it are for nobody."""
    async with Served(b"data: %s\n\n" % event.encode()) as provider:
        ended = await streamed(litellm, provider, model, "")
    found = find(ended, streams=True)
    if found.source != CUT:  # what a reader passes over
        assert (found.status, UNREADABLE.encode() in found.body) == (502, True)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("overloaded_error", 529),
        ("rate_limit_error", 429),
        ("invalid_request_error", 400),
        ("api_error", 500),
        ("some_error", 500),
    ],
)
@pytest.mark.parametrize("event", [0, 2])
async def test_an_error_in_anthropics_stream_has_the_status_of_its_type(
    litellm, kind, status, event
):
    async with MockProvider() as provider:
        ended = await streamed(litellm, provider, CLAUDE, f"events=8;error={event};type={kind}")
    assert overloaded(ended) == (status, True)


@pytest.mark.parametrize("error", [{}, {"error": {"type": "api_error"}}])
def test_an_error_without_words_in_anthropics_stream_says_that_it_has_none(endings, error):
    pieces = endings.anthropics.ModelResponseIterator(iter(()), sync_stream=True)
    with pytest.raises(endings.AnthropicError, match=NO_REASON):
        pieces.chunk_parser({"type": "error", **error})


@pytest.mark.parametrize(("model", "status"), [(GEMINI, 503), (NOVA, 503), (COHERE, 500)])
@pytest.mark.parametrize("event", [0, 2])
async def test_an_error_in_the_stream_of_others_has_its_status_and_its_words(
    litellm, model, status, event
):
    async with MockProvider() as provider:
        ended = await streamed(litellm, provider, model, f"events=8;error={event}")
    assert overloaded(ended) == (status, True)


CALL = {"id": "t1", "type": "function", "function": {"name": "read", "arguments": ""}}


def events_of_cohere(endings, *events):
    """What LiteLLM's reader makes of them."""
    reader = endings.cohere_chats.CohereV2ModelResponseIterator(iter(()), sync_stream=False)
    return [reader.chunk_parser(event) for event in events]


def test_calls_of_tools_in_coheres_stream_are_heard(endings):
    """LiteLLM looks for them where they are not."""
    more = {"function": {"arguments": '{"path":'}}
    begun, going_on = events_of_cohere(
        endings,
        {"type": "tool-call-start", "index": 1, "delta": {"message": {"tool_calls": CALL}}},
        {"type": "tool-call-delta", "index": 1, "delta": {"message": {"tool_calls": more}}},
    )
    assert begun["tool_use"] == {**CALL, "index": 1}
    unnamed = {"name": None, "arguments": '{"path":'}
    assert going_on["tool_use"] == {"id": None, "type": "function", "index": 1, "function": unnamed}


@pytest.mark.parametrize(
    ("said", "reason"),
    [("COMPLETE", "COMPLETE"), ("MAX_TOKENS", "MAX_TOKENS"), ("TOOL_CALL", "tool_calls")],
)
def test_the_reason_and_the_usage_of_coheres_stream_are_heard(endings, said, reason):
    tokens = {"input_tokens": 5, "output_tokens": 9}
    delta = {"finish_reason": said, "usage": {"tokens": tokens}}
    (ended,) = events_of_cohere(endings, {"type": "message-end", "delta": delta})
    assert (ended["is_finished"], ended["finish_reason"]) == (True, reason)
    assert ended["usage"]["total_tokens"] == 14


def test_a_failure_of_coheres_without_words_says_that_it_has_none(endings):
    with pytest.raises(endings.coheres.CohereError, match=NO_REASON) as raised:
        events_of_cohere(endings, {"type": "message-end", "delta": {"finish_reason": "TIMEOUT"}})
    assert raised.value.status_code == 504
