import asyncio
import gzip
import socket
import sys
import threading
import zlib

import aiohttp
import orjson
import pytest

from ccproxyd.errors import CcproxydError, ProxyError
from ccproxyd.gateway import app as app_module
from ccproxyd.routing import call_type_of
from ccproxyd.telemetry.budgets import Gate
from ccproxyd.telemetry.records import session_mark
from ccproxyd.worker.verdict import Verdict, unseal
from tests.gateway.house import (
    CANARY,
    KEY,
    MODELS,
    OURS,
    SESSION_KEY,
    Call,
    asking,
    build_table,
    call,
    on_the_wire,
    open_house,
    serving,
    write_config,
)
from tests.gateway.scripted import (
    PATIENCE,
    Moment,
    ScriptedWorker,
    answers,
    becomes,
    begins,
    chunk,
    dies,
    holds,
    notes_leaving,
    streams,
)

pytestmark = pytest.mark.anyio

THINKING = {"thinking": {"type": "adaptive"}}
COUNT = "/v1/messages/count_tokens"


@pytest.fixture
async def worker(sockets):
    async with ScriptedWorker(sockets / "1.0.sock") as worker:
        yield worker


@pytest.fixture
async def house(config_dir, worker):
    async with open_house(config_dir, worker.address) as house:
        yield house


def told(request, worker):
    """The label that the worker was told."""
    found = unseal(request.header("x-ccproxy-decision"), worker.address.secret)
    return found.label if isinstance(found, Verdict) else None


# The way of a request


async def test_a_request_is_decided_and_answered(house, worker):
    answer = await call(asking(**THINKING)).to(house.app)
    assert (answer.status, answer.json()) == (200, {"ok": True})
    assert told(worker.requests[0], worker) == "think"
    assert worker.requests[0].body == asking(**THINKING)
    assert answer.header("x-ccproxy-label") == "think"
    assert answer.header("x-ccproxy-rule") == "ThinkingRule"
    assert answer.header("x-ccproxy-model") == "anthropic/claude-opus-4-8"


async def test_the_daemon_hears_of_it_twice(house, worker):
    worker.default = answers(b'{"usage": {"input_tokens": 3, "output_tokens": 5}}')
    answer = await call(asking(**THINKING)).to(house.app)
    assert [one["kind"] for one in house.sent] == ["decided", "finished"]
    finished = house.finished()
    assert finished["label"] == house.decided()["label"] == "think"
    assert (finished["status"], finished["failed"], finished["output_tokens"]) == (200, False, 5)
    assert finished["request_id"] == answer.header("x-ccproxy-request-id")
    assert finished["call_type"] == "anthropic_messages"


async def test_what_it_hears_is_enough_for_the_records(house):
    body = asking("gpt-4o", stream=True, tools=[{"name": "Read"}], **THINKING)
    await call(body, headers={"x-claude-code-session-id": "s-1"}).to(house.app)
    for told in (house.decided(), house.finished()):
        assert told["session"] == session_mark("s-1", bytes.fromhex(SESSION_KEY))
        assert (told["original_model"], told["lane"], told["kept"]) == ("gpt-4o", "litellm", False)
        assert (told["message_count"], told["has_tools"], told["is_streaming"]) == (1, True, True)
    assert "s-1" not in house.told()


async def test_it_hears_which_model_stood_in_for_another(house, worker):
    took = ("x-litellm-attempted-fallbacks", "1"), ("x-litellm-model-group", "think")
    worker.default = answers(b"{}", 200, *took)
    await call().to(house.app)
    finished = house.finished()
    assert (finished["label"], finished["fallback"]) == ("claude-haiku-4-5", "think")
    assert finished["fallback_model"] == "anthropic/claude-opus-4-8"


async def test_without_records_nothing_is_found_out_for_them(tmp_path, worker):
    ends = ("pre_api_call", "post_api_call", "failure")
    ours = f"ccproxy: {{logging: {{{', '.join(f'enable_{end}: false' for end in ends)}}}}}"
    async with open_house(write_config(tmp_path, ours), worker.address) as house:
        await call().to(house.app)
    assert {"session", "original_model", "has_tools"} & house.finished().keys() == set()
    assert house.finished()["label"] == "claude-haiku-4-5"


@pytest.mark.parametrize(
    ("play", "error"),
    [
        (answers(b"{}", 529), "ProviderError"),
        (answers(b"{}", 401), "KeyRefusedError"),
        (begins(b"data: 1\n\n", also=dies(b"5\r\n")), "HungUpError"),
    ],
)
async def test_it_hears_why_a_request_failed(house, worker, play, error):
    worker.plays.append(play)
    await call().to(house.app)
    assert (house.finished()["failed"], house.finished()["error"]) == (True, error)


async def test_an_unknown_model_goes_to_the_default(house, worker):
    await call(asking("gpt-99")).to(house.app)
    assert told(worker.requests[0], worker) == "default"


async def test_what_names_no_model_is_carried_undecided(house, worker):
    answer = await call(b"", "/v1/files/file-1", method="DELETE").to(house.app)
    assert answer.status == 200
    assert "x-ccproxy-decision" not in worker.requests[0].names()
    assert [one["kind"] for one in house.sent] == ["finished"]
    assert house.finished()["call_type"] == "carried"


@pytest.mark.parametrize(
    ("asked", "more", "label"),
    [
        ("claude-haiku-4-5", {}, "claude-haiku-4-5"),
        ("claude-haiku-4-5[1m]", {}, "claude-haiku-4-5"),
        ("anything", {}, "default"),
        ("claude-haiku-4-5", THINKING, "think"),
    ],
)
async def test_counting_asks_for_the_label_in_the_body_itself(house, worker, asked, more, label):
    await call(asking(asked, **more), COUNT).to(house.app)
    body = worker.requests[0].json()
    assert body.pop("model") == label
    assert {**body, "model": asked} == orjson.loads(asking(asked, **more))


async def test_a_model_in_the_path_counts_as_asked_for(house, worker):
    body = orjson.dumps({"messages": []})
    path = "/openai/deployments/claude-haiku-4-5/chat/completions"
    await call(body, path).to(house.app)
    assert told(worker.requests[0], worker) == "claude-haiku-4-5"
    assert worker.requests[0].body == body


async def test_a_form_is_routed_by_its_fields(house, worker):
    form = b'--X\r\ncontent-disposition: form-data; name="model"\r\n\r\ndefault\r\n--X--\r\n'
    kind = {"content-type": "multipart/form-data; boundary=X"}
    answer = await call(form, "/v1/audio/transcriptions", headers=kind).to(house.app)
    assert answer.status == 200
    assert worker.requests[0].body == form
    assert house.decided()["label"] == "default"


async def test_a_subscription_is_lent_where_the_config_allows_it(tmp_path, worker):
    models = """
model_list:
  - {model_name: default, litellm_params: {model: anthropic/claude-sonnet-5}}
  - {model_name: kept, litellm_params: {model: anthropic/claude-opus-4-8, api_key: k}}
"""
    ours = "ccproxy: {hooks: [forward_oauth]}"
    token = {"authorization": "Bearer sk-ant-oat01-abc"}
    async with open_house(write_config(tmp_path, ours, models), worker.address) as house:
        for model in ("default", "kept"):
            await call(asking(model), headers=token).to(house.app)
    assert [one.header("authorization") for one in worker.requests] == [
        "Bearer sk-ant-oat01-abc",
        None,
    ]


async def test_a_label_that_no_header_can_hold_is_written_in_ascii(tmp_path, worker):
    models = MODELS.replace("model_name: think", 'model_name: "dénke\\n"')
    ours = OURS.replace("label: think", 'label: "dénke\\n"')
    async with open_house(write_config(tmp_path, ours, models), worker.address) as house:
        answer = await call(asking(**THINKING)).to(house.app)
    assert answer.header("x-ccproxy-label") == "d%C3%A9nke%0A"


async def test_much_new_text_is_counted_aside(tmp_path, worker, monkeypatch):
    ours = """
ccproxy:
  rules:
    - {label: think, rule: TokenCountRule, params: [{threshold: 1000}]}
"""
    aside = []
    async with open_house(write_config(tmp_path, ours), worker.address) as house:
        in_thread = app_module.asyncio.to_thread

        async def noted(function, *arguments):
            aside.append(arguments)
            return await in_thread(function, *arguments)

        monkeypatch.setattr(app_module.asyncio, "to_thread", noted)
        await call(asking(prompt="word " * 10)).to(house.app)
        assert aside == []
        for _ in range(2):
            await call(asking(prompt="word " * 10_000)).to(house.app)
    counted = house.app.counter.count_text("word " * 10_000)
    assert [request.token_count for (request,) in aside] == [counted]
    assert [told(one, worker) for one in worker.requests] == ["claude-haiku-4-5", "think", "think"]


async def test_what_was_counted_of_a_conversation_is_passed_over(tmp_path, worker, monkeypatch):
    ours = "ccproxy: {rules: [{label: think, rule: TokenCountRule, params: {threshold: 9}}]}"
    passed_over = []
    async with open_house(write_config(tmp_path, ours), worker.address) as house:
        begin = house.app.counter.begin

        def noted(body, raw):
            tally = begin(body, raw)
            passed_over.append(tally.known.mark.messages)
            return tally

        monkeypatch.setattr(house.app.counter, "begin", noted)
        said = [{"role": "user", "content": f"{number} word " * 100} for number in range(100)]
        for length in (98, 100):
            await call(asking(messages=said[:length])).to(house.app)
    assert passed_over[0] == 0
    assert 50 < passed_over[1] < 100


async def test_what_cannot_be_counted_is_decided_without(tmp_path, worker, monkeypatch):
    def broken(*_):
        raise CcproxydError("the tokenizer is damaged")

    ours = "ccproxy: {rules: [{label: think, rule: TokenCountRule, params: {threshold: 9}}]}"
    async with open_house(write_config(tmp_path, ours), worker.address) as house:
        monkeypatch.setattr(house.app.counter, "_encoding_now", broken)
        answer = await call(asking(prompt="word " * 10_000)).to(house.app)
    assert answer.status == 200
    assert told(worker.requests[0], worker) == "claude-haiku-4-5"


async def test_a_leaving_gateway_asks_its_clients_to_reconnect(house):
    assert (await call().to(house.app)).header("connection") is None
    house.app.leaving = True
    assert (await call().to(house.app)).header("connection") == "close"


async def test_a_new_table_is_in_force_for_the_next_request(house, worker, tmp_path):
    held = asyncio.Event()
    worker.plays.append(holds(held, answers()))
    first = asyncio.create_task(call().to(house.app))
    await worker.seen(1)
    house.app.table = build_table(
        write_config(tmp_path, "ccproxy: {default_model_passthrough: false}")
    )
    await call().to(house.app)
    held.set()
    assert (await first).header("x-ccproxy-label") == "claude-haiku-4-5"
    assert told(worker.requests[1], worker) == "default"


async def test_requests_wait_while_there_is_no_worker(house, worker):
    house.app.pool.replace([])
    waiting = [asyncio.create_task(call().to(house.app)) for _ in range(3)]
    await becomes(lambda: house.app.pool.waiting == 3)
    assert house.app.in_flight == 3
    house.app.pool.replace([worker.address])
    assert [(await one).status for one in waiting] == [200, 200, 200]
    assert house.app.in_flight == 0


# Hooks, of which there is more in hooks/

HOOKS = """
from ccproxyd.errors import ProxyError

def change(data, user_api_key_dict, **changes):
    data.update(changes)

async def broken(data, user_api_key_dict):
    data["messages"].clear()
    raise ValueError(data["messages"])

def refuse(data, user_api_key_dict, code):
    raise ProxyError("no work on a Sunday", code=code)

def look(data, user_api_key_dict):
    SEEN.append(data)

def check(data, user_api_key_dict, call_type):
    return "forbidden" not in repr(data)

SEEN = []
"""


def with_hooks(tmp_path, *hooks, more=""):
    names = ["rule_evaluator", "model_router", *hooks]
    rules = "[{label: think, rule: ThinkingRule}]"
    ours = f"ccproxy: {{rules: {rules}, hooks: {orjson.dumps(names).decode()}{more}}}"
    return write_config(tmp_path, ours, rules=HOOKS)


def changing(**changes):
    return {"hook": "own_rules.change", "params": changes}


async def test_what_a_hook_changes_reaches_litellm_and_its_label_too(tmp_path, worker):
    config = with_hooks(tmp_path, changing(temperature=0.5), changing(model="think"))
    async with open_house(config, worker.address) as house:
        answer = await call(asking()).to(house.app)
    [request] = worker.requests
    assert request.json() == {**orjson.loads(asking()), "temperature": 0.5}
    assert told(request, worker) == answer.header("x-ccproxy-label") == "think"
    assert answer.header("x-ccproxy-rule") == "hook"
    assert house.decided()["label"] == house.finished()["label"] == "think"


async def test_what_hooks_note_reaches_litellms_callbacks(tmp_path, worker):
    config = with_hooks(tmp_path, changing(metadata={"team": "blue"}), "extract_session_id")
    async with open_house(config, worker.address) as house:
        await call(asking(), headers={"x-claude-code-session-id": "s"}).to(house.app)
    [request] = worker.requests
    found = unseal(request.header("x-ccproxy-decision"), worker.address.secret)
    assert found.metadata == {"team": "blue", "session_id": "s"}
    assert "metadata" not in request.json()


async def test_what_built_in_hooks_tell_is_in_the_record_and_in_the_answer(tmp_path, worker):
    named = {"hook": "capture_headers", "params": {"headers": ["X-App", "x-api-key"]}}
    hooks = ("request_analyzer", "extract_session_id", named, "response_enhancer")
    async with open_house(with_hooks(tmp_path, *hooks), worker.address) as house:
        headers = {"x-app": "cli", "x-claude-code-session-id": "s"}
        answer = await call(asking("sönnet", **THINKING), headers=headers).to(house.app)
    assert house.finished()["facts"] == {
        "headers": {"x-app": "cli"},
        "message_count": 1,
        "has_tools": False,
        "stream": False,
        "token_count": None,
    }
    assert answer.header("x-ccproxy-model-name") == "think"
    assert answer.header("x-ccproxy-original-model") == "s%C3%B6nnet"
    assert answer.header("x-ccproxy-routed-model") == "anthropic/claude-opus-4-8"


async def test_a_name_without_end_is_told_in_part(tmp_path, worker):
    async with open_house(with_hooks(tmp_path, "response_enhancer"), worker.address) as house:
        answer = await call(asking("x" * 100_000)).to(house.app)
    assert len(answer.header("x-ccproxy-original-model")) == 512


async def test_a_hook_that_fails_does_not_fail_a_request(tmp_path, worker):
    config = with_hooks(tmp_path, "own_rules.broken")
    failures = []
    async with open_house(config, worker.address) as house:
        house.app.table = build_table(config, on_hook_error=lambda *one: failures.append(one))
        assert (await call(asking()).to(house.app)).status == 200
    assert worker.requests[0].body == asking()
    [(path, error, place)] = failures
    assert (path, type(error), place) == ("ccproxy.hooks[2]", ValueError, "own_rules.py:9")


@pytest.mark.parametrize(("code", "status"), [(451, 451), (200, 500), ("x", 500)])
async def test_a_hook_may_refuse_a_request(tmp_path, worker, code, status):
    config = with_hooks(tmp_path, {"hook": "own_rules.refuse", "params": {"code": code}})
    async with open_house(config, worker.address) as house:
        answer = await call(asking()).to(house.app)
    assert (answer.status, worker.requests) == (status, [])
    assert answer.json()["error"]["message"] == "no work on a Sunday"
    assert house.finished()["status"] == status
    assert answer.header("x-ccproxy-label") == house.finished()["label"] == "claude-haiku-4-5"
    assert "Sunday" not in house.told()


async def test_a_hook_sees_no_credential(tmp_path, worker):
    async with open_house(with_hooks(tmp_path, "own_rules.look"), worker.address) as house:
        await call(asking(), query=f"key={KEY}").to(house.app)
    [seen] = sys.modules["own_rules"].SEEN
    assert seen["proxy_server_request"]["url"] == "http://localhost/v1/messages"
    assert KEY not in repr(seen)


async def test_the_model_of_a_path_is_the_requests_for_hooks_too(tmp_path, worker):
    path = "/openai/deployments/claude-haiku-4-5/chat/completions"
    config = with_hooks(tmp_path, "own_rules.look", changing(temperature=1))
    async with open_house(config, worker.address) as house:
        await call(orjson.dumps({"messages": []}), path).to(house.app)
    assert told(worker.requests[0], worker) == "claude-haiku-4-5"
    assert worker.requests[0].json()["temperature"] == 1


async def test_a_rule_may_refuse_a_request(tmp_path, worker):
    rules = """
from ccproxyd.errors import ProxyError

class Refuses:
    def evaluate(self, request, config):
        raise ProxyError("no work on a Sunday", code=403)
"""
    ours = "ccproxy: {rules: [{label: think, rule: own_rules.Refuses}]}"
    async with open_house(write_config(tmp_path, ours, rules=rules), worker.address) as house:
        answer = await call(asking()).to(house.app)
        explained = house.app.explain({"model": "x"}, {}, "/v1/messages")
    assert (answer.status, worker.requests) == (403, [])
    assert (explained["label"], explained["lane"], explained["rule"]) == ("", "", "Refuses")
    assert explained["reason"] == "refused: no work on a Sunday"
    assert explained["rules"][0]["detail"] == "refused: no work on a Sunday"


# Tools that come again

MANY_TOOLS = [{"name": "Read", "description": "x" * 5000}]


def with_tools(number):
    asked = {"model": "default", "max_tokens": number, "messages": [], "tools": MANY_TOOLS}
    return orjson.dumps(asked)


@pytest.mark.parametrize("path", ["/v1/messages", "/openai/deployments/think/chat/completions"])
async def test_tools_that_come_again_are_known_and_go_on_as_they_came(house, worker, path):
    for number in range(2):
        await call(with_tools(number), path=path).to(house.app)
    await becomes(lambda: not house.app.toolsets.lacks(house.app.toolsets.loads(with_tools(2))))
    await call(with_tools(2), path=path).to(house.app)
    assert [one.body for one in worker.requests] == [with_tools(number) for number in range(3)]


async def test_a_rule_of_ones_own_gets_tools_that_nobody_else_has(tmp_path, worker):
    rules = """
SEEN = []

class Spoils:
    def evaluate(self, request, config):
        SEEN.append(request["tools"])
        request["tools"].clear()
"""
    ours = "ccproxy: {rules: [{label: think, rule: own_rules.Spoils}]}"
    async with open_house(write_config(tmp_path, ours, rules=rules), worker.address) as house:
        for number in range(2):
            house.app.toolsets.learn(with_tools(number), orjson.loads(with_tools(number)))
        for number in range(2):
            await call(with_tools(number)).to(house.app)
    assert len({id(tools) for tools in sys.modules["own_rules"].SEEN}) == 2
    assert house.app.toolsets.loads(with_tools(0))["tools"] == MANY_TOOLS


# Moderation

MODERATION = ", moderation: {enabled: true, deny: ['(?i)zeus'], check: own_rules.check}"


def moderated(tmp_path, *hooks, more=MODERATION):
    return with_hooks(tmp_path, *hooks, more=more)


@pytest.mark.parametrize("path", ["/v1/messages", COUNT, "/v1/chat/completions", "/v1/embeddings"])
@pytest.mark.parametrize("prompt", ["project ZEUS", "forbidden"])
async def test_what_moderation_finds_is_sent_to_nobody(tmp_path, worker, path, prompt):
    async with open_house(moderated(tmp_path), worker.address) as house:
        body = asking(prompt=prompt, input=prompt)
        answer = await call(body, path).to(house.app)
    assert (answer.status, worker.requests) == (400, [])
    assert answer.json()["error"]["message"] == "the request was refused by moderation"
    [logged] = house.logged
    request_id = answer.header("x-ccproxy-request-id")
    assert logged == {
        "level": "warning",
        "event": "ccproxy_moderation",
        "request_id": request_id,
        "session": None,
        "call_type": call_type_of(path),
        "outcome": "refused",
    }
    assert prompt not in house.told()
    assert (house.finished()["status"], house.finished()["failed"]) == (400, True)


async def test_what_passes_is_sent_and_told_if_asked_for(tmp_path, worker):
    async with open_house(moderated(tmp_path), worker.address) as house:
        assert (await call(asking()).to(house.app)).status == 200
        assert house.logged == []
    more = f"{MODERATION}, logging: {{enable_moderation: true}}"
    async with open_house(moderated(tmp_path, more=more), worker.address) as house:
        await call(asking()).to(house.app)
    assert [(one["level"], one["outcome"]) for one in house.logged] == [("info", "passed")]


async def test_what_hooks_have_made_of_a_request_is_moderated(tmp_path, worker):
    message = {"role": "user", "content": "zeus"}
    config = moderated(tmp_path, changing(messages=[message]))
    async with open_house(config, worker.address) as house:
        assert (await call(asking()).to(house.app)).status == 400


async def test_a_check_that_fails_lets_nothing_through(tmp_path, worker):
    more = ", moderation: {enabled: true, check: own_rules.check}"
    config = moderated(tmp_path, more=more)
    broken = HOOKS.replace('"forbidden" not in repr(data)', "1 / 0")
    (tmp_path / "own_rules.py").write_text(broken)
    async with open_house(config, worker.address) as house:
        answer = await call(asking()).to(house.app)
    assert (answer.status, worker.requests) == (500, [])
    assert house.logged[0]["outcome"] == "failed"


ZEUS = "project zeus"
MULTIPART = {"content-type": "multipart/form-data; boundary=X"}


def form(head, content):
    """A form with a field of its own beside the two of every transcription."""
    model = b'content-disposition: form-data; name="model"\r\n\r\ndefault'
    sound = (
        b'content-disposition: form-data; name="file"; filename="a.wav"\r\n'
        b"content-type: audio/wav\r\n\r\nRIFF\xff"
    )
    own = b"content-disposition: form-data; %s\r\n\r\n%s" % (head, content)
    return b"--X\r\n" + b"\r\n--X\r\n".join((model, sound, own)) + b"\r\n--X--\r\n"


FORMS = {
    "a long field": (b'name="prompt"', ZEUS.encode() + b" x" * 40_000),
    "a name without quotes": (b"name=prompt", ZEUS.encode()),
    "a word of the head": (b'name="prompt"; x="filename"', ZEUS.encode()),
    "a byte that is no text": (b'name="prompt"', ZEUS.encode() + b"\xff"),
    "a file": (b'name="notes"; filename="a.txt"', ZEUS.encode() + b"\xff"),
    "lines of JSON": (b'name="b"; filename="b.jsonl"', b'{"a": 1}\n{"b": "project \\u007aeus"}\n'),
}


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/openai/images/edits", "/v1/files"])
@pytest.mark.parametrize("part", FORMS.values(), ids=FORMS.keys())
async def test_every_part_of_a_form_is_moderated(tmp_path, worker, path, part):
    async with open_house(moderated(tmp_path), worker.address) as house:
        answer = await call(form(*part), path, headers=MULTIPART).to(house.app)
        assert (answer.status, worker.requests) == (400, [])
        assert answer.json()["error"]["message"] == "the request was refused by moderation"
        head, content = part
        fine = form(head, content.replace(b"zeus", b"hera").replace(b"u007a", b"u007b"))
        assert (await call(fine, path, headers=MULTIPART).to(house.app)).status == 200
    assert worker.requests[0].body == fine
    assert ZEUS not in house.told()


async def test_a_form_that_two_could_read_in_two_ways_is_read_by_nobody(house, worker):
    cut = form(b'name="prompt"', b"hello").removesuffix(b"\r\n--X--\r\n")
    answer = await call(cut, "/v1/audio/transcriptions", headers=MULTIPART).to(house.app)
    assert (answer.status, worker.requests) == (400, [])
    assert answer.json()["error"]["message"] == "the form has no end"


def turns(*texts):
    roles = ("user", "assistant")
    said = enumerate(texts)
    return [{"role": roles[number % 2], "content": content} for number, content in said]


def text_blocks(*texts):
    return [{"type": "text", "text": text} for text in texts]


SAID_NEWLY = {
    "suffix": ("/v1/completions", {"prompt": "a", "suffix": ZEUS}),
    "instructions": ("/v1/responses", {"input": "a", "instructions": ZEUS}),
    "name": (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "name": ZEUS, "content": "a"}]},
    ),
    "blocks": ("/v1/messages", {"messages": turns(text_blocks("project ", "zeus"))}),
    "file": (
        "/v1/chat/completions",
        {
            "messages": turns(
                [
                    {
                        "type": "file",
                        "file": {
                            "filename": "a.txt",
                            "file_data": "data:text/plain;base64,cHJvamVjdCB6ZXVz",
                        },
                    }
                ]
            )
        },
    ),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("path", "body"), SAID_NEWLY.values(), ids=SAID_NEWLY.keys())
async def test_what_is_said_newly_is_moderated_wherever_it_stands(
    tmp_path, worker, path, body, stream
):
    async with open_house(moderated(tmp_path), worker.address) as house:
        raw = orjson.dumps({"model": "default", "stream": stream, **body})
        answer = await call(raw, path).to(house.app)
        assert (answer.status, worker.requests) == (400, [])
        assert answer.header("content-type") == "application/json"
        fine = raw.replace(b"zeus", b"hera").replace(b"6ZXVz", b"oZXJh")
        assert (await call(fine, path).to(house.app)).status == 200


SAID_BEFORE = {
    "an earlier turn": {"messages": turns(ZEUS, "", ".")},
    "an answer": {"messages": turns("a", ZEUS, ".")},
    "the system prompt": {"messages": turns("a"), "system": ZEUS},
    "blocks of it": {"messages": turns("a"), "system": text_blocks("project ", "zeus")},
    "a tool": {"messages": turns("a"), "tools": [{"name": "f", "description": ZEUS}]},
}


@pytest.mark.parametrize("body", SAID_BEFORE.values(), ids=SAID_BEFORE.keys())
@pytest.mark.parametrize(("scope", "status"), [("newest", 200), ("all", 400)])
async def test_the_scope_decides_about_what_was_said_before(tmp_path, worker, body, scope, status):
    more = MODERATION.replace("enabled: true", f"enabled: true, scope: {scope}")
    async with open_house(moderated(tmp_path, more=more), worker.address) as house:
        raw = orjson.dumps({"model": "default", "max_tokens": 16, **body})
        assert (await call(raw).to(house.app)).status == status
    assert len(worker.requests) == (status == 200)
    assert ZEUS not in house.told()


@pytest.mark.parametrize("scope", ["newest", "all"])
async def test_a_check_gets_all_of_a_request_in_either_scope(tmp_path, worker, scope):
    more = f", moderation: {{enabled: true, scope: {scope}, check: own_rules.check}}"
    async with open_house(moderated(tmp_path, more=more), worker.address) as house:
        raw = orjson.dumps({"model": "default", "messages": turns("forbidden", "b", "c")})
        assert (await call(raw).to(house.app)).status == 400


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages": [{"content": "project \\u007aeus"}]}',
        b'{"messages": [{"content": "project \\u007aeus"}], "n": NaN}',
        b'{"a": "\xff", "messages": [{"content": "project zeus"}]}',
        b"\xff\xfe project zeus",
    ],
)
async def test_no_escape_and_no_byte_hides_a_word_in_what_is_carried(tmp_path, worker, body):
    async with open_house(moderated(tmp_path), worker.address) as house:
        assert (await call(body, "/anthropic/v1/messages").to(house.app)).status == 400
    assert worker.requests == []


@pytest.mark.parametrize("path", ["/v1beta/models/g:generateContent", "/anthropic/v1/messages"])
async def test_what_is_carried_as_it_is_is_moderated_as_well(tmp_path, worker, path):
    async with open_house(moderated(tmp_path), worker.address) as house:
        body = orjson.dumps({"contents": [{"parts": [{"text": "zeus"}]}]})
        assert (await call(body, path).to(house.app)).status == 400
        assert (await call(b"{}", path).to(house.app)).status == 200
        assert (await call(b"", "/v1/files/f-1", method="DELETE").to(house.app)).status == 200
    assert len(worker.requests) == 2


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/anthropic/v1/messages", b"{}"),
        ("GET", "/gemini/v1beta/models", b""),
        ("POST", "/v1/messages", asking()),
    ],
)
async def test_a_query_is_moderated_since_providers_get_it(tmp_path, worker, method, path, body):
    async with open_house(moderated(tmp_path), worker.address) as house:
        for query, status in (("a=project+zeus", 400), ("a=%7Aeus", 400), ("beta=true", 200)):
            asked = call(body, path, method=method, query=query)
            assert (await asked.to(house.app)).status == status
    assert len(worker.requests) == 1


TWICE = b'{"model": "default", "prompt": "zeus", "prompt": "x", "max_tokens": 5, "messages": []}'


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/completions", "/anthropic/v1/messages"])
async def test_what_could_be_read_in_two_ways_is_not_moderated_but_refused(tmp_path, worker, path):
    more = ", moderation: {enabled: true, check: own_rules.check}"
    async with open_house(moderated(tmp_path, more=more), worker.address) as house:
        answer = await call(TWICE, path).to(house.app)
        assert (answer.status, worker.requests) == (400, [])
        assert answer.json()["error"]["message"] == (
            "the request body has an object with a name twice"
        )
        assert house.logged[0]["outcome"] == "refused"
    async with open_house(moderated(tmp_path, more=""), worker.address) as house:
        assert (await call(TWICE, path).to(house.app)).status == 200


# Budgets


def used_up(on_exceeded="reject"):
    one = {"label": None, "period": "day", "limit_usd": 5.0, "resets": "2026-01-02"}
    return Gate.from_message({"on_exceeded": on_exceeded, "exceeded": [one]})


@pytest.mark.parametrize("on_exceeded", ["reject", "route:think"])
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/anthropic/v1/messages", "error"),
        ("/openai/chat/completions", None),
        ("/v1beta/models/g:generateContent", None),
    ],
)
async def test_no_providers_own_path_leads_around_a_budget(house, worker, path, kind, on_exceeded):
    house.app.gate = used_up(on_exceeded)
    answer = await call(asking(), path).to(house.app)
    assert (answer.status, worker.requests) == (403, [])
    assert answer.header("x-should-retry") == "false"
    assert answer.json().get("type") == kind
    assert "is used up until 2026-01-02" in answer.json()["error"]["message"]
    assert house.finished()["error"] == "BudgetUsedUpError"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/anthropic/v1/models"),
        ("POST", "/anthropic/v1/messages/count_tokens"),
        ("POST", "/v1/files"),
        ("GET", "/v1/batches"),
        ("GET", "/v1/responses/r-1"),
    ],
)
async def test_what_spends_nothing_goes_on(house, worker, method, path):
    house.app.gate = used_up()
    assert (await call(b"{}", path, method=method).to(house.app)).status == 200
    assert len(worker.requests) == 1


# What is answered here


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_claude_codes_first_question_needs_no_key(house, method):
    answer = await Call(method=method, path="/").to(house.app)
    assert answer.status == 200
    assert (answer.answer == b"") is (method == "HEAD")


async def test_readiness_follows_the_workers(house):
    assert (await Call("GET", "/health/readiness").to(house.app)).status == 200
    house.app.pool.replace([])
    assert (await Call("GET", "/health/readiness").to(house.app)).status == 503


async def test_the_models_are_listed_for_those_with_a_key(house, worker):
    assert (await Call("GET", "/v1/models").to(house.app)).status == 401
    answer = await call(b"", "/v1/models", method="GET").to(house.app)
    assert [model["id"] for model in answer.json()["data"]] == [
        "default",
        "think",
        "claude-haiku-4-5",
    ]
    assert worker.requests == []


# Where LiteLLM keeps the keys


@pytest.fixture
async def with_database(tmp_path, worker):
    general = "general_settings: {master_key: sk-master, database_url: 'postgresql://x'}"
    write_config(tmp_path, litellm=f"{MODELS}\n{general}")
    async with open_house(tmp_path, worker.address) as house:
        yield house


async def test_litellm_judges_keys_that_it_keeps(with_database, worker):
    worker.default = answers(b"{}", 401)
    answer = await Call(body=asking(), headers={"x-api-key": "sk-one-of-many"}).to(
        with_database.app
    )
    assert answer.status == 401
    assert worker.requests[0].header("x-api-key") == "sk-one-of-many"
    assert worker.requests[0].header("x-litellm-api-key") is None


async def test_nor_are_models_listed_for_a_key_that_nobody_judged(with_database, worker):
    await Call("GET", "/v1/models").to(with_database.app)
    assert worker.requests[0].target == "/v1/models"


# Refusals


@pytest.mark.parametrize("offered", [{}, {"x-api-key": "sk-wrong"}, {"authorization": "Bearer x"}])
async def test_nobody_passes_without_the_key(house, worker, offered):
    anthropic = await Call(body=asking(), headers=offered).to(house.app)
    openai = await Call(path="/v1/chat/completions", body=asking(), headers=offered).to(house.app)
    assert anthropic.status == openai.status == 401
    assert anthropic.json()["error"]["type"] == "authentication_error"
    assert openai.json()["error"]["code"] == 401
    assert "ccproxyctl env" in openai.json()["error"]["message"]
    assert anthropic.header("x-should-retry") == "false"
    assert worker.requests == []
    assert "sk-wrong" not in repr((anthropic.answer, house.sent))


@pytest.mark.parametrize(
    ("asked", "call_type", "status", "error"),
    [
        (Call(body=asking()), "anthropic_messages", 401, "ProxyError"),
        (call(path="/v1/nothing"), "carried", 404, "ProxyError"),
        (call(b'{"model": '), "anthropic_messages", 400, "ValidationError"),
    ],
)
async def test_what_is_refused_at_the_door_is_recorded_too(
    house, worker, asked, call_type, status, error
):
    answer = await asked.to(house.app)
    told = house.finished()
    assert answer.header("x-ccproxy-request-id") == told["request_id"]
    assert (told["call_type"], told["status"], told["error"]) == (call_type, status, error)
    assert (told["failed"], told["label"]) == (True, None)
    assert worker.requests == []


async def test_nobody_learns_without_the_key_which_paths_there_are(house):
    paths = ("/v1/messages", "/key/generate", "/nowhere")
    assert {(await Call(path=path).to(house.app)).status for path in paths} == {401}


@pytest.mark.parametrize("path", ["/nowhere", "/key/generate", "/ui/", "/"])
async def test_what_is_not_served_is_not_found(house, worker, path):
    answer = await call(path=path).to(house.app)
    assert answer.status == 404
    assert answer.json()["error"]["message"] == f"POST {path} is not served here"
    assert worker.requests == []


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_a_client_of_anthropics_gets_at_no_file_of_openais(house, worker, method):
    headers = {"anthropic-version": "2023-06-01"}
    answer = await call(path="/v1/files/file-1", method=method, headers=headers).to(house.app)
    assert (answer.status, answer.header("x-should-retry")) == (404, "false")
    assert answer.json()["error"]["type"] == "not_found_error"
    assert worker.requests == []
    assert (await call(path="/v1/files/file-1", method="GET").to(house.app)).status == 200


@pytest.mark.parametrize("headers", [{}, {"anthropic-version": "2023-06-01"}])
@pytest.mark.parametrize("end", ["", "/file-1", "/file-1/content"])
async def test_but_at_those_of_its_own_provider(house, worker, headers, end):
    path = f"/anthropic/v1/files{end}"
    assert (await call(path=path, method="GET", headers=headers).to(house.app)).status == 200
    assert worker.requests[0].target == path


@pytest.mark.parametrize("end", ["", "/count_tokens"])
async def test_a_message_is_one_also_without_a_version(house, worker, end):
    answer = await call(asking("think"), f"/messages{end}", query="beta=true").to(house.app)
    assert (answer.status, answer.header("x-ccproxy-label")) == (200, "think")
    assert worker.requests[0].target == f"/v1/messages{end}?beta=true"


async def test_management_is_open_where_the_config_says_so(tmp_path, worker):
    config_dir = write_config(tmp_path, "ccproxy: {management_routes: true}")
    async with open_house(config_dir, worker.address) as house:
        assert (await call(path="/key/generate").to(house.app)).status == 200
        assert (await Call(path="/key/generate").to(house.app)).status == 401


@pytest.mark.parametrize("path", ["/v1/files/../../key/list", "/openai/./x", "/anthropic/.."])
async def test_a_path_does_not_climb(house, worker, path):
    answer = await call(path=path, method="GET").to(house.app)
    assert answer.status == 400
    assert worker.requests == []


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
async def test_bad_json_is_refused_in_the_clients_shape_and_not_quoted(house, worker, path):
    answer = await call(b'{"messages": "' + CANARY.encode(), path).to(house.app)
    assert answer.status == 400
    error = answer.json()["error"]
    assert error["type"] == ("invalid_request_error" if "messages" in path else "ValidationError")
    assert "line 1 column" in error["message"]
    assert CANARY.encode() not in answer.answer
    assert (house.finished()["status"], worker.requests) == (400, [])
    assert CANARY not in house.told()


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
@pytest.mark.parametrize("path", ["/v1/messages", "/anthropic/v1/messages"])
async def test_a_compressed_body_is_read_and_goes_on_as_it_was(house, worker, path, encoding, pack):
    headers = {"content-encoding": encoding}
    answer = await call(pack(asking()), path, headers=headers).to(house.app)
    assert answer.status == 200
    [request] = worker.requests
    assert (request.body, request.header("content-encoding")) == (asking(), None)


@pytest.mark.parametrize("path", ["/v1/messages", "/anthropic/v1/messages"])
async def test_one_that_cannot_be_read_is_refused_wherever_it_goes(house, worker, path):
    answer = await call(b"\x28\xb5\x2f\xfd", path, headers={"content-encoding": "zstd"}).to(
        house.app
    )
    assert answer.status == 415
    assert "'zstd'" in answer.json()["error"]["message"]
    assert worker.requests == []


async def test_compressing_hides_nothing_from_moderation(tmp_path, worker):
    config = write_config(tmp_path, "ccproxy: {moderation: {enabled: true, deny: [canary]}}")
    headers = {"content-encoding": "gzip"}
    async with open_house(config, worker.address) as house:
        for path in ("/v1/messages", "/anthropic/v1/messages"):
            answer = await call(gzip.compress(asking()), path, headers=headers).to(house.app)
            assert answer.status == 400
    assert worker.requests == []


@pytest.mark.parametrize("path", ["/v1/messages", "/anthropic/v1/messages"])
@pytest.mark.parametrize("lines", [["gzip", "identity"], ["identity", "gzip"], ["Gzip, identity"]])
async def test_in_whichever_line_of_the_head_it_is_said(tmp_path, worker, path, lines):
    config = write_config(tmp_path, "ccproxy: {moderation: {enabled: true, deny: [canary]}}")
    said = [("content-encoding", line) for line in lines]
    async with open_house(config, worker.address) as house:
        for prompt, status in (("canary", 400), ("finch", 200)):
            packed = gzip.compress(asking(prompt=prompt))
            answer = await call(packed, path, again=said).to(house.app)
            assert answer.status == status
    [request] = worker.requests
    assert (request.body, request.header("content-encoding")) == (asking(prompt="finch"), None)


@pytest.mark.parametrize("path", ["/v1/messages", "/anthropic/v1/messages"])
async def test_a_body_of_two_types_is_refused(house, worker, path):
    """Each of two readers would take it for something else."""
    form = [("content-type", "application/x-www-form-urlencoded")]
    headers = {"content-type": "application/json"}
    answer = await call(path=path, headers=headers, again=form).to(house.app)
    assert (answer.status, b"which differ" in answer.answer) == (400, True)
    assert worker.requests == []
    twice = [("content-type", "application/json")]
    assert (await call(headers=headers, again=twice).to(house.app)).status == 200


@pytest.mark.parametrize("encoding", ["Identity", "", "identity, identity"])
async def test_what_says_that_it_is_not_compressed_is_read_as_it_is(house, encoding):
    answer = await call(headers={"content-encoding": encoding}).to(house.app)
    assert answer.status == 200


async def test_one_body_at_a_time_is_unpacked(house, monkeypatch):
    begun, goes_on = [], threading.Event()

    def unpack(raw, encodings):
        begun.append(encodings)
        goes_on.wait(PATIENCE)
        return raw

    monkeypatch.setattr(app_module, "unpack", unpack)
    calls = [call(headers={"content-encoding": "gzip"}) for _ in range(2)]
    both = asyncio.gather(*(one.to(house.app) for one in calls))
    await becomes(lambda: begun and house.app.unpacking._waiters)
    assert len(begun) == 1
    goes_on.set()
    await both
    assert (len(begun), {one.status for one in calls}) == (2, {200})


async def test_nothing_is_not_unpacked(house, worker):
    headers = {"content-encoding": "gzip"}
    answer = await call(b"", "/v1/files/file-1", method="GET", headers=headers).to(house.app)
    assert answer.status == 200


# Pages


ASKS_LEAVE = {"origin": "http://page", "access-control-request-method": "POST"}


async def test_a_page_gets_leave_without_a_key_and_nothing_else(house, worker):
    headers = {**ASKS_LEAVE, "access-control-request-headers": "authorization,x-stainless-os"}
    answer = await Call("OPTIONS", "/v1/responses", headers=headers).to(house.app)
    assert (answer.status, answer.answer) == (200, b"")
    assert answer.header("access-control-allow-origin") == "*"
    assert answer.header("access-control-allow-headers") == "authorization,x-stainless-os"
    assert "POST" in answer.header("access-control-allow-methods")
    assert (await Call("OPTIONS", "/v1/responses").to(house.app)).status == 401
    assert worker.requests == []


async def test_a_page_can_read_its_answer_and_a_failure(house, worker):
    worker.default = answers(b"{}", 200, ("access-control-allow-origin", "http://other"))
    page = {"origin": "http://page"}
    for asked in (call(headers=page), Call(body=asking(), headers=page)):
        answer = await asked.to(house.app)
        named = [value for name, value in answer.answered if name == "access-control-allow-origin"]
        assert named == ["*"]
    assert answer.status == 401


async def test_who_is_no_page_hears_nothing_of_that(house, worker):
    answer = await call().to(house.app)
    assert not [name for name, _ in answer.answered if name.startswith("access-control")]


async def test_a_request_without_a_route_is_not_found(tmp_path, worker):
    models = "model_list: [{model_name: only, litellm_params: {model: openai/gpt-5}}]"
    async with open_house(write_config(tmp_path, "ccproxy: {}", models), worker.address) as house:
        answer = await call().to(house.app)
    assert answer.status == 404
    assert answer.header("x-should-retry") == "false"
    assert "no model_name 'default'" in answer.json()["error"]["message"]
    assert [one["kind"] for one in house.sent] == ["finished"]
    assert house.finished()["failed"]


async def test_no_worker_in_time_is_an_overload(house, monkeypatch):
    monkeypatch.setattr("ccproxyd.gateway.lanes.litellm.WAIT_SECONDS", 0.01)
    house.app.pool.replace([])
    answer = await call().to(house.app)
    assert (answer.status, answer.header("retry-after")) == (503, "5")
    assert answer.json()["error"]["type"] == "overloaded_error"
    assert answer.header("x-ccproxy-label") == "claude-haiku-4-5"
    assert house.finished()["status"] == 503


async def test_a_mistake_of_ours_tells_its_place_and_nothing_else(house, monkeypatch):
    def broken(*_):
        raise KeyError(CANARY)

    monkeypatch.setattr(app_module, "plan_route", broken)
    answer = await call().to(house.app)
    assert answer.status == 500
    assert answer.json()["error"]["message"] == "internal error in the gateway"
    [logged] = house.logged
    assert (logged["level"], logged["error"]) == ("error", "KeyError")
    assert "test_app.py:" in logged["where"]
    assert CANARY not in house.told()
    assert (house.finished()["status"], house.finished()["failed"]) == (500, True)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/v1/messages", {"type": "error"}),
        ("/v1/chat/completions", {}),
    ],
)
async def test_in_the_midst_of_a_stream_it_is_the_last_event(
    house, worker, monkeypatch, path, told
):
    def broken(*_):
        raise KeyError(CANARY)

    monkeypatch.setattr("ccproxyd.gateway.lanes.answers._InPassing.feed", broken)
    worker.plays.append(begins(b"data: {}\n\n"))
    answer = await call(path=path).to(house.app)
    assert (answer.status, answer.complete) == (200, False)
    *_, last = answer.answer.rstrip(b"\n").split(b"\n")
    event = orjson.loads(last.removeprefix(b"data: "))
    assert event["error"]["message"] == "internal error in the gateway"
    assert event["error"]["type"] == ("api_error" if told else "Unknown")
    assert told.items() <= event.items()
    assert CANARY not in house.told()
    assert (house.finished()["error"], house.finished()["failed"]) == ("KeyError", True)


async def test_what_is_no_stream_and_has_begun_just_breaks_off(house, worker, monkeypatch):
    def broken(*_):
        raise KeyError(CANARY)

    monkeypatch.setattr("ccproxyd.gateway.lanes.answers._InPassing.feed", broken)
    worker.plays.append(begins(b"ID3", kind="audio/mpeg"))
    answer = await call().to(house.app)
    assert (answer.status, answer.complete, answer.answer) == (200, False, b"ID3")


async def test_nothing_of_a_prompt_is_told(tmp_path, worker):
    rules = """
class Raises:
    def evaluate(self, request, config):
        raise ValueError(request["messages"])
"""
    ours = "ccproxy: {rules: [{label: think, rule: own_rules.Raises}]}"
    async with open_house(write_config(tmp_path, ours, rules=rules), worker.address) as house:
        worker.plays.extend([dies(), streams(f'data: "{CANARY}"\n\n'.encode())])
        answer = await call().to(house.app)
    assert CANARY.encode() in answer.answer
    assert [one["kind"] for one in house.sent] == ["decided", "finished"]
    assert house.finished()["retries"] == 1
    assert CANARY not in house.told()


# Clients that go away


async def test_a_client_that_leaves_while_its_work_fails_cancels_nothing_that_follows(monkeypatch):
    monkeypatch.setattr(app_module, "SECONDS", 0)
    gone, watched = asyncio.Event(), asyncio.Event()

    class Leaving:
        ended = False

        async def until_gone(self):
            watched.set()
            await gone.wait()

    async def fail():
        with app_module._cancelled_when_gone(Leaving()):
            await watched.wait()
            gone.set()
            await asyncio.sleep(0)
            raise ValueError("its work")

    with pytest.raises(ValueError, match="its work"):
        await fail()
    await asyncio.sleep(0)
    assert not asyncio.current_task().cancelling()


async def test_a_client_that_leaves_while_it_waits_costs_nothing(house, worker):
    house.app.pool.replace([])
    leaving = call()
    task = asyncio.create_task(leaving.to(house.app))
    await becomes(lambda: house.app.pool.waiting)
    leaving.leave()
    await task
    assert house.app.pool.waiting == house.app.in_flight == 0
    assert (house.finished()["status"], house.finished()["failed"]) == (499, True)
    assert leaving.status == 0


@pytest.mark.parametrize("begun", [False, True])
async def test_a_client_that_leaves_is_left_by_the_worker_too(house, worker, begun):
    left = Moment()
    gone = notes_leaving(left)
    worker.default = begins(b"data: 1\n\n", also=gone) if begun else gone
    leaving = call()
    task = asyncio.create_task(leaving.to(house.app))
    await worker.seen(1)
    if begun:
        await asyncio.wait_for(leaving.begun.wait(), PATIENCE)
    leaving.leave()
    await left.comes()
    await task
    assert not leaving.complete
    assert (house.finished()["status"], house.finished()["failed"]) == (200 if begun else 499, True)
    assert house.app.pool.in_flight() == {"1.0": 0}
    assert house.logged == []


@pytest.mark.parametrize("last", [b"data: [DONE]\n\n", b"event: message_stop\ndata: {}\n\n"])
async def test_a_client_that_leaves_at_the_last_event_has_cut_nothing(house, worker, last):
    """OpenAI's library does not wait for the end of the transfer."""
    left = Moment()
    usage = b'data: {"usage": {"output_tokens": 7}}\n\n'
    worker.default = begins(usage, last, also=notes_leaving(left))
    leaving = call()
    task = asyncio.create_task(leaving.to(house.app))
    await becomes(lambda: last in leaving.answer)
    leaving.leave()
    await left.comes()
    await task
    finished = house.finished()
    assert (finished["status"], finished["failed"], finished["error"]) == (200, False, None)
    assert finished["output_tokens"] == 7


async def test_one_that_leaves_at_an_error_has_an_answer_that_failed(house, worker):
    left = Moment()
    last = b"event: error\ndata: {}\n\n"
    worker.default = begins(b"data: 1\n\n", last, also=notes_leaving(left))
    leaving = call()
    task = asyncio.create_task(leaving.to(house.app))
    await becomes(lambda: last in leaving.answer)
    leaving.leave()
    await left.comes()
    await task
    assert (house.finished()["failed"], house.finished()["error"]) == (True, "CutError")


async def test_a_client_that_leaves_with_its_whole_answer_has_not_gone(house, worker):
    answer = await call().to(house.app)
    assert answer._over.is_set()
    assert answer.complete
    assert (house.finished()["status"], house.finished()["failed"]) == (200, False)


async def test_the_end_of_the_last_request_in_flight_is_told(house, worker):
    idle = []
    house.app.on_idle = lambda: idle.append(house.app.in_flight)
    worker.default = begins(b"data: 1\n\n", also=notes_leaving(Moment()))
    waiting = call()
    task = asyncio.create_task(waiting.to(house.app))
    await asyncio.wait_for(waiting.begun.wait(), PATIENCE)
    await call(path="/nothing/here").to(house.app)
    assert idle == []
    task.cancel()
    await asyncio.wait([task])
    assert idle == [0]


async def test_what_is_told_of_a_request_waits_until_it_is_on_its_way(house, worker):
    told = []
    worker.default = begins(b"data: 1\n\n", also=notes_leaving(Moment()))
    waiting = call()
    asked = house.app.lane.carry

    async def carry(*arguments):
        told.append([one["kind"] for one in house.sent])
        await asked(*arguments)

    house.app.lane.carry = carry
    task = asyncio.create_task(waiting.to(house.app))
    await asyncio.wait_for(waiting.begun.wait(), PATIENCE)
    await becomes(lambda: house.sent)
    task.cancel()
    await asyncio.wait([task])
    assert told == [[]]
    assert [one["kind"] for one in house.sent] == ["decided", "finished"]


async def test_a_client_that_leaves_in_its_own_body_is_gone(house, worker):
    leaving = call()

    async def receive():
        return {"type": "http.disconnect"}

    await house.app(leaving.scope(), receive, leaving.send)
    assert (leaving.status, worker.requests) == (0, [])
    assert house.finished()["status"] == 499


async def test_a_request_that_is_cut_off_is_a_failure(house, worker):
    worker.default = begins(b"data: 1\n\n", also=notes_leaving(Moment()))
    cut = call()
    task = asyncio.create_task(cut.to(house.app))
    await asyncio.wait_for(cut.begun.wait(), PATIENCE)
    task.cancel()
    await asyncio.wait([task])
    assert (house.finished()["status"], house.finished()["failed"]) == (200, True)
    assert house.app.in_flight == 0


# What is explained


async def test_a_decision_is_explained_with_what_every_rule_measured(house):
    told = house.app.explain(
        {"model": "x", **THINKING}, {"x-claude-code-session-id": "s"}, "/v1/messages"
    )
    assert (told["label"], told["model"], told["rule"], told["lane"]) == (
        *("think", "anthropic/claude-opus-4-8", "ThinkingRule", "litellm"),
    )
    assert told["session_id"] == "s"
    assert [(rule["rule"], rule["matched"]) for rule in told["rules"]] == [("ThinkingRule", True)]
    assert told["rules"][0]["detail"]
    assert house.sent == []


async def test_a_used_up_budget_is_part_of_the_explanation(house):
    house.app.gate = used_up("route:think")
    told = house.app.explain({"model": "x"}, {}, "/v1/messages")
    assert (told["label"], told["model"], told["rule"]) == (
        *("think", "anthropic/claude-opus-4-8", "budget"),
    )
    assert told["reason"].startswith("the daily budget (5 USD) is used up until 2026-01-02")
    assert told["lane"]


async def test_a_request_that_a_budget_refuses_is_explained_as_refused(house):
    house.app.gate = used_up("reject")
    told = house.app.explain({"model": "x", **THINKING}, {}, "/v1/messages")
    assert (told["label"], told["model"], told["rule"], told["lane"]) == ("", "", "budget", "")
    assert told["reason"].startswith("refused: the daily budget (5 USD) is used up")
    assert [(rule["rule"], rule["matched"]) for rule in told["rules"]] == [("ThinkingRule", True)]


@pytest.mark.parametrize("path", ["/v1/files", "/anthropic/v1/messages"])
async def test_what_is_passed_on_is_explained_as_that(house, path):
    told = house.app.explain({"model": "x", **THINKING}, {}, path)
    assert path in told["reason"]
    assert (told["label"], told["lane"], told["rules"]) == ("", "litellm", [])
    assert told.keys() == house.app.explain({"model": "x"}, {}, "/v1/messages").keys()


async def test_a_websocket_s_model_is_explained_as_well(house):
    assert house.app.explain({"model": "think"}, {}, "/v1/realtime")["label"] == "think"


@pytest.mark.parametrize("path", ["/messages", "/messages/count_tokens?beta=true"])
async def test_and_one_at_a_path_without_a_version(house, path):
    assert house.app.explain({"model": "think"}, {}, path)["label"] == "think"


@pytest.mark.parametrize("path", ["/key/generate", "/key/generate/realtime", "/nonsense/realtime"])
async def test_what_is_not_served_is_not_explained(house, path):
    with pytest.raises(ProxyError, match=f"POST {path} is not served here"):
        house.app.explain({"model": "x"}, {}, path)


async def test_a_model_in_the_path_is_the_one_that_is_explained(house):
    path = "/openai/deployments/think/chat/completions?api-version=1"
    told = house.app.explain({"messages": []}, {}, path)
    assert (told["label"], told["rule"]) == ("think", "passthrough")


# Behind a real server


async def test_a_lifespan_is_no_business_of_ours(house):
    await house.app({"type": "lifespan"}, None, None)


async def test_half_a_megabyte_goes_there_and_back(house, worker):
    worker.default = answers(b'{"x": "%s"}' % (b"y" * 500_000))
    async with serving(house.app) as url, aiohttp.ClientSession() as client:
        for _ in range(2):
            body = asking(prompt="word " * 100_000)
            async with client.post(
                f"{url}/v1/messages", data=body, headers={"x-api-key": KEY}
            ) as got:
                assert got.status == 200
                assert len(await got.read()) == 500_009
    assert worker.requests[0].body == body


async def test_a_refused_request_leaves_its_connection_of_use(house):
    async with serving(house.app) as url, aiohttp.ClientSession() as client:
        for headers, status in (({}, 401), ({"x-api-key": KEY}, 200)):
            body = asking(prompt="word " * 100_000)
            async with client.post(f"{url}/v1/messages", data=body, headers=headers) as got:
                await got.read()
                assert got.status == status


async def test_a_stream_that_is_cut_is_seen_to_be_cut(house, worker):
    async def die(caller):
        await asyncio.wait_for(arrived.wait(), PATIENCE)
        caller.die()

    arrived = asyncio.Event()
    worker.default = begins(b"data: 1\n\n", also=die)
    async with serving(house.app) as url, aiohttp.ClientSession() as client:
        headers = {"x-api-key": KEY}
        async with client.post(f"{url}/v1/messages", data=asking(), headers=headers) as got:
            seen = [await got.content.readany()]
            arrived.set()
            with pytest.raises(aiohttp.ClientPayloadError):
                await keep_reading(got, seen)
    assert b"".join(seen).startswith(b"data: 1\n\n\n\nevent: error\ndata: ")


async def keep_reading(response, seen):
    async for piece in response.content.iter_any():
        seen.append(piece)


async def test_a_client_that_reads_nothing_is_dropped_and_holds_no_answer(tmp_path, worker):
    """Its connection too, which uvicorn alone would keep for as long as the client likes."""
    left, flooding = Moment(), []

    async def flood(caller):
        flooding.append(caller)
        piece = chunk(b"x" * 2**20)
        try:
            for _ in range(1000):
                await caller.write(piece)
        except ConnectionError:
            left()

    config_dir = write_config(tmp_path, "ccproxy: {timeouts: {idle: 0.2}}")
    worker.default = begins(kind="application/octet-stream", also=flood)
    async with open_house(config_dir, worker.address) as house, serving(house.app) as url:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client:
            client.sendall(on_the_wire(asking()))
            await left.comes()
            await becomes(lambda: not house.app.in_flight)
    assert flooding[0].written < 64 * 2**20
    assert house.finished()["failed"]
