"""Whole workers: LiteLLM in a process, a mock provider behind it, our side of both sockets.

A start takes seconds, so one worker serves most of these tests. It forwards client headers to its
providers, which is the hardest case for keeping ours from them.
"""

import asyncio
import inspect
import logging
import signal
import stat
from contextlib import asynccontextmanager
from unittest.mock import AsyncMock, Mock

import pytest
from uvicorn.protocols.http import httptools_impl

from ccproxyd.worker.order import Order, StartError
from tests.support.provider import running_provider
from tests.worker.harness import PATIENCE, deployment, running_worker, sealed, send
from tests.worker.test_order import SERVE

PROMPT = "a prompt that nobody may read"
MESSAGES = [{"role": "user", "content": "hello"}]
CALLS = {
    "messages": ("/v1/messages", {"max_tokens": 16, "messages": MESSAGES}),
    "chat": ("/v1/chat/completions", {"messages": MESSAGES}),
    "responses": ("/v1/responses", {"input": "hello"}),
    "completions": ("/v1/completions", {"prompt": "hello"}),
    "embeddings": ("/v1/embeddings", {"input": "hello"}),
    "moderations": ("/v1/moderations", {"input": "hello"}),
    "images": ("/v1/images/generations", {"prompt": "hello"}),
}


@pytest.fixture(scope="module")
def provider():
    with running_provider() as provider:
        yield provider


RATES = ("input_cost_per_token", "output_cost_per_token")


def without_a_price(entry):
    params = {name: one for name, one in entry["litellm_params"].items() if name not in RATES}
    return {**entry, "litellm_params": params}


def document(provider, **more):
    openai = f"{provider.url}/v1"
    return {
        "model_list": [
            deployment("asked", "openai/asked", openai),
            deployment("asked-of-anthropic", "anthropic/asked", provider.url),
            deployment("openai", "openai/routed", openai),
            deployment("anthropic", "anthropic/routed", provider.url),
            deployment("chat-only", "text-completion-openai/routed", openai),
            deployment("dropped", "google/gemini-3", openai),
            deployment("free", "openai/given-away", openai, **dict.fromkeys(RATES, 0)),
            without_a_price(deployment("unpriced", "openai/nobody-knows", openai)),
        ],
        "general_settings": {"forward_client_headers_to_llm_api": True},
        "router_settings": {"model_group_alias": {"opus": "anthropic"}},
        **more,
    }


@pytest.fixture(scope="module")
def worker(provider, tmp_path_factory):
    directory = tmp_path_factory.mktemp("worker")
    environ = {"ANTHROPIC_API_BASE": provider.url, "ANTHROPIC_API_KEY": "a-providers-key"}
    with running_worker(directory, document(provider), environ) as worker:
        worker.ready()
        yield worker


@pytest.fixture
def newest(provider):
    """What the provider was asked since the test began."""
    before = len(provider.requests)
    return lambda: provider.requests[before:]


def price_of(worker, request_id):
    return worker.until("priced", lambda message: message["request_id"] == request_id)


# -- ready


def test_it_is_ready_with_the_models_that_litellm_really_loaded(worker):
    models = worker.ready()["models"]
    assert models == [
        "asked",
        "asked-of-anthropic",
        "openai",
        "anthropic",
        "chat-only",
        "free",
        "unpriced",
    ]
    assert worker.ready()["rss_bytes"] > 50_000_000


def test_what_litellm_drops_is_in_the_log_with_its_reason(worker):
    said = worker.until("log", lambda one: "LLM Provider NOT provided" in one.get("text", ""))
    assert (said["logger"], said["error"]) == ("LiteLLM Router", "BadRequestError")


def test_its_self_test_called_no_provider_and_has_no_price(worker, provider):
    assert all(request.model != "selftest" for request in provider.requests)
    assert not [
        message
        for message in worker.messages
        if str(message.get("request_id", "")).startswith("selftest")
    ]


def test_nobody_else_can_connect_to_its_socket(worker):
    assert stat.S_IMODE(worker.socket.stat().st_mode) == 0o600


def test_a_heartbeat_follows_at_once(worker):
    beat = worker.until("heartbeat")
    assert set(beat) == {"kind", "lag_ms", "rss_bytes", "in_flight"}


# -- routing


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("call", "label"),
    [
        ("messages", "anthropic"),
        ("messages", "openai"),
        ("chat", "anthropic"),
        ("chat", "openai"),
        ("responses", "openai"),
    ],
)
def test_a_conversation_goes_where_the_gateway_decided(worker, newest, call, label, stream):
    path, body = CALLS[call]
    request_id = f"{call}-{label}-{stream}"
    status, answer = worker.post(
        path, {"model": "asked", "stream": stream, **body}, **sealed(label, request_id)
    )
    assert (status, b"ok" in answer) == (200, True)
    [asked] = newest()
    assert (asked.model, asked.stream) == ("routed", stream)
    assert not [name for name in asked.headers if name.startswith("x-ccproxy")]
    price = price_of(worker, request_id)
    assert price["cost_usd"] > 0
    assert price["output_tokens"] > 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("label", "cost"), [("free", 0), ("unpriced", None)])
def test_what_is_free_has_a_price_and_what_nobody_knows_has_none(worker, stream, label, cost):
    path, body = CALLS["chat"]
    request_id = f"{label}-{stream}"
    worker.post(path, {"model": "asked", "stream": stream, **body}, **sealed(label, request_id))
    price = price_of(worker, request_id)
    assert price["cost_usd"] == cost
    assert price["output_tokens"] > 0


@pytest.mark.parametrize(
    ("label", "is_priced"),
    [("openai", True), ("chat-only", True), ("free", False), ("unpriced", None)],
)
def test_a_streamed_completion_that_tells_no_usage_is_priced_by_a_count(worker, label, is_priced):
    path, body = CALLS["completions"]
    request_id = f"completions-{label}"
    worker.post(path, {"model": "asked", "stream": True, **body}, **sealed(label, request_id))
    cost = price_of(worker, request_id)["cost_usd"]
    assert (cost if cost is None else cost > 0) is is_priced


@pytest.mark.parametrize("call", ["completions", "embeddings", "moderations", "images"])
def test_every_other_call_does_too(worker, newest, call):
    path, body = CALLS[call]
    status, _ = worker.post(path, {"model": "asked", **body}, **sealed("openai", call))
    [asked] = newest()
    assert (status, asked.model) == (200, "routed")
    assert price_of(worker, call)["kind"] == "priced"


@pytest.mark.parametrize("call", ["completions", "embeddings", "chat"])
@pytest.mark.parametrize("metadata", ["a text", '{"a": 1}', "", []])
def test_metadata_that_is_no_object_goes_to_no_provider(worker, newest, call, metadata):
    path, body = CALLS[call]
    body = {"model": "asked", "metadata": metadata, **body}
    status, _ = worker.post(path, body, **sealed("openai", f"{call}-metadata"))
    [asked] = newest()
    assert (status, asked.model) == (200, "routed")
    assert "metadata" not in asked.fields


FORM = (
    b'--edge\r\nContent-Disposition: form-data; name="model"\r\n\r\nasked\r\n'
    b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\nsound\r\n--edge--\r\n"
)


def test_a_form_does_too(worker, newest):
    headers = {"content-type": "multipart/form-data; boundary=edge", **sealed("openai", "form")}
    status, _ = worker.post("/v1/audio/transcriptions", FORM, **headers)
    [asked] = newest()
    assert (status, asked.model) == (200, "routed")


def test_litellm_runs_no_hook_when_tokens_are_counted_so_the_body_must_name_the_model(
    worker, newest
):
    path, body = CALLS["messages"]
    asked_for = {"model": "asked-of-anthropic", **body}
    status, _ = worker.post(f"{path}/count_tokens", asked_for, **sealed("openai", "count"))
    [asked] = newest()
    assert (status, asked.model, asked.path) == (200, "asked", "/v1/messages/count_tokens")


def test_a_model_that_nothing_serves_can_be_decided_for(worker, newest):
    path, body = CALLS["messages"]
    status, _ = worker.post(path, {"model": "unheard-of", **body}, **sealed("anthropic", "u"))
    assert (status, newest()[0].model) == (200, "routed")


def test_a_request_has_one_price(worker):
    path, body = CALLS["messages"]
    for request_id in ("once", "after"):
        worker.post(path, {"model": "asked", **body}, **sealed("openai", request_id))
    price_of(worker, "after")
    assert len([m for m in worker.messages if m.get("request_id") == "once"]) == 1


def test_a_request_without_a_decision_keeps_its_model(worker, newest):
    path, body = CALLS["messages"]
    status, _ = worker.post(path, {"model": "asked-of-anthropic", **body})
    assert (status, newest()[0].model) == (200, "asked")


def test_a_decision_with_another_secret_is_none_and_goes_no_further(worker, newest):
    path, body = CALLS["messages"]
    guessed = sealed("anthropic", "guessed", "a-guess")
    status, _ = worker.post(path, {"model": "asked-of-anthropic", **body}, **guessed)
    [asked] = newest()
    assert (status, asked.model) == (200, "asked")
    assert "a-guess" not in str(asked.headers)
    worker.until("log", lambda one: one["logger"] == "ccproxyd.worker.intake")


def test_a_relayed_request_keeps_its_body_and_carries_nothing_of_ours(worker, newest):
    path, body = CALLS["messages"]
    status, _ = worker.post(
        f"/anthropic{path}", {"model": "asked", **body}, **sealed("anthropic", "relayed")
    )
    [asked] = newest()
    assert (status, asked.model, set(asked.fields)) == (200, "asked", {"model", *body})
    assert not [name for name in asked.headers if name.startswith("x-ccproxy")]


def test_a_request_without_the_key_is_litellms_to_refuse(worker, newest):
    path, body = CALLS["messages"]
    status, _ = worker.post(path, {"model": "asked", **body}, x_litellm_api_key="sk-other")
    assert (status >= 400, newest()) == (True, [])


# -- what is said


def test_a_providers_error_is_told_without_its_text(worker):
    path, body = CALLS["messages"]
    prompt = [{"role": "user", "content": f"{PROMPT} @@status=400;echo@@"}]
    status, answer = worker.post(
        path, {"model": "asked", **body, "messages": prompt}, **sealed("anthropic", "failing")
    )
    assert (status, PROMPT.encode() in answer) == (400, True)
    said = worker.until("log", lambda one: one.get("error") == "BadRequestError" and one["where"])
    assert said["level"] in ("warning", "error")
    worker.post(path, {"model": "asked", **body}, **sealed("anthropic", "next"))
    price_of(worker, "next")
    assert PROMPT.encode() not in worker.raw


# -- lives of their own

CALLBACKS = """
import os, warnings
from pathlib import Path
from ccproxy.handler import CCProxyHandler
from ccproxyd.worker import doors
from litellm.integrations.custom_logger import CustomLogger

class Loud(CustomLogger):
    async def async_pre_call_hook(self, user_api_key_dict, cache, data, call_type):
        print(data)
        warnings.warn(str(data))
        os.write(1, str(data).encode())
        os.write(2, str(data).encode())
        names = [type(one).__name__ for one in doors.callbacks()]
        Path(__file__).with_name("registered").write_text(" ".join(names))
        return data

proxy_handler_instance = CCProxyHandler()
loud = Loud()
print("imported")
"""


def test_a_worker_with_the_users_callbacks_finishes_its_requests_and_says_nothing_private(
    tmp_path,
):
    (tmp_path / "custom_callbacks.py").write_text(CALLBACKS)
    named = ["custom_callbacks.proxy_handler_instance", "custom_callbacks.loud"]
    settings = {"litellm_settings": {"callbacks": named}}
    with (
        running_provider() as provider,
        running_worker(tmp_path, document(provider, **settings)) as worker,
    ):
        worker.ready()
        worker.process.send_signal(signal.SIGINT)
        worker.until("log", lambda one: one.get("text") == "imported")
        connection = worker.connect()
        path, body = CALLS["messages"]
        slow = [{"role": "user", "content": f"{PROMPT} @@hold=1@@"}]
        send(
            connection, path, {"model": "asked", **body, "messages": slow}, **sealed("openai", "1")
        )
        provider.holding(1)
        worker.say(kind="stop", seconds=60)
        worker.refuses()
        provider.release()
        response = connection.getresponse()
        assert (response.status, b"ok" in response.read()) == (200, True)
        connection.close()
        code, out, err = worker.end()
        assert [request.model for request in provider.requests] == ["routed"]
    registered = (tmp_path / "registered").read_text().split()
    # LiteLLM adds one of its own for its services, which has no hook.
    assert [name for name in registered if name in ("Loud", "CCProxyHandler")] == [
        "Loud",
        "CCProxyHandler",
    ]
    assert code == 0
    assert len([one for one in worker.messages if one["kind"] == "priced"]) == 1
    assert PROMPT not in out + err + worker.raw.decode()
    assert not worker.socket.exists()


BROKEN = """
print("about to fail")
raise LookupError("with sk-ant-12345678")
"""


def test_a_worker_that_cannot_start_says_why_and_exits_with_1(provider, tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN)
    settings = {"litellm_settings": {"callbacks": ["broken.callback"]}}
    with running_worker(tmp_path, document(provider, **settings)) as worker:
        failed = worker.until("failed")
        code, _, err = worker.end()
    assert (code, err) == (1, "")
    assert failed == {
        "kind": "failed",
        "reason": "LiteLLM cannot start: LookupError: with [redacted], at broken.py:3",
        "last_words": "about to fail",
    }
    assert worker.messages[-1] == failed


# -- what only fails in odd circumstances, in this process


@pytest.fixture
def serve(doors):
    """`ccproxyd.worker.serve`, which imports LiteLLM."""
    from ccproxyd.worker import serve

    return serve


def test_a_socket_that_cannot_be_made_is_a_refusal(serve, tmp_path):
    path = tmp_path / ("deep" * 40)
    with pytest.raises(StartError, match=r"cannot listen on .*: OSError"), serve._listener(path):
        pass


def test_a_socket_that_a_dead_worker_left_is_replaced_and_removed_at_the_end(serve, tmp_path):
    path = tmp_path / "worker.sock"
    path.touch()
    with serve._listener(path):
        assert stat.S_ISSOCK(path.stat().st_mode)
    assert not path.exists()


def test_a_litellm_without_the_self_tests_model_did_not_read_our_config(serve, monkeypatch):
    monkeypatch.setattr(serve.doors.proxy_server, "llm_router", None)
    with pytest.raises(StartError, match=r"LiteLLM did not load /run/w\.json"):
        serve._models(Order.from_message(SERVE))


@pytest.mark.anyio
async def test_a_handler_that_litellm_does_not_call_is_a_refusal(serve, monkeypatch):
    async def answered(app, **_):
        return "selftest-1"

    monkeypatch.setattr(serve.selftest, "probe", answered)
    callback = serve.CCProxyHandler(serve.GatewayPolicy())
    with pytest.raises(StartError, match="LiteLLM did not call it"):
        await serve._prove(None, callback, Order.from_message(SERVE))


@pytest.mark.anyio
async def test_a_litellm_that_does_not_end_is_left_behind(serve, caplog):
    @asynccontextmanager
    async def stubborn():
        yield
        raise LookupError("private")

    running = stubborn()
    await running.__aenter__()
    await serve._shut_down(running)
    assert [record.exc_info[0] for record in caplog.records] == [LookupError]


@pytest.mark.parametrize("ending", ["completing", "starting"])
def test_that_an_answer_has_no_end_is_nothing_to_log(serve, caplog, ending):
    """uvicorn takes it for a mistake, in these words; it is what becomes of one that broke."""
    said = f"ASGI callable returned without {ending} response."
    assert said in inspect.getsource(httptools_impl)
    serve.Server(Mock())
    logging.getLogger("uvicorn.error").error(said)
    assert caplog.messages == ([] if ending == "completing" else [said])


@pytest.mark.anyio
async def test_after_a_heartbeat_of_requests_another_says_when_they_are_done(serve, monkeypatch):
    intake, server, sent, naps = Mock(in_flight=2), Mock(), [], []
    server.accepting.wait = AsyncMock()
    both = asyncio.Event()

    async def nap(seconds):
        naps.append(seconds)
        intake.in_flight = 2 if len(naps) < 3 else 0
        await asyncio.sleep(0)
        return 0.0

    def send(message):
        sent.append(message)
        if len(sent) == 3:
            both.set()

    monkeypatch.setattr(serve, "_nap", nap)
    telling = asyncio.create_task(serve._tell(send, server, intake, []))
    await asyncio.wait_for(both.wait(), PATIENCE)
    telling.cancel()
    assert [one.get("in_flight") for one in sent] == [None, 2, 0]
    assert len(naps) < serve._BEATS


@pytest.mark.anyio
async def test_the_lag_is_how_late_the_loop_came_back(serve):
    assert 0 <= await serve._nap(0) < 60
