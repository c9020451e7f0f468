"""Whoever asks for a count gets one, whatever happens upstream."""

import asyncio

import orjson
import pytest

from ccproxyd.errors import CcproxydError
from ccproxyd.gateway import counts
from ccproxyd.routing import Request, TokenCounter
from tests.gateway.house import CANARY, KEY, asking, call, open_house
from tests.gateway.lanes.test_direct import asked, opened
from tests.gateway.scripted import ScriptedWorker, answers, chunk, dies, holds, streams

pytestmark = pytest.mark.anyio

COUNT = "/v1/messages/count_tokens"
MARK = "x-ccproxy-token-count"
SAID = "How long is this, please?"


def ours(text=SAID):
    return Request(orjson.loads(asking("default", prompt=text)), counter=TokenCounter()).token_count


async def counted(app, prompt=SAID, model="default"):
    answer = await asked(app, asking(model, prompt=prompt), path=COUNT)
    assert answer.status == 200
    assert answer.complete
    return answer


def is_ours(answer, prompt=SAID):
    return answer.header(MARK) == "estimate" and answer.json() == {"input_tokens": ours(prompt)}


# -- the direct lane


async def test_the_providers_own_count_is_passed_on_as_it_is(tmp_path):
    async with opened(tmp_path) as (house, provider):
        answer = await counted(house.app)
        assert answer.json() == {"input_tokens": provider.requests[0].input_tokens}
        assert answer.header(MARK) is None
        assert answer.header("x-ccproxy-lane") == "direct"
        assert answer.header("x-ccproxy-label") == "default"


async def test_a_count_is_free(tmp_path):
    async with opened(tmp_path) as (house, _):
        await counted(house.app)
        assert house.finished()["cost_usd"] == 0


FAILURES = ["status=401", "status=403", "status=404", "status=429", "status=500", "status=529"]


@pytest.mark.parametrize("failure", [*FAILURES, "reset", "cut=3"])
async def test_a_provider_that_does_not_count_is_replaced(tmp_path, failure):
    prompt = f"{CANARY} @@{failure};message=no@@"
    async with opened(tmp_path) as (house, provider):
        answer = await counted(house.app, prompt)
        assert is_ours(answer, prompt)
        assert answer.header("x-ccproxy-lane") is None
        assert answer.header("x-ccproxy-label") == "default"
        assert {one.path for one in provider.requests} == {COUNT}
        [told] = [one for one in house.logged if one["event"].startswith("cannot get a count")]
        assert CANARY not in house.told()
        assert told["level"] == "info"
        finished = house.finished()
        assert (finished["status"], finished["failed"]) == (200, False)


async def test_so_is_one_that_cannot_be_reached_and_no_fallback_is_asked(tmp_path):
    async with opened(tmp_path) as (house, provider):
        assert is_ours(await counted(house.app, model="nowhere"))
        assert is_ours(await counted(house.app, model="rescued"))
        assert provider.requests == []
        assert "the provider at 127.0.0.1:1 cannot be reached" in house.logged[-1]["event"]


async def test_and_one_that_takes_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr(counts, "PATIENCE_SECONDS", 0.05)
    prompt = "@@hold=0@@"
    async with opened(tmp_path) as (house, _provider):
        assert is_ours(await counted(house.app, prompt), prompt)
        assert house.logged[-1]["event"].endswith("none came within 0 s")


async def test_what_is_wrong_with_the_request_is_still_said(tmp_path):
    async with opened(tmp_path) as (house, _provider):
        assert (await asked(house.app, b"{", path=COUNT)).status == 400
        wrong = {"x-api-key": "wrong"}
        assert (await asked(house.app, path=COUNT, headers=wrong)).status == 401


# -- LiteLLM's lane


@pytest.fixture
async def worker(sockets):
    async with ScriptedWorker(sockets / "1.0.sock") as worker:
        yield worker


@pytest.fixture
async def house(config_dir, worker):
    async with open_house(config_dir, worker.address) as house:
        yield house


async def test_what_litellm_estimates_is_marked(house, worker):
    told = {"input_tokens": 7, "litellm_count_source": "local_estimate"}
    worker.plays.append(answers(orjson.dumps(told)))
    answer = await counted(house.app)
    assert (answer.json(), answer.header(MARK)) == (told, "estimate")
    worker.plays.append(answers(b'{"input_tokens": 8}'))
    answer = await counted(house.app)
    assert (answer.json(), answer.header(MARK)) == ({"input_tokens": 8}, None)
    assert answer.header("x-ccproxy-lane") == "litellm"


@pytest.mark.parametrize(
    "play",
    [
        answers(b'{"error": {}}', 500),
        answers(b'{"error": {}}', 401),
        answers(b"<html>"),
        answers(b"[]"),
        answers(b'{"input_tokens": null}'),
        streams(chunk(b'{"input_tok'), kind="application/json"),
    ],
)
async def test_litellm_that_does_not_count_is_replaced(house, worker, play):
    worker.plays.append(play)
    assert is_ours(await counted(house.app))


async def test_so_is_a_worker_that_dies_on_it(house, worker):
    worker.plays.extend([dies()] * 3)
    assert is_ours(await counted(house.app))
    assert house.finished()["status"] == 200


async def test_a_client_that_goes_away_is_not_counted_for(house, worker):
    held = asyncio.Event()
    worker.plays.append(holds(held, answers(b'{"input_tokens": 1}')))
    asking_for_it = call(asking("default"), COUNT)
    going = asyncio.create_task(asking_for_it.to(house.app))
    await worker.seen(1)
    asking_for_it.leave()
    await going
    held.set()
    assert asking_for_it.pieces == []


async def test_a_long_text_is_counted_aside(monkeypatch):
    aside = []
    in_thread = counts.asyncio.to_thread

    async def noted(function, *arguments):
        aside.append(function)
        return await in_thread(function, *arguments)

    monkeypatch.setattr(counts.asyncio, "to_thread", noted)
    for words, times in ((10, 0), (10_000, 1)):
        request = Request(orjson.loads(asking(prompt="word " * words)), counter=TokenCounter())
        assert await counts.count_tokens(request) == request.token_count > words
        assert len(aside) == times


async def test_without_a_tokenizer_it_is_still_a_number():
    class Broken(TokenCounter):
        def finish(self, tally):
            raise CcproxydError("no tokenizer")

    body = orjson.loads(asking(prompt="x" * 400))
    assert await counts.count_tokens(Request(body, counter=Broken())) > 100
    assert KEY not in repr(body)
