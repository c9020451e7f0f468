"""What LiteLLM and OpenAI's library do otherwise with us; each is asked through LiteLLM itself."""

import json

import pytest

from ccproxyd.worker.failures import PROVIDER, find
from tests.support.provider import MockProvider
from tests.worker.asking import CLAUDE, GPT, TEXT, address

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]

SLOW_DOWN = "@@status=429;retry-after=0.01;message=slow down@@"


@pytest.fixture
def asked_once(mended, monkeypatch):
    openais = mended.openais
    for api, name in (
        (openais.OpenAIChatCompletion, "aimage_generation"),
        (openais.OpenAIFilesAPI, "get_openai_client"),
        (openais.OpenAIBatchesAPI, "get_openai_client"),
        (openais.OpenAIAssistantsAPI, "async_get_openai_client"),
        (mended.tunings.OpenAIFineTuningAPI, "get_openai_client"),
    ):
        monkeypatch.setattr(api, name, getattr(api, name))
    mended.ask_openais_once()


@pytest.fixture
def texts_given(mended, monkeypatch):
    pieces, name = mended.TextCompletionStreamWrapper, "convert_to_text_completion_object"
    monkeypatch.setattr(pieces, name, getattr(pieces, name))
    mended.give_every_piece_a_text()


each_model = pytest.mark.parametrize("model", [CLAUDE, GPT, TEXT])


@pytest.fixture
def told_responses(mended, monkeypatch):
    api, name = mended.responses.OpenAIResponsesAPIConfig, "transform_streaming_response"
    monkeypatch.setattr(api, name, getattr(api, name))
    mended.let_responses_say_why_they_fail()


@pytest.mark.usefixtures("told_responses")
@pytest.mark.parametrize(
    ("code", "status"),
    [("server_error", 500), ("rate_limit_exceeded", 429), ("invalid_prompt", 400), ("odd", 500)],
)
@pytest.mark.parametrize("event", [0, 2])
async def test_an_error_in_a_stream_of_responses_has_the_providers_words(
    litellm, code, status, event
):
    """OpenAI has them in the event itself, where LiteLLM does not look."""
    model = "openai/gpt-4o"  # of others LiteLLM makes streams up
    async with MockProvider() as provider:
        said, where = f"hello @@events=8;error={event};type={code}@@", address(provider, model)
        answer = await litellm.aresponses(model=model, input=said, stream=True, **where)
        with pytest.raises(Exception, match="Overloaded") as ended:
            _ = [event async for event in answer]
    told = getattr(ended.value, "original_exception", None) or ended.value
    assert told.status_code == status


@pytest.mark.usefixtures("told_responses")
@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "error": {"type": "x", "code": "y", "message": "no"}},
        {"type": "response.output_text.delta", "error": None, "delta": "error"},
    ],
)
def test_other_events_of_responses_stay_as_they_are(mended, event):
    config = mended.responses.OpenAIResponsesAPIConfig()
    read = config.transform_streaming_response(model="m", parsed_chunk=event, logging_obj=None)
    assert read.model_dump(exclude_unset=True) | event == read.model_dump(exclude_unset=True)


async def asked_for(litellm, what, model, where):
    match what:
        case "image":
            return await litellm.aimage_generation(model=model, prompt=SLOW_DOWN, **where)
        case "transcription":
            sound = ("@@.mp3", b"ID3")
            return await litellm.atranscription(model=model, file=sound, prompt=SLOW_DOWN, **where)
        case "speech":
            return await litellm.aspeech(model=model, input=SLOW_DOWN, voice="alloy", **where)


async def requests_for(litellm, what, **more):
    """How many requests become of a call that is refused, and what is known of the refusal."""
    async with MockProvider() as provider:
        where = {"api_base": f"{provider.url}/v1", "api_key": "none", **more}
        with pytest.raises(Exception, match="slow down") as refused:
            await asked_for(litellm, what, GPT, where)
        return len(provider.requests), find(refused.value)


@pytest.mark.usefixtures("asked_once")
@pytest.mark.parametrize("more", [{}, {"max_retries": 2}])
async def test_openais_library_asks_once_for_an_image(litellm, more):
    count, found = await requests_for(litellm, "image", **more)
    assert (count, found.status, found.source) == (1, 429, PROVIDER)
    assert (b"retry-after", b"0.01") in found.headers


@pytest.mark.usefixtures("asked_once")
@pytest.mark.parametrize(("said", "number"), [(None, 0), (0, 0), (3, 3)])
@pytest.mark.parametrize("api", ["Files", "Batches", "Assistants", "FineTuning"])
def test_openais_client_asks_again_as_often_as_a_request_says(mended, api, said, number):
    module = mended.tunings if api == "FineTuning" else mended.openais
    calls = getattr(module, f"OpenAI{api}API")()
    is_told_apart = api == "Assistants"
    client_of = calls.async_get_openai_client if is_told_apart else calls.get_openai_client
    about = {"api_key": "none", "api_base": None, "timeout": 1.0, "organization": None}
    how = {} if is_told_apart else {"_is_async": True}
    assert client_of(max_retries=said, client=None, **about, **how).max_retries == number


async def test_no_images_are_made_up(litellm, mended, monkeypatch):
    """LiteLLM answers with none where it knows no way to the provider's."""
    asked = {"model": CLAUDE, "prompt": "a lighthouse", "api_key": "none"}
    assert not (await litellm.aimage_generation(**asked)).data
    monkeypatch.setattr(mended.images, "image_generation", mended.images.image_generation)
    mended.make_no_images_up()
    with pytest.raises(Exception, match="knows no images") as refused:
        await litellm.aimage_generation(**asked)
    assert find(refused.value).status == 400


@pytest.mark.parametrize("what", ["transcription", "speech"])
async def test_what_the_library_would_ask_again_is_known_by_its_type(litellm, mended, what):
    """Where this finds one request alone, OpenAI's library leaves it, and we need not tell it."""
    call_type = litellm.types.utils.CallTypes(f"a{what}")
    assert (await requests_for(litellm, what))[0] == 3
    once = mended.asked_once({}, call_type)
    assert (await requests_for(litellm, what, **once))[0] == 1
    assert mended.asked_once({"max_retries": 3}, call_type) == {"max_retries": 3}


async def test_other_calls_are_left_alone(litellm, mended):
    for call_type in (litellm.types.utils.CallTypes.acompletion, None):
        assert mended.asked_once({}, call_type) == {}


@pytest.fixture
def refusals(mended, litellm, monkeypatch):
    """How LiteLLM takes a 422 of OpenAI's, where the config drops parameters."""
    name = "drop_params_from_unprocessable_entity_error"
    monkeypatch.setattr(mended.openais, name, getattr(mended.openais, name))
    monkeypatch.setattr(litellm, "drop_params", True)
    mended.let_openais_refuse()


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
def any_headers(mended, monkeypatch):
    """LiteLLM, which takes and adds headers with any letters."""
    transport = mended.aiohttp_transport.LiteLLMAiohttpTransport
    processing = mended.common_request_processing.ProxyBaseLLMRequestProcessing
    monkeypatch.setattr(transport, "_make_aiohttp_request", transport._make_aiohttp_request)
    own = staticmethod(processing.get_custom_headers)
    monkeypatch.setattr(processing, "get_custom_headers", own)
    mended.allow_any_headers()
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


async def test_litellm_adds_headers_that_can_be_sent(any_headers):
    from litellm.proxy._types import UserAPIKeyAuth

    named = {"x-litellm-model-group": "日本", "llm_provider-x-a": "b"}
    found = any_headers.get_custom_headers(user_api_key_dict=UserAPIKeyAuth(), **named)
    assert found["x-litellm-model-group"].encode("latin-1").decode() == "日本"
    assert found["llm_provider-x-a"] == "b"


@pytest.mark.parametrize(
    ("metadata", "read"), [("a text", {}), ([], {}), (None, None), ({"a": 1}, {"a": 1})]
)
async def test_metadata_that_is_no_object_is_an_empty_one(mended, monkeypatch, metadata, read):
    from starlette.requests import Request

    async def receive():
        return {"type": "http.request", "body": json.dumps({"metadata": metadata}).encode()}

    name = "read_request_body"
    for route in ("chat_completion", "completion", "embeddings"):
        assert name in getattr(mended.proxy_server, route).__code__.co_names
    monkeypatch.setattr(mended.proxy_server, name, getattr(mended.proxy_server, name))
    mended.take_any_metadata()
    head = {"type": "http", "method": "POST", "path": "/v1/embeddings", "query_string": b""}
    sent = Request({**head, "headers": [(b"content-type", b"application/json")]}, receive)
    assert await mended.proxy_server.read_request_body(request=sent) == {"metadata": read}


@pytest.mark.usefixtures("texts_given")
@each_model
async def test_every_piece_of_a_text_completion_has_a_text(litellm, model):
    """LiteLLM has none in the last, in which OpenAI's API has an empty one."""
    async with MockProvider() as provider:
        answer = await litellm.atext_completion(
            model=model, prompt="@@say=one two@@", stream=True, **address(provider, model)
        )
        pieces = [choice async for chunk in answer for choice in chunk.choices]
    assert "".join(one.text for one in pieces) == "one two"
    assert pieces[-1].finish_reason == "stop"


@pytest.fixture
def refusals_kept(mended, monkeypatch):
    for module in (mended.openais, mended.gpts):
        name = "convert_to_model_response_object"
        monkeypatch.setattr(module, name, getattr(module, name))
    pieces = mended.streaming_handler.CustomStreamWrapper
    monkeypatch.setattr(pieces, "is_chunk_non_empty", pieces.is_chunk_non_empty)
    mended.keep_refusals()


@pytest.mark.usefixtures("refusals_kept")
@pytest.mark.parametrize("model", [GPT, "hosted_vllm/m"])
async def test_a_refusal_stands_where_openai_has_it(litellm, model):
    turns = [{"role": "user", "content": "@@refuse;say=no, I will not@@"}]
    async with MockProvider() as provider:
        where = address(provider, GPT)
        answer = await litellm.acompletion(model=model, messages=turns, **where)
        stream = await litellm.acompletion(model=model, messages=turns, stream=True, **where)
        pieces = [chunk.model_dump()["choices"][0]["delta"] async for chunk in stream]
    [choice] = answer.model_dump()["choices"]
    assert (choice["message"]["content"], choice["message"]["refusal"]) == (None, "no, I will not")
    assert "".join(piece.get("refusal") or "" for piece in pieces) == "no, I will not"


@pytest.fixture
def choices_ended(mended, monkeypatch):
    pieces, name = mended.streaming_handler.CustomStreamWrapper, "return_processed_chunk_logic"
    monkeypatch.setattr(pieces, name, getattr(pieces, name))
    mended.end_every_choice()


@pytest.mark.usefixtures("choices_ended")
@pytest.mark.parametrize("model", [GPT, "hosted_vllm/m"])
async def test_each_of_several_choices_begins_and_ends(litellm, model):
    turns = [{"role": "user", "content": "@@say=one two@@"}]
    async with MockProvider() as provider:
        stream = await litellm.acompletion(
            model=model, messages=turns, stream=True, n=3, **address(provider, GPT)
        )
        choices = [choice async for chunk in stream for choice in chunk.choices]
    for index in range(3):
        mine = [choice for choice in choices if choice.index == index]
        assert "".join(choice.delta.content or "" for choice in mine) == "one two"
        assert [choice.finish_reason for choice in mine if choice.finish_reason] == ["stop"]
        assert [one.delta.role for one in mine if getattr(one.delta, "role", None)] == ["assistant"]


@pytest.fixture
def failing_errors(mended, monkeypatch):
    for module in (mended.openais, mended.gpts):
        name = "convert_to_model_response_object"
        monkeypatch.setattr(module, name, getattr(module, name))
    mended.let_errors_fail()


@pytest.mark.usefixtures("failing_errors")
@pytest.mark.parametrize("model", [GPT, "hosted_vllm/m", "deepseek/m"])
@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        ('{"message": "own words"}', 502, "own words"),
        ('{"message": "own words", "code": null}', 502, "own words"),
        ('{"message": "own words", "code": "busy"}', 502, "own words"),
        ('{"message": "own words", "code": 503}', 503, "own words"),
        ('"own words"', 502, "own words"),
    ],
)
async def test_an_error_in_place_of_a_completion_is_the_providers_failure(
    litellm, model, error, status, told
):
    async with MockProvider() as provider:
        turns = [{"role": "user", "content": f'hello @@body={{"error": {error}}}@@'}]
        with pytest.raises(Exception, match=told) as raised:
            await litellm.acompletion(model=model, messages=turns, **address(provider, GPT))
    assert raised.value.status_code == status


@pytest.mark.usefixtures("failing_errors")
async def test_an_error_that_is_none_costs_no_completion(litellm):
    async with MockProvider() as provider:
        turns = [{"role": "user", "content": "hello"}]
        answer = await litellm.acompletion(model=GPT, messages=turns, **address(provider, GPT))
    assert answer.choices[0].message.content == "mock: ok"


@pytest.fixture
def staying(litellm, mended, monkeypatch):
    """OpenAI's library gets a client that LiteLLM makes, as it does in a worker."""
    library = mended.openai_library
    for owner, name in (
        (mended.handlers.AsyncHTTPHandler, "create_client"),
        (mended.handlers.HTTPHandler, "create_client"),
        (library.AsyncHttpxClientWrapper, "__init__"),
        (library.SyncHttpxClientWrapper, "__init__"),
        (litellm.module_level_client.client, "follow_redirects"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    clients = mended.openai_clients.BaseOpenAILLM
    for name in ("_get_async_http_client", "_get_sync_http_client"):
        monkeypatch.setattr(clients, name, staticmethod(getattr(clients, name)))
    monkeypatch.setattr(litellm, "aclient_session", None)
    mended.stay_where_asked()


ASKED = {
    "a chat of Anthropic's": ("acompletion", CLAUDE, "messages"),
    "a message": ("anthropic_messages", CLAUDE, "messages"),
    "a chat of OpenAI's": ("acompletion", GPT, "messages"),
    "a text": ("atext_completion", TEXT, "prompt"),
    "a response": ("aresponses", "openai/gpt-4o", "input"),
    "an embedding": ("aembedding", GPT, "input"),
    "an image": ("aimage_generation", GPT, "prompt"),
    "a moderation": ("amoderation", GPT, "input"),
}


@pytest.mark.usefixtures("staying")
@pytest.mark.parametrize(("call", "model", "field"), ASKED.values(), ids=ASKED.keys())
@pytest.mark.parametrize("status", [302, 307])
async def test_a_provider_that_sends_elsewhere_is_not_followed(litellm, call, model, field, status):
    """Nor has it answered; LiteLLM's client would go there with the key, and the whole request."""
    ask = getattr(litellm, call, None) or getattr(litellm.anthropic.messages, "acreate")  # noqa: B009
    async with MockProvider() as provider, MockProvider() as elsewhere:
        said = f"hello @@status={status};location={elsewhere.url}/v1/messages@@"
        given = [{"role": "user", "content": said}] if field == "messages" else said
        more = {"max_tokens": 8} if field == "messages" else {}
        with pytest.raises(Exception) as raised:  # noqa: PT011 - it is found out below
            await ask(model=model, **{field: given}, **more, **address(provider, model))
        assert (len(provider.requests), elsewhere.requests) == (1, [])
    assert find(raised.value).status == 502


@pytest.mark.usefixtures("staying")
async def test_openais_own_clients_do_not_follow_either(litellm):
    from openai import APIStatusError, AsyncOpenAI

    async with MockProvider() as provider, MockProvider() as elsewhere:
        said = f"@@status=307;location={elsewhere.url}/v1/models@@"
        async with AsyncOpenAI(api_key="k", base_url=f"{provider.url}/v1") as client:
            with pytest.raises(APIStatusError):
                await client.embeddings.create(model=said, input="x")
        assert (len(provider.requests), elsewhere.requests) == (1, [])


@pytest.mark.usefixtures("staying")
async def test_what_is_to_be_fetched_is_followed(mended):
    """Such as an image, by the address that a client gives."""
    async with MockProvider() as provider, MockProvider() as elsewhere:
        said = f"@@status=302;location={elsewhere.url}/v1/models@@"
        handler = mended.handlers.AsyncHTTPHandler()
        request = handler.client.build_request(
            "POST", f"{provider.url}/v1/embeddings", json={"model": said}
        )
        answer = await handler.client.send(request, follow_redirects=True)
        assert answer.status_code == 200
        assert [one.path for one in elsewhere.requests] == ["/v1/models"]
        await handler.close()
