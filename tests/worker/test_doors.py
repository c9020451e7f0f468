"""Every door to LiteLLM. Where one of these fails after an upgrade, LiteLLM has moved something.

What only shows in a running proxy (that hooks are called, that a price comes back, what a dropped
deployment looks like) is in test_serve.py.
"""

import inspect
import json
import logging
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import anyio
import httpx
import pytest
from starlette.routing import Match

from ccproxyd.errors import ProxyError
from ccproxyd.worker import carried, environment
from ccproxyd.worker.carried import Carried
from ccproxyd.worker.failures import CUT, OURS, PROVIDER, find
from tests.support.provider import MockProvider

CL100K = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
"""By which tiktoken knows the file."""

# LiteLLM builds its models late, and warns of them then.
pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def litellm(doors):
    return doors.litellm


@pytest.fixture
def router(doors, litellm, monkeypatch):
    """A router with two deployments that work, one alias and one that no provider has."""

    def deployment(name, model):
        return {"model_name": name, "litellm_params": {"model": model, "api_key": "none"}}

    router = litellm.Router(
        model_list=[
            deployment("think", "anthropic/claude-opus-4-8"),
            deployment("think", "openai/gpt-5"),
            deployment("everything", "openai/*"),
            deployment("dropped", "google/gemini-3"),
        ],
        model_group_alias={"opus": "think"},
        ignore_invalid_deployments=True,
    )
    monkeypatch.setattr(doors.proxy_server, "llm_router", router)
    return router


def test_the_app_has_a_lifespan_that_can_be_entered(doors):
    assert callable(doors.app())
    running = doors.app().router.lifespan_context(doors.app())
    assert callable(running.__aenter__)


async def test_a_config_that_litellm_would_overlook_is_refused(doors, tmp_path):
    overlooked = tmp_path / "config.json"
    overlooked.write_text("{}")
    for config in (overlooked, tmp_path / "missing.yaml"):
        with pytest.raises(ValueError, match=r"is not a \.yaml file"):
            await doors.started(config).__aenter__()


def test_litellms_pings_can_be_switched_off(litellm):
    """By a setting of the rendered config, which would be taken whatever it is called."""
    from litellm.proxy import common_request_processing as processing

    stream = object()
    assert litellm.anthropic_sse_ping_interval_seconds > 0
    assert processing.wrap_sse_stream_with_keepalive_pings(stream, 0) is stream
    said = inspect.getsource(processing)
    assert "ping_interval_seconds=litellm.anthropic_sse_ping_interval_seconds" in said


def test_what_workers_share_is_loaded_before_a_request(doors, litellm):
    doors.load_what_is_shared()
    assert "litellm.litellm_core_utils.default_encoding" in sys.modules
    assert litellm.utils.get_bundled_model_cost_map.cache_info().currsize == 1
    assert (Path(os.environ["TIKTOKEN_CACHE_DIR"]) / CL100K).is_file()


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/v1/embeddings"])
def test_the_routes_can_be_built_before_a_request(doors, path):
    doors.build_routes()
    scope = {"type": "http", "method": "POST", "path": path, "root_path": "", "headers": []}
    matches = [route.matches(scope)[0] for route in doors.app().router.routes]
    assert Match.FULL in matches


def test_the_route_of_messages_stands_first(doors):
    doors.build_routes()
    scope = {"type": "http", "method": "POST", "path": "/v1/messages", "root_path": ""}
    first = doors.app().router.routes[0]
    assert first.matches({**scope, "headers": []})[0] is Match.FULL
    others = {**scope, "path": "/v1/chat/completions", "headers": []}
    assert first.matches(others)[0] is not Match.FULL


def test_the_loaded_models_are_those_that_can_be_asked_for(doors, router):
    assert doors.loaded_models() == ("think", "everything")


def test_a_proxy_that_loaded_nothing_has_no_models(doors, monkeypatch):
    monkeypatch.setattr(doors.proxy_server, "llm_router", None)
    assert doors.loaded_models() == ()


def test_the_config_file_is_the_one_that_litellm_read(doors, monkeypatch):
    monkeypatch.setattr(doors.proxy_server, "user_config_file_path", None)
    assert doors.config_file() is None
    monkeypatch.setattr(doors.proxy_server, "user_config_file_path", "/etc/litellm/config.yaml")
    assert doors.config_file() == Path("/etc/litellm/config.yaml")


def test_litellm_notes_the_config_while_it_reads_it(doors):
    assert (
        "user_config_file_path"
        in doors.proxy_server.ProxyConfig._get_config_from_file.__code__.co_names
    )


@pytest.mark.parametrize("wanted", [True, False])
def test_whether_a_call_ends_with_its_client_is_as_the_config_says(doors, monkeypatch, wanted):
    assert doors.ENDS_WHEN_GONE in doors.proxy_server.ConfigGeneralSettings.model_fields
    monkeypatch.setitem(doors.proxy_server.general_settings, doors.ENDS_WHEN_GONE, wanted)
    assert doors.ends_what_nobody_awaits() is wanted


@pytest.mark.parametrize("name", ["metadata", "litellm_metadata"])
def test_metadata_goes_where_litellm_keeps_its_own(doors, name):
    data = {name: {"theirs": 1}}
    doors.metadata_of(data)["ours"] = 2
    assert data == {name: {"theirs": 1, "ours": 2}}


def test_metadata_is_made_where_there_is_none(doors):
    data = {}
    doors.metadata_of(data)["ours"] = 2
    assert data == {"metadata": {"ours": 2}}


@pytest.fixture
def ways(doors, monkeypatch):
    """How LiteLLM makes a message of a provider's events, as its own code comes to it."""
    for module, name in TRANSLATIONS:
        monkeypatch.setattr(getattr(doors, module), name, getattr(getattr(doors, module), name))
    doors.let_providers_begin()

    async def responses(events):
        return doors.responses.AnthropicResponsesStreamWrapper(events, "m")._sse_frames()

    async def completions(events):
        return doors.completions.AnthropicStreamWrapper(events, "m").async_anthropic_sse_wrapper()

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
async def test_what_the_provider_has_said_is_not_lost(doors, ways, way):
    delta = SimpleNamespace(type="response.output_text.delta", item_id="i", delta="hello")
    chunk = doors.litellm.ModelResponseStream(choices=[{"delta": {"content": "hello"}}])
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
def test_only_who_may_reason_is_asked_for_reasoning(doors, monkeypatch, model, asked):
    monkeypatch.setattr(doors.responses, "_ADAPTER", doors.responses._ADAPTER)
    doors.translate_responses_truly()
    sent = doors.responses._build_responses_kwargs(
        max_tokens=9,
        messages=[{"role": "user", "content": "hi"}],
        model=model,
        thinking={"type": "adaptive"},
        extra_kwargs={"custom_llm_provider": "openai"},
    )
    assert sent.get("include") == asked
    assert ("reasoning" in sent) is (asked is not None)


def test_what_the_config_asks_for_is_asked_of_every_model(doors, monkeypatch):
    monkeypatch.setattr(doors.responses, "_ADAPTER", doors.responses._ADAPTER)
    doors.translate_responses_truly()
    sent = doors.responses._build_responses_kwargs(
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
def test_a_response_that_failed_is_no_empty_message(doors, litellm, monkeypatch, error, status):
    monkeypatch.setattr(doors.responses, "_ADAPTER", doors.responses._ADAPTER)
    doors.translate_responses_truly()
    facts = {"id": "r", "created_at": 1, "model": "m", "output": []}
    parsed = litellm.ResponsesAPIResponse
    found = parsed(**facts, status="completed")
    assert doors.responses._ADAPTER.translate_response(found)["type"] == "message"
    failed = parsed(**facts, status="failed", error=error)
    with pytest.raises(ProxyError) as refused:
        doors.responses._ADAPTER.translate_response(failed)
    assert refused.value.code == status
    assert "_ADAPTER.translate_response(" in inspect.getsource(doors.responses)


@pytest.fixture
def way_of_messages(doors, litellm, monkeypatch):
    """By which of LiteLLM's handlers a message goes to a deployment, as LiteLLM comes to it."""
    flag = "use_chat_completions_url_for_anthropic_messages"
    for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(litellm, flag, False)
    handlers = {
        "responses": (doors.messages, "LiteLLMMessagesToResponsesAPIHandler"),
        "chat": (doors.chats, "LiteLLMMessagesToCompletionTransformationHandler"),
    }
    for way, (module, name) in handlers.items():
        handler = getattr(module, name)
        monkeypatch.setattr(module, name, handler)
        taken = staticmethod(lambda *, way=way, **call: way)
        monkeypatch.setattr(handler, "anthropic_messages_handler", taken)
    doors.chat_where_responses_are_not_openais()

    def asked(model, base, configured=None, **more):
        if configured is not None:
            monkeypatch.setattr(litellm, flag, configured)
        said = [{"role": "user", "content": "hi"}]
        return doors.messages.anthropic_messages_handler(
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
def test_a_message_that_thinks_stays_with_the_chat(doors, base, model):
    handler = doors.chats.LiteLLMMessagesToCompletionTransformationHandler
    sent, _ = handler._prepare_completion_kwargs(
        max_tokens=9000,
        messages=[{"role": "user", "content": "hi"}],
        model="local",
        thinking={"type": "enabled", "budget_tokens": 2000},
        extra_kwargs={"custom_llm_provider": "openai", "api_base": base},
    )
    assert sent["model"] == model


def test_an_answer_of_responses_that_is_cut_at_its_limit_says_so(doors):
    cut = {
        "id": "resp_1",
        "created_at": 1,
        "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"},
        "output": [],
        "usage": {"input_tokens": 1, "output_tokens": 16, "total_tokens": 17},
    }
    response = doors.litellm.types.llms.openai.ResponsesAPIResponse(**cut)
    told = doors.responses._ADAPTER.translate_response(response)
    assert told["stop_reason"] == "max_tokens"


async def test_so_does_a_stream_of_them(doors, ways):
    response = SimpleNamespace(status="incomplete", output=[], usage=None)
    end = SimpleNamespace(type="response.incomplete", response=response)
    frames = await ways["responses"](events(SAID["responses"], end, then=StopAsyncIteration()))
    told = b"".join([frame async for frame in frames])
    assert b'"stop_reason": "max_tokens"' in told


@pytest.fixture
def true_chats(doors, monkeypatch):
    """LiteLLM's way from a chat completion to a message, mended."""
    name = "LiteLLMAnthropicMessagesAdapter"
    monkeypatch.setattr(doors.completions, name, getattr(doors.completions, name))
    doors.translate_chats_truly()


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
def test_an_empty_text_beside_something_else_is_left_out(doors, litellm, said, kinds):
    message = {"role": "assistant", **said}
    usage = litellm.Usage(prompt_tokens=1, completion_tokens=1)
    answer = litellm.ModelResponse(model="m", choices=[{"message": message}], usage=usage)
    told = doors.chats.ANTHROPIC_ADAPTER.translate_completion_output_params(answer)
    assert [one["type"] for one in told["content"]] == kinds


@pytest.mark.usefixtures("true_chats")
def test_an_answer_without_a_choice_is_none(doors, litellm):
    answer = litellm.ModelResponse(model="m", choices=[], usage=litellm.Usage())
    with pytest.raises(ProxyError, match="the provider's answer is none") as refused:
        doors.chats.ANTHROPIC_ADAPTER.translate_completion_output_params(answer)
    assert refused.value.code == 502


@pytest.fixture
def refusals(doors, litellm, monkeypatch):
    """How LiteLLM takes a 422 of OpenAI's, where the config drops parameters."""
    name = "drop_params_from_unprocessable_entity_error"
    monkeypatch.setattr(doors.openais, name, getattr(doors.openais, name))
    monkeypatch.setattr(litellm, "drop_params", True)
    doors.let_openais_refuse()


async def chatted(litellm, provider, directive, *, stream):
    """A chat completion, or the exception that came of it."""
    said = [{"role": "user", "content": f"@@status=422;{directive}@@"}]
    try:
        return await litellm.acompletion(
            model="openai/m",
            messages=said,
            seed=1,
            stream=stream,
            api_base=f"{provider.url}/v1",
            api_key="none",
            max_retries=0,
        )
    except Exception as error:
        return error


def unknown(*fields):
    """What a 422 says of them."""
    return "message=" + json.dumps({"detail": [{"loc": ["body", name]} for name in fields]})


each_manner = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.mark.usefixtures("refusals")
@each_manner
@pytest.mark.parametrize("said", ["retry-after=7", 'message="some text"', unknown("nothing")])
async def test_a_422_is_a_failure_where_nothing_can_be_dropped(litellm, said, stream):
    async with MockProvider() as provider:
        found = find(await chatted(litellm, provider, said, stream=stream))
        assert (found.status, found.source) == (422, PROVIDER)
        assert len(provider.requests) == 1


@pytest.mark.usefixtures("refusals")
@each_manner
async def test_what_a_422_names_is_dropped_and_asked_again(litellm, stream):
    async with MockProvider() as provider:
        said = f"times=1;{unknown('seed')}"
        answer = await chatted(litellm, provider, said, stream=stream)
        assert not isinstance(answer, Exception)
        first, second = provider.requests
    assert first.fields.keys() - second.fields.keys() == {"seed"}


@pytest.mark.usefixtures("refusals")
@each_manner
async def test_a_422_is_a_failure_when_it_comes_again(litellm, stream):
    async with MockProvider() as provider:
        found = find(await chatted(litellm, provider, unknown("seed"), stream=stream))
        assert found.status == 422
        assert len(provider.requests) == 2


@pytest.fixture
def any_headers(doors, monkeypatch):
    """LiteLLM, which takes and adds headers with any letters."""
    transport = doors.aiohttp_transport.LiteLLMAiohttpTransport
    processing = doors.common_request_processing.ProxyBaseLLMRequestProcessing
    monkeypatch.setattr(transport, "_make_aiohttp_request", transport._make_aiohttp_request)
    own = staticmethod(processing.get_custom_headers)
    monkeypatch.setattr(processing, "get_custom_headers", own)
    doors.allow_any_headers()
    return processing


async def test_a_header_that_is_not_ascii_costs_no_answer(litellm, any_headers):
    from litellm.llms.custom_httpx.http_handler import get_async_httpx_client

    client = get_async_httpx_client(llm_provider=litellm.LlmProviders.ANTHROPIC)
    said = [{"role": "user", "content": "@@header=größe%1@@"}]
    async with MockProvider() as provider:
        body = {"model": "m", "messages": said}
        answer = await client.post(f"{provider.url}/v1/messages", json=body)
    assert answer.headers["x-said"] == "gr%C3%B6%C3%9Fe%1"
    assert answer.headers["request-id"] == "req_000001"
    assert answer.json()["type"] == "message"


def test_litellm_adds_headers_that_can_be_sent(litellm, any_headers):
    from litellm.proxy._types import UserAPIKeyAuth

    named = {"x-litellm-model-group": "日本", "llm_provider-x-a": "b"}
    found = any_headers.get_custom_headers(user_api_key_dict=UserAPIKeyAuth(), **named)
    assert found["x-litellm-model-group"].encode("latin-1").decode() == "日本"
    assert found["llm_provider-x-a"] == "b"


@pytest.mark.parametrize(
    ("metadata", "read"), [("a text", {}), ([], {}), (None, None), ({"a": 1}, {"a": 1})]
)
async def test_metadata_that_is_no_object_is_an_empty_one(doors, monkeypatch, metadata, read):
    from starlette.requests import Request

    async def receive():
        return {"type": "http.request", "body": json.dumps({"metadata": metadata}).encode()}

    name = "read_request_body"
    for route in ("chat_completion", "completion", "embeddings"):
        assert name in getattr(doors.proxy_server, route).__code__.co_names
    monkeypatch.setattr(doors.proxy_server, name, getattr(doors.proxy_server, name))
    doors.take_any_metadata()
    head = {"type": "http", "method": "POST", "path": "/v1/embeddings", "query_string": b""}
    sent = Request({**head, "headers": [(b"content-type", b"application/json")]}, receive)
    assert await doors.proxy_server.read_request_body(request=sent) == {"metadata": read}


def test_callbacks_can_be_taken_out_of_every_list(doors, litellm):
    unwanted, wanted = doors.CustomLogger(), doors.CustomLogger()
    lists = [getattr(litellm, name) for name in doors._CALLBACK_LISTS]
    before = [list(one) for one in lists]
    for one in lists:
        one.extend([unwanted, wanted])
    assert doors.callbacks()[-2:] == (unwanted, wanted)
    doors.discard_callbacks(lambda callback: callback is unwanted)
    after = [list(one) for one in lists]
    doors.discard_callbacks(lambda callback: callback is wanted)
    assert after == [[*one, wanted] for one in before]
    assert [list(one) for one in lists] == before


def test_every_list_of_callbacks_that_litellm_has_is_known(doors, litellm):
    lists = {
        name
        for name, value in vars(litellm).items()
        if name.endswith(("callback", "callbacks")) and isinstance(value, list)
    }
    not_called = {"audit_log_callbacks", "_known_custom_logger_compatible_callbacks"}
    assert lists - not_called == set(doors._CALLBACK_LISTS)


def test_litellms_loggers_are_known(doors):
    names = {logger.name for logger in doors.loggers()}
    assert names == {"LiteLLM", "LiteLLM Proxy", "LiteLLM Router"}
    with_handlers = {
        name
        for name, logger in logging.root.manager.loggerDict.items()
        if isinstance(logger, logging.Logger) and name.startswith("LiteLLM") and logger.handlers
    }
    assert with_handlers <= names


def test_a_refusal_has_its_status(doors):
    refused = doors.refusal("there is no such model", 404)
    assert (refused.status_code, refused.detail) == (404, "there is no such model")


def test_the_route_table_is_by_group(doors):
    table = doors.route_table()
    assert "/v1/messages" in table["anthropic_routes"]
    assert "/v1/chat/completions" in table["openai_routes"]
    assert "/anthropic" in table["mapped_pass_through_routes"]
    assert set(table["anthropic_routes"]) <= set(table["llm_api_routes"])


async def test_queued_events_are_waited_for(doors):
    done = anyio.Event()

    async def event():
        done.set()

    doors.GLOBAL_LOGGING_WORKER.ensure_initialized_and_enqueue(event())
    await doors.settle_events(20)
    assert done.is_set()
    await doors.GLOBAL_LOGGING_WORKER.stop()


async def test_events_that_never_end_are_waited_for_no_longer_than_asked(doors, caplog):
    doors.GLOBAL_LOGGING_WORKER.ensure_initialized_and_enqueue(anyio.sleep_forever())
    await doors.settle_events(0.01)
    await doors.GLOBAL_LOGGING_WORKER.stop()
    assert "cannot report every price" in caplog.text


def test_a_relayed_call_has_the_type_that_we_take_it_by(doors, litellm):
    assert doors.RELAYED in {one.value for one in litellm.types.utils.CallTypes}


def test_a_call_of_messages_has_the_type_that_we_take_it_by(doors, litellm):
    types = litellm.types.utils.CallTypes
    found = [one for one in types if doors.is_messages(one)]
    assert [one.value for one in found] == ["anthropic_messages"]


def test_the_fields_of_a_request_are_known(doors):
    assert doors.message_fields() >= {"messages", "system", "thinking", "output_config", "speed"}
    assert doors.own_fields() >= {"api_base", "num_retries", "litellm_metadata", "extra_body"}
    assert not doors.message_fields() & doors.own_fields() - {"metadata"}


@pytest.mark.parametrize(
    "name", ["api_key", "openai_key", "anthropic_key", "secret_manager_client"]
)
def test_a_key_for_all_deployments_is_known(doors, litellm, monkeypatch, name):
    assert not doors.has_key_for_all()
    monkeypatch.setattr(litellm, name, "sk-for-all")
    assert doors.has_key_for_all()


ADDED = "structured-outputs-2025-11-13"
"""What LiteLLM adds to a request for a format."""


@pytest.fixture
def way(doors, litellm, monkeypatch):
    """LiteLLM's way to Anthropic's messages, as it finds it when it needs it."""
    found = litellm.utils.ProviderConfigManager
    monkeypatch.setattr(litellm, "AnthropicMessagesConfig", litellm.AnthropicMessagesConfig)
    doors.keep_messages_whole()
    found._get_provider_anthropic_messages_config_cached.cache_clear()
    yield lambda model: found.get_provider_anthropic_messages_config(
        model=model, provider=litellm.LlmProviders.ANTHROPIC
    )
    found._get_provider_anthropic_messages_config_cached.cache_clear()


def sent(doors, way, model, kept, **fields):
    """The body and the address that a request of this model has."""
    parameters = doors.litellm.types.router.GenericLiteLLMParams(
        **({doors.KEPT: kept} if kept else {}), additional_drop_params=["unwanted"]
    )
    config = way(model)
    body = config.transform_anthropic_messages_request(
        model, [], {"max_tokens": 9000, **fields}, parameters, {}
    )
    return body, config.get_complete_url("http://x", None, model, {}, dict(parameters))


def test_litellms_way_to_anthropic_keeps_what_a_call_brings_along(doors, way):
    fields = {"wonders": 1, "unwanted": 2, "max_tokens": 3}
    kept = doors.Kept(fields=fields, query="beta=true")
    body, url = sent(doors, way, "claude-wonder", kept, thinking={"type": "adaptive"})
    expected = {"model": "claude-wonder", "messages": [], "max_tokens": 9000, "wonders": 1}
    assert body == {**expected, "thinking": {"type": "adaptive"}}
    assert url == "http://x/v1/messages?beta=true"


@pytest.mark.parametrize(
    ("said", "given", "expected"),
    [(False, False, {}), (True, False, {"stream": False}), (False, True, {"stream": True})],
)
def test_whether_to_stream_is_said_as_the_client_has_said_it(doors, way, said, given, expected):
    kept = doors.Kept(says_stream=said)
    body, _ = sent(doors, way, "claude-wonder", kept, stream=given)
    assert {name: body[name] for name in body if name == "stream"} == expected


def test_a_call_that_brings_nothing_goes_as_litellm_has_it(doors, way):
    body, url = sent(doors, way, "claude-haiku-4-5", None, thinking={"type": "adaptive"})
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
def counter(doors, monkeypatch):
    """LiteLLM's counter for Anthropic, which asks by our door."""
    from litellm.llms.anthropic.common_utils import AnthropicModelInfo
    from litellm.llms.anthropic.count_tokens import token_counter

    for name in ("anthropic_count_tokens_handler", "AnthropicTokenCounter"):
        monkeypatch.setattr(token_counter, name, getattr(token_counter, name))
    doors.keep_counts_whole(lambda deployment: {"api_key": "sk-lent", **deployment})
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


def test_our_way_is_as_trusted_as_litellms_own(doors, litellm):
    own, ours = doors._WholeMessages.__mro__[1], doors._WholeMessages
    name = "_workload_identity_eligible"
    assert vars(ours)[name] is vars(own)[name]
    assert ours()._carries_thinking_block_binding is own()._carries_thinking_block_binding


def test_the_name_of_the_model_can_be_asked_for_as_the_provider_gave_it(doors, litellm):
    from litellm.proxy.common_request_processing import should_return_raw_model_name

    assert doors.TRUE_MODEL
    data = {}
    assert not should_return_raw_model_name(data)
    doors.metadata_of(data).update(doors.TRUE_MODEL)
    assert should_return_raw_model_name(data)


def test_how_often_openais_library_tries_again_is_read_while_litellm_is_imported(litellm):
    assert 'os.getenv("DEFAULT_MAX_RETRIES"' in inspect.getsource(litellm.constants)
    assert environment.DEFAULTS["DEFAULT_MAX_RETRIES"] == "0"


def test_a_providers_answer_stands_in_the_exception_that_litellm_makes_of_it(litellm):
    from litellm.llms.custom_httpx.http_handler import MaskedHTTPStatusError

    request = httpx.Request("POST", "http://provider/v1/messages?key=secret")
    answer = httpx.Response(529, content=b"{}", headers={"retry-after": "7"}, request=request)
    found = find(MaskedHTTPStatusError(httpx.HTTPStatusError("", request=request, response=answer)))
    assert (found.status, found.body, found.source) == (529, b"{}", PROVIDER)
    assert (b"retry-after", b"7") in found.headers


@pytest.mark.parametrize(("directive", "source"), [("cut=0", CUT), ("reset", OURS)])
async def test_litellms_client_tells_a_stream_that_breaks_from_one_that_never_began(
    litellm, directive, source
):
    from litellm.llms.custom_httpx.http_handler import get_async_httpx_client

    client = get_async_httpx_client(llm_provider=litellm.LlmProviders.ANTHROPIC)
    said = [{"role": "user", "content": f"@@{directive}@@"}]
    body = {"model": "m", "stream": True, "messages": said}

    async def read(url):
        answer = await client.post(f"{url}/v1/messages", json=body, stream=True)
        await answer.aread()

    async with MockProvider() as provider:
        with pytest.raises(httpx.TransportError) as broken:
            await read(provider.url)
    assert find(broken.value, streams=True).source == source


def test_litellm_keeps_the_headers_of_a_providers_answer(doors, litellm):
    from litellm.llms.custom_httpx import llm_http_handler

    assert 'logging_obj.model_call_details["response_headers"]' in inspect.getsource(
        llm_http_handler
    )
    assert doors.headers_of_answer({}) == {}
    logged = SimpleNamespace(model_call_details={"response_headers": {"request-id": "r"}})
    assert doors.headers_of_answer({"litellm_logging_obj": logged}) == {"request-id": "r"}


def test_litellm_counts_its_retries_where_a_failed_request_has_them(doors, litellm):
    from litellm import router

    assert '_metadata["attempted_retries"] = current_attempt + 1' in inspect.getsource(router)
    assert doors.retries_of({}) == doors.retries_of({"metadata": {"user_id": "u"}}) == 0
    assert doors.retries_of({"litellm_metadata": {"attempted_retries": 2}, "metadata": {}}) == 2
