"""The mock provider does what its directives say; every other test leans on it."""

from __future__ import annotations

import http.client
import json
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import aiohttp
import anyio
import pytest

from tests.support.provider import MockProvider, running_provider

pytestmark = pytest.mark.anyio

MESSAGES = "/v1/messages"
CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"


@pytest.fixture
async def provider() -> AsyncIterator[MockProvider]:
    async with MockProvider() as provider:
        yield provider


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def asking(directive: str = "", *, stream: bool = False) -> dict[str, Any]:
    """A request that each of the three conversations understands."""
    message = {"role": "user", "content": f"hi {directive}"}
    return {"model": "m", "stream": stream, "messages": [message], "input": [message]}


def datas(text: str) -> list[dict[str, Any]]:
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


async def test_a_request_is_recorded_as_it_came(
    provider: MockProvider, client: aiohttp.ClientSession
) -> None:
    await client.post(f"{provider.url}{MESSAGES}?beta=true", json=asking(), headers={"X-App": "c"})
    [recorded] = await provider.settled(1)
    assert (recorded.method, recorded.path, recorded.query) == ("POST", MESSAGES, "beta=true")
    assert recorded.headers["x-app"] == "c"
    assert recorded.body == asking()
    assert (recorded.model, recorded.prompt, recorded.outcome) == ("m", "hi ", "answered")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (MESSAGES, lambda body: body["content"][0]["text"]),
        (CHAT, lambda body: body["choices"][0]["message"]["content"]),
        (RESPONSES, lambda body: body["output"][0]["content"][0]["text"]),
        ("/v1/completions", lambda body: body["choices"][0]["text"]),
    ],
)
async def test_each_conversation_is_answered_in_its_shape(
    provider: MockProvider, client: aiohttp.ClientSession, path: str, text: Any
) -> None:
    async with client.post(provider.url + path, json=asking()) as response:
        body = await response.json()
    assert text(body) == "mock: ok"
    assert body["model"] == "m"
    assert 2 in body["usage"].values()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (MESSAGES, lambda event: event.get("delta", {}).get("text", "")),
        (CHAT, lambda event: event["choices"][0]["delta"].get("content", "")),
        (RESPONSES, lambda event: event.get("delta", "")),
        ("/v1/completions", lambda event: event["choices"][0]["text"]),
    ],
)
async def test_each_stream_adds_up_to_the_text(
    provider: MockProvider, client: aiohttp.ClientSession, path: str, text: Any
) -> None:
    async with client.post(provider.url + path, json=asking(stream=True)) as response:
        events = datas(await response.text())
    assert "".join(text(event) for event in events) == "mock: ok"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/embeddings", "data"),
        ("/v1/moderations", "results"),
        ("/v1/images/generations", "data"),
        ("/v1/rerank", "results"),
        ("/v2/rerank", "results"),
    ],
)
async def test_the_other_apis_answer_too(
    provider: MockProvider, client: aiohttp.ClientSession, path: str, field: str
) -> None:
    asked = {"model": "m", "input": "a", "prompt": "a", "query": "a", "documents": ["a"]}
    async with client.post(provider.url + path, json=asked) as response:
        assert len((await response.json())[field]) == 1


async def test_a_transcription_finds_the_model_in_its_form(
    provider: MockProvider, client: aiohttp.ClientSession
) -> None:
    form = aiohttp.FormData({"model": "whisper"})
    form.add_field("file", b"\x00\xff", filename="a.wav")
    async with client.post(f"{provider.url}/v1/audio/transcriptions", data=form) as response:
        assert (await response.json())["text"] == "mock: ok"
    assert provider.requests[0].model == "whisper"


@pytest.mark.parametrize(
    ("headers", "field"), [({}, "object"), ({"anthropic-version": "x"}, "type")]
)
async def test_models_are_listed_in_the_shape_of_who_asks(
    provider: MockProvider, client: aiohttp.ClientSession, headers: dict[str, str], field: str
) -> None:
    async with client.get(f"{provider.url}/v1/models", headers=headers) as response:
        listed = (await response.json())["data"]
    assert tuple(one["id"] for one in listed) == provider.models
    assert {one[field] for one in listed} == {"model"}


async def test_tokens_are_counted(provider: MockProvider, client: aiohttp.ClientSession) -> None:
    async with client.post(f"{provider.url}{MESSAGES}/count_tokens", json=asking()) as response:
        assert (await response.json())["input_tokens"] == provider.requests[0].input_tokens


async def test_an_unknown_path_is_a_404_and_the_root_is_not(
    provider: MockProvider, client: aiohttp.ClientSession
) -> None:
    async with client.head(provider.url) as root, client.get(f"{provider.url}/nope") as nope:
        assert (root.status, nope.status) == (200, 404)


async def test_a_directive_in_the_model_fails_the_first_requests_only(
    provider: MockProvider, client: aiohttp.ClientSession
) -> None:
    asked = asking() | {"model": "m@@status=529;retry-after=7;should-retry=false;times=1@@"}
    async with client.post(provider.url + MESSAGES, json=asked) as first:
        assert first.status == 529
        assert first.headers["retry-after"] == "7"
        assert first.headers["x-should-retry"] == "false"
        assert (await first.json())["error"]["type"] == "overloaded_error"
    async with client.post(provider.url + MESSAGES, json=asked) as second:
        assert (await second.json())["model"] == "m"


async def test_the_newest_message_wins_over_the_model_and_older_messages_are_over(
    provider: MockProvider, client: aiohttp.ClientSession
) -> None:
    older = asking("@@reset@@")["messages"]
    asked = asking("@@status=503@@") | {"model": "m@@status=429@@"}
    asked["messages"] = older + asked["messages"]
    async with client.post(provider.url + CHAT, json=asked) as response:
        assert response.status == 503
        assert (await response.json())["error"]["type"] == "server_error"


async def test_an_error_can_repeat_the_prompt(
    provider: MockProvider, client: aiohttp.ClientSession
) -> None:
    asked = asking("secret @@status=400;message=bad;echo@@")
    async with client.post(provider.url + MESSAGES, json=asked) as response:
        assert (await response.json())["error"]["message"].startswith("bad: hi secret")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_cut_answer_breaks_the_transfer(
    provider: MockProvider, client: aiohttp.ClientSession, stream: bool
) -> None:
    async with client.post(
        provider.url + MESSAGES, json=asking("@@cut=2@@", stream=stream)
    ) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    [recorded] = await provider.settled(1)
    assert recorded.outcome == "cut"


async def test_a_reset_sends_nothing(provider: MockProvider, client: aiohttp.ClientSession) -> None:
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await client.post(provider.url + MESSAGES, json=asking("@@reset@@"))


@pytest.mark.parametrize("path", [MESSAGES, CHAT, RESPONSES])
async def test_an_error_event_ends_the_stream(
    provider: MockProvider, client: aiohttp.ClientSession, path: str
) -> None:
    async with client.post(
        provider.url + path, json=asking("@@error=3@@", stream=True)
    ) as response:
        events = datas(await response.text())
    assert len(events) == 4
    assert "Overloaded" in json.dumps(events[-1])


async def test_a_held_stream_goes_on_when_released(
    provider: MockProvider, client: aiohttp.ClientSession
) -> None:
    async with client.post(
        provider.url + MESSAGES, json=asking("@@hold=3@@", stream=True)
    ) as response:
        await provider.holding(1)
        provider.release()
        assert datas(await response.text())[-1] == {"type": "message_stop"}


async def test_a_client_that_leaves_is_noticed(provider: MockProvider) -> None:
    async with aiohttp.ClientSession() as client, anyio.create_task_group() as group:
        body = asking("@@hold=0@@")
        group.start_soon(lambda: client.post(provider.url + MESSAGES, json=body))
        await provider.holding(1)
        group.cancel_scope.cancel()
    [recorded] = await provider.settled(1)
    assert recorded.outcome == "abandoned"


@pytest.mark.parametrize(
    ("directive", "length"), [("size=40000", 40000), ("events=3", len("word0 word1 word2 "))]
)
async def test_an_answer_is_as_long_as_asked(
    provider: MockProvider, client: aiohttp.ClientSession, directive: str, length: int
) -> None:
    asked = asking(f"@@{directive};gzip@@")
    async with client.post(provider.url + MESSAGES, json=asked) as response:
        assert response.headers["content-encoding"] == "gzip"
        assert len((await response.json())["content"][0]["text"]) == length


async def test_the_answer_can_name_another_model_and_a_cached_input(
    provider: MockProvider, client: aiohttp.ClientSession
) -> None:
    asked = asking("@@model=other;cached=5;delay=0;gap=0@@")
    async with client.post(provider.url + MESSAGES, json=asked) as response:
        body = await response.json()
    assert body["model"] == "other"
    assert body["usage"]["cache_read_input_tokens"] == 5


async def test_an_answer_says_what_it_is_told_under_the_number_it_is_told(
    provider: MockProvider, client: aiohttp.ClientSession
) -> None:
    first, second = [
        await client.post(
            f"{provider.url}{CHAT}", json=asking(f"{more}@@say=over and out;number=7;input=9@@")
        )
        for more in ("", "much longer")
    ]
    assert await first.read() == await second.read()
    assert (await first.json())["choices"][0]["message"]["content"] == "over and out"
    assert first.headers["x-request-id"] == second.headers["x-request-id"]


async def test_a_directive_can_be_for_one_model(
    provider: MockProvider, client: aiohttp.ClientSession
) -> None:
    for model, status in (("m", 500), ("other", 200)):
        body = asking("@@status=500;for=m@@") | {"model": model}
        assert (await client.post(f"{provider.url}{CHAT}", json=body)).status == status


async def test_speech_is_bytes_and_a_realtime_conversation_is_echoed(
    provider: MockProvider, client: aiohttp.ClientSession
) -> None:
    spoken = await client.post(f"{provider.url}/v1/audio/speech", json={"model": "m", "input": "x"})
    assert spoken.content_type == "audio/mpeg"
    assert await spoken.read()
    async with client.ws_connect(f"{provider.url}/v1/realtime?model=m") as socket:
        assert (await socket.receive_json())["type"] == "session.created"
        await socket.send_json({"type": "response.create"})
        assert (await socket.receive_json())["type"] == "response.create"
    assert provider.requests[-1].query == "model=m"


def test_a_provider_in_a_thread_serves_a_test_without_a_loop() -> None:
    with running_provider(models=["one"]) as provider:
        connection = http.client.HTTPConnection(provider.url.removeprefix("http://"))
        with closing(connection):
            connection.request("GET", "/v1/models")
            assert json.load(connection.getresponse())["data"][0]["id"] == "one"
        assert [one.path for one in provider.settled(1)] == ["/v1/models"]
        assert provider.seen(1) == provider.requests
