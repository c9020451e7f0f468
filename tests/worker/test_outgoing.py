"""What a deployment gets: first as LiteLLM's parameters, then as bytes at a provider."""

import copy
import re

import httpx
import orjson
import pytest

from ccproxyd.gateway.lanes.choice import _LITELLM_FIELDS
from ccproxyd.worker import carried
from ccproxyd.worker.carried import Carried
from ccproxyd.worker.verdict import HEADER, Verdict, seal
from tests.support.provider import running_provider
from tests.support.shapes import HAIKU, NAMES, OPUS, shape
from tests.worker.harness import SECRET, deployment, running_worker, send

BETAS = "claude-code-20250219,mid-conversation-system-2026-04-07,wonders-2031-01-01"
CLIENT = {
    "user-agent": "claude-cli/2.1.197 (external, cli)",
    "x-app": "cli",
    "x-claude-code-session-id": "the-clients-session",
    "x-claude-code-agent-id": "the-clients-agent",
    "x-stainless-lang": "js",
    "x-stainless-retry-count": "0",
    "anthropic-dangerous-direct-browser-access": "true",
}
"""What LiteLLM drops, of the headers that tell Anthropic who asks."""
TOKEN = "Bearer sk-ant-oat01-of-the-client"
KEY = "sk-ant-api03-of-the-client"
OWN = "https://api.anthropic.com"
CONVERSATIONS = [name for name in NAMES if shape(name).path == "/v1/messages"]


def scoped(provider, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"custom_llm_provider": provider, "extra_headers": named}


def a_call(model="anthropic/claude-opus-4-8", *, body=None, **more):
    """The parameters of a call, as LiteLLM hands them to the hook."""
    sent = {**shape("toolloop-05").body, **(body or {})}
    received = {
        "url": "http://worker/v1/messages?beta=true&key=sk-secret",
        "headers": {**CLIENT, "host": "worker", "x-request-id": "7"},
        "body": {**sent, "litellm_call_id": "c", "drop_params": True},
    }
    return {
        **sent,
        "model": model,
        "custom_llm_provider": model.partition("/")[0],
        "api_base": "https://elsewhere.example",
        "proxy_server_request": received,
        "provider_specific_header": [
            scoped("anthropic,bedrock,vertex_ai", anthropic_beta=BETAS),
            scoped("anthropic", authorization=TOKEN),
        ],
        "drop_params": True,
        "litellm_call_id": "c",
        **more,
    }


@pytest.fixture
def fit(outgoing):
    """The hook's work; whatever it does, what it was given stays as it was."""

    def fit(call, requested=OPUS, *, is_message=True, key=None, environ=None):
        before = copy.deepcopy(call)
        fitted = outgoing.fit(call, is_message, requested, key, environ or {})
        assert call == before
        return fitted

    return fit


def headers_for(provider, call):
    """What LiteLLM sends to a provider of the headers that are for some providers alone."""
    found = call.get("provider_specific_header") or []
    entries = found if isinstance(found, list) else [found]
    mine = [one for one in entries if provider in one["custom_llm_provider"].split(",")]
    return {name: value for one in mine for name, value in one["extra_headers"].items()}


@pytest.mark.parametrize(
    ("own", "patience", "timeout"),
    [
        (None, 20.0, 20.0),
        (600, 20.0, 20.0),
        (5, 20.0, 5),
        ("5", 20.0, 5),
        ({"read": 5}, 20.0, {"read": 5}),
        (600, None, 600),
        (None, None, None),
    ],
)
def test_an_attempt_takes_no_longer_than_it_may(outgoing, own, patience, timeout):
    call = {"model": "openai/gpt-5"} | ({"timeout": own} if own else {})
    fitted = outgoing.fit(call, False, OPUS, None, {}, patience)
    assert fitted.get("timeout") == timeout


# -- the body


def test_a_body_that_keeps_its_model_is_the_same_object(fit):
    call = a_call()
    fitted = fit(call)
    assert all(fitted[name] is call[name] for name in shape("toolloop-05").body if name != "model")


def test_a_swap_makes_it_what_the_client_would_have_sent(fit):
    call = a_call("anthropic/claude-haiku-4-5")
    fitted = fit(call)
    assert "system" not in {message["role"] for message in fitted["messages"]}
    assert fitted["thinking"] == {"type": "disabled"}  # it is in the middle of a tool loop
    assert not {"output_config", "context_management"} & set(fitted)
    assert (fitted["model"], fitted["litellm_call_id"]) == ("anthropic/claude-haiku-4-5", "c")


@pytest.mark.parametrize(
    "model",
    ["bedrock/us.anthropic.claude-haiku-4-5-20251001-v1:0", "vertex_ai/claude-haiku-4-5@20251001"],
)
def test_so_it_does_at_a_cloud(fit, outgoing, model):
    fitted = fit(a_call(model))
    assert fitted["thinking"] == {"type": "disabled"}
    assert "metadata" in fitted
    assert headers_for("bedrock", fitted)["anthropic-beta"].split(",") == [
        "claude-code-20250219",
        "wonders-2031-01-01",
    ]
    assert outgoing.messages.KEPT not in fitted


def test_what_a_name_of_ones_own_stands_for_is_said_in_the_config(fit):
    arn = "bedrock/arn:aws:bedrock:eu-west-1:1:application-inference-profile/x"
    assert "metadata" not in fit(a_call(arn))
    known = fit(a_call(arn, model_info={"base_model": "anthropic.claude-haiku-4-5-20251001-v1:0"}))
    assert known["thinking"] == {"type": "disabled"}


def test_what_the_config_says_of_a_deployment_stands_for_what_the_client_said(fit):
    fitted = fit(a_call("anthropic/claude-opus-4-1", max_tokens=50_000))
    assert fitted["max_tokens"] == 32_000


@pytest.mark.parametrize("model", ["openai/gpt-5", "gemini/gemini-2.5-pro", "bedrock/nova-pro"])
def test_what_is_anthropics_own_goes_nowhere_else(fit, model):
    fitted = fit(a_call(model))
    body = {name: fitted.get(name) for name in shape("toolloop-05").body}
    assert "metadata" not in fitted
    assert "cache_control" not in repr(body)
    assert "billing-header" not in repr(body["system"])
    assert "system" in {message["role"] for message in body["messages"]}


def test_a_conversation_has_a_cache_at_openai_that_does_not_tell_which_one_it_is(fit):
    session = {"metadata": {"user_id": '{"session_id": "the-bodys-session"}'}}
    keys = {
        fit(a_call("openai/gpt-5", body=session))["prompt_cache_key"],
        fit(a_call("openai/gpt-5"))["prompt_cache_key"],
    }
    assert len(keys) == 1
    assert "session" not in repr(keys)
    assert fit(a_call("openai/gpt-5", prompt_cache_key="own"))["prompt_cache_key"] == "own"
    assert "prompt_cache_key" not in fit(a_call("gemini/gemini-2.5-pro"))


# -- headers, query, unknown fields


def test_the_clients_headers_go_to_anthropic_and_those_that_litellm_sends_stay(fit):
    found = headers_for("anthropic", fit(a_call()))
    assert found == {**CLIENT, "anthropic-beta": BETAS}


@pytest.mark.parametrize("provider", ["openai", "bedrock", "vertex_ai", "gemini"])
def test_no_other_provider_is_told(fit, provider):
    fitted = fit(
        a_call(f"{provider}/claude-opus-4-8", headers={"X-App": "cli", "x-request-id": "7"})
    )
    found = {**headers_for(provider, fitted), **headers_for("anthropic", fitted)}
    assert not CLIENT.keys() & found.keys()
    if provider in ("openai", "gemini"):
        assert fitted["headers"] == {"x-request-id": "7"}


def test_a_header_that_the_config_sets_is_not_the_clients(fit):
    fitted = fit(a_call(extra_headers={"User-Agent": "mine"}))
    assert "user-agent" not in headers_for("anthropic", fitted)


def test_betas_fit_the_model_wherever_they_stand(fit):
    fitted = fit(a_call("anthropic/claude-haiku-4-5", headers={"anthropic-beta": BETAS}))
    taken = headers_for("anthropic", fitted)["anthropic-beta"]
    assert taken == "claude-code-20250219,wonders-2031-01-01"
    assert fitted["headers"] == {}


def test_betas_of_which_none_is_taken_are_no_header(fit):
    only = [scoped("anthropic", anthropic_beta="effort-2025-11-24")]
    fitted = fit(a_call("anthropic/claude-haiku-4-5", provider_specific_header=only))
    assert "anthropic-beta" not in headers_for("anthropic", fitted)


def test_fields_that_litellm_does_not_know_are_kept_and_its_own_are_not(fit, outgoing):
    kept = fit(a_call(body={"wonders": {"a": 1}, "num_retries": 3}))[outgoing.messages.KEPT]
    assert kept.fields == {"wonders": {"a": 1}}
    assert kept.query == "beta=true"
    assert kept.says_stream
    assert "wonders" not in repr(kept)


def test_a_client_that_does_not_say_whether_to_stream_is_not_spoken_for(fit, outgoing):
    call = a_call()
    del call["stream"]
    assert not fit(call)[outgoing.messages.KEPT].says_stream


def test_what_speaks_to_litellm_is_known(outgoing):
    assert outgoing.doors.own_fields() >= _LITELLM_FIELDS


@pytest.mark.parametrize("odd", [None, [], "x", {}])
def test_a_call_of_another_shape_is_left_alone(fit, odd):
    call = {"model": "openai/gpt-5", "messages": [], "proxy_server_request": odd}
    assert fit({**call, "provider_specific_header": odd, "headers": odd}, "")["messages"] == []


# -- the client's own credential


@pytest.mark.parametrize(
    ("model", "base", "environ", "goes"),
    [
        ("anthropic/claude-opus-4-8", None, {}, True),
        ("anthropic/claude-opus-4-8", OWN, {}, True),
        ("anthropic/claude-opus-4-8", "https://elsewhere.example", {}, False),
        ("anthropic/claude-opus-4-8", "http://api.anthropic.com", {}, False),
        ("anthropic/claude-opus-4-8", None, {"ANTHROPIC_BASE_URL": "https://x.example"}, False),
        ("openai/gpt-5", OWN, {}, False),
        ("bedrock/anthropic.claude-opus-4-8", None, {}, False),
    ],
)
@pytest.mark.parametrize("is_message", [True, False], ids=["messages", "others"])
def test_a_credential_goes_to_anthropics_own_address_alone(
    fit, model, base, environ, goes, is_message
):
    call = a_call(model, api_base=base)
    fitted = fit(call, is_message=is_message, key=KEY, environ=environ)
    assert ("authorization" in headers_for("anthropic", fitted)) is goes
    assert (fitted.get("api_key") == KEY) is goes


@pytest.mark.parametrize(
    ("given", "environ"),
    [
        ({"api_base": "http://lan:8080/"}, {}),
        ({"api_base": None, "base_url": "http://lan:8080/"}, {}),
        ({"api_base": None}, {"ANTHROPIC_BASE_URL": "http://lan:8080/"}),
    ],
)
@pytest.mark.parametrize("is_message", [True, False], ids=["messages", "others"])
def test_a_slash_at_the_end_of_an_address_is_none_before_the_path(
    outgoing, fit, given, environ, is_message
):
    fitted = fit(a_call(**given), is_message=is_message, environ=environ)
    counting = outgoing.lent_to_a_count({"model": "anthropic/x", **given}, environ)
    for call in (fitted, counting):
        assert (call["api_base"], "base_url" in call) == ("http://lan:8080", False)


KEYLESS = [("openai/x", "http://lan/v1"), ("anthropic/x", "http://lan")]


@pytest.mark.parametrize(("model", "base"), KEYLESS)
@pytest.mark.parametrize("is_message", [True, False], ids=["messages", "others"])
def test_a_server_of_ones_own_is_asked_without_a_key_that_is_one(
    outgoing, fit, model, base, is_message
):
    assert fit(a_call(model, api_base=base), is_message=is_message)["api_key"] == "none"
    assert outgoing.lent_to_a_count({"model": model, "api_base": base}, {})["api_key"] == "none"


@pytest.mark.parametrize(
    ("model", "more", "environ"),
    [
        ("openai/x", {"api_base": None}, {}),
        ("openai/x", {"api_base": "https://api.openai.com/v1"}, {}),
        ("openai/x", {}, {"OPENAI_API_KEY": "sk"}),
        ("openai/x", {"litellm_credential_name": "mine"}, {}),
        ("anthropic/x", {"api_base": None}, {}),
        ("anthropic/x", {}, {"ANTHROPIC_AUTH_TOKEN": "sk"}),
        ("anthropic/x", {"extra_headers": {"authorization": "Bearer mine"}}, {}),
        ("gemini/x", {}, {}),
    ],
)
def test_who_may_have_a_key_by_other_ways_is_left_alone(fit, model, more, environ):
    assert "api_key" not in fit(a_call(model, **more), environ=environ)


def test_so_is_who_has_one_for_all(outgoing, fit, monkeypatch):
    monkeypatch.setattr(outgoing.doors.litellm, "api_key", "sk-for-all")
    assert "api_key" not in fit(a_call("openai/x"))


def test_other_providers_addresses_are_theirs(fit):
    assert fit(a_call("openai/x", api_base="http://lan/v1/"))["api_base"] == "http://lan/v1/"


@pytest.mark.parametrize(
    ("deployment", "environ", "goes"),
    [
        ({"model": "anthropic/claude-opus-4-8"}, {}, True),
        ({"model": "anthropic/claude-opus-4-8", "api_base": OWN}, {}, True),
        ({"model": "anthropic/claude-opus-4-8", "api_base": "https://x.example"}, {}, False),
        ({"model": "anthropic/claude-opus-4-8"}, {"ANTHROPIC_BASE_URL": "https://x"}, False),
        ({"model": "anthropic/claude-opus-4-8", "api_key": "configured"}, {}, False),
        ({"model": "bedrock/anthropic.claude-opus-4-8"}, {}, False),
    ],
)
def test_a_credential_goes_along_with_a_count_as_with_a_message(
    outgoing, deployment, environ, goes
):
    token = carried.current.set(Carried(credential=KEY))
    try:
        lent = outgoing.lent_to_a_count(deployment, environ)
    finally:
        carried.current.reset(token)
    assert (lent.get("api_key") == KEY) is goes
    assert deployment.items() <= lent.items()


@pytest.mark.parametrize("along", [None, Carried()])
def test_where_none_comes_along_none_is_lent(outgoing, along):
    token = carried.current.set(along)
    try:
        assert outgoing.lent_to_a_count({"model": "anthropic/x"}, {}) == {"model": "anthropic/x"}
    finally:
        carried.current.reset(token)


@pytest.mark.parametrize("name", ["api_key", "litellm_credential_name"])
def test_a_deployments_own_key_stays(fit, name):
    fitted = fit(a_call(api_base=None, **{name: "configured"}), key=KEY)
    assert fitted[name] == "configured"
    assert "authorization" not in headers_for("anthropic", fitted)
    assert KEY not in repr(fitted)


def test_another_kind_of_call_keeps_its_body(fit):
    call = a_call("openai/gpt-5")
    fitted = fit(call, is_message=False)
    assert fitted["metadata"] is call["metadata"]


# -- through LiteLLM


@pytest.fixture(scope="module")
def provider():
    with running_provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def worker(provider, tmp_path_factory):
    nowhere = "http://127.0.0.1:9"
    openai = f"{provider.url}/v1"
    document = {
        "model_list": [
            deployment("opus", "anthropic/claude-opus-4-8", provider.url),
            deployment("haiku", "anthropic/claude-haiku-4-5", provider.url),
            deployment("wild/*", "anthropic/*", provider.url),
            deployment("dropping", "anthropic/claude-opus-4-8", provider.url)
            | {"litellm_params": dropping(provider.url)},
            deployment("gpt", "openai/gpt-5", openai),
            deployment("chat", "hosted_vllm/some-model", openai),
            deployment("mixed", "anthropic/claude-haiku-4-5", provider.url),
            deployment("mixed", "openai/gpt-5", openai),
            deployment("falls-to-haiku", "openai/gpt-5", nowhere),
            deployment("falls-to-gpt", "anthropic/claude-opus-4-8", nowhere),
        ],
        "litellm_settings": {"use_chat_completions_url_for_anthropic_messages": False},
        "router_settings": {
            "fallbacks": [{"falls-to-haiku": ["haiku"]}, {"falls-to-gpt": ["gpt"]}]
        },
    }
    with running_worker(tmp_path_factory.mktemp("worker"), document) as worker:
        worker.ready()
        yield worker


def dropping(base):
    params = deployment("dropping", "anthropic/claude-opus-4-8", base)["litellm_params"]
    return {**params, "additional_drop_params": ["wonders"]}


@pytest.fixture
def asked(worker, provider):
    """What arrives at the provider of a request for a label."""

    def asked(label, body, *, requested=OPUS, query="?beta=true", **headers):
        before = len(provider.requests)
        verdict = {HEADER: seal(Verdict(label, "r", requested), SECRET)}
        sent = {**CLIENT, "anthropic-beta": BETAS, **headers, **verdict}
        status, answer = worker.post(f"/v1/messages{query}", body, **sent)
        assert (status, b"ok" in answer) == (200, True), answer
        [arrived] = provider.requests[before:]
        return arrived

    return asked


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_the_body_of_a_request_that_keeps_its_model_arrives_as_it_was(asked, name):
    body = {**shape(name).body, "wonders": {"a": [1]}, "stream": False}
    requested = body["model"]
    arrived = asked(f"wild/{requested}", body, requested=requested)
    assert arrived.fields == {**body, "model": requested.removesuffix("[1m]")}


def test_its_headers_and_its_query_arrive_too(asked):
    arrived = asked("opus", {**shape("simple-01").body, "stream": False})
    assert arrived.query == "beta=true"
    assert CLIENT.items() <= arrived.headers.items()
    assert set(BETAS.split(",")) <= set(arrived.headers["anthropic-beta"].split(","))
    assert not [name for name in arrived.headers if "ccproxy" in name or "litellm" in name]
    assert arrived.headers["x-api-key"] == "a-providers-key"
    assert asked("opus", {**shape("simple-01").body, "stream": False}, query="").query == ""


def test_so_they_do_with_a_count_on_which_litellm_runs_no_hook(worker, provider):
    said = {**CLIENT, "anthropic-beta": BETAS, "anthropic-version": "2023-06-01"}
    sealed = {HEADER: seal(Verdict("opus", "r", OPUS), SECRET)}
    body = {"model": "opus", "messages": [{"role": "user", "content": "hi"}]}
    before = len(provider.requests)
    path = "/v1/messages/count_tokens?beta=true"
    status, answer = worker.post(path, body, **said, **sealed)
    assert (status, orjson.loads(answer)["input_tokens"] > 0) == (200, True)
    [arrived] = provider.requests[before:]
    assert (arrived.path, arrived.query) == ("/v1/messages/count_tokens", "beta=true")
    assert said.items() <= arrived.headers.items()
    assert arrived.headers["x-api-key"] == "a-providers-key"
    assert not [name for name in arrived.headers if "ccproxy" in name or "litellm" in name]
    assert arrived.fields == {**body, "model": "claude-opus-4-8"}


def test_a_model_that_litellm_has_never_heard_of_keeps_its_thinking(asked):
    body = {**shape("simple-01").body, "model": "claude-wonder-9", "stream": False}
    arrived = asked("wild/claude-wonder-9", body, requested="claude-wonder-9")
    assert arrived.fields == body


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_swap_arrives_as_the_target_takes_it(asked, stream):
    arrived = asked("haiku", {**shape("simple-01").body, "stream": stream})
    fields = arrived.fields
    assert (fields["model"], fields["max_tokens"]) == ("claude-haiku-4-5", 64000)
    assert fields["thinking"] == {"type": "enabled", "budget_tokens": 31999}
    assert {message["role"] for message in fields["messages"]} == {"user"}
    assert "<system-reminder>" in repr(fields["messages"])
    assert "output_config" not in fields
    taken = arrived.headers["anthropic-beta"].split(",")
    assert {"claude-code-20250219", "wonders-2031-01-01"} <= set(taken)
    assert not [beta for beta in taken if beta.startswith(("mid-", "effort"))]


def test_a_haiku_request_arrives_at_opus_as_opus_takes_it(asked):
    body = {**shape("model-haiku-01").body, "stream": False}
    fields = asked("opus", body, requested=HAIKU).fields
    assert fields["thinking"] == {"type": "adaptive"}
    assert "budget_tokens" not in repr(fields["thinking"])


def test_what_the_config_drops_is_dropped(asked):
    body = {**shape("simple-01").body, "wonders": 1, "stream": False}
    assert "wonders" not in asked("dropping", body).fields


@pytest.mark.parametrize("label", ["gpt", "chat", "falls-to-gpt"])
@pytest.mark.parametrize("name", ["simple-01", "toolloop-05"])
def test_of_anthropics_own_business_nothing_arrives_elsewhere(asked, label, name):
    body = {**shape(name).body, "stream": False}
    user = body["metadata"]["user_id"]
    arrived = asked(label, body, authorization=TOKEN)
    text = arrived.raw.decode() + repr(arrived.headers) + arrived.query
    for private in (
        "billing-header",
        "cache_control",
        "device_id",
        "cli/2.1",
        "the-clients",
        "oat01",
    ):
        assert private not in text
    assert user[20:60] not in text
    assert not {"user", "metadata", "safety_identifier"} & arrived.fields.keys()
    assert not [one for one in arrived.headers if one.startswith(("x-app", "x-stainl", "anthrop"))]
    reminders = [m["content"] for m in body["messages"] if m["role"] == "system"]
    assert reminders


def test_each_deployment_of_a_label_gets_what_it_takes(asked):
    """LiteLLM throws dice: 50 times the same is less likely than a bit that flips by itself."""
    arrived = {}
    for _ in range(50):
        one = asked("mixed", {**shape("simple-01").body, "stream": False})
        arrived[one.path] = one
        if len(arrived) == 2:
            break
    claude, other = arrived["/v1/messages"], arrived["/v1/responses"]
    assert claude.fields["thinking"] == {"type": "enabled", "budget_tokens": 31999}
    assert "cache_control" in repr(claude.fields)
    assert CLIENT.items() <= claude.headers.items()
    assert "billing-header" not in other.raw.decode()
    assert not CLIENT.items() & other.headers.items()


def test_a_fallback_gets_what_it_takes_though_the_first_took_something_else(asked):
    arrived = asked("falls-to-haiku", {**shape("simple-01").body, "stream": False})
    assert arrived.fields["thinking"] == {"type": "enabled", "budget_tokens": 31999}
    assert "metadata" in arrived.fields
    assert "cache_control" in repr(arrived.fields)
    assert CLIENT.items() <= arrived.headers.items()


def test_a_token_goes_to_nobody_who_only_speaks_anthropics_protocol(asked):
    body = {**shape("simple-01").body, "stream": False}
    arrived = asked("opus", body, authorization=TOKEN)
    assert "authorization" not in arrived.headers
    assert arrived.headers["x-api-key"] == "a-providers-key"


# -- what comes back


def answered(worker, label, body, requested=OPUS):
    verdict = {HEADER: seal(Verdict(label, "r", requested), SECRET)}
    status, answer = worker.post("/v1/messages", body, **verdict)
    assert status == 200, answer
    return answer


@pytest.mark.parametrize(
    ("label", "model"), [("haiku", "claude-haiku-4-5"), ("gpt", "gpt-5"), ("chat", "some-model")]
)
def test_the_answer_names_the_model_that_gave_it(worker, label, model):
    """A client keeps thinking that its model has signed, and knows it by this name."""
    whole = answered(worker, label, {**shape("simple-01").body, "stream": False})
    assert orjson.loads(whole)["model"] == model
    stream = answered(worker, label, {**shape("simple-01").body, "stream": True})
    start = orjson.loads(stream.partition(b"data: ")[2].partition(b"\n")[0])
    assert start["message"]["model"] == model


def test_a_stream_comes_back_byte_for_byte(worker, provider):
    stream = answered(worker, "opus", {**shape("simple-01").body, "stream": True})
    asked = provider.requests[-1]
    own = httpx.post(f"{provider.url}{asked.path}", content=asked.raw, headers=asked.headers)
    number = re.compile(rb"msg_\d+")
    assert number.sub(b"id", stream) == number.sub(b"id", own.content)


def test_no_frame_waits_for_the_next(worker, provider):
    verdict = {HEADER: seal(Verdict("opus", "r", OPUS), SECRET)}
    messages = [{"role": "user", "content": "@@events=3;hold=1@@"}]
    connection = worker.connect()
    body = {"model": OPUS, "max_tokens": 9, "messages": messages, "stream": True}
    send(connection, "/v1/messages", body, **verdict)
    answer = connection.getresponse()
    first = answer.read1(65536)
    provider.release()
    rest = answer.read()
    connection.close()
    assert (first.count(b"event: "), first[:20]) == (1, b"event: message_start")
    assert b"message_stop" in rest
