"""Each row of the table in ccproxyd-requests(7), asked of the real proxy."""

from __future__ import annotations

from typing import Any, Final

import httpx
import orjson
import pytest
from attrs import frozen
from websockets.sync.client import connect

from tests.integration.proxy.answers import Answer, ask
from tests.integration.proxy.house import NEW_KEY
from tests.integration.proxy.rows import NEEDS_LITELLM
from tests.man.mdoc import MAN, read
from tests.man.test_requests import REALTIME, rows
from tests.support.daemon import Daemon
from tests.support.provider import RunningProvider

KEY: Final = {"x-api-key": NEW_KEY}
HELLO: Final = [{"role": "user", "content": "hello @@say=good morning@@"}]
WAV: Final = {"file": ("hello.wav", b"RIFF", "audio/wav")}
PNG: Final = {"image": ("hello.png", b"\x89PNG", "image/png")}


@frozen
class Case:
    """What is asked at a path, and what the provider has to be asked for it.

    `label` is what is asked for by name; `fields` are JSON, or with `files` those of a form.
    """

    label: str
    fields: dict[str, Any]
    asked: str
    files: dict[str, Any] | None = None
    said: str = ""
    """What the answer has to have in it."""

    def request(self, *, stream: bool = False, model: str | None = None) -> dict[str, Any]:
        fields = {"model": model or self.label, **self.fields}
        if self.files is not None:
            return {"data": fields, "files": self.files}
        return {"json": fields | ({"stream": True} if stream else {})}


CASES: Final = {
    "/v1/messages": Case("default", {"max_tokens": 64, "messages": HELLO}, "/v1/messages"),
    "/v1/messages/count_tokens": Case(
        "default", {"messages": HELLO}, "/v1/messages/count_tokens", said='"input_tokens"'
    ),
    "/v1/chat/completions": Case("small", {"messages": HELLO}, "/v1/chat/completions"),
    "/v1/completions": Case("small", {"prompt": HELLO[0]["content"]}, "/v1/completions"),
    "/v1/responses": Case("small", {"input": HELLO[0]["content"]}, "/v1/responses"),
    "/v1/embeddings": Case("embedder", {"input": "hello"}, "/v1/embeddings", said='"embedding"'),
    "/v1/moderations": Case("moderator", {"input": "hello"}, "/v1/moderations", said='"flagged"'),
    "/v1/images/generations": Case(
        "painter", {"prompt": "hello"}, "/v1/images/generations", said='"b64_json"'
    ),
    "/v1/images/edits": Case("painter", {"prompt": "x"}, "/v1/images/edits", PNG, '"b64_json"'),
    "/v1/audio/transcriptions": Case("ear", {}, "/v1/audio/transcriptions", WAV, "mock: ok"),
    "/v1/audio/speech": Case(
        "mouth", {"input": "hello", "voice": "alloy"}, "/v1/audio/speech", said="ID3 mock: ok"
    ),
    "/v1/rerank": Case(
        "ranker", {"query": "x", "documents": ["a", "b"]}, "/v2/rerank", said='"relevance_score"'
    ),
    "/v1/ocr": Case(
        "reader",
        {"document": {"type": "document_url", "document_url": "https://example.com/a.pdf"}},
        "/v1/ocr",
        said='"pages"',
    ),
    "/v1/videos": Case("filmer", {"prompt": "hello"}, "/v1/videos", said='"video_'),
}
ROWS: Final = rows(read(MAN / "ccproxyd-requests.7"))

each_case = pytest.mark.parametrize("path", CASES)
each_kept = pytest.mark.parametrize("path", [path for path in CASES if ROWS[path][1] == "kept"])


def test_every_row_of_the_table_is_asked_for() -> None:
    assert CASES.keys() | {REALTIME} == ROWS.keys()


@each_case
def test_a_label_that_is_asked_for_by_name_is_kept(
    client: httpx.Client, provider: RunningProvider, daemon: Daemon, path: str
) -> None:
    case, (call_type, label, lane, _) = CASES[path], ROWS[path]
    answer = ask(client, path, headers=KEY, **case.request())
    assert answer.status == 200, answer.body
    assert (case.said or "good morning") in answer.body.decode()
    assert answer.headers["x-ccproxy-label"] == case.label
    assert answer.headers["x-ccproxy-rule"] == ("passthrough" if label == "rules" else "kept")
    assert answer.headers["x-ccproxy-lane"] == ("direct" if lane == "both" else "litellm")
    assert (provider.requests[-1].path, provider.requests[-1].model) == (
        case.asked,
        f"mock-{case.label}",
    )
    record = daemon.happened(
        "ccproxy_post_api_call", request_id=answer.headers["x-ccproxy-request-id"]
    )
    assert (record["call_type"], record["label"]) == (call_type, case.label)


@pytest.mark.parametrize("path", [path for path, row in ROWS.items() if row[2] == "both"])
def test_what_needs_litellm_is_answered_by_it(client: httpx.Client, path: str) -> None:
    answer = ask(client, path, headers=KEY | NEEDS_LITELLM, **CASES[path].request())
    assert (answer.status, answer.headers["x-ccproxy-lane"]) == (200, "litellm")


@pytest.mark.parametrize("path", [path for path, row in ROWS.items() if row[1] == "rules"])
def test_a_conversation_goes_where_the_rules_say(
    client: httpx.Client, provider: RunningProvider, path: str
) -> None:
    answer = ask(client, path, headers=KEY, **CASES[path].request(model="claude-haiku-4-5"))
    assert answer.status == 200, answer.body
    assert answer.headers["x-ccproxy-label"] == "small"
    assert answer.headers["x-ccproxy-rule"] == "MatchModelRule"
    if "count_tokens" not in path:
        assert provider.requests[-1].model == "mock-small"


@each_kept
def test_no_label_of_a_conversation_is_given_to_what_is_none(
    client: httpx.Client, provider: RunningProvider, path: str
) -> None:
    """The last rules would send everything with this header to `think`."""
    headers = KEY | {"x-wished-label": "think"}
    answer = ask(client, path, headers=headers, **CASES[path].request())
    assert answer.status == 200, answer.body
    assert answer.headers["x-ccproxy-label"] == CASES[path].label
    assert answer.headers["x-ccproxy-rule"] == "kept"
    assert provider.requests[-1].model == f"mock-{CASES[path].label}"


@each_kept
def test_a_model_that_is_not_there_is_not_found_although_there_is_a_default(
    client: httpx.Client, provider: RunningProvider, path: str
) -> None:
    before = len(provider.requests)
    answer = ask(client, path, headers=KEY, **CASES[path].request(model="nobody"))
    assert answer.status == 404
    assert answer.json["error"]["type"] == "NoRouteError"
    assert len(provider.requests) == before


@pytest.mark.parametrize("path", [path for path, case in CASES.items() if case.files is None])
def test_a_stream_is_one_where_the_table_says_so(client: httpx.Client, path: str) -> None:
    answer = ask(client, path, headers=KEY, **CASES[path].request(stream=True))
    assert answer.status == 200, answer.body
    is_speech = path == "/v1/audio/speech"
    assert answer.is_stream == (ROWS[path][3] == "yes" and not is_speech)
    if answer.is_stream:
        assert said_in(answer) == "good morning"


def test_a_transcription_comes_as_it_was_asked_for(client: httpx.Client) -> None:
    form = CASES["/v1/audio/transcriptions"].request()

    def heard(**more: str) -> Answer:
        asked = {**form, "data": form["data"] | more}
        return ask(client, "/v1/audio/transcriptions", headers=KEY, **asked)

    plain, streamed = heard(response_format="text"), heard(stream="true")
    assert (plain.headers["content-type"], plain.body) == (
        "text/plain; charset=utf-8",
        b"mock: ok\n",
    )
    assert streamed.is_stream
    assert [(one["type"], one["text"]) for one in streamed.events] == [
        ("transcript.text.done", "mock: ok")
    ]
    assert heard(response_format="json").json["text"] == "mock: ok"


def said_in(answer: Answer) -> str:
    """The text of any conversation, piece by piece."""
    events = answer.events
    completion = "".join(
        choice.get("text") or "" for event in events for choice in event.get("choices", ())
    )
    deltas = [event["delta"] for event in events if isinstance(event.get("delta"), str)]
    return completion or "".join(deltas) or answer.text


def test_an_embedding_is_explained(daemon: Daemon, tmp_path: Any) -> None:
    file = tmp_path / "request.json"
    file.write_bytes(orjson.dumps({"model": "embedder", "input": "hello"}))
    found = daemon.ask("explain", str(file), "--path", "/v1/embeddings")
    assert (found["label"], found["rule"], found["lane"]) == ("embedder", "kept", "litellm")
    assert found["reason"] == "no rule with a label for embeddings matched"
    assert {rule["detail"] for rule in found["rules"]} == {"its label is not for embeddings"}


def test_what_names_no_model_gets_the_first_of_its_kind(
    client: httpx.Client, provider: RunningProvider
) -> None:
    answer = ask(client, "/v1/moderations", headers=KEY, json={"input": "hello"})
    assert answer.status == 200, answer.body
    assert answer.headers["x-ccproxy-label"] == "moderator"
    assert answer.headers["x-ccproxy-rule"] == "default"
    assert provider.requests[-1].model == "mock-moderator"


def test_a_realtime_conversation_is_passed_on_frame_by_frame(
    daemon: Daemon, provider: RunningProvider
) -> None:
    url = f"ws://127.0.0.1:{daemon.port}{REALTIME}?model=talker"
    with connect(url, additional_headers={"authorization": f"Bearer {NEW_KEY}"}) as talk:
        assert talk.response is not None
        assert talk.response.headers["x-ccproxy-label"] == "talker"
        assert talk.response.headers["x-ccproxy-rule"] == "kept"
        assert orjson.loads(talk.recv())["type"] == "session.created"
        talk.send('{"type": "response.create"}')
        assert orjson.loads(talk.recv())["type"] == "response.create"
    assert "mock-talker" in provider.requests[-1].query


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/engines/claude-haiku-4-5/chat/completions", "mock-small"),
        ("/openai/deployments/claude-haiku-4-5/chat/completions", "mock-small"),
        ("/openai/deployments/small/completions", "mock-small"),
        ("/openai/deployments/embedder/embeddings", "mock-embedder"),
    ],
)
def test_a_path_can_name_the_model(
    client: httpx.Client, provider: RunningProvider, path: str, model: str
) -> None:
    body = {"messages": HELLO, "prompt": "hello", "input": "hello"}
    wanted = {"embeddings": "input", "chat/completions": "messages"}
    field = next((one for end, one in wanted.items() if path.endswith(end)), "prompt")
    answer = ask(client, path, headers=KEY, json={field: body[field]})
    assert answer.status == 200, answer.body
    assert provider.requests[-1].model == model


@pytest.mark.parametrize(
    "path",
    ["/v1/responses/input_tokens", "/utils/token_counter", "/v1beta/models/small:countTokens"],
)
def test_what_is_passed_on_has_no_label(client: httpx.Client, daemon: Daemon, path: str) -> None:
    body = {"model": "small", "input": "x", "messages": HELLO, "contents": []}
    answer = ask(client, path, headers=KEY, json=body)
    assert "x-ccproxy-label" not in answer.headers
    assert answer.headers["x-ccproxy-lane"] == "litellm"
    record = daemon.happened(
        "ccproxy_post_api_call", request_id=answer.headers["x-ccproxy-request-id"]
    )
    assert record["call_type"] == "carried"


def test_the_models_are_listed_and_management_is_closed(client: httpx.Client) -> None:
    listed = client.get("/v1/models", headers=KEY).json()["data"]
    assert {"default", "embedder"} <= {one["id"] for one in listed}
    for path in ("/key/generate", "/config/update"):
        assert ask(client, path, headers=KEY, json={}).status == 404
