"""Every door to LiteLLM. Where one of these fails after an upgrade, LiteLLM has moved something.

What only shows in a running proxy (that hooks are called, that a price comes back, what a dropped
deployment looks like) is in test_serve.py.
"""

import inspect
import logging
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import anyio
import httpx
import pytest
from starlette.routing import Match

from ccproxyd.worker import environment, failures
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


def test_a_transcription_has_the_types_that_we_take_it_by(doors, litellm):
    types = litellm.types.utils.CallTypes
    found = [one.value for one in types if doors.is_transcription(one)]
    assert sorted(found) == ["atranscription", "transcription"]
    assert doors.is_transcription("transcription")


def test_the_fields_of_a_request_are_known(doors, messages):
    known = messages.message_fields()
    assert known >= {"messages", "system", "thinking", "output_config", "speed"}
    assert doors.own_fields() >= {"api_base", "num_retries", "litellm_metadata", "extra_body"}
    assert not known & doors.own_fields() - {"metadata"}


@pytest.mark.parametrize(
    "name", ["api_key", "openai_key", "anthropic_key", "secret_manager_client"]
)
def test_a_key_for_all_deployments_is_known(doors, litellm, monkeypatch, name):
    assert not doors.has_key_for_all()
    monkeypatch.setattr(litellm, name, "sk-for-all")
    assert doors.has_key_for_all()


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


def test_a_stream_that_breaks_keeps_its_usage_where_we_look_for_it(doors, litellm):
    from litellm.litellm_core_utils import litellm_logging

    source = inspect.getsource(litellm_logging.Logging.record_partial_usage_for_failure)
    assert f'model_call_details["{doors.PARTIAL}"] = usage' in source
    payload = {"prompt_tokens": 9, "completion_tokens": 2}
    broken = {"standard_logging_object": payload, doors.PARTIAL: litellm.Usage()}
    partial, fallback = doors.partial_event_of(broken), doors.event_of(broken)
    assert (partial.input_tokens, partial.output_tokens) == (9, 2)
    assert (fallback.input_tokens, fallback.output_tokens) == (0, 0)
    assert doors.partial_event_of({"standard_logging_object": payload}).output_tokens == 0


def test_what_was_read_from_a_cache_is_told_apart(doors):
    usage = {"prompt_tokens_details": {"cached_tokens": 7}}
    payload = {"prompt_tokens": 9, "completion_tokens": 2, "metadata": {"usage_object": usage}}
    event = doors.event_of({"standard_logging_object": payload})
    assert (event.input_tokens, event.output_tokens, event.cache_read_tokens) == (2, 2, 7)


def test_a_stream_that_tells_no_usage_is_priced_by_a_count(doors, litellm):
    call = {
        "call_type": "atext_completion",
        "stream": True,
        "model": "gpt-3.5-turbo-instruct",
        "custom_llm_provider": "text-completion-openai",
        "messages": [{"role": "user", "content": "hello"}],
        "standard_logging_object": {"prompt_tokens": 0, "completion_tokens": 0},
    }
    answer = litellm.ModelResponse(choices=[{"message": {"role": "assistant", "content": "hello"}}])
    assert doors.event_of(call).is_untold
    assert not doors.event_of({**call, "stream": None}).is_untold
    assert doors.event_of({**call, "call_type": "acompletion"}).is_untold, "it may have fallen back"
    assert not doors.event_of({**call, "call_type": "anthropic_messages"}).is_untold
    assert not doors.event_of(call | {"standard_logging_object": {"prompt_tokens": 9}}).is_untold
    assert 0 < doors.counted_cost(call, answer) < 0.001
    assert doors.counted_cost({**call, "model": "nobody-knows"}, answer) is None


def test_what_a_client_has_got_wrong_is_known_by_litellms_names(litellm):
    """`failures` looks for these, and does not import LiteLLM."""
    from litellm.proxy.route_llm_request import ProxyMissingRequiredParamError
    from litellm.types.rerank import RerankRequest

    said = ProxyMissingRequiredParamError("/batches", "input_file_id")
    assert failures.find(said).status == 400
    with pytest.raises(ValueError, match="query") as raised:
        RerankRequest(model="m", query=1, documents=[])
    assert failures.find(raised.value).status == 400
