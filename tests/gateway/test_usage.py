import orjson
import pytest
from attrs import evolve

from ccproxyd.gateway.usage import NO_USAGE, StreamUsage, Usage, usage_of_json


def whole(**usage):
    return usage_of_json(orjson.dumps({"usage": usage}))


def test_anthropics_input_is_what_no_cache_had():
    assert whole(
        input_tokens=3,
        output_tokens=5,
        cache_read_input_tokens=70,
        cache_creation_input_tokens=20,
    ) == Usage(23, 5, 70, cache_write_tokens=20)


def test_openais_input_includes_what_a_cache_had():
    details = {"cached_tokens": 60}
    chat = whole(prompt_tokens=100, completion_tokens=5, prompt_tokens_details=details)
    responses = whole(input_tokens=100, output_tokens=5, input_tokens_details=details)
    assert chat == responses == Usage(40, 5, 60)


def test_what_litellm_adds_to_openais_shape_is_not_counted_twice():
    usage = whole(
        prompt_tokens=100,
        completion_tokens=5,
        cache_creation_input_tokens=30,
        prompt_tokens_details={"cached_tokens": 0},
    )
    assert usage == Usage(100, 5, 0, cache_write_tokens=30)


def test_a_provider_that_counts_wrongly_yields_no_negative_tokens():
    assert whole(prompt_tokens=5, prompt_tokens_details={"cached_tokens": 9}).input_tokens == 0


def test_what_the_cache_keeps_for_an_hour_is_told_apart():
    usage = whole(
        input_tokens=3,
        cache_creation_input_tokens=20,
        cache_creation={"ephemeral_5m_input_tokens": 15, "ephemeral_1h_input_tokens": 5},
    )
    assert (usage.cache_write_tokens, usage.cache_write_1h_tokens) == (20, 5)


@pytest.mark.parametrize("name", ["cache_write_tokens", "cache_creation_tokens"])
def test_what_openai_writes_to_a_cache_is_input(name):
    usage = whole(prompt_tokens=100, prompt_tokens_details={"cached_tokens": 60, name: 30})
    assert usage == Usage(40, None, 60, 30)


def test_speech_and_reasoning_are_told_apart():
    chat = whole(
        prompt_tokens=100,
        prompt_tokens_details={"audio_tokens": 10},
        completion_tokens=50,
        completion_tokens_details={"audio_tokens": 20, "reasoning_tokens": 30},
    )
    assert (chat.audio_input_tokens, chat.audio_output_tokens) == (10, 20)
    assert chat.reasoning_tokens == 30
    claude = whole(output_tokens=50, output_tokens_details={"thinking_tokens": 30})
    assert claude.reasoning_tokens == 30


def test_what_else_a_price_depends_on_is_read():
    usage = whole(
        server_tool_use={"web_search_requests": 2},
        service_tier="priority",
        speed="fast",
        inference_geo="us",
    )
    expected = Usage(web_searches=2, service_tier="priority", speed="fast", inference_geo="us")
    assert usage == expected


def test_openai_names_model_and_tier_beside_the_usage():
    raw = b'{"model": "gpt-5", "service_tier": "flex", "usage": {"completion_tokens": 3}}'
    assert usage_of_json(raw) == Usage(output_tokens=3, model="gpt-5", service_tier="flex")


def test_several_turns_in_one_answer_are_summed():
    usage = whole(
        input_tokens=1,
        output_tokens=2,
        cache_read_input_tokens=3,
        cache_creation={"ephemeral_1h_input_tokens": 9},
        iterations=[
            {"type": "compaction", "input_tokens": 10, "output_tokens": 20},
            {
                "type": "message",
                "input_tokens": 1,
                "output_tokens": 2,
                "cache_read_input_tokens": 3,
                "cache_creation_input_tokens": 40,
                "cache_creation": {"ephemeral_1h_input_tokens": 30},
            },
            "nonsense",
        ],
    )
    assert usage == Usage(51, 22, 3, 40, 30)


def test_turns_that_say_nothing_of_hours_leave_what_is_said_beside_them():
    usage = whole(
        cache_creation={"ephemeral_1h_input_tokens": 9},
        iterations=[{"input_tokens": 10, "cache_creation_input_tokens": 40}],
    )
    assert (usage.input_tokens, usage.cache_write_tokens, usage.cache_write_1h_tokens) == (
        50,
        40,
        9,
    )


@pytest.mark.parametrize("iterations", [None, [], ["nonsense"], {"a": 1}])
def test_turns_that_are_none_change_nothing(iterations):
    assert whole(input_tokens=3, iterations=iterations) == Usage(3)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no json",
        b'{"usage": null}',
        b'["usage"]',
        b'{"usage": {}}',
        b'{"usage": ',
        b'{"usage": {"input_tokens": "many", "output_tokens": true}}',
        b'{"usage": {"prompt_tokens_details": 3, "cache_creation": [], "speed": 1.5}}',
        b'{"message": {"usage": []}, "response": "usage"}',
    ],
)
def test_an_answer_that_names_no_usage_has_none(raw):
    assert usage_of_json(raw) == NO_USAGE


ANTHROPICS = (
    b'event: message_start\ndata: {"message": {"usage": {"input_tokens": 9, "output_tokens": 1,'
    b' "cache_read_input_tokens": 4}}}\n\n'
    b'event: content_block_delta\ndata: {"delta": {"text": "the \\"usage\\" of words"}}\n\n'
    b'event: message_delta\ndata: {"usage": {"output_tokens": 7}}\n\n'
)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_stream_is_read_however_it_is_cut(size):
    stream = StreamUsage()
    for start in range(0, len(ANTHROPICS), size):
        stream.feed(ANTHROPICS[start : start + size])
    assert stream.usage == Usage(9, 7, 4)


def test_only_frames_that_mention_usage_are_parsed(monkeypatch):
    parsed = []
    monkeypatch.setattr("ccproxyd.gateway.usage._figures_in", lambda raw: parsed.append(raw) or {})
    StreamUsage().feed(ANTHROPICS)
    assert [b"message" in parsed[0], b"7" in parsed[1], len(parsed)] == [True, True, 2]


def test_a_stream_that_tells_it_bit_by_bit_is_added_up_once():
    """The end of a message repeats what its start said, in part or as a whole."""
    stream = StreamUsage()
    stream.feed(
        b'data: {"message": {"model": "claude", "usage": {"input_tokens": 9, "output_tokens": 1,'
        b' "cache_creation_input_tokens": 20, "service_tier": "standard",'
        b' "cache_creation": {"ephemeral_1h_input_tokens": 5}}}}\n\n'
    )
    started = stream.usage
    stream.feed(
        b'data: {"usage": {"input_tokens": 9, "output_tokens": 7, "cache_read_input_tokens": null,'
        b' "server_tool_use": {"web_search_requests": 2}}}\n\n'
    )
    expected = Usage(29, 1, None, 20, 5, model="claude", service_tier="standard")
    assert started == expected
    assert stream.usage == evolve(expected, output_tokens=7, web_searches=2)


def test_a_chat_says_null_until_its_end():
    stream = StreamUsage()
    stream.feed(b'data: {"model": "gpt-5", "usage": null}\n\n')
    assert stream.usage == NO_USAGE
    stream.feed(b'data: {"model": "gpt-5", "usage": {"prompt_tokens": 2}}\n\ndata: [DONE]\n\n')
    assert stream.usage == Usage(2, model="gpt-5")


def test_a_response_tells_it_in_its_last_event():
    stream = StreamUsage()
    stream.feed(b'data: {"response": {"usage": {"input_tokens": 2, "output_tokens": 3}}}\r\n\r\n')
    assert stream.usage == Usage(2, 3)


def test_a_line_without_end_is_let_go(monkeypatch):
    monkeypatch.setattr("ccproxyd.gateway.usage._MAX_FRAME_BYTES", 100)
    stream = StreamUsage()
    stream.feed(b"data: " + b"x" * 200)
    stream.feed(b'\ndata: {"usage": {"output_tokens": 3}}\n')
    assert stream.usage.output_tokens == 3


@pytest.mark.parametrize(
    ("said", "failed"),
    [
        (b'event: error\ndata: {"type": "error"}\n\n', True),
        (b'data: {"type": "error", "error": {"message": "m"}}\n\n', True),
        (b'data: {"type":"error","code":"server_error","message":"m"}\n\n', True),
        (b'data: {"error": {"message": "no"}}\n\n', True),
        (b"event: response.failed\ndata: {}\n\ndata: [DONE]\n\n", True),
        (b'event: message_stop\ndata: {"type": "message_stop"}\n\n', False),
        (b'data: {"id": "c-1", "choices": [{"delta": {"content": "event: error"}}]}\n\n', False),
    ],
)
def test_a_stream_that_says_that_it_failed_has_failed(said, failed):
    stream = StreamUsage()
    stream.feed(said[:7])
    stream.feed(said[7:])
    assert stream.has_failed is failed


@pytest.mark.parametrize(
    "last",
    [
        b"data: [DONE]\n\n",
        b"data: [DONE]",
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
        b'data: {"type":"message_stop"}\n\n',
        b'event: response.completed\ndata: {"response": {"usage": {}}}\n\n',
        b"event: response.incomplete\ndata: {}\n\n",
        b"event: response.failed\ndata: {}\n\n",
        b"event: error\ndata: {}\n\n",
    ],
)
def test_a_stream_that_has_said_its_last_word_has_ended(last):
    stream = StreamUsage()
    stream.feed(b'data: {"id": "c-1", "choices": []}\n\n')
    assert not stream.has_ended
    stream.feed(last[:7])
    assert not stream.has_ended
    stream.feed(last[7:])
    assert stream.has_ended


def test_what_says_that_there_is_no_error_is_no_end():
    stream = StreamUsage()
    stream.feed(b'data: {"error":null,"choices":[]}\n\n')
    assert (stream.has_ended, stream.has_failed) == (False, False)


def test_but_not_in_the_midst_of_it():
    stream = StreamUsage()
    stream.feed(b"event: response.completed\n")
    assert not stream.has_ended
    stream.feed(b'data: {"half')
    assert not stream.has_ended


CHUNK = b'data: {"choices": [{"delta": {}, "finish_reason": %s}]}\n\n'


@pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        ([CHUNK % b"null"], False),
        ([CHUNK % b"null", b"data: [DONE]\n\n"], True),
        ([CHUNK % b"null", b"data: [DONE]"], True),
        ([CHUNK % b"null", CHUNK % b'"stop"'], True),
        ([CHUNK % b"null", (CHUNK % b'"stop"').rstrip()], True),
        ([(CHUNK % b'"stop"').replace(b": ", b":"), CHUNK % b"null"], True),
        ([b'event: message_start\ndata: {"type":"message_start"}\n\n'], False),
        ([b'event: message_stop\ndata: {"type":"message_stop"}'], True),
        ([b'data: {"type": "message_stop"}\n\n'], True),
        ([b'event: response.created\ndata: {}\n\n'], False),
        ([b'event: response.incomplete\ndata: {}\n\n'], True),
        ([b'event: error\ndata: {}\n\n'], True),
        ([b'event:response.completed\ndata: {}\n\n'], True),
        ([b'data: {"type":"response.completed","response":{"usage":{}}}\n\n'], True),
        ([b'data: {"type": "response.incomplete"}\n\n'], True),
        ([b'data:{"type":"message_stop"}\n\n'], True),
        ([b'data: {"type":"message_stop","usage":{}}\n\n'], True),
        ([b'data: {"type":"response.failed"}\n\n'], True),
        ([CHUNK.replace(b": %s", b" : %s") % b'"stop"'], True),
        ([CHUNK % b'""'], False),
        ([b'data: {"type":"response.output_text.delta"}\n\n'], False),
        ([], False),
    ],
)  # fmt: skip
def test_an_answer_is_whole_that_says_why_it_ends(pieces, whole):
    stream = StreamUsage()
    for piece in pieces:
        stream.feed(piece)
    assert stream.is_whole is whole


def test_zeros_alone_are_no_usage():
    """LiteLLM begins a message with them that it translates, and a cut one has nothing else."""
    stream = StreamUsage()
    begin = b'data: {"message": {"model": "m", "usage": {"input_tokens": 0, "output_tokens": 0}}}'
    stream.feed(begin + b"\n\n")
    assert stream.usage == Usage(model="m")
    stream.feed(b'data: {"usage": {"input_tokens": 0, "output_tokens": 5}}\n\n')
    assert stream.usage == Usage(input_tokens=0, output_tokens=5, model="m")
