"""A message's way through LiteLLM, where it is another than LiteLLM would take."""

import inspect
from types import SimpleNamespace

import pytest

from ccproxyd.errors import NO_REASON, ProxyError
from ccproxyd.worker import carried
from ccproxyd.worker.carried import Carried
from tests.support.provider import MockProvider

# LiteLLM builds its models late, and warns of them then.
pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def litellm(messages):
    return messages.litellm


@pytest.fixture
def ways(messages, monkeypatch):
    """How LiteLLM makes a message of a provider's events, as its own code comes to it."""
    for module, name in TRANSLATIONS:
        monkeypatch.setattr(
            getattr(messages, module), name, getattr(getattr(messages, module), name)
        )
    messages.let_providers_begin()

    async def responses(events):
        return messages.responses.AnthropicResponsesStreamWrapper(events, "m")._sse_frames()

    async def completions(events):
        return messages.completions.AnthropicStreamWrapper(
            events, "m"
        ).async_anthropic_sse_wrapper()

    return {"responses": responses, "completions": completions}


TRANSLATIONS = (
    ("responses", "AnthropicResponsesStreamWrapper"),
    ("completions", "AnthropicStreamWrapper"),
)
SAID = {
    "responses": SimpleNamespace(type="response.created"),
    "completions": SimpleNamespace(choices=[], usage=None),
}

each_way = pytest.mark.parametrize("way", SAID)


async def events(*said, then):
    for one in said:
        yield one
    raise then


@each_way
async def test_what_fails_before_the_provider_has_said_a_word_is_no_message(ways, way):
    frames = await ways[way](events(then=LookupError()))
    with pytest.raises(LookupError):
        await anext(frames)


@each_way
async def test_a_message_begins_with_the_providers_first_word(ways, way):
    frames = await ways[way](events(SAID[way], then=LookupError()))
    assert b"message_start" in await anext(frames)
    assert b"event: error" in await anext(frames)


@each_way
async def test_what_the_provider_has_said_is_not_lost(messages, ways, way):
    delta = SimpleNamespace(type="response.output_text.delta", item_id="i", delta="hello")
    chunk = messages.litellm.ModelResponseStream(choices=[{"delta": {"content": "hello"}}])
    said = {"responses": delta, "completions": chunk}[way]
    frames = await ways[way](events(said, then=LookupError()))
    told = b"".join([frame async for frame in frames])
    assert told.count(b"event: message_start") == 1
    assert told.count(b'"text": "hello"') == 1


async def test_a_provider_that_says_nothing_at_all_is_left_to_litellm(ways):
    frames = await ways["responses"](nothing())
    told = b"".join([frame async for frame in frames])
    assert told.startswith(b"event: message_start")
    assert b"event: error" in told


async def nothing():
    return
    yield


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        ("gpt-4o-mini", None),
        ("responses/gpt-4o", None),
        ("ft:gpt-4o-mini-2024-07-18:us::id", None),
        ("gpt-5-mini", ["reasoning.encrypted_content"]),
        ("a-model-of-tomorrow", ["reasoning.encrypted_content"]),
    ],
)
def test_only_who_may_reason_is_asked_for_reasoning(messages, monkeypatch, model, asked):
    monkeypatch.setattr(messages.responses, "_ADAPTER", messages.responses._ADAPTER)
    messages.translate_responses_truly()
    sent = messages.responses._build_responses_kwargs(
        max_tokens=9,
        messages=[{"role": "user", "content": "hi"}],
        model=model,
        thinking={"type": "adaptive"},
        extra_kwargs={"custom_llm_provider": "openai"},
    )
    assert sent.get("include") == asked
    assert ("reasoning" in sent) is (asked is not None)


def test_what_the_config_asks_for_is_asked_of_every_model(messages, monkeypatch):
    monkeypatch.setattr(messages.responses, "_ADAPTER", messages.responses._ADAPTER)
    messages.translate_responses_truly()
    sent = messages.responses._build_responses_kwargs(
        max_tokens=9,
        messages=[{"role": "user", "content": "hi"}],
        model="gpt-4o-mini",
        extra_kwargs={"custom_llm_provider": "openai", "include": ["file_search_call.results"]},
    )
    assert sent["include"] == ["file_search_call.results"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": "server_error", "message": "no"}, 502),
        ({"code": "rate_limit_exceeded", "message": "no"}, 429),
        ({"code": "invalid_prompt", "message": "no"}, 400),
        (None, 502),
    ],
)
def test_a_response_that_failed_is_no_empty_message(messages, litellm, monkeypatch, error, status):
    monkeypatch.setattr(messages.responses, "_ADAPTER", messages.responses._ADAPTER)
    messages.translate_responses_truly()
    facts = {"id": "r", "created_at": 1, "model": "m", "output": []}
    parsed = litellm.ResponsesAPIResponse
    found = parsed(**facts, status="completed")
    assert messages.responses._ADAPTER.translate_response(found)["type"] == "message"
    failed = parsed(**facts, status="failed", error=error)
    with pytest.raises(ProxyError) as refused:
        messages.responses._ADAPTER.translate_response(failed)
    assert refused.value.code == status
    assert refused.value.message == ("no" if error else NO_REASON)
    assert "_ADAPTER.translate_response(" in inspect.getsource(messages.responses)


@pytest.fixture
def way_of_messages(messages, litellm, monkeypatch):
    """By which of LiteLLM's handlers a message goes to a deployment, as LiteLLM comes to it."""
    flag = "use_chat_completions_url_for_anthropic_messages"
    for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(litellm, flag, False)
    handlers = {
        "responses": (messages.messages, "LiteLLMMessagesToResponsesAPIHandler"),
        "chat": (messages.chats, "LiteLLMMessagesToCompletionTransformationHandler"),
    }
    for way, (module, name) in handlers.items():
        handler = getattr(module, name)
        monkeypatch.setattr(module, name, handler)
        taken = staticmethod(lambda *, way=way, **call: way)
        monkeypatch.setattr(handler, "anthropic_messages_handler", taken)
    messages.chat_where_responses_are_not_openais()

    def asked(model, base, configured=None, **more):
        if configured is not None:
            monkeypatch.setattr(litellm, flag, configured)
        said = [{"role": "user", "content": "hi"}]
        return messages.messages.anthropic_messages_handler(
            9, said, model, api_base=base, api_key="none", **more
        )

    return asked


LOCAL = "http://127.0.0.1:8080/v1"


@pytest.mark.parametrize(
    ("model", "base", "way"),
    [
        ("openai/local", LOCAL, "chat"),
        ("openai/gpt-5", "https://gateway.example/v1", "chat"),
        ("openai/responses/local", LOCAL, "responses"),
        ("openai/gpt-5", None, "responses"),
        ("openai/gpt-5", "https://api.openai.com/v1", "responses"),
        ("openai/gpt-5", "https://mine.openai.azure.com/openai/v1", "responses"),
        ("hosted_vllm/local", LOCAL, "chat"),
    ],
)
def test_a_message_goes_to_responses_where_they_are_openais(way_of_messages, model, base, way):
    assert way_of_messages(model, base) == way


def test_an_address_in_the_environment_is_one_as_well(way_of_messages, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", LOCAL)
    assert way_of_messages("openai/local", None) == "chat"


@pytest.mark.parametrize(("configured", "way"), [(True, "chat"), (False, "responses")])
@pytest.mark.parametrize("base", [LOCAL, "https://api.openai.com/v1"])
def test_what_the_config_says_of_responses_counts_more(way_of_messages, base, configured, way):
    assert way_of_messages("openai/gpt-5", base, configured) == way


@pytest.mark.parametrize(
    ("base", "model"), [(LOCAL, "local"), ("https://api.openai.com/v1", "openai/responses/local")]
)
@pytest.mark.usefixtures("way_of_messages")
def test_a_message_that_thinks_stays_with_the_chat(messages, base, model):
    handler = messages.chats.LiteLLMMessagesToCompletionTransformationHandler
    sent, _ = handler._prepare_completion_kwargs(
        max_tokens=9000,
        messages=[{"role": "user", "content": "hi"}],
        model="local",
        thinking={"type": "enabled", "budget_tokens": 2000},
        extra_kwargs={"custom_llm_provider": "openai", "api_base": base},
    )
    assert sent["model"] == model


def test_an_answer_of_responses_that_is_cut_at_its_limit_says_so(messages):
    cut = {
        "id": "resp_1",
        "created_at": 1,
        "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"},
        "output": [],
        "usage": {"input_tokens": 1, "output_tokens": 16, "total_tokens": 17},
    }
    response = messages.litellm.types.llms.openai.ResponsesAPIResponse(**cut)
    told = messages.responses._ADAPTER.translate_response(response)
    assert told["stop_reason"] == "max_tokens"


async def test_so_does_a_stream_of_them(messages, ways):
    response = SimpleNamespace(status="incomplete", output=[], usage=None)
    end = SimpleNamespace(type="response.incomplete", response=response)
    frames = await ways["responses"](events(SAID["responses"], end, then=StopAsyncIteration()))
    told = b"".join([frame async for frame in frames])
    assert b'"stop_reason": "max_tokens"' in told


@pytest.fixture
def true_chats(messages, monkeypatch):
    """LiteLLM's way from a chat completion to a message, mended."""
    name = "LiteLLMAnthropicMessagesAdapter"
    monkeypatch.setattr(messages.completions, name, getattr(messages.completions, name))
    messages.translate_chats_truly()


BASH = {"id": "call_1", "type": "function", "function": {"name": "Bash", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("said", "kinds"),
    [
        ({"content": "", "tool_calls": [BASH]}, ["tool_use"]),
        ({"content": "I look.", "tool_calls": [BASH]}, ["text", "tool_use"]),
        ({"content": "", "reasoning_content": "hm"}, ["thinking"]),
        ({"content": ""}, ["text"]),
    ],
)
@pytest.mark.usefixtures("true_chats")
def test_an_empty_text_beside_something_else_is_left_out(messages, litellm, said, kinds):
    message = {"role": "assistant", **said}
    usage = litellm.Usage(prompt_tokens=1, completion_tokens=1)
    answer = litellm.ModelResponse(model="m", choices=[{"message": message}], usage=usage)
    told = messages.chats.ANTHROPIC_ADAPTER.translate_completion_output_params(answer)
    assert [one["type"] for one in told["content"]] == kinds


@pytest.mark.usefixtures("true_chats")
def test_an_answer_without_a_choice_is_none(messages, litellm):
    answer = litellm.ModelResponse(model="m", choices=[], usage=litellm.Usage())
    with pytest.raises(ProxyError, match="the provider's answer is none") as refused:
        messages.chats.ANTHROPIC_ADAPTER.translate_completion_output_params(answer)
    assert refused.value.code == 502


ADDED = "structured-outputs-2025-11-13"
"""What LiteLLM adds to a request for a format."""


@pytest.fixture
def way(messages, litellm, monkeypatch):
    """LiteLLM's way to Anthropic's messages, as it finds it when it needs it."""
    found = litellm.utils.ProviderConfigManager
    monkeypatch.setattr(litellm, "AnthropicMessagesConfig", litellm.AnthropicMessagesConfig)
    messages.keep_messages_whole()
    found._get_provider_anthropic_messages_config_cached.cache_clear()
    yield lambda model: found.get_provider_anthropic_messages_config(
        model=model, provider=litellm.LlmProviders.ANTHROPIC
    )
    found._get_provider_anthropic_messages_config_cached.cache_clear()


def sent(messages, way, model, kept, **fields):
    """The body and the address that a request of this model has."""
    parameters = messages.litellm.types.router.GenericLiteLLMParams(
        **({messages.KEPT: kept} if kept else {}), additional_drop_params=["unwanted"]
    )
    config = way(model)
    body = config.transform_anthropic_messages_request(
        model, [], {"max_tokens": 9000, **fields}, parameters, {}
    )
    return body, config.get_complete_url("http://x", None, model, {}, dict(parameters))


def test_litellms_way_to_anthropic_keeps_what_a_call_brings_along(messages, way):
    fields = {"wonders": 1, "unwanted": 2, "max_tokens": 3}
    kept = messages.Kept(fields=fields, query="beta=true")
    body, url = sent(messages, way, "claude-wonder", kept, thinking={"type": "adaptive"})
    expected = {"model": "claude-wonder", "messages": [], "max_tokens": 9000, "wonders": 1}
    assert body == {**expected, "thinking": {"type": "adaptive"}}
    assert url == "http://x/v1/messages?beta=true"


@pytest.mark.parametrize(
    ("said", "given", "expected"),
    [(False, False, {}), (True, False, {"stream": False}), (False, True, {"stream": True})],
)
def test_whether_to_stream_is_said_as_the_client_has_said_it(messages, way, said, given, expected):
    kept = messages.Kept(says_stream=said)
    body, _ = sent(messages, way, "claude-wonder", kept, stream=given)
    assert {name: body[name] for name in body if name == "stream"} == expected


def test_a_call_that_brings_nothing_goes_as_litellm_has_it(messages, way):
    body, url = sent(messages, way, "claude-haiku-4-5", None, thinking={"type": "adaptive"})
    assert body["thinking"]["type"] == "enabled"
    assert url == "http://x/v1/messages"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"anthropic-beta": "structured-outputs-2031-01-01"}, ["structured-outputs-2031-01-01"]),
        ({"anthropic-beta": "other-2031-01-01"}, ["other-2031-01-01", ADDED]),
        ({}, [ADDED]),
    ],
)
async def test_a_beta_that_litellm_adds_goes_where_the_client_says_it_by_another_date(
    way, said, expected
):
    parameters = {"output_config": {"format": {"type": "json_schema"}}}
    headers, _ = await way("claude-wonder").avalidate_anthropic_messages_environment(
        headers=dict(said),
        model="claude-wonder",
        messages=[],
        optional_params=parameters,
        litellm_params={},
        api_key="sk-provider",
        api_base="http://x",
    )
    assert sorted(headers["anthropic-beta"].split(",")) == sorted(expected)


@pytest.fixture
def counter(messages, monkeypatch):
    """LiteLLM's counter for Anthropic, which asks by our door."""
    from litellm.llms.anthropic.common_utils import AnthropicModelInfo
    from litellm.llms.anthropic.count_tokens import token_counter

    for place, name in (
        (token_counter, "anthropic_count_tokens_handler"),
        (token_counter.AnthropicTokenCounter, "count_tokens"),
    ):
        monkeypatch.setattr(place, name, getattr(place, name))
    messages.keep_counts_whole(lambda deployment: {"api_key": "sk-lent", **deployment})
    return AnthropicModelInfo().get_token_counter()


async def counted(counter, along, key="sk-ant-of-the-config"):
    key = {"api_key": key} if key else {}
    """How the provider is asked for a count."""
    async with MockProvider() as provider:
        token = carried.current.set(along)
        try:
            found = await counter.count_tokens(
                "claude-opus-4-8",
                [{"role": "user", "content": "hi"}],
                None,
                deployment={"litellm_params": {"api_base": provider.url, **key}},
            )
        finally:
            carried.current.reset(token)
        assert found.total_tokens > 0
        [asked] = provider.requests
    assert asked.path == "/v1/messages/count_tokens"
    return asked


async def test_a_count_is_asked_for_as_the_client_has_asked(counter):
    said = {
        "anthropic-beta": "one,two",
        "anthropic-version": "2031-01-01",
        "user-agent": "claude-cli/2",
        "x-app": "cli",
    }
    asked = await counted(counter, Carried(said, "beta=true"))
    assert asked.query == "beta=true"
    assert said.items() <= asked.headers.items()
    assert asked.headers["x-api-key"] == "sk-ant-of-the-config"
    assert asked.headers["content-type"] == "application/json"
    assert asked.fields["model"] == "claude-opus-4-8"


async def test_a_count_of_a_client_that_says_no_beta_has_none(counter):
    asked = await counted(counter, Carried())
    assert (asked.query, asked.headers.get("anthropic-beta")) == ("", None)
    assert asked.headers["anthropic-version"] == "2023-06-01"


async def test_a_credential_that_needs_a_beta_has_it_beside_the_clients(counter):
    asked = await counted(counter, Carried({"anthropic-beta": "one"}), key="sk-ant-oat01-x")
    first, *others = asked.headers["anthropic-beta"].split(",")
    assert (first, [beta[:6] for beta in others]) == ("one", ["oauth-"])
    assert asked.headers["authorization"] == "Bearer sk-ant-oat01-x"


async def test_a_deployment_without_a_key_counts_with_what_is_lent_to_it(counter):
    asked = await counted(counter, Carried(), key=None)
    assert asked.headers["x-api-key"] == "sk-lent"


async def test_a_count_that_nobody_has_asked_us_for_is_in_litellms_words(counter):
    asked = await counted(counter, None)
    assert (asked.query, "token-counting" in asked.headers["anthropic-beta"]) == ("", True)


def test_our_way_is_as_trusted_as_litellms_own(messages, litellm):
    own, ours = messages._WholeMessages.__mro__[1], messages._WholeMessages
    name = "_workload_identity_eligible"
    assert vars(ours)[name] is vars(own)[name]
    assert ours()._carries_thinking_block_binding is own()._carries_thinking_block_binding
