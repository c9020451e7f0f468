import asyncio
from base64 import b64encode
from contextlib import asynccontextmanager

import pytest
from attrs import evolve

from ccproxyd.config.settings import Timeouts
from ccproxyd.errors import ProxyError, UpstreamTimeout
from ccproxyd.gateway.lanes import answers as answers_module
from ccproxyd.gateway.lanes import litellm
from ccproxyd.gateway.lanes.litellm import LiteLLMLane, Order
from ccproxyd.gateway.lanes.pings import PING
from ccproxyd.gateway.pool import Pool
from ccproxyd.gateway.report import Report
from ccproxyd.worker.verdict import Verdict, unseal
from tests.gateway.house import Call
from tests.gateway.scripted import (
    PATIENCE,
    Moment,
    ScriptedWorker,
    answers,
    becomes,
    begins,
    chunk,
    dies,
    head,
    holds,
    notes_leaving,
    streams,
)

pytestmark = pytest.mark.anyio

DECISION = {"label": "think", "request_id": "r-1", "kept": False}
ORDER = Order(body=b'{"model": "x"}', decision=DECISION)
EVENTS = (b'data: {"a": 1}\n\n', b'data: {"usage": {"output_tokens": 7}}\n\n')
TOKEN = "sk-ant-oat01-abc"


class Lane:
    """The lane with a pool of scripted workers; what it logs is in `logged`."""

    def __init__(self):
        self.idle = []
        self.pool = Pool(self.idle.append)
        self.logged = []
        self.lane = LiteLLMLane(
            self.pool, lambda *words, **facts: self.logged.append((words, facts))
        )

    async def carry(self, call=None, order=ORDER):
        """One request; the call with its answer, and its report."""
        call = call or Call(body=order.body)
        report = Report("r-1")
        async with asyncio.timeout(PATIENCE):
            await self.lane.carry(call.exchange(), order, report)
        return call, report


@asynccontextmanager
async def opened(sockets, count=1):
    """A lane and its workers."""
    lane = Lane()
    workers = [ScriptedWorker(sockets / f"1.{index}.sock") for index in range(count)]
    for worker in workers:
        await worker.start()
    lane.pool.replace(worker.address for worker in workers)
    try:
        yield lane, *workers
    finally:
        await lane.lane.close()
        for worker in workers:
            await worker.stop()


# What a worker gets


async def test_a_request_arrives_as_it_came(sockets):
    call = Call(
        method="PUT",
        path="/v1/files/a b",
        raw_path="/v1/files/a%20b",
        query="beta=true&x=%2F",
        headers={"anthropic-version": "2023-06-01", "x-app": "cli", "content-type": "text/x"},
    )
    async with opened(sockets) as (lane, worker):
        await lane.carry(call)
    [request] = worker.requests
    assert (request.method, request.target) == ("PUT", "/v1/files/a%20b?beta=true&x=%2F")
    assert request.body == ORDER.body
    assert request.header("anthropic-version") == "2023-06-01"
    assert request.header("content-type") == "text/x"
    assert request.header("host") == "worker"


@pytest.mark.parametrize(("betas", "arrived"), [(None, "one,two"), (("two",), "two"), ((), None)])
async def test_the_betas_of_a_count_are_those_that_its_model_takes(sockets, betas, arrived):
    call = Call(path="/v1/messages/count_tokens", headers={"Anthropic-Beta": "one,two"})
    async with opened(sockets) as (lane, worker):
        await lane.carry(call, Order(body=b"", decision=DECISION, betas=betas))
    [request] = worker.requests
    assert request.header("anthropic-beta") == arrived


async def test_the_decision_goes_along_under_the_generations_seal(sockets):
    async with opened(sockets) as (lane, worker):
        await lane.carry()
        await lane.carry(order=Order(body=b"", decision=None))
    sealed = worker.requests[0].header("x-ccproxy-decision")
    assert unseal(sealed, worker.address.secret) == Verdict("think", "r-1")
    assert worker.requests[1].header("x-ccproxy-decision") is None


async def test_only_the_gateway_speaks_of_ccproxy(sockets):
    forged = {"x-ccproxy-decision": "forged", "X-CCProxy-Label": "forged", "x-ccproxy-": "forged"}
    async with opened(sockets) as (lane, worker):
        await lane.carry(Call(headers=forged))
    [request] = worker.requests
    assert "forged" not in repr(request.headers)


async def test_what_belongs_to_one_connection_stays_on_it(sockets):
    headers = {
        "connection": "keep-alive",
        "keep-alive": "5",
        "te": "trailers",
        "transfer-encoding": "chunked",
        "upgrade": "h2c",
        "expect": "100-continue",
        "accept-encoding": "gzip",
        "proxy-authorization": "Basic x",
    }
    async with opened(sockets) as (lane, worker):
        await lane.carry(Call(headers={**headers, "host": "evil.example"}))
    [request] = worker.requests
    assert request.names().isdisjoint(headers)
    assert request.header("content-length") == str(len(ORDER.body))
    assert "evil" not in repr(request)


async def test_a_clients_keys_end_here(sockets):
    names = ("authorization", "x-api-key", "x-litellm-api-key", "api-key", "x-goog-api-key")
    call = Call(headers=dict.fromkeys(names, "sk-client"), query="key=sk-client&a=1")
    async with opened(sockets) as (lane, worker):
        await lane.carry(call)
    [request] = worker.requests
    assert "sk-client" not in repr(request)
    assert request.names().isdisjoint(set(names) - {"x-litellm-api-key"})
    assert request.header("x-litellm-api-key") == f"Bearer {worker.address.key}"
    assert request.target.endswith("?a=1")


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("/v1/messages", "x-litellm-api-key", "Bearer {key}"),
        ("/gemini/v1beta/models/x:generateContent", "x-goog-api-key", "{key}"),
        ("/langfuse/api/public/ingestion", "authorization", "Basic {pair}"),
    ],
)
async def test_the_workers_key_is_where_litellm_looks_for_it(sockets, path, name, value):
    async with opened(sockets) as (lane, worker):
        await lane.carry(Call(path=path, headers={"x-api-key": "sk-ours"}))
    [received] = worker.requests
    key = worker.address.key
    pair = b64encode(f"ccproxyd:{key}".encode()).decode()
    assert received.header(name) == value.format(key=key, pair=pair)
    assert "sk-ours" not in str(received.headers)


async def test_a_subscription_goes_along_only_where_it_is_lent(sockets):
    call = {"headers": {"authorization": f"Bearer {TOKEN}", "x-api-key": "sk-client"}}
    async with opened(sockets) as (lane, worker):
        await lane.carry(Call(**call))
        await lane.carry(Call(**call), Order(body=b"", decision=DECISION, token=TOKEN))
    kept, lent = worker.requests
    assert TOKEN not in repr(kept)
    assert lent.header("authorization") == f"Bearer {TOKEN}"
    assert lent.header("x-litellm-api-key") == f"Bearer {worker.address.key}"


async def test_a_key_of_the_clients_own_goes_along_in_the_sealed_decision_alone(sockets):
    key = "sk-ant-api03-of-the-client"
    order = Order(body=b"", decision=DECISION, token=key)
    async with opened(sockets) as (lane, worker):
        await lane.carry(Call(headers={"x-api-key": key}), order)
    [request] = worker.requests
    found = unseal(request.header("x-ccproxy-decision"), worker.address.secret)
    assert found.api_key == key
    assert key not in repr(request) + repr(order) + repr(found)
    assert request.header("authorization") is None


async def test_where_litellm_keeps_the_keys_a_clients_go_along_and_ours_does_not(sockets):
    order = Order(body=b"", decision=DECISION, client_keys=True)
    call = Call(headers={"x-api-key": "sk-client"}, query="key=sk-client")
    async with opened(sockets) as (lane, worker):
        await lane.carry(call, order)
    [request] = worker.requests
    assert request.header("x-api-key") == "sk-client"
    assert request.target.endswith("?key=sk-client")
    assert worker.address.key not in repr(request)


async def test_even_there_a_subscription_goes_nowhere_unless_it_is_lent(sockets):
    call = {"headers": {"authorization": f"Bearer {TOKEN}", "x-litellm-api-key": "sk-client"}}
    keep = Order(body=b"", decision=DECISION, client_keys=True)
    lend = Order(body=b"", decision=DECISION, client_keys=True, token=TOKEN)
    async with opened(sockets) as (lane, worker):
        await lane.carry(Call(**call), keep)
        await lane.carry(Call(**call), lend)
    kept, lent = worker.requests
    assert TOKEN not in repr(kept)
    assert kept.header("x-litellm-api-key") == "sk-client"
    assert [value for name, value in lent.headers if name == "authorization"] == [f"Bearer {TOKEN}"]


async def test_connections_are_kept_for_the_next_request(sockets):
    async with opened(sockets) as (lane, worker):
        for _ in range(3):
            await lane.carry()
        worker.default = streams(*EVENTS)
        for _ in range(3):
            await lane.carry()
    assert worker.connections == 1


# What a client gets


async def test_a_short_answer_is_passed_on_whole(sockets):
    body = b'{"usage": {"input_tokens": 3, "output_tokens": 5}}'
    async with opened(sockets) as (lane, worker):
        worker.default = answers(body, 201, ("x-request-id", "42"), ("retry-after", "7"))
        call, report = await lane.carry()
    assert (call.status, call.pieces, call.complete) == (201, [body], True)
    assert call.header("x-request-id") == "42"
    assert call.header("retry-after") == "7"
    assert call.header("content-length") == str(len(body))
    assert (report.usage.output_tokens, report.failed) == (5, False)


async def test_what_litellm_tells_of_itself_goes_no_further(sockets):
    inner = [("x-litellm-model-group", "think"), ("x-litellm-attempted-fallbacks", "0")]
    async with opened(sockets) as (lane, worker):
        worker.default = answers(b"{}", 200, *inner, ("x-request-id", "42"))
        call, _ = await lane.carry()
    assert call.header("x-request-id") == "42"
    assert not [name for name, _ in call.answered if name.startswith("x-litellm")]


async def test_a_providers_failure_has_the_clients_shape(sockets):
    body = b'{"error": {"message": "slow down", "type": "requests"}}'
    told = [("x-ccproxy-failure", "provider"), ("retry-after", "7")]
    async with opened(sockets) as (lane, worker):
        worker.default = answers(body, 429, *told)
        call, report = await lane.carry(Call(path="/v1/messages"))
        assert call.json()["error"] == {"type": "rate_limit_error", "message": "slow down"}
        assert (call.status, call.header("retry-after")) == (429, "7")
        assert call.header("x-ccproxy-failure") is None
        call, report = await lane.carry(Call(path="/v1/chat/completions"))
        assert (call.answer, report.status) == (body, 429)


@pytest.mark.parametrize(
    ("status", "source", "recorded"),
    [
        (504, "ours", "UpstreamTimeout"),
        (502, "ours", "ProxyError"),
        (400, "ours", "ValidationError"),
        (504, "provider", "ProviderError"),
    ],
)
async def test_a_failure_is_recorded_by_the_name_that_its_client_is_told(
    sockets, status, source, recorded
):
    """As on the direct lane, where our own failures are exceptions."""
    async with opened(sockets) as (lane, worker):
        worker.default = answers(b'{"error": "x"}', status, ("x-ccproxy-failure", source))
        call, report = await lane.carry(Call(path="/v1/chat/completions"))
    assert report.finished_message()["error"] == recorded
    assert (call.json()["error"]["type"] == recorded) is (source == "ours")


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
async def test_a_stream_of_which_litellm_has_lost_all_is_one_that_is_cut(sockets, path):
    error = b'{"error": {"message": "hung up", "type": "ProxyError", "code": 502}}'
    async with opened(sockets) as (lane, worker):
        worker.default = answers(error, 502, ("x-ccproxy-failure", "cut"))
        call, report = await lane.carry(Call(path=path))
        assert len(worker.requests) == 1
    assert (call.status, call.complete) == (200, False)
    assert call.header("content-type").startswith("text/event-stream")
    assert call.header("x-ccproxy-failure") is None
    assert call.header("content-length") is None
    [frame] = call.answer.strip().split(b"\n\n")
    assert frame.startswith(b"event: error\ndata: " if "messages" in path else b"data: ")
    assert b"the answer was cut: the provider went away" in frame
    assert (report.cut, report.status, report.resent, report.failed) == (True, 200, 0, True)


async def test_what_litellms_framework_refuses_has_the_clients_shape(sockets):
    async with opened(sockets) as (lane, worker):
        worker.default = answers(b'{"detail": "Method Not Allowed"}', 405)
        call, _ = await lane.carry(Call(path="/v1/files"), Order(body=b"", decision=None))
    error = {"message": "Method Not Allowed", "type": "ProxyError", "param": None, "code": 405}
    assert (call.status, call.json()) == (405, {"error": error})


async def test_a_stream_that_begins_with_its_error_is_no_stream(sockets):
    error = b'{"error":{"message":"x","type":"server_error","code":"503"}}'
    async with opened(sockets) as (lane, worker):
        worker.default = streams(b"data: %s\n\n" % error)
        call, report = await lane.carry(Call(path="/v1/chat/completions"))
    assert (call.status, call.header("content-type")) == (503, "application/json")
    assert (call.json()["error"]["message"], report.failed) == ("x", True)


async def test_a_stream_that_is_a_page_is_no_answer(sockets):
    """LiteLLM hands on whatever a provider says to who asks for a stream of messages."""
    async with opened(sockets) as (lane, worker):
        worker.default = streams(b"<html>hello</html>")
        with pytest.raises(ProxyError, match="is none that LiteLLM can read") as caught:
            await lane.carry(Call(path="/v1/messages"))
    assert caught.value.code == 502


async def test_a_stream_without_a_word_is_one_that_is_cut(sockets):
    async with opened(sockets) as (lane, worker):
        worker.default = streams()
        call, report = await lane.carry(Call(path="/v1/messages"))
    assert (call.status, call.complete, report.failed) == (200, False, True)
    assert b"the provider went away" in call.answer


async def test_unless_it_is_anthropics_own_event(sockets):
    event = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n'
    async with opened(sockets) as (lane, worker):
        worker.default = streams(event)
        call, report = await lane.carry(Call(path="/v1/messages"))
    assert (call.status, call.answer, report.failed) == (200, event, True)


async def test_a_stream_that_ends_in_an_error_has_failed(sockets):
    async with opened(sockets) as (lane, worker):
        worker.default = streams(EVENTS[0], b'event: error\ndata: {"type":"error"}\n\n')
        call, report = await lane.carry()
    assert (call.status, call.complete, report.failed) == (200, True, True)


async def test_an_error_is_passed_on_as_it_is(sockets):
    async with opened(sockets) as (lane, worker):
        worker.default = answers(b'{"type": "error"}', 529)
        call, report = await lane.carry()
    assert (call.status, call.json()) == (529, {"type": "error"})
    assert report.failed


async def test_what_only_concerns_the_worker_is_not_told(sockets):
    inner = {
        "x-ccproxy-secret": "1",
        "X-CCProxy-Label": "1",
        "server": "uvicorn",
        "date": "today",
        "connection": "keep-alive",
        "keep-alive": "timeout=5",
    }
    async with opened(sockets) as (lane, worker):
        worker.default = answers(b"{}", 200, *inner.items())
        call, _ = await lane.carry()
    assert {name for name, _ in call.answered} == {"content-type", "content-length"}


async def test_an_answer_without_a_body_has_none(sockets):
    """Nor a length, though some servers name one."""

    async def nothing(caller):
        await caller.write(head(204).replace(b"\r\n\r\n", b"\r\ncontent-length: 7\r\n\r\n"))

    async with opened(sockets) as (lane, worker):
        worker.default = nothing
        call, _ = await lane.carry()
        assert (call.status, call.answer, call.complete) == (204, b"", True)
        assert "content-length" not in dict(call.answered)
        await lane.carry()
    assert worker.connections == 1


async def test_a_head_is_answered_by_a_head(sockets):
    async def only_head(caller):
        await caller.write(head(200, ("content-length", "1000")))

    async with opened(sockets) as (lane, worker):
        worker.default = only_head
        call, _ = await lane.carry(Call(method="HEAD"), Order(body=b"", decision=None))
    assert (call.header("content-length"), call.answer, call.complete) == ("1000", b"", True)


async def test_a_redirect_is_the_clients_to_follow(sockets):
    async with opened(sockets) as (lane, worker):
        worker.default = answers(b"", 307, ("location", "/elsewhere"))
        call, _ = await lane.carry()
    assert (call.status, call.header("location")) == (307, "/elsewhere")
    assert len(worker.requests) == 1


async def test_each_event_of_a_stream_is_passed_on_when_it_comes(sockets):
    more = asyncio.Event()

    async def the_rest(caller):
        await more.wait()
        await caller.write(chunk(EVENTS[1]) + b"0\r\n\r\n")

    async with opened(sockets) as (lane, worker):
        worker.default = begins(EVENTS[0], also=the_rest)
        call = Call()
        carrying = asyncio.create_task(lane.carry(call))
        async with asyncio.timeout(PATIENCE):
            await call.begun.wait()
        assert (call.pieces, call.complete) == ([EVENTS[0]], False)
        more.set()
        _, report = await carrying
    assert call.answer == b"".join(EVENTS)
    assert call.complete
    assert report.usage.output_tokens == 7


async def test_a_long_answer_is_passed_on_in_pieces(sockets, monkeypatch):
    monkeypatch.setattr(answers_module, "WHOLE_BYTES", 1000)
    body = b"x" * 500_000 + b'\ndata: {"usage": {"output_tokens": 7}}\n'
    async with opened(sockets) as (lane, worker):
        worker.default = answers(body)
        call, report = await lane.carry()
    assert call.answer == body
    assert len(call.pieces) > 2
    assert call.header("content-length") == str(len(body))
    assert report.usage.output_tokens is None


async def test_a_long_header_is_no_obstacle(sockets):
    long = "x" * 100_000
    async with opened(sockets) as (lane, worker):
        worker.default = answers(b"{}", 200, ("x-long", long))
        call, _ = await lane.carry()
    assert call.header("x-long") == long


# What goes wrong


@pytest.mark.parametrize(
    "death",
    [
        dies(),
        dies(b"HTTP/1.1 200 OK\r\ncontent-"),
        dies(head(200, ("content-length", "10")) + b"12345"),
        dies(head(200, ("transfer-encoding", "chunked"))),
    ],
    ids=["before the head", "in the head", "in a short body", "before a stream's first piece"],
)
async def test_a_worker_that_dies_before_it_answers_costs_nothing(sockets, death):
    async with opened(sockets, 2) as (lane, *workers):
        for worker in workers:
            worker.plays.append(death)
        call, report = await lane.carry()
    assert (call.status, call.answer, call.complete) == (200, b'{"ok": true}', True)
    assert report.resent == 2
    assert sum(len(worker.requests) for worker in workers) == 3
    assert {request.body for worker in workers for request in worker.requests} == {ORDER.body}


async def test_a_dying_worker_is_not_asked_again_before_its_successor_is_there(sockets):
    """Its sockets close one after another, and each of them would hang up."""
    async with opened(sockets, 2) as (lane, dying, successor):
        dying.default = dies()
        lane.pool.replace([dying.address])
        carrying = asyncio.create_task(lane.carry())
        await becomes(lambda: lane.pool.waiting)
        lane.pool.replace([successor.address])
        call, report = await carrying
    assert (call.status, report.resent) == (200, 1)
    assert len(dying.requests) == 1


async def test_a_death_is_logged_without_what_was_asked(sockets):
    async with opened(sockets) as (lane, worker):
        worker.plays.append(dies(b"HTTP/1.1 200 OK\r\ncanary"))
        await lane.carry(Call(headers={"x-a": "canary"}), Order(body=b"canary", decision=None))
    [(words, facts)] = lane.logged
    assert words[0] == "warning"
    assert facts == {"worker": "1.0", "request_id": "r-1", "resent": 1}
    assert "canary" not in repr(lane.logged)


async def test_a_request_that_kills_every_worker_is_given_up(sockets):
    async with opened(sockets, 2) as (lane, *workers):
        for worker in workers:
            worker.default = dies()
        with pytest.raises(ProxyError, match="and so did two others") as refused:
            await lane.carry()
    assert refused.value.code == 502
    assert sum(len(worker.requests) for worker in workers) == 3
    assert set(lane.pool.in_flight().values()) == {0}


async def test_a_worker_that_is_not_there_is_no_death(sockets, monkeypatch):
    monkeypatch.setattr("ccproxyd.gateway.pool._AVOID_SECONDS", 0.01)
    async with opened(sockets) as (lane, worker):
        await worker.stop()
        carrying = asyncio.create_task(lane.carry())
        seat = next(iter(lane.pool._seats.values()))
        await becomes(lambda: seat.avoid_until)
        await worker.start_again()
        call, report = await carrying
    assert call.status == 200
    assert report.resent == 0
    assert lane.logged == []


async def test_a_death_after_long_work_leaves_its_successor_time_to_start(sockets, monkeypatch):
    over = asyncio.Event()
    async with opened(sockets) as (lane, worker):
        worker.plays.append(holds(over, dies()))
        monkeypatch.setattr(litellm, "WAIT_SECONDS", 0.0)
        carrying = asyncio.create_task(lane.carry())
        await worker.seen(1)
        monkeypatch.setattr(litellm, "WAIT_SECONDS", PATIENCE)
        lane.pool.replace([])
        over.set()
        await becomes(lambda: lane.pool.waiting)
        lane.pool.replace([worker.address])
        call, _ = await carrying
    assert call.status == 200


async def test_without_any_worker_a_request_is_refused_after_a_while(sockets, monkeypatch):
    monkeypatch.setattr("ccproxyd.gateway.lanes.litellm.WAIT_SECONDS", 0.01)
    async with opened(sockets) as (lane, _):
        lane.pool.replace([])
        with pytest.raises(ProxyError, match="no worker is ready") as refused:
            await lane.carry()
    assert refused.value.code == 503


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
async def test_a_stream_that_is_cut_ends_in_an_error_and_incomplete(sockets, path):
    async def die(caller):
        await asyncio.wait_for(call.begun.wait(), PATIENCE)
        caller.die()

    call = Call(path=path)
    async with opened(sockets) as (lane, worker):
        worker.default = begins(EVENTS[0] + b'data: {"half', also=die)
        _, report = await lane.carry(call)
    frames = call.answer.split(b"\n\n")
    assert frames[0] + b"\n\n" == EVENTS[0]
    assert b"the worker went away" in frames[2]
    assert frames[2].startswith(b"event: error\ndata: " if "messages" in path else b"data: ")
    assert not call.complete
    assert (report.cut, report.status, report.resent) == (True, 200, 0)
    assert report.failed


async def test_one_that_has_told_its_error_already_does_not_get_another(sockets):
    """The worker tells how the provider's answer broke, and breaks off as well."""
    last = b'event: error\ndata: {"type":"error"}\n\n'

    async def die(caller):
        await becomes(lambda: last in call.answer)
        caller.die()

    call = Call()
    async with opened(sockets) as (lane, worker):
        worker.default = begins(EVENTS[0], last, also=die)
        _, report = await lane.carry(call)
    assert (call.answer, call.complete) == (EVENTS[0] + last, False)
    assert (report.status, report.failed) == (200, True)


async def test_a_long_file_that_is_cut_is_just_incomplete(sockets, monkeypatch):
    monkeypatch.setattr(answers_module, "WHOLE_BYTES", 3)

    async def half(caller):
        await caller.write(head(200, ("content-length", "10")) + b"12345")
        await asyncio.wait_for(call.begun.wait(), PATIENCE)
        caller.die()

    call = Call(path="/v1/files/1/content")
    async with opened(sockets) as (lane, worker):
        worker.default = half
        _, report = await lane.carry(call)
    assert (call.answer, call.complete, report.cut) == (b"12345", False, True)


async def test_an_answer_that_does_not_begin_in_time_is_a_timeout(sockets):
    left = Moment()
    order = Order(body=b"", decision=None, timeouts=Timeouts(first_byte=0.05))
    async with opened(sockets) as (lane, worker):
        worker.default = notes_leaving(left)
        with pytest.raises(UpstreamTimeout, match="no answer began"):
            await lane.carry(order=order)
        await left.comes()
        worker.default = begins(also=notes_leaving(left))
        left.event.clear()
        with pytest.raises(UpstreamTimeout):
            await lane.carry(order=order)
        await left.comes()
    assert lane.logged == []


async def test_a_stream_that_falls_silent_is_ended(sockets):
    left = Moment()
    async with opened(sockets) as (lane, worker):
        worker.default = begins(EVENTS[0], also=notes_leaving(left))
        call, report = await lane.carry(
            Call(), Order(body=b"", decision=None, timeouts=Timeouts(idle=0.05))
        )
        await left.comes()
    assert b"the answer stopped coming" in call.answer
    assert (call.complete, report.cut) == (False, True)


async def test_a_message_that_pauses_is_accompanied_by_pings(sockets):
    async def the_rest(caller):
        await becomes(lambda: call.answer.endswith(PING))
        await caller.write(chunk(EVENTS[1]) + b"0\r\n\r\n")

    call = Call()
    async with opened(sockets) as (lane, worker):
        worker.default = begins(EVENTS[0], also=the_rest)
        _, report = await lane.carry(call, evolve(ORDER, ping_seconds=0.01))
    assert call.answer.replace(PING, b"") == b"".join(EVENTS)
    assert (call.complete, report.usage.output_tokens) == (True, 7)


async def test_pings_are_no_sign_of_life_of_the_provider(sockets):
    order = evolve(ORDER, ping_seconds=0.01, timeouts=Timeouts(idle=0.1))
    async with opened(sockets) as (lane, worker):
        worker.default = begins(EVENTS[0], also=notes_leaving(Moment()))
        call, report = await lane.carry(order=order)
    assert PING in call.answer
    assert b"the answer stopped coming" in call.answer
    assert (call.complete, report.cut) == (False, True)


async def test_before_the_first_event_there_is_none(sockets):
    order = evolve(ORDER, ping_seconds=0.01, timeouts=Timeouts(first_byte=0.1))
    async with opened(sockets) as (lane, worker):
        worker.default = begins(also=notes_leaving(Moment()))
        call = Call()
        with pytest.raises(UpstreamTimeout):
            await lane.carry(call, order)
    assert (call.status, call.pieces) == (0, [])


@pytest.mark.parametrize(
    ("path", "decision"), [("/v1/chat/completions", DECISION), ("/anthropic/v1/messages", None)]
)
async def test_nor_in_what_is_no_message_or_only_relayed(sockets, path, decision):
    order = Order(b"", decision, ping_seconds=0.01, timeouts=Timeouts(idle=0.1))
    async with opened(sockets) as (lane, worker):
        worker.default = begins(EVENTS[0], also=notes_leaving(Moment()))
        call, _ = await lane.carry(Call(path=path), order)
    assert b"the answer stopped coming" in call.answer
    assert PING not in call.answer


@pytest.mark.parametrize(
    "play", [notes_leaving, lambda left: begins(*EVENTS, also=notes_leaving(left))]
)
async def test_a_request_that_is_dropped_is_dropped_at_the_worker_too(sockets, play):
    left = Moment()
    async with opened(sockets) as (lane, worker):
        worker.default = play(left)
        carrying = asyncio.create_task(lane.carry())
        await worker.seen(1)
        carrying.cancel()
        await asyncio.wait([carrying])
        await left.comes()
        assert lane.pool.in_flight() == {"1.0": 0}


async def test_a_worker_that_is_gone_is_forgotten(sockets):
    async with opened(sockets) as (lane, worker):
        await lane.carry()
        await lane.lane.forget("1.0")
        await lane.lane.forget("never there")
        await lane.carry()
    assert worker.connections == 2


async def test_a_connection_that_is_closed_while_it_opens_costs_nothing(sockets):
    async with opened(sockets) as (lane, _):
        carrying = asyncio.create_task(lane.carry())
        await becomes(lambda: lane.lane._origins)
        await lane.lane.forget("1.0")
        call, _ = await carrying
    assert call.status == 200


async def test_a_session_that_is_closed_under_a_request_costs_nothing(sockets):
    left = Moment()
    async with opened(sockets) as (lane, worker):
        worker.plays.append(notes_leaving(left))
        carrying = asyncio.create_task(lane.carry())
        await worker.seen(1)
        await lane.lane.forget("1.0")
        call, _ = await carrying
    assert call.status == 200


@pytest.mark.parametrize(("said", "retries"), [("2", 2), ("many", 0), ("-1", 0)])
async def test_what_litellm_tried_again_is_counted(sockets, said, retries):
    async with opened(sockets) as (lane, worker):
        worker.plays.append(answers(b"{}", 200, ("x-litellm-attempted-retries", said)))
        _, report = await lane.carry()
    assert report.retried == retries


async def test_the_fallbacks_that_failed_are_counted_and_the_client_is_not_told(sockets):
    async with opened(sockets) as (lane, worker):
        worker.plays.append(answers(b"{}", 529, ("x-ccproxy-failed-fallbacks", "2")))
        call, report = await lane.carry()
    assert report.failed_fallbacks == report.finished_message()["failed_fallbacks"] == 2
    assert "x-ccproxy-failed-fallbacks" not in call.headers


async def test_a_fallback_that_litellm_took_is_told(sockets):
    async with opened(sockets) as (lane, worker):
        taken = [("x-litellm-attempted-fallbacks", "1"), ("x-litellm-model-group", "größe")]
        worker.plays.append(answers(b"{}", 200, *taken))
        worker.plays.append(answers(b"{}", 200, ("x-litellm-attempted-fallbacks", "0"), taken[1]))
        call, report = await lane.carry()
        assert (report.fallback, call.header("x-ccproxy-fallback")) == ("größe", "gr%C3%B6%C3%9Fe")
        call, report = await lane.carry()
        assert (report.fallback, call.header("x-ccproxy-fallback")) == (None, None)
