"""A stream that does not tell its usage is counted while it passes."""

import asyncio
import threading

import orjson
import pytest
from attrs import evolve

from ccproxyd.errors import CcproxydError
from ccproxyd.gateway import estimates
from ccproxyd.gateway.estimates import estimate_for, shortfall_for, tokens_of
from ccproxyd.routing import Request, TokenCounter
from ccproxyd.routing.tokens import load_encoding
from ccproxyd.telemetry.usage import Usage
from tests.gateway.house import CANARY, asking, call, open_house, write_config
from tests.gateway.lanes.test_direct import asked, opened
from tests.gateway.scripted import (
    PATIENCE,
    Moment,
    ScriptedWorker,
    answers,
    begins,
    dies,
    notes_leaving,
    streams,
)

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
HELLO = "Hello, world"
SILENT = Usage(input_tokens=None, output_tokens=None)


class Words:
    """An encoding whose tokens are words; its first count may be held."""

    def __init__(self):
        self.held = threading.Event()
        self.held.set()

    def lengths(self, texts):
        assert self.held.wait(PATIENCE)
        return [len(text.split()) for text in texts]


def estimate(path=CHAT, counter=None, **body):
    body = {"messages": [{"role": "user", "content": "one two three"}], "stream": True, **body}
    counter = TokenCounter(Words()) if counter is None else counter
    return estimate_for(Request(body, path=path, counter=counter), counter)


def frame(**choice):
    return b"data: " + orjson.dumps({"choices": [choice]})


def delta(**said):
    return frame(index=0, delta=said)


async def used(found, *lines, told=SILENT):
    found.read(lines)
    await found.settled()
    return found.in_place_of(told)


@pytest.mark.parametrize(
    ("path", "body", "is_one"),
    [
        (CHAT, {}, True),
        ("/v1/completions", {"prompt": "hi"}, True),
        (CHAT, {"stream_options": {"include_usage": False}}, True),
        (CHAT, {"stream_options": "nonsense"}, True),
        (CHAT, {"stream_options": {"include_usage": True}}, False),
        (CHAT, {"stream": False}, False),
        ("/v1/messages", {}, False),
        ("/v1/responses", {}, False),
    ],
)
async def test_only_streams_that_were_not_asked_for_their_usage_have_one(path, body, is_one):
    assert (estimate(path, **body) is not None) is is_one


async def test_it_is_the_tokens_of_the_request_and_of_what_each_frame_adds():
    lines = [
        delta(role="assistant", content=""),
        delta(content="a b"),
        b"",
        delta(content=" c"),
        b"data: [DONE]",
    ]
    assert await used(estimate(), *lines) == Usage(3, 3)


@pytest.mark.parametrize(
    "line",
    [
        delta(content="a b c d"),
        delta(content=[{"type": "text", "text": "a b"}, {"type": "text", "text": "c d"}]),
        delta(reasoning_content="a b c d", reasoning="a b c d"),
        delta(reasoning="a b", content="c d"),
        delta(refusal="a b c d"),
        delta(tool_calls=[{"function": {"name": "a", "arguments": "b c d"}}]),
        delta(tool_calls=[{"function": {"arguments": "a b"}}, {"function": {"name": "c d"}}]),
        delta(function_call={"name": "a", "arguments": "b c d"}),
        frame(text="a b c d"),
        b'data:{"choices": [{"text": "a b"}, {"delta": {"content": "c d"}}]}',
    ],
)
async def test_whatever_an_answer_is_made_of_counts(line):
    assert (await used(estimate(), line)).output_tokens == 4


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"event: message",
        b'data: {"choices": null}',
        b'data: {"choices": []}',
        b"data: [1]",
        b"data: {",
        b'data: {"error": {"message": "no"}}',
    ],
)
async def test_a_stream_that_says_nothing_has_used_nothing(line):
    assert await used(estimate(), line) is SILENT


@pytest.mark.parametrize(
    "line",
    [
        b'data: {"choices": ["a", {"delta": "b"}, {"text": 3}]}',
        delta(tool_calls="a", function_call="b", content={"c": "d"}),
        delta(tool_calls=["a", {"function": "b"}]),
    ],
)
async def test_what_is_of_no_known_shape_counts_nothing(line):
    assert (await used(estimate(), line)).output_tokens == 0


async def test_what_a_stream_tells_itself_wins_unless_it_is_all_zeros():
    told = Usage(7, 5)
    assert await used(estimate(), delta(content="a"), told=told) is told
    cached = Usage(0, None, 9)
    assert await used(estimate(), delta(content="a"), told=cached) is cached
    zeros = Usage(0, 0, model="gpt-5")
    assert await used(estimate(), delta(content="a"), told=zeros) == evolve(
        zeros, input_tokens=3, output_tokens=1
    )


async def test_where_nothing_can_be_counted_the_length_tells():
    class Broken(TokenCounter):
        is_ready = False

        def finish(self, tally):
            raise CcproxydError("no tokenizer")

    found = estimate(counter=Broken())
    usage = await used(found, delta(content="x" * 40), delta(content="y"))
    assert usage.output_tokens == 10 + 1
    assert usage.input_tokens == len('one two three""') // 4
    assert tokens_of(found.request) == usage.input_tokens


async def test_a_frame_without_end_is_not_counted_word_by_word(monkeypatch):
    monkeypatch.setattr(estimates, "IN_THREAD", 40)
    lines = [delta(content="a " * 20), delta(content="a " * 21)]
    assert (await used(estimate(), *lines)).output_tokens == 20 + 42 // 4


async def test_what_is_nested_deeper_than_can_be_written_costs_nothing_but_its_count():
    deep: list = []
    for _ in range(400):
        deep = [deep]
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    said = [{"role": "user", "content": [{"type": "text", "text": "one two"}, image]}]
    found = estimate(tools=[deep], messages=said, counter=TokenCounter(Words()))
    assert 1 <= tokens_of(found.request) < 5000


async def test_a_client_that_leaves_before_the_input_is_counted_has_it_by_its_length():
    words = Words()
    found = estimate(counter=TokenCounter(words))
    words.held.clear()
    found.read([delta(role="assistant")])
    assert found.in_place_of(SILENT).input_tokens == len('one two three""') // 4
    words.held.set()
    await found.settled()
    assert found.in_place_of(SILENT).input_tokens == 3


async def test_nothing_of_an_answer_is_kept():
    found = estimate()
    await used(found, delta(content=CANARY))
    assert CANARY not in repr([getattr(found, name) for name in ("counter", "_output", "_input")])
    assert CANARY not in repr(found)


# Of a stream that does not get to its end


def shortfall(path="/v1/messages", **body):
    body = {"messages": [{"role": "user", "content": "x" * 40}], "stream": True, **body}
    return shortfall_for(Request(body, path=path))


def event(kind, **more):
    return b"data: " + orjson.dumps({"type": kind, **more})


def piece(**more):
    return event("content_block_delta", index=0, delta=more)


BEGUN = Usage(input_tokens=7, output_tokens=1)


@pytest.mark.parametrize(
    ("path", "body", "is_one"),
    [
        ("/v1/messages", {}, True),
        (CHAT, {"stream_options": {"include_usage": True}}, True),
        ("/v1/responses", {}, True),
        ("/v1/messages", {"stream": False}, False),
        ("/v1/embeddings", {}, False),
    ],
)
def test_only_a_conversation_s_stream_can_fall_short(path, body, is_one):
    assert (shortfall(path, **body) is not None) is is_one


async def test_what_came_after_the_last_figures_is_added_to_them_by_its_length():
    lines = [
        event("message_start", message={"usage": {"output_tokens": 1}}),
        piece(type="thinking_delta", thinking="x" * 12),
        piece(type="signature_delta", signature="x" * 400),
        piece(type="text_delta", text="x" * 8),
        piece(type="input_json_delta", partial_json="x" * 4),
        b"event: ping",
        b"data: half a fra",
    ]
    assert await used(shortfall(), *lines, told=BEGUN) == Usage(7, 1 + 24 // 4)


async def test_where_nothing_was_told_the_input_goes_by_its_length_too():
    found = shortfall(CHAT, stream_options={"include_usage": True})
    assert await used(found, delta(content="x" * 8)) == Usage(10, 2)


@pytest.mark.parametrize(
    "kind", ["output_text", "reasoning_summary_text", "function_call_arguments"]
)
async def test_so_does_a_response_whatever_it_says(kind):
    turns = ["x" * 4, {"content": "x" * 20}, {"type": "function_call_output", "output": "x" * 8}]
    body = {"messages": None, "instructions": "x" * 8, "input": turns}
    said = event(f"response.{kind}.delta", delta="x" * 8)
    assert await used(shortfall("/v1/responses", **body), said) == Usage(10, 2)


async def test_a_text_ends_at_its_own_quotation_mark():
    found = await used(shortfall(), piece(text='say "no"', thinking="\\"), told=BEGUN)
    assert found.output_tokens == 1 + (len(r"say \"no\"") + len(r"\\")) // 4


async def test_zeros_tell_nothing():
    zeros = event("message_delta", usage={"input_tokens": 0, "output_tokens": 0})
    assert await used(shortfall(), piece(text="x" * 8), zeros, told=BEGUN) == Usage(7, 3)


@pytest.mark.parametrize(
    "line",
    [
        event("response.output_text.done", text="x" * 40),
        event("response.content_part.done", part={"text": "x" * 40}),
        event("response.audio.delta", delta="x" * 40),
        piece(type="text_delta", text=["x" * 40]),
    ],
)
async def test_what_adds_no_words_counts_nothing(line):
    assert await used(shortfall(), line, told=BEGUN) is BEGUN


@pytest.mark.parametrize(
    "last",
    [
        event("response.completed", response={"usage": {"output_tokens": 9}}),
        event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 9}),
        b"data: " + orjson.dumps({"choices": [], "usage": {"completion_tokens": 9}}),
    ],
)
async def test_a_stream_that_has_told_its_usage_has_nothing_added(last):
    told = Usage(7, 9)
    found = shortfall()
    assert await used(found, piece(text="x" * 8), last, told=told) is told
    assert (await used(found, piece(text="x" * 8), told=told)).output_tokens == 11


async def test_a_message_that_is_cut_has_cost_what_came(tmp_path):
    async with opened(tmp_path) as (house, _):
        body = asking("default", stream=True, prompt="@@events=9;cut=6@@")
        answer = await asked(house.app, body)
        finished = house.finished()
        assert (answer.header("x-ccproxy-lane"), finished["failed"]) == ("direct", True)
        assert finished["output_tokens"] > 1  # as it began


# On both lanes


async def test_on_the_direct_lane_it_has_a_price(tmp_path):
    async with opened(tmp_path) as (house, provider):
        body = asking("chat", prompt=HELLO, stream=True)
        answer = await asked(house.app, body, path=CHAT)
        assert answer.header("x-ccproxy-lane") == "direct"
        assert b'"usage"' not in answer.answer
        assert "stream_options" not in provider.requests[0].fields
        finished = house.finished()
        assert finished["input_tokens"] == 3
        assert finished["output_tokens"] > 0
        assert finished["cost_usd"] > 0


async def test_a_stream_that_was_asked_for_its_usage_has_the_providers_own(tmp_path):
    async with opened(tmp_path) as (house, provider):
        options = {"stream_options": {"include_usage": True}}
        await asked(house.app, asking("chat", stream=True, **options), path=CHAT)
        assert house.finished()["input_tokens"] == provider.requests[0].input_tokens


LINES = (delta(content="one two"), delta(content=" three"), b"data: [DONE]")


@pytest.fixture
async def worker(sockets):
    async with ScriptedWorker(sockets / "1.0.sock") as worker:
        yield worker


async def streamed(tmp_path, worker):
    load_encoding()  # or else the first frames go by their length
    async with open_house(write_config(tmp_path), worker.address) as house:
        await call(asking("gpt-5", prompt=HELLO, stream=True), path=CHAT).to(house.app)
        return house.finished()


async def test_on_litellms_lane_it_has_tokens_and_what_was_asked_for_a_price(tmp_path, worker):
    worker.default = streams(b"\n\n".join(LINES) + b"\n\n")
    finished = await streamed(tmp_path, worker)
    assert (finished["input_tokens"], finished["output_tokens"]) == (3, 3)
    assert finished["original_cost_usd"] > 0
    assert finished["cost_usd"] is None


async def test_a_short_stream_that_comes_as_a_whole_is_read_like_any_other(tmp_path, worker):
    raw = b"\n\n".join(LINES) + b"\n\n"

    async def whole(caller):
        head = b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n"
        await caller.write(head % len(raw) + raw)

    worker.default = whole
    assert (await streamed(tmp_path, worker))["output_tokens"] == 3


async def test_a_stream_that_breaks_has_cost_what_came(tmp_path, worker):
    async def breaks(caller):
        caller.writer.close()

    worker.default = begins(LINES[0] + b"\n\n", also=breaks)
    finished = await streamed(tmp_path, worker)
    assert (finished["failed"], finished["input_tokens"], finished["output_tokens"]) == (True, 3, 2)


async def test_so_has_one_whose_client_leaves(tmp_path, worker):
    left = Moment()
    worker.default = begins(LINES[0] + b"\n\n", also=notes_leaving(left))
    async with open_house(write_config(tmp_path), worker.address) as house:
        leaving = call(asking("gpt", prompt=HELLO, stream=True), path=CHAT)
        served = asyncio.create_task(leaving.to(house.app))
        await asyncio.wait_for(leaving.begun.wait(), PATIENCE)
        leaving.leave()
        await served
        await left.comes()
        assert house.finished()["output_tokens"] == 2
        assert house.finished()["input_tokens"] > 0


@pytest.mark.parametrize("play", [dies(), answers(b"{}", 500), answers(b"{}")])
async def test_what_is_no_stream_has_no_estimate(tmp_path, worker, play):
    worker.default = play
    assert (await streamed(tmp_path, worker))["input_tokens"] is None
