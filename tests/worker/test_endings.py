"""How the streams of all protocols end; each is asked for through LiteLLM itself."""

import orjson
import pytest

from ccproxyd.errors import NO_REASON
from ccproxyd.worker.failures import CUT, OURS, find, of_litellm
from tests.support.provider import MockProvider
from tests.worker.asking import (
    CLAUDE,
    COHERE,
    GEMINI,
    GPT,
    NOVA,
    OLD_COHERE,
    TEXT,
    streamed,
)

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("whole_streams"),
]

CLAUDE_AT_AMAZONS = "bedrock/invoke/anthropic.claude-3-5-sonnet-20240620-v1:0"
LIKE_OPENAI = tuple(
    f"{provider}/m"
    for provider in (
        "azure_ai databricks deepseek fireworks_ai groq hosted_vllm mistral openrouter perplexity "
        "together_ai xai"
    ).split()
)
"""By every kind of iterator that LiteLLM has for who speaks as OpenAI's chat does."""
MODELS = (CLAUDE, GPT, TEXT, GEMINI, NOVA, COHERE, OLD_COHERE, *LIKE_OPENAI)


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
    if (model, events) != (NOVA, 0):  # frames that are none: LiteLLM says so itself
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
    told = ended.__cause__ or ended.__context__ or ended
    assert (told.status_code, "Overloaded" in str(told)) == (status, True)


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
    told = ended.__cause__ or ended.__context__ or ended
    assert (told.status_code, "Overloaded" in str(told)) == (status, True)


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
