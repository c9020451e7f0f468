import orjson
import pytest

from ccproxyd.gateway.usage import NO_USAGE, StreamUsage, Usage, usage_of_json


def whole(**usage):
    return usage_of_json(orjson.dumps({"usage": usage}))


def test_anthropics_input_is_what_no_cache_had():
    assert whole(
        input_tokens=3,
        output_tokens=5,
        cache_read_input_tokens=70,
        cache_creation_input_tokens=20,
    ) == Usage(23, 5, 70)


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
    assert usage == Usage(100, 5, 0)


def test_a_provider_that_counts_wrongly_yields_no_negative_tokens():
    assert whole(prompt_tokens=5, prompt_tokens_details={"cached_tokens": 9}).input_tokens == 0


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
