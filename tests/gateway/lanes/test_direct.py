"""Requests that go past LiteLLM, from the app to a provider on a loopback port."""

import asyncio
import socket
import struct
from contextlib import asynccontextmanager

import orjson
import pytest

from ccproxyd.gateway.app import App
from ccproxyd.gateway.lanes import answers as answers_module
from ccproxyd.gateway.lanes.answers import WHOLE_BYTES
from ccproxyd.gateway.lanes.direct import place_of
from tests.gateway.house import CANARY, KEY, asking, call, open_house, write_config
from tests.gateway.lanes.authority import write_authority
from tests.gateway.scripted import PATIENCE, ScriptedWorker, answers
from tests.support.provider import MockProvider

pytestmark = pytest.mark.anyio

OURS = """
ccproxy:
  lanes: {direct: auto}
  hooks: [rule_evaluator, model_router, forward_oauth]
  rules:
    - {label: think, rule: ThinkingRule}
    - {label: chat, rule: MatchModelRule, params: {model_name: gpt}}
  timeouts: {first_byte: 20, idle: 20}
"""
THINKING = {"type": "enabled", "budget_tokens": 1024}


def models(url: str) -> str:
    return f"""
model_list:
  - model_name: default
    litellm_params: {{model: anthropic/claude-sonnet-5, api_key: sk-ant, api_base: "{url}"}}
  - model_name: think
    litellm_params: {{model: anthropic/claude-opus-4-8, api_key: sk-ant, api_base: "{url}"}}
  - model_name: slow
    litellm_params: {{model: anthropic/slow, api_key: k, api_base: "{url}", timeout: 0.05}}
  - model_name: chat
    litellm_params: {{model: openai/gpt-4o, api_key: sk-oai, api_base: "{url}/v1"}}
  - model_name: gemini
    litellm_params: {{model: gemini/pro, api_key: k}}
  - model_name: nowhere
    litellm_params: {{model: anthropic/x, api_key: k, api_base: "http://127.0.0.1:1"}}
  - model_name: rescued
    litellm_params: {{model: anthropic/x, api_key: k, api_base: "http://127.0.0.1:1"}}
  - model_name: rescued-too
    litellm_params: {{model: anthropic/y, api_key: k, api_base: "{url}"}}
router_settings:
  fallbacks: [{{rescued: [default]}}, {{rescued-too: [default]}}]
"""


@asynccontextmanager
async def opened(tmp_path, *workers, ours=OURS, litellm=models):
    async with MockProvider() as provider:
        config_dir = write_config(tmp_path, ours, litellm(provider.url))
        async with open_house(config_dir, *workers) as house:
            yield house, provider


async def asked(app: App, body: bytes | None = None, **more):
    async with asyncio.timeout(PATIENCE):
        return await call(asking("default") if body is None else body, **more).to(app)


# What the provider gets


async def test_a_request_that_keeps_its_model_arrives_byte_for_byte(tmp_path):
    def by_its_own_name(url):
        return models(url).replace("model_name: default", "model_name: claude-sonnet-5")

    body = b'{ "model": "claude-sonnet-5",  "max_tokens": 5, "unknown": [1.0, 2e5], "messages": []}'
    async with opened(tmp_path, litellm=by_its_own_name) as (house, provider):
        answer = await asked(house.app, body, query="beta=true")
        assert answer.status == 200
        [seen] = provider.requests
        assert (seen.raw, seen.path, seen.query) == (body, "/v1/messages", "beta=true")


async def test_the_route_is_written_into_the_body(tmp_path):
    async with opened(tmp_path) as (house, provider):
        answer = await asked(house.app, asking("claude-haiku-4-5", thinking=THINKING, extra=1))
        [seen] = provider.requests
        assert seen.model == "claude-opus-4-8"
        assert seen.fields["extra"] == 1
        assert seen.prompt == CANARY
        assert answer.header("x-ccproxy-lane") == "direct"
        assert answer.header("x-ccproxy-label") == "think"


async def test_the_clients_headers_go_along_and_its_credentials_do_not(tmp_path):
    headers = {
        "authorization": f"Bearer {KEY}",
        "anthropic-beta": "a,b",
        "anthropic-version": "2024-01-01",
        "x-app": "cli",
        "x-claude-code-session-id": "s-1",
        "user-agent": "claude-cli/2",
        "cookie": "secret",
        "x-forwarded-for": "10.0.0.7",
        "x-ccproxy-label": "forged",
        "x-litellm-api-key": KEY,
        "accept-encoding": "gzip",
    }
    async with opened(tmp_path) as (house, provider):
        await asked(house.app, headers=headers)
        sent = provider.requests[0].headers
        assert sent["x-api-key"] == "sk-ant"
        assert sent["accept-encoding"] == "identity"
        kept = ("anthropic-beta", "anthropic-version", "x-app", "x-claude-code-session-id")
        assert all(sent[name] == headers[name] for name in kept)
        assert sent["user-agent"] == "claude-cli/2"
        assert KEY not in repr(sent)
        assert not {"cookie", "x-forwarded-for", "x-ccproxy-label", "authorization"} & set(sent)


async def test_json_that_curl_calls_a_form_is_json(tmp_path):
    headers = {"content-type": "application/x-www-form-urlencoded"}
    async with opened(tmp_path) as (house, provider):
        answer = await asked(house.app, asking(thinking=THINKING), headers=headers)
        assert answer.header("x-ccproxy-label") == "think"
        assert provider.requests[0].headers["content-type"] == "application/json"


async def test_what_a_hook_changes_reaches_the_provider_and_its_label_too(tmp_path):
    rules = """
def change(data, user_api_key_dict, **changes):
    data.update(changes)
"""
    first = "{hook: own_rules.change, params: {extra: 1}}"
    second = "{hook: own_rules.change, params: {model: think}}"
    hooks = f"hooks: [rule_evaluator, model_router, {first}, {second}]"
    ours = OURS.replace("hooks: [rule_evaluator, model_router, forward_oauth]", hooks)
    (tmp_path / "own_rules.py").write_text(rules)
    async with opened(tmp_path, ours=ours) as (house, provider):
        answer = await asked(house.app)
        [seen] = provider.requests
        assert (seen.model, seen.fields["extra"]) == ("claude-opus-4-8", 1)
        assert seen.prompt == CANARY
        assert answer.header("x-ccproxy-lane") == "direct"
        assert answer.header("x-ccproxy-label") == "think"


async def test_what_moderation_refuses_does_not_reach_the_provider(tmp_path):
    ours = OURS + "  moderation: {enabled: true, deny: [canary]}\n"
    async with opened(tmp_path, ours=ours) as (house, provider):
        answer = await asked(house.app)
        assert answer.status == 400
        assert provider.requests == []


async def test_a_client_that_names_no_version_gets_the_usual_one(tmp_path):
    async with opened(tmp_path) as (house, provider):
        await asked(house.app)
        assert provider.requests[0].headers["anthropic-version"] == "2023-06-01"


async def test_a_chat_goes_to_openai_with_its_own_key_and_nothing_of_anthropics(tmp_path):
    headers = {
        "openai-organization": "org",
        "anthropic-version": "x",
        "x-claude-code-session-id": "s-1",
        "openai-beta": "kept",
    }
    async with opened(tmp_path) as (house, provider):
        answer = await asked(
            house.app, asking("gpt-4o"), path="/v1/chat/completions", headers=headers
        )
        assert answer.json()["model"] == "gpt-4o"
        [seen] = provider.requests
        assert seen.path == "/v1/chat/completions"
        assert seen.headers["authorization"] == "Bearer sk-oai"
        assert seen.headers["openai-beta"] == "kept"
        absent = {"openai-organization", "anthropic-version", "x-claude-code-session-id"}
        assert not absent & set(seen.headers)


@pytest.mark.parametrize("sticky", [True, False])
async def test_a_resend_after_a_cut_stream_asks_the_same_model(tmp_path, sticky):
    rule = orjson.dumps({"label": "think", "rule": "ThinkingRule", "sticky": sticky}).decode()
    ours = f"ccproxy: {{lanes: {{direct: auto}}, rules: [{rule}]}}"
    of_a_session = {"x-claude-code-session-id": "7"}
    async with opened(tmp_path, ours=ours) as (house, provider):
        for thinking in (THINKING, None):
            more = {"thinking": thinking} if thinking else {}
            streamed = asking("default", prompt="@@cut=2@@", stream=True, **more)
            cut = await asked(house.app, streamed, headers=of_a_session)
            assert (cut.status, cut.complete) == (200, False)
            whole = await asked(house.app, asking("default", **more), headers=of_a_session)
            assert whole.status == 200
        models = [one.model for one in provider.requests]
        other = "claude-opus-4-8" if sticky else "claude-sonnet-5"
        assert models == ["claude-opus-4-8"] * 2 + [other] * 2


async def test_tokens_are_counted_by_the_provider_for_the_routed_model(tmp_path):
    async with opened(tmp_path) as (house, provider):
        body = asking("claude-haiku-4-5", thinking=THINKING)
        answer = await asked(house.app, body, path="/v1/messages/count_tokens", query="beta=true")
        assert answer.json()["input_tokens"] > 0
        [seen] = provider.requests
        assert (seen.path, seen.query) == ("/v1/messages/count_tokens", "beta=true")
        assert seen.model == "claude-opus-4-8"


async def test_our_own_key_in_the_query_ends_here(tmp_path):
    async with opened(tmp_path) as (house, provider):
        await asked(house.app, query=f"key={KEY}&beta=true")
        assert provider.requests[0].query == "beta=true"


# What the client gets


async def test_a_stream_comes_back_byte_for_byte(tmp_path):
    async with opened(tmp_path) as (house, provider):
        answer = await asked(house.app, asking("default", stream=True, prompt="@@events=5@@"))
        assert answer.header("content-type") == "text/event-stream; charset=utf-8"
        assert answer.header("request-id") == "req_000001"
        assert answer.complete
        assert answer.answer.count(b"event: content_block_delta") == 5
        finished = house.finished()
        assert (finished["lane"], finished["failed"]) == ("direct", False)
        assert finished["input_tokens"] == provider.requests[0].input_tokens
        assert finished["output_tokens"] > 0
        spent = finished["input_tokens"] * 2e-6 + finished["output_tokens"] * 10e-6
        assert finished["cost_usd"] == pytest.approx(spent)


async def test_the_usage_of_an_answer_in_chunks_is_found(tmp_path):
    body = b'{"usage": {"input_tokens": 3, "output_tokens": 5}}'
    chunked = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n"
    whole = chunked + b"\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    async with serving(lambda _: whole) as port:
        config = one_model(f"http://127.0.0.1:{port}")
        async with open_house(write_config(tmp_path, OURS.split("  rules:")[0], config)) as house:
            answer = await asked(house.app)
            assert answer.answer == body
            assert house.finished()["output_tokens"] == 5


async def test_a_model_without_a_price_has_no_cost(tmp_path):
    async with opened(tmp_path) as (house, _provider):
        await asked(house.app, asking("slow"))
        assert house.finished()["cost_usd"] is None


@pytest.mark.parametrize("status", [400, 403, 404, 413, 429, 500, 529])
async def test_the_providers_errors_come_back_as_they_are(tmp_path, status):
    async with opened(tmp_path) as (house, _provider):
        prompt = f"@@status={status};retry-after=7;should-retry=false;message=too long@@"
        answer = await asked(house.app, asking("default", prompt=prompt))
        assert answer.status == status
        assert answer.header("retry-after") == "7"
        assert answer.header("x-should-retry") == "false"
        assert answer.json()["error"]["message"] == "too long"
        assert house.finished()["status"] == status


FOREIGN = (
    b'{"error":{"code":400,"message":"request (12712 tokens) exceeds the available context size '
    b'(2048 tokens), try increasing it","type":"exceed_context_size_error",'
    b'"n_prompt_tokens":12712,"n_ctx":2048}}'
)
FAILED = b"HTTP/1.1 400 X\r\nretry-after: 7\r\n"
SIZED = b"content-length: %d\r\n\r\n%s" % (len(FOREIGN), FOREIGN)
CHUNKS = FOREIGN[:5], len(FOREIGN) - 5, FOREIGN[5:]
CHUNKED = b"transfer-encoding: chunked\r\n\r\n5\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % CHUNKS
STREAMED = b"content-type: text/event-stream\r\n\r\nevent: error\ndata: %s\n\n" % FOREIGN


@pytest.mark.parametrize(
    "said",
    [
        FAILED + SIZED,
        FAILED + CHUNKED,
        FAILED.replace(b"400 X", b"200 OK") + STREAMED,
    ],
    ids=["of told length", "of untold length", "in a stream"],
)
async def test_an_error_that_is_not_in_anthropics_words_is_put_into_them(tmp_path, said):
    """As of a server that speaks Anthropic's protocol, but has errors of its own."""
    async with serving(lambda _: said) as port:
        config = one_model(f"http://127.0.0.1:{port}")
        async with open_house(write_config(tmp_path, OURS.split("  rules:")[0], config)) as house:
            answer = await asked(house.app, asking("default", stream=True))
            assert house.finished()["status"] == 400
    assert (answer.status, answer.header("retry-after"), answer.complete) == (400, "7", True)
    assert answer.json() == {
        "type": "error",
        "error": {
            "type": "invalid_request_error",
            "message": "prompt is too long: 12712 tokens > 2048 maximum",
        },
    }


HTML = b"content-type: text/html\r\n\r\n<html>hello</html>"


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"200 OK", HTML),
        (b"200 OK", b"content-type: application/json\r\ncontent-length: 0\r\n\r\n"),
        (b"200 OK", b"content-type: text/event-stream\r\n\r\nhello"),
        (b"204 No Content", b"\r\n"),
        (b"302 Found", b"location: http://elsewhere/\r\ncontent-length: 0\r\n\r\n"),
        (b"304 Not Modified", b"\r\n"),
    ],
    ids=["a page", "nothing", "no events", "no content", "a redirection", "not modified"],
)
async def test_an_answer_that_is_none_is_a_failure(tmp_path, head, body):
    async with serving(lambda _: b"HTTP/1.1 %s\r\n%s" % (head, body)) as port:
        config = one_model(f"http://127.0.0.1:{port}")
        async with open_house(write_config(tmp_path, OURS.split("  rules:")[0], config)) as house:
            answer = await asked(house.app)
            finished = house.finished()
    assert (answer.status, answer.complete) == (502, True)
    status = head.decode().split()[0]
    assert answer.json()["error"] == {
        "type": "api_error",
        "message": f"the provider answered with {status}, and nothing that a client can read",
    }
    assert (finished["status"], finished["failed"], finished["error"]) == (502, True, "ProxyError")


async def test_an_answer_that_is_none_goes_to_litellm_where_it_has_a_fallback(tmp_path, sockets):
    async with (
        ScriptedWorker(sockets / "1.0.sock") as worker,
        serving(lambda _: b"HTTP/1.1 200 OK\r\n" + HTML) as port,
    ):
        worker.default = answers(b'{"from": "litellm"}')
        rescue = "router_settings: {fallbacks: [{default: [other]}]}"
        config = one_model(f"http://127.0.0.1:{port}", rescue)
        config_dir = write_config(tmp_path, OURS.split("  rules:")[0], config)
        async with open_house(config_dir, worker.address) as house:
            answer = await asked(house.app)
    assert answer.json() == {"from": "litellm"}


async def test_a_stream_without_a_word_is_one_that_is_cut(tmp_path):
    said = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 0\r\n\r\n"
    async with serving(lambda _: said) as port:
        config = one_model(f"http://127.0.0.1:{port}")
        async with open_house(write_config(tmp_path, OURS.split("  rules:")[0], config)) as house:
            answer = await asked(house.app, asking("default", stream=True))
            assert house.finished()["failed"]
    assert (answer.status, answer.complete) == (200, False)
    assert b"the provider went away" in answer.answer


async def test_an_error_that_is_longer_than_any_is_passed_on_as_it_comes(tmp_path):
    long = b"x" * (WHOLE_BYTES + 10)
    said = b"HTTP/1.1 500 X\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
    async with serving(lambda _: said % (len(long), long)) as port:
        config = one_model(f"http://127.0.0.1:{port}")
        async with open_house(write_config(tmp_path, OURS.split("  rules:")[0], config)) as house:
            answer = await asked(house.app)
    assert (answer.status, len(answer.answer)) == (500, len(long))


async def test_a_key_of_ours_that_the_provider_refuses_is_our_fault(tmp_path):
    async with opened(tmp_path) as (house, _provider):
        answer = await asked(house.app, asking("default", prompt="@@status=401@@"))
        assert (answer.status, answer.header("x-should-retry")) == (502, "false")
        error = answer.json()["error"]
        assert error["type"] == "api_error"
        assert "the provider refuses the key of the label 'default'" in error["message"]
        assert house.finished()["status"] == 502


async def test_a_stream_that_the_provider_cuts_ends_visibly(tmp_path):
    async with opened(tmp_path) as (house, _provider):
        answer = await asked(house.app, asking("default", stream=True, prompt="@@events=9;cut=3@@"))
        assert not answer.complete
        assert b"event: error" in answer.pieces[-1]
        assert b"the provider went away" in answer.pieces[-1]
        assert house.finished()["failed"]


async def test_so_does_one_that_it_cuts_before_its_first_word(tmp_path):
    async with opened(tmp_path) as (house, provider):
        answer = await asked(house.app, asking("default", stream=True, prompt="@@cut=0@@"))
        assert (answer.status, answer.complete) == (200, False)
        assert answer.header("content-type").startswith("text/event-stream")
        assert answer.header("request-id") == "req_000001"
        assert b"the provider went away" in answer.answer
        assert len(provider.requests) == 1
        finished = house.finished()
        assert (finished["status"], finished["failed"]) == (200, True)


async def test_of_what_is_no_stream_nothing_can_be_cut_before_its_first_word(tmp_path):
    async with opened(tmp_path) as (house, _provider):
        answer = await asked(house.app, asking("default", prompt="@@cut=0@@"))
        assert (answer.status, answer.complete) == (502, True)


async def test_a_client_that_leaves_ends_the_providers_work(tmp_path):
    async with opened(tmp_path) as (house, provider):
        request = call(asking("default", stream=True, prompt="@@events=9;hold=3@@"))
        going = asyncio.create_task(request.to(house.app))
        async with asyncio.timeout(PATIENCE):
            await provider.holding(1)
            request.leave()
            await going
            await provider.settled(1)
        assert provider.requests[0].outcome == "abandoned"
        assert house.finished()["status"] == 200
        assert house.finished()["failed"]


# What goes wrong


async def test_a_provider_that_cannot_be_reached_is_named(tmp_path):
    async with opened(tmp_path) as (house, _provider):
        answer = await asked(house.app, asking("nowhere"))
        assert answer.status == 502
        assert "the provider at 127.0.0.1:1 cannot be reached" in answer.json()["error"]["message"]


async def test_a_provider_that_takes_a_request_and_hangs_up_is_not_asked_again(tmp_path):
    """It may have worked on it for minutes, and may still do so."""
    async with opened(tmp_path) as (house, provider):
        answer = await asked(house.app, asking("default", prompt="@@reset@@"))
        assert answer.status == 502
        assert len(provider.requests) == 1


async def test_a_kept_connection_that_is_reset_is_replaced_by_a_fresh_one(tmp_path):
    heads = []

    async def serve(reader, writer):
        while len(heads) < 3:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            length = int(heads[-1].lower().partition(b"content-length: ")[2].split()[0])
            await reader.readexactly(length)
            if len(heads) == 2:
                linger = struct.pack("ii", 1, 0)  # to be closed without a word: RST
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                break
            writer.write(OK)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        config = one_model(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with open_house(write_config(tmp_path, OURS.split("  rules:")[0], config)) as house:
            answers = [await asked(house.app) for _ in range(2)]
    assert ([one.status for one in answers], len(heads)) == ([200, 200], 3)


async def test_a_provider_that_has_begun_to_speak_is_not_asked_again(tmp_path):
    heads = []

    def respond(head):
        heads.append(head)
        return b"HTTP/1.1 200 OK\r\ncontent-"

    async with serving(respond) as port:
        config = one_model(f"http://127.0.0.1:{port}")
        async with open_house(write_config(tmp_path, OURS.split("  rules:")[0], config)) as house:
            answer = await asked(house.app)
    assert (answer.status, len(heads)) == (502, 1)


async def test_requests_take_turns_on_a_connection_that_is_kept(tmp_path):
    connections = []

    async def serve(reader, writer):
        connections.append(writer)
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            await reader.readexactly(length)
            writer.write(OK)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        config = one_model(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with open_house(write_config(tmp_path, OURS.split("  rules:")[0], config)) as house:
            assert [(await asked(house.app)).status for _ in range(3)] == [200, 200, 200]
            assert len(connections) == 1
            for writer in connections:
                writer.close()


async def test_a_key_that_cannot_stand_in_a_header_is_not_sent(tmp_path):
    async with MockProvider() as provider:
        for key in ("a\\r\\nx-evil: 1", "\\u2013"):
            config = one_model(provider.url).replace("api_key: k", f'api_key: "{key}"')
            config_dir = write_config(tmp_path, OURS.split("  rules:")[0], config)
            async with open_house(config_dir) as house:
                assert (await asked(house.app)).status == 502
        assert provider.requests == []


async def test_an_address_with_credentials_in_it_is_asked_with_them(tmp_path):
    heads = []

    def respond(head):
        heads.append(head)
        return OK

    async with serving(respond) as port:
        config = one_model(f"http://me:secret@127.0.0.1:{port}")
        async with open_house(write_config(tmp_path, OURS.split("  rules:")[0], config)) as house:
            assert (await asked(house.app)).status == 200
    assert b"Authorization: Basic bWU6c2VjcmV0" in heads[0]


async def test_the_deployments_timeout_holds(tmp_path):
    async with opened(tmp_path) as (house, _provider):
        answer = await asked(house.app, asking("slow", prompt="@@delay=5@@"))
        assert answer.status == 504
        assert answer.json()["error"]["type"] == "timeout_error"


@pytest.mark.parametrize(
    ("label", "failure"),
    [
        ("rescued", "status=500"),
        ("rescued", "error=0"),
        ("rescued-too", "status=500"),
        ("rescued-too", "cut=0"),
    ],
)
async def test_what_fails_goes_to_litellm_where_it_has_a_fallback(
    tmp_path, sockets, label, failure
):
    async with ScriptedWorker(sockets / "1.0.sock") as worker:
        worker.default = answers(b'{"from": "litellm"}')
        async with opened(tmp_path, worker.address) as (house, _provider):
            prompt = f"@@{failure};for=y@@"
            answer = await asked(house.app, asking(label, stream=True, prompt=prompt))
            assert answer.json() == {"from": "litellm"}
            assert answer.header("x-ccproxy-lane") == "litellm"
            assert house.finished()["lane"] == "litellm"
            [received] = worker.requests
            assert received.json()["model"] == label


async def test_what_does_not_fail_needs_no_fallback(tmp_path):
    async with opened(tmp_path) as (house, _provider):
        answer = await asked(house.app, asking("rescued-too"))
        assert (answer.status, answer.header("x-ccproxy-lane")) == (200, "direct")


async def test_a_provider_that_litellm_translates_for_is_litellms(tmp_path, sockets):
    async with ScriptedWorker(sockets / "1.0.sock") as worker:
        worker.default = answers(b"{}")
        async with opened(tmp_path, worker.address) as (house, provider):
            answer = await asked(house.app, asking("gemini"))
            assert answer.header("x-ccproxy-lane") == "litellm"
            assert provider.requests == []


async def test_nothing_of_a_prompt_or_a_key_is_told(tmp_path):
    async with opened(tmp_path) as (house, _provider):
        for prompt in (CANARY, f"{CANARY} @@status=400;echo@@", f"{CANARY} @@reset@@"):
            await asked(house.app, asking("default", prompt=prompt))
        told = house.told()
        assert CANARY not in told
        assert "sk-ant" not in told


# The way to the provider


@asynccontextmanager
async def serving(respond, **more):
    """A server of our own; its port."""

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(respond(head))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, **more)
    async with server:
        yield server.sockets[0].getsockname()[1]


def one_model(url: str, settings: str = "") -> str:
    params = f'{{model: anthropic/x, api_key: k, api_base: "{url}"}}'
    return f"model_list: [{{model_name: default, litellm_params: {params}}}]\n{settings}"


CUT = (
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\n"
    b'5\r\n{"a":\r\n'
)


async def test_a_json_answer_of_untold_length_that_is_cut_has_a_status(tmp_path):
    async with serving(lambda _: CUT) as port:
        config = one_model(f"http://127.0.0.1:{port}")
        async with open_house(write_config(tmp_path, OURS.split("  rules:")[0], config)) as house:
            answer = await asked(house.app)
    assert answer.status == 502
    assert "hung up" in answer.json()["error"]["message"]


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


@pytest.mark.parametrize(("trusted", "status"), [("ca.pem", 200), ("", 502), ("false", 200)])
async def test_a_providers_certificate_is_checked_as_the_config_says(tmp_path, trusted, status):
    authority, context = write_authority(tmp_path)
    verify = {"ca.pem": authority, "false": "false"}.get(trusted)
    settings = f"litellm_settings: {{ssl_verify: {verify}}}" if verify else ""
    async with serving(lambda _: OK, ssl=context) as port:
        config = one_model(f"https://127.0.0.1:{port}", settings)
        async with open_house(write_config(tmp_path, OURS.split("  rules:")[0], config)) as house:
            answer = await asked(house.app)
    assert answer.status == status
    if status == 502:
        assert "SSLCertVerificationError" in answer.json()["error"]["message"]


async def test_a_proxy_is_used_where_the_environment_names_one(tmp_path):
    heads = []

    def respond(head):
        heads.append(head)
        return OK

    async with serving(respond) as port:
        (tmp_path / "env").write_text(f"HTTP_PROXY=http://127.0.0.1:{port}\n")
        (tmp_path / "env").chmod(0o600)
        config = one_model("http://provider.invalid")
        async with open_house(write_config(tmp_path, OURS.split("  rules:")[0], config)) as house:
            answer = await asked(house.app)
    assert answer.status == 200
    assert heads[0].startswith(b"POST http://provider.invalid/v1/messages HTTP/1.1")


# The time that an answer has to begin


class Clock:
    """The loop's own, put forward by hand: what is late is late at once, and nobody waits."""

    def __init__(self, monkeypatch):
        loop, self.ahead = asyncio.get_running_loop(), 0.0
        real = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + self.ahead)


class Slow:
    """A server with a certificate that takes its time for a connection, a head and a first byte."""

    def __init__(self, clock, steps, limit):
        self.clock, self.steps, self.limit = clock, list(steps), limit
        self.head_is_taken = asyncio.Event()

    async def serve(self, listener, context):
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
        sock, _ = await loop.sock_accept(listener)
        await self.step()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock, ssl=context)
        await reader.readuntil(b"\r\n\r\n")
        await self.step()
        transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")
        await self.head_is_taken.wait()
        await self.step()
        transport.write(b"{}")

    async def step(self):
        self.clock.ahead += self.steps.pop(0)
        if self.clock.ahead > self.limit:
            await asyncio.Event().wait()  # what is too late never comes


@asynccontextmanager
async def slow_provider(slow, context):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        serving = asyncio.create_task(slow.serve(listener, context))
        try:
            yield listener.getsockname()[1]
        finally:
            serving.cancel()
            await asyncio.wait([serving])


@pytest.mark.parametrize("credentials", ["", "me:secret@"], ids=["by us", "by aiohttp"])
@pytest.mark.parametrize(
    ("steps", "status"),
    [
        ((6, 6, 6), 200),
        ((24, 0, 0), 504),
        ((12, 12, 0), 504),
        ((12, 0, 12), 504),
        ((0, 12, 12), 504),
        ((8, 8, 8), 504),
    ],
)
async def test_connection_head_and_first_byte_have_one_time_together(
    tmp_path, monkeypatch, credentials, steps, status
):
    authority, context = write_authority(tmp_path)
    slow = Slow(Clock(monkeypatch), steps, limit=20)

    def noted(*incoming, **how):
        slow.head_is_taken.set()
        return answers_module.opened(*incoming, **how)

    monkeypatch.setattr("ccproxyd.gateway.lanes.direct.opened", noted)
    async with slow_provider(slow, context) as port:
        verified = f"litellm_settings: {{ssl_verify: {authority}}}"
        config = one_model(f"https://{credentials}127.0.0.1:{port}", verified)
        ours = OURS.split("  rules:")[0] + "  timeouts: {first_byte: 20}\n"
        async with open_house(write_config(tmp_path, ours, config)) as house:
            answer = await asked(house.app)
    assert answer.status == status
    if status == 504:
        assert "no answer began within 20 s" in answer.json()["error"]["message"]


# The client's own subscription


TOKEN = "sk-ant-oat01-of-the-client"
KEYLESS = """
model_list:
  - {model_name: default, litellm_params: {model: anthropic/claude-sonnet-5}}
"""


async def test_a_lent_token_goes_to_anthropic_alone(tmp_path, monkeypatch):
    async with MockProvider() as provider:
        write_config(tmp_path, OURS.split("  rules:")[0], KEYLESS)
        async with open_house(tmp_path) as house:
            lane = house.app.table.lane_of("default")
            assert lane.endpoint.url == "https://api.anthropic.com/v1/messages"
            monkeypatch.setattr(
                "ccproxyd.gateway.lanes.direct.place_of",
                lambda _: place_of(f"{provider.url}/v1/messages"),
            )
            headers = {"authorization": f"Bearer {TOKEN}", "x-litellm-api-key": KEY}
            request = call(asking("default"), headers=headers)
            request.headers = headers
            answer = await request.to(house.app)
            assert answer.status == 200
            sent = provider.requests[0].headers
            assert sent["authorization"] == f"Bearer {TOKEN}"
            assert "x-api-key" not in sent
            expired = call(asking("default", prompt="@@status=401@@"))
            expired.headers = headers
            assert (await expired.to(house.app)).status == 401
            assert KEY not in repr(sent)
            assert TOKEN not in house.told()


async def test_so_does_a_lent_key(tmp_path, monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    key = "sk-ant-api03-of-the-client"
    ours = OURS.split("  rules:")[0].replace("forward_oauth", "forward_apikey")
    async with MockProvider() as provider:
        write_config(tmp_path, ours, KEYLESS)
        async with open_house(tmp_path) as house:
            monkeypatch.setattr(
                "ccproxyd.gateway.lanes.direct.place_of",
                lambda _: place_of(f"{provider.url}/v1/messages"),
            )
            headers = {"x-api-key": key, "authorization": f"Bearer {KEY}"}
            for prompt, status in (("hi", 200), ("@@status=401@@", 401)):
                answer = await asked(house.app, asking("default", prompt=prompt), headers=headers)
                assert answer.status == status
        sent = provider.requests[0].headers
        assert sent["x-api-key"] == key
        assert "authorization" not in sent
        assert KEY not in repr(sent)
        assert key not in house.told()


@pytest.mark.parametrize("label", ["default", "chat"])
async def test_a_server_that_nobody_has_a_key_for_is_sent_none(tmp_path, monkeypatch, label):
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY", "OPENAI_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)

    def keyless(url):
        return models(url).replace("api_key: sk-ant, ", "").replace("api_key: sk-oai, ", "")

    paths = {"default": "/v1/messages", "chat": "/v1/chat/completions"}
    headers = {"authorization": f"Bearer {TOKEN}", "x-litellm-api-key": KEY}
    async with opened(tmp_path, litellm=keyless) as (house, provider):
        answer = await asked(house.app, asking(label), path=paths[label], headers=headers)
        assert (answer.status, answer.header("x-ccproxy-lane")) == (200, "direct")
        [seen] = provider.requests
        assert not {"x-api-key", "authorization"} & seen.headers.keys()


async def test_what_is_explained_is_what_is_done(tmp_path):
    async with opened(tmp_path) as (house, _provider):
        body = orjson.loads(asking("default"))
        found = house.app.explain(body, {}, "/v1/messages")
        assert found["lane"] == "direct"
        assert found["lane_reason"] == "anthropic/claude-sonnet-5 speaks anthropic's protocol"
        found = house.app.explain({**body, "model": "gemini"}, {}, "/v1/messages")
        assert (found["lane"], found["lane_reason"]) == ("litellm", "LiteLLM translates for gemini")
