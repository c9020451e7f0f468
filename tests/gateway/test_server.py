import asyncio
import importlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import aiohttp
import orjson
import pytest
from attrs import define, field

from ccproxyd.errors import ValidationError
from ccproxyd.gateway import server as server_module
from ccproxyd.gateway import table as table_module
from ccproxyd.gateway.hooks.calls import Caller, TooSlow
from ccproxyd.gateway.server import USUAL_BODY_BYTES, _OverWire, _Transport
from tests.gateway.house import CANARY, KEY, OURS, asking, listen, on_the_wire, url_of, write_config
from tests.gateway.process import gateway_inside, gateway_process
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
)

pytestmark = pytest.mark.anyio

OWN = "ccproxy: {rules: [{label: think, rule: own_rules.Mine}]}"
MATCHES = "class Mine:\n    def evaluate(self, request, config):\n        return True\n"
RAISES = MATCHES.replace("return True", "raise ValueError(str(request.body))")


@pytest.fixture
def listener():
    with listen() as listener:
        yield listener


@pytest.fixture
async def worker(sockets):
    async with ScriptedWorker(sockets / "1.0.sock") as worker:
        yield worker


@pytest.fixture
async def client():
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def inside(listener):
    async with gateway_inside(listener) as daemon:
        yield daemon


async def ask(client, listener, body=None, path="/v1/messages", **headers):
    """Status and headers of an answer that was read to its end."""
    url = url_of(listener) + path
    headers = {"x-api-key": KEY, **headers}
    async with client.post(url, data=asking() if body is None else body, headers=headers) as got:
        await got.read()
        return got.status, got.headers


# From nothing to serving


async def test_it_serves_what_is_committed(inside, listener, client, worker, config_dir):
    await inside.serving(config_dir, worker)
    status, headers = await ask(client, listener)
    assert (status, headers["x-ccproxy-label"]) == (200, "claude-haiku-4-5")
    finished = await inside.until("finished")
    assert (finished["status"], finished["label"]) == (200, "claude-haiku-4-5")
    assert (await inside.until("heartbeat"))["in_flight"] == 0


async def test_after_a_heartbeat_of_a_request_another_says_when_it_is_answered(
    inside, listener, client, worker, config_dir, monkeypatch
):
    monkeypatch.setattr(server_module, "HEARTBEAT_SECONDS", 0.01)
    over = asyncio.Event()
    worker.default = holds(over, answers())
    await inside.serving(config_dir, worker)
    asking_task = asyncio.create_task(ask(client, listener))
    await inside.until("heartbeat", lambda beat: beat["in_flight"] == 1)
    monkeypatch.setattr(server_module, "HEARTBEAT_SECONDS", PATIENCE * 10)
    inside.messages.clear()
    await inside.until("heartbeat", lambda beat: beat["in_flight"] == 1)
    over.set()
    await asking_task
    await inside.until("heartbeat", lambda beat: beat["in_flight"] == 0)


async def test_it_says_when_all_is_loaded_that_stays(inside, listener, worker, config_dir):
    warm = Moment()
    inside.gateway.when_warm = warm
    await inside.serving(config_dir, worker)
    await warm.comes()


async def test_it_does_not_accept_before(inside, listener, client, worker, config_dir):
    early = asyncio.create_task(ask(client, listener))
    assert (await inside.prepare(config_dir))["ok"]
    assert "ready" not in [message["kind"] for message in inside.messages]
    await inside.ask("commit")
    await inside.until("ready")
    await inside.publish(worker)
    assert (await early)[0] == 200


async def test_a_commit_may_bring_its_workers(inside, listener, client, worker, config_dir):
    await inside.prepare(config_dir)
    listed = {name: getattr(worker.address, name) for name in worker.address.__annotations__}
    assert (await inside.ask("commit", workers=[listed]))["ok"]
    assert (await ask(client, listener))[0] == 200


async def test_nothing_can_be_done_before_there_is_a_config(inside):
    for kind in ("commit", "workers", "explain", "drain"):
        answer = await inside.ask(kind, workers=[], body={})
        assert not answer["ok"]
        assert answer["error"]["reason"]


async def test_what_is_no_command_is_refused_and_what_is_broken_survived(inside, config_dir):
    assert (await inside.ask("sing"))["error"]["reason"] == "unknown command"
    reason = (await inside.ask("prepare"))["error"]["reason"]
    assert reason == "internal error in the gateway: KeyError"
    assert (await inside.prepare(config_dir))["ok"]


# Configs come and go


async def test_a_rule_that_does_not_load_is_named_and_nothing_is_prepared(inside, tmp_path):
    answer = await inside.prepare(write_config(tmp_path, OWN, rules="import nowhere"))
    assert not answer["ok"]
    assert answer["error"]["path"] == "ccproxy.yaml: ccproxy.rules[0].rule"
    assert "nowhere" in answer["error"]["reason"]
    assert (await inside.ask("commit"))["error"]["reason"] == "nothing is prepared"


@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "type('Panic', (BaseException,), {})"])
async def test_a_module_that_raises_what_is_no_exception_is_named_all_the_same(
    inside, listener, client, worker, tmp_path, raised
):
    await inside.serving(write_config(tmp_path, OWN, rules=MATCHES), worker)
    answer = await inside.prepare(write_config(tmp_path, OWN, rules=f"raise {raised}"))
    assert answer["error"]["path"] == "ccproxy.yaml: ccproxy.rules[0].rule"
    assert (await ask(client, listener))[0] == 200


async def test_whatever_a_command_meets_it_is_answered(inside, monkeypatch, config_dir):
    def build(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(server_module.Gateway, "_build_table", build)
    reason = (await inside.prepare(config_dir))["error"]["reason"]
    assert reason == "internal error in the gateway: KeyboardInterrupt"


@define
class Impatient(Caller):
    """Its time is up as soon as a module waits at `held`."""

    held: Path = field(kw_only=True)

    async def call(self, function, *args, **named):
        calling = asyncio.create_task(Caller.call(self, function, *args, **named))
        waits = self.held.with_suffix(".waits")
        await becomes(lambda: waits.exists() or calling.done())
        if calling.done():
            return await calling
        calling.cancel()
        waits.unlink()
        raise TooSlow


@pytest.fixture
async def held(tmp_path, inside):
    """What a module can wait for until something is written there."""
    fifo = tmp_path / "held"
    os.mkfifo(fifo)
    yield fifo
    release(fifo)
    await back_again()


def release(fifo):
    """Who waits there goes on, and who comes later has nothing to wait for."""
    with suppress(FileNotFoundError):
        writing = os.open(fifo, os.O_RDWR)
        fifo.unlink()
        os.close(writing)


async def back_again():
    """No thread loads any more."""
    for thread in [one for one in threading.enumerate() if one.name == "hook"]:
        await asyncio.to_thread(thread.join, PATIENCE)


def waits_for(fifo, then=""):
    waits = fifo.with_suffix(".waits")
    return f"import own_helper\nopen({str(waits)!r}, 'w')\nopen({str(fifo)!r}).read()\n{then}"


def with_helper(directory, label):
    """A config whose rule imports another module when it is asked."""
    (directory / "own_helper.py").write_text(f"HELPS = {label!r}\n")
    lazy = "import own_helper; return own_helper.HELPS == 'think'"
    return write_config(directory, OWN, rules=MATCHES.replace("return True", lazy))


async def label_of(client, listener):
    return (await ask(client, listener))[1]["x-ccproxy-label"]


@pytest.mark.parametrize("end", ["1 / 0", MATCHES])
async def test_a_module_that_does_not_finish_loading_holds_up_nobody(
    inside, listener, client, worker, tmp_path, held, end
):
    await inside.serving(with_helper(tmp_path, "think"), worker)
    inside.gateway.loader = Impatient(most_threads=1, held=held)
    with_helper(tmp_path, "other")
    answer = await inside.prepare(write_config(tmp_path, OWN, rules=waits_for(held, end)))
    assert answer["error"]["reason"].endswith("run 'ccproxyctl restart' and 'ccproxyctl reload'")
    assert (await inside.ask("commit"))["error"]["reason"] == "nothing is prepared"
    assert await label_of(client, listener) == "think"
    release(held)
    await back_again()
    assert await label_of(client, listener) == "think", "its end changes nothing"
    assert await asyncio.to_thread(importlib.import_module, "own_rules")
    await inside.put_in_force(with_helper(tmp_path, "other"))
    assert await label_of(client, listener) == "claude-haiku-4-5"


async def test_nothing_more_is_loaded_while_a_module_does_not_finish(
    inside, listener, client, worker, tmp_path, held
):
    await inside.serving(with_helper(tmp_path, "think"), worker)
    inside.gateway.loader = Impatient(most_threads=1, held=held)
    first = await inside.prepare(write_config(tmp_path, OWN, rules=waits_for(held)))
    again = await inside.prepare(with_helper(tmp_path, "other"))
    assert again["error"] == first["error"]
    assert inside.gateway.loader.busy == 1
    assert await label_of(client, listener) == "think"


async def test_a_module_that_does_not_finish_at_the_start_is_no_matter_of_a_reload(
    inside, tmp_path, held
):
    inside.gateway.loader = Impatient(most_threads=1, held=held)
    (tmp_path / "own_helper.py").write_text("")
    answer = await inside.prepare(write_config(tmp_path, OWN, rules=waits_for(held)))
    assert "does not finish loading" in answer["error"]["reason"]
    assert answer["error"]["reason"].endswith("Mend it, then start ccproxyd again")


async def test_what_is_late_elsewhere_is_no_module_that_does_not_finish(
    inside, monkeypatch, config_dir
):
    def build(*_):
        raise TimeoutError

    monkeypatch.setattr(server_module.Gateway, "_build_table", build)
    reason = (await inside.prepare(config_dir))["error"]["reason"]
    assert reason == "internal error in the gateway: TimeoutError"


@pytest.mark.parametrize("ends", ["abandon", "fails behind its modules"])
async def test_what_does_not_come_into_force_takes_no_modules_from_what_is(
    inside, listener, client, worker, tmp_path, monkeypatch, ends
):
    def refuse(*_):
        raise ValidationError("no lanes")

    await inside.serving(with_helper(tmp_path, "think"), worker)
    if ends == "abandon":
        assert (await inside.prepare(with_helper(tmp_path, "other")))["ok"]
        await inside.ask("abandon")
    else:
        monkeypatch.setattr(table_module, "lanes_of", refuse)
        assert not (await inside.prepare(with_helper(tmp_path, "other")))["ok"]
    assert await label_of(client, listener) == "think"


async def test_a_broken_rule_leaves_the_old_table_and_a_mended_one_replaces_it(
    inside, listener, client, worker, tmp_path
):
    async def label():
        return (await ask(client, listener))[1]["x-ccproxy-label"]

    await inside.serving(write_config(tmp_path, OWN, rules=MATCHES), worker)
    assert await label() == "think"
    broken = await inside.prepare(write_config(tmp_path, OWN, rules="class Mine: half writ"))
    assert not broken["ok"]
    assert await label() == "think"
    await inside.put_in_force(write_config(tmp_path, OWN, rules=MATCHES.replace("True", "False")))
    assert await label() == "claude-haiku-4-5"


async def test_what_is_prepared_can_be_abandoned(inside, config_dir):
    await inside.prepare(config_dir)
    assert (await inside.ask("abandon"))["ok"]
    assert not (await inside.ask("commit"))["ok"]


async def test_a_rule_that_raises_is_counted_and_told_without_what_it_read(
    inside, listener, client, worker, tmp_path, monkeypatch
):
    monkeypatch.setattr(server_module, "HEARTBEAT_SECONDS", 0.02)
    await inside.serving(write_config(tmp_path, OWN, rules=RAISES), worker)
    for _ in range(2):
        assert (await ask(client, listener))[1]["x-ccproxy-label"] == "claude-haiku-4-5"
    counted = {"ccproxy.rules[0]": 2}
    await inside.until("heartbeat", lambda beat: beat["rule_errors"] == counted)
    logged = [one for one in inside.messages if one["kind"] == "log"]
    assert [(one["rule"], one["error"], one["where"]) for one in logged] == [
        ("ccproxy.rules[0]", "ValueError", "own_rules.py:3")
    ]
    assert CANARY not in inside.heard_text()
    await inside.put_in_force(tmp_path)
    assert inside.gateway.rule_errors == {}


PANICS = """
class PanicException(BaseException):
    pass


class Mine:
    def evaluate(self, request, config):
        if request.requested_model == "claude-sonnet-5":
            raise PanicException
        raise KeyError
"""


async def test_each_of_its_failures_is_told_also_one_that_is_no_exception(
    inside, listener, client, worker, tmp_path
):
    await inside.serving(write_config(tmp_path, OWN, rules=PANICS), worker)
    for model in ["claude-haiku-4-5", *["claude-sonnet-5"] * 10]:
        body = f'{{"model": "{model}", "messages": [], "max_tokens": 1}}'
        assert (await ask(client, listener, body))[0] == 200
    await inside.until("log", lambda told: told.get("times") == 10)
    logged = [one for one in inside.messages if one["kind"] == "log"]
    assert [(one["error"], one["where"], one.get("times", 1)) for one in logged] == [
        ("KeyError", "own_rules.py:10", 1),
        ("PanicException", "own_rules.py:9", 1),
        ("PanicException", "own_rules.py:9", 10),
    ]


HOOKS = "ccproxy: {hooks: [own_rules.hook]}"
BROKEN = """
def hook(data, user_api_key_dict):
    raise ValueError(data["messages"])
"""


async def test_a_hook_that_fails_is_counted_and_told_once_by_its_place(
    inside, listener, client, worker, tmp_path, monkeypatch
):
    monkeypatch.setattr(server_module, "HEARTBEAT_SECONDS", 0.02)
    await inside.serving(write_config(tmp_path, HOOKS, rules=BROKEN), worker)
    for _ in range(2):
        assert (await ask(client, listener))[0] == 200
    await inside.until("heartbeat", lambda beat: beat["hook_errors"] == {"ccproxy.hooks[0]": 2})
    logged = [one for one in inside.messages if one["kind"] == "log"]
    told = [(one["hook"], one["error"], one["where"]) for one in logged]
    assert told == [("ccproxy.hooks[0]", "ValueError", "own_rules.py:3")]
    assert CANARY not in inside.heard_text()
    await inside.put_in_force(tmp_path)
    assert inside.gateway.hook_errors == {}


async def test_a_broken_hook_leaves_the_old_table_and_a_mended_one_replaces_it(
    inside, listener, client, worker, tmp_path
):
    async def label():
        return (await ask(client, listener))[1]["x-ccproxy-label"]

    gives = "def hook(data, user_api_key_dict):\n    data['model'] = '{}'\n"
    await inside.serving(write_config(tmp_path, HOOKS, rules=gives.format("default")), worker)
    assert await label() == "default"
    broken = await inside.prepare(write_config(tmp_path, HOOKS, rules="def hook(data): half"))
    assert broken["error"]["path"] == "ccproxy.yaml: ccproxy.hooks[0]"
    assert "must take (data, user_api_key_dict, **params)" in broken["error"]["reason"]
    assert await label() == "default"
    mended = write_config(tmp_path, HOOKS, rules=gives.format("claude-haiku-4-5"))
    await inside.put_in_force(mended)
    assert await label() == "claude-haiku-4-5"


async def test_a_conversation_stays_on_its_label_over_a_reload(
    inside, listener, client, worker, tmp_path
):
    ours = OURS.replace("ThinkingRule", "ThinkingRule, sticky: true")
    await inside.serving(write_config(tmp_path, ours), worker)
    session = {"x-claude-code-session-id": "s"}
    await ask(client, listener, asking(thinking={"type": "enabled"}), **session)
    await inside.put_in_force(tmp_path)
    assert (await ask(client, listener, **session))[1]["x-ccproxy-label"] == "think"


# Workers come and go


async def test_requests_wait_for_a_worker_and_are_told_why_if_none_comes(
    inside, listener, client, worker, config_dir, monkeypatch
):
    await inside.serving(config_dir)
    waiting = [asyncio.create_task(ask(client, listener)) for _ in range(3)]
    await becomes(lambda: inside.gateway.app.pool.waiting == 3)
    await inside.publish(worker)
    assert [(await one)[0] for one in waiting] == [200, 200, 200]
    await inside.publish(reason="the last worker was killed by SIGKILL")
    monkeypatch.setattr("ccproxyd.gateway.lanes.litellm.WAIT_SECONDS", 0.0)
    assert (await ask(client, listener))[0] == 503
    assert inside.gateway.app.pool.reason == "the last worker was killed by SIGKILL"


async def test_a_worker_that_is_replaced_finishes_and_is_then_idle(
    inside, listener, client, worker, sockets, config_dir
):
    over = asyncio.Event()
    worker.plays.append(holds(over, answers()))
    async with ScriptedWorker(sockets / "2.0.sock", generation=2) as successor:
        await inside.serving(config_dir, worker)
        first = asyncio.create_task(ask(client, listener))
        await worker.seen(1)
        assert await inside.publish(successor) == {"1.0", "2.0"}
        assert (await ask(client, listener))[0] == 200
        assert len(successor.requests) == 1
        assert "idle" not in [message["kind"] for message in inside.messages]
        over.set()
        assert (await first)[0] == 200
        await inside.until("idle", lambda told: told["worker"] == "1.0")
        assert await inside.publish(successor) == {"2.0"}
        assert list(inside.gateway.app.lane._origins) == ["2.0"]


async def test_it_is_busy_while_somebody_waits_and_what_waits_for_that_goes_then(
    inside, listener, client, worker, config_dir
):
    over, told = asyncio.Event(), []
    worker.plays.append(holds(over, answers()))
    gateway = inside.gateway
    assert not gateway.is_busy()
    gateway.settle()
    await inside.serving(config_dir, worker)
    asked = asyncio.create_task(ask(client, listener))
    await worker.seen(1)
    assert gateway.is_busy()
    gateway.wire.settle = lambda: told.append(gateway.is_busy())
    over.set()
    await asked
    await inside.until("finished")
    assert told == [False]


# What the daemon hears and asks


async def test_a_decision_is_explained(inside, config_dir):
    await inside.serving(config_dir)
    asked = {"model": "x", "thinking": {"type": "adaptive"}}
    answer = await inside.ask("explain", body=asked, headers={"X-Claude-Code-Session-Id": "s"})
    assert (answer["ok"], answer["result"]["label"]) == (True, "think")
    assert answer["result"]["session_id"] == "s"


async def test_what_has_no_route_is_explained_as_that(inside, tmp_path):
    models = "model_list: [{model_name: only, litellm_params: {model: openai/gpt-5}}]"
    await inside.serving(write_config(tmp_path, "ccproxy: {}", models))
    answer = await inside.ask("explain", body={"model": "x"})
    assert answer["error"]["code"] == 404


async def test_nothing_of_a_prompt_goes_over_the_wire(inside, listener, client, worker, tmp_path):
    await inside.serving(write_config(tmp_path, OWN, rules=RAISES), worker)
    worker.plays.append(dies(f"HTTP/1.1 200 OK\r\n{CANARY}".encode()))
    await ask(client, listener)
    worker.plays.append(answers(f'{{"error": "{CANARY}"}}'.encode(), 500))
    await ask(client, listener)
    assert (await ask(client, listener, f'{{"{CANARY}": '.encode()))[0] == 400
    assert (await ask(client, listener, path=f"/{CANARY}"))[0] == 404
    await inside.until("finished", lambda told: told["status"] == 400)
    kinds = {message["kind"] for message in inside.messages}
    assert {"log", "decided", "finished", "heartbeat"} <= kinds
    assert CANARY not in inside.heard_text()
    assert KEY not in inside.heard_text()


async def test_an_answer_that_breaks_off_is_no_complaint_of_uvicorns(
    inside, listener, client, worker, config_dir
):
    logger = logging.getLogger("uvicorn.error")
    handler = _OverWire(inside.gateway)
    logger.addHandler(handler)
    try:
        worker.default = begins(b"data: {}\n\n", also=dies(b"half"))
        await inside.serving(config_dir, worker)
        with pytest.raises(aiohttp.ClientPayloadError):
            await ask(client, listener, asking(stream=True))
        await inside.until("finished")
        logger.warning("the next one")
        assert (await inside.until("log"))["level"] == "warning"
    finally:
        logger.removeHandler(handler)


async def test_a_librarys_complaint_is_told_without_its_words(inside):
    logger = logging.Logger("library")
    logger.addHandler(_OverWire(inside.gateway))
    try:
        raise KeyError(CANARY)
    except KeyError:
        logger.exception("cannot serve %s", CANARY)
    logger.info("nothing of interest")
    told = await inside.until("log")
    assert (told["level"], told["logger"], told["error"]) == ("error", "library", "KeyError")
    assert told["where"].startswith("test_server.py:")
    assert CANARY not in inside.heard_text()


# Leaving


@pytest.mark.parametrize("size", [70_000, 3 * USUAL_BODY_BYTES])
@pytest.mark.parametrize("expects", ["", "expect: 100-continue\r\n"])
async def test_a_body_arrives_whole_whatever_its_size(
    inside, listener, worker, config_dir, size, expects
):
    await inside.serving(config_dir, worker)
    body = asking(prompt="x" * size)
    head, _, _ = on_the_wire(body).partition(b"\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(head + b"\r\n" + expects.encode() + b"\r\n")
        if expects:
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        for start in range(0, len(body), 50_000):
            writer.write(body[start : start + 50_000])
            await writer.drain()
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
    assert worker.requests[0].body == body


@pytest.mark.parametrize(
    ("said", "shape"),
    [
        (b"no HTTP at all\r\n\r\n", ["error"]),
        (b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: -1\r\n\r\n", ["error"]),
        (b"POST /v1/messages HTTP/1.1\r\ncontent-length: -1\r\n\r\n", ["type", "error"]),
        (b"POST /messages?beta=1 HTTP/1.1\r\ncontent-length: -1\r\n\r\n", ["type", "error"]),
        (
            b"POST /v1/messages HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nno number\r\n",
            ["type", "error"],
        ),
        (
            b"GET / HTTP/1.1\r\nanthropic-version: 2023-06-01\r\ncontent-length: x\r\n\r\n",
            ["type", "error"],
        ),
    ],
)
async def test_what_is_no_http_is_refused_in_the_shape_of_every_failure(
    inside, listener, worker, config_dir, said, shape
):
    await inside.serving(config_dir, worker)
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(said)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/json" in head
    assert list(orjson.loads(body)) == shape
    assert orjson.loads(body)["error"]["message"] == "the request is not valid HTTP"


UPGRADE = b"connection: Upgrade, HTTP2-Settings\r\nhttp2-settings: AAEAAEAAAAIAAAAB\r\n"
"""What Java's client adds to each request, beside the protocol that it would like."""


@pytest.mark.parametrize("cuts", [[], [-40, 50]], ids=["at once", "in pieces"])
@pytest.mark.parametrize("size", [3, 3 * USUAL_BODY_BYTES])
async def test_a_request_that_would_like_http_2_is_answered_as_any_other(
    inside, listener, worker, config_dir, size, cuts
):
    await inside.serving(config_dir, worker)
    body = asking(prompt="x" * size)
    head, _, _ = on_the_wire(body).partition(b"\r\n\r\n")
    asked = head + b"\r\n" + UPGRADE + b"upgrade: h2c\r\n\r\n" + body
    ends = [0, *(len(asked) - len(body) + cut for cut in cuts), len(asked)]
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        for start, end in pairwise(ends):
            writer.write(asked[start:end])
            await writer.drain()
            await asyncio.sleep(0)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
    assert worker.requests[0].body == body


async def answered(listener, asked):
    """All that comes back on a connection that the server closes."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(asked)
        told = await reader.read()
        writer.close()
    return told


async def test_and_its_connection_is_closed_where_it_asks_for_that(
    inside, listener, worker, config_dir
):
    await inside.serving(config_dir, worker)
    asked = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade, close\r\nupgrade: h2c\r\n\r\n"
    assert (await answered(listener, asked)).startswith(b"HTTP/1.1 200")


LIKES_HTTP_2 = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"


async def test_so_is_each_of_very_many_in_one_piece(
    inside, listener, worker, config_dir, caplog, monkeypatch
):
    """As many as Python has frames; and none of them is worth a word to the log."""
    await inside.serving(config_dir, worker)
    count = sys.getrecursionlimit() + 1
    last = LIKES_HTTP_2.replace(b"upgrade\r", b"upgrade, close\r")
    told = await answered(listener, (count - 1) * LIKES_HTTP_2 + last)
    assert told.count(b"HTTP/1.1 200") == count
    assert caplog.messages == []


async def test_one_in_http_1_0_is_answered_in_that(inside, listener, worker, config_dir):
    """Where a connection ends with its answer, unless both say otherwise."""
    await inside.serving(config_dir, worker)
    body = asking()
    head, _, _ = on_the_wire(body).replace(b"HTTP/1.1", b"HTTP/1.0").partition(b"\r\n\r\n")
    asked = head + b"\r\n" + UPGRADE + b"upgrade: h2c\r\n\r\n" + body
    assert b"\r\nconnection: close\r\n" in await answered(listener, asked)
    assert worker.requests[0].body == body


async def test_nobody_is_connected_to_elsewhere(inside, listener, worker, config_dir):
    await inside.serving(config_dir, worker)
    asked = b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(asked)
        assert (await reader.readline()).startswith(b"HTTP/1.1 4")
        writer.close()


class Written:
    """A transport that keeps what is written, write by write."""

    def __init__(self):
        self.writes, self.end = [], ""

    def write(self, data):
        self.writes.append(data)

    def close(self):
        self.end = "closed"

    def abort(self):
        self.end = "aborted"

    def is_closing(self):
        return bool(self.end)


async def test_a_head_leaves_with_what_follows_it_at_once():
    written = Written()
    transport = _Transport(written, asyncio.get_running_loop())
    transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
    transport.write(b"1")
    transport.write(b"2")
    assert written.writes == [b"HTTP/1.1 200 OK\r\n\r\n1", b"2"]
    assert not transport.is_closing()


async def test_and_alone_when_nothing_does():
    written = Written()
    transport = _Transport(written, asyncio.get_running_loop())
    transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
    assert written.writes == []
    await becomes(lambda: written.writes)
    transport.write(b"HTTP/1.1 the same in a body")
    transport.close()
    assert written.writes == [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 the same in a body"]
    assert written.end == "closed"


async def test_what_is_aborted_writes_nothing_more():
    written = Written()
    transport = _Transport(written, asyncio.get_running_loop())
    transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
    transport.abort()
    await asyncio.sleep(0)
    assert (written.writes, written.end) == ([], "aborted")


async def test_it_stops_when_its_requests_are_done(inside, listener, client, worker, config_dir):
    over = asyncio.Event()
    worker.default = holds(over, answers())
    await inside.serving(config_dir, worker)
    last = asyncio.create_task(ask(client, listener))
    await worker.seen(1)
    assert (await inside.ask("stop", seconds=PATIENCE))["ok"]
    over.set()
    assert (await last)[0] == 200
    await asyncio.wait_for(inside.task, PATIENCE)


async def test_a_connection_that_was_just_made_may_still_ask(inside, listener, worker, config_dir):
    """Where systemd has the port, a restart would else reset those who came a moment too early."""
    await inside.serving(config_dir, worker)
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    await becomes(lambda: connections(inside))
    await inside.ask("stop", seconds=PATIENCE)
    await becomes(lambda: inside.gateway.app.leaving)
    writer.write(on_the_wire(asking()))
    answer = await asyncio.wait_for(reader.read(), PATIENCE)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"\r\nconnection: close" in answer.lower()
    await asyncio.wait_for(inside.task, PATIENCE)


async def test_what_takes_longer_than_a_stop_allows_is_cut_and_told_as_a_failure(
    inside, listener, client, worker, config_dir
):
    left = Moment()
    worker.default = begins(b"data: 1\n\n", also=notes_leaving(left))
    await inside.serving(config_dir, worker)
    url, headers = url_of(listener), {"x-api-key": KEY}
    async with client.post(f"{url}/v1/messages", data=asking(), headers=headers) as got:
        assert await got.content.readany() == b"data: 1\n\n"
        await inside.ask("stop", seconds=600)
        await inside.ask("stop", seconds=0)
        with pytest.raises(aiohttp.ClientPayloadError):
            await got.read()
    await left.comes()
    assert (await inside.until("finished"))["failed"]
    await asyncio.wait_for(inside.task, PATIENCE)


async def test_a_client_that_takes_nothing_does_not_hold_up_a_stop(
    inside, listener, worker, config_dir
):
    async def flood(caller):
        await caller.write(chunk(b"x" * 2**26))

    worker.default = begins(kind="application/octet-stream", also=flood)
    await inside.serving(config_dir, worker)
    with socket.create_connection(listener.getsockname()) as client:
        client.sendall(on_the_wire(asking()))
        await becomes(lambda: [one for one in connections(inside) if one.flow.write_paused])
        await inside.ask("stop", seconds=0)
        await asyncio.wait_for(inside.task, PATIENCE)
    assert (await inside.until("finished"))["failed"]


def connections(inside):
    return inside.gateway.server.server_state.connections


async def test_a_stop_before_the_first_config_is_heard(inside):
    assert (await inside.ask("stop"))["ok"]
    await asyncio.wait_for(inside.task, PATIENCE)


async def test_a_daemon_that_dies_before_the_first_config_is_missed(inside):
    inside.wire.close()
    await asyncio.wait_for(inside.task, PATIENCE)


async def test_without_a_wire_there_is_nothing_to_serve(listener):
    await server_module.Gateway(listener).serve()


# The process


async def test_the_process_serves_and_goes_when_told_to(listener, client, worker, config_dir):
    async with gateway_process(listener) as gateway:
        await gateway.serving(config_dir, worker)
        os.kill(gateway.process.pid, signal.SIGINT)
        assert (await ask(client, listener, asking(thinking={"type": "adaptive"})))[0] == 200
        beat = await gateway.until("heartbeat")
        assert beat["rss_bytes"] > 0
        gateway.wire.send({"kind": "stop", "seconds": PATIENCE})
        assert await gateway.end() == (0, "")
    assert worker.requests[0].json()["messages"][0]["content"] == CANARY


async def test_a_process_that_is_terminated_answers_what_it_has(
    listener, client, worker, config_dir
):
    over = asyncio.Event()
    worker.default = holds(over, answers())
    async with gateway_process(listener) as gateway:
        await gateway.serving(config_dir, worker)
        last = asyncio.create_task(ask(client, listener))
        await worker.seen(1)
        os.kill(gateway.process.pid, signal.SIGTERM)
        over.set()
        assert (await last)[0] == 200
        assert await gateway.end() == (0, "")


async def test_the_process_never_imports_litellm(listener, config_dir):
    async with gateway_process(listener) as gateway:
        await gateway.serving(config_dir)
        answer = await gateway.ask("explain", body={"messages": ["count me"]})
        assert answer["result"]["token_count"] == 2
    check = "import sys, ccproxyd.gateway.server; assert 'litellm' not in sys.modules"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", check], check=True, env=environ)


async def test_the_process_does_not_outlive_its_daemon(listener, client, worker, config_dir):
    async with gateway_process(listener) as gateway:
        await gateway.serving(config_dir, worker)
        assert (await ask(client, listener))[0] == 200
        gateway.wire.close()
        assert await gateway.end() == (0, "")


async def test_one_gateway_replaces_another_and_no_request_is_lost(listener, worker, config_dir):
    """Busy clients that keep their connections, a stream across the change, and new connections."""
    more = asyncio.Event()

    async def the_rest(caller):
        await more.wait()
        await caller.write(chunk(b"data: 2\n\n") + b"0\r\n\r\n")

    async def keep_asking(statuses):
        async with aiohttp.ClientSession() as client:
            while not done.is_set():
                statuses.append((await ask(client, listener))[0])

    done, seen = asyncio.Event(), [[] for _ in range(4)]
    async with gateway_process(listener) as old, gateway_process(listener) as new:
        await old.serving(config_dir, worker)
        async with aiohttp.ClientSession() as client, asyncio.TaskGroup() as group:
            worker.plays.append(begins(b"data: 1\n\n", also=the_rest))
            url, headers = url_of(listener), {"x-api-key": KEY}
            stream = await client.post(f"{url}/v1/messages", data=asking(), headers=headers)
            for statuses in seen:
                group.create_task(keep_asking(statuses))
            await new.serving(config_dir, worker)
            old.wire.send({"kind": "drain", "seconds": 600})
            await new.until("finished")
            more.set()
            assert await stream.read() == b"data: 1\n\ndata: 2\n\n"
            assert await old.end() == (0, "")
            served = len(new.messages)
            await new.until("finished", lambda told: new.messages.index(told) >= served)
            done.set()
    assert all(set(statuses) == {200} for statuses in seen)
    assert all(told["status"] == 200 for told in old.messages if told["kind"] == "finished")


def test_the_arguments_are_named():
    found = subprocess.run(
        [sys.executable, "-m", "ccproxyd.gateway"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
    )
    assert found.returncode == 2
    assert b"--listener" in found.stderr
