"""The two forms of an answer, body and stream, say the same."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from ccproxyd.demo import answers
from ccproxyd.demo.answers import Answer

ANSWER = Answer("m", ("one", " two"), input_tokens=9, cached_tokens=4, number=7)


def events(frames: Iterable[bytes]) -> list[dict[str, Any]]:
    """The data of each frame, which also ends as a frame must."""
    parsed = []
    for frame in frames:
        assert frame.endswith(b"\n\n")
        data = frame.partition(b"data: ")[2]
        parsed.append({"type": "done"} if data == b"[DONE]\n\n" else json.loads(data))
    return parsed


def test_a_message_stream_ends_as_its_body_says() -> None:
    body = answers.message(ANSWER)
    start, *_, last, _ = events(answers.message_frames(ANSWER))
    assert start["message"].keys() == body.keys()
    assert start["message"]["id"] == body["id"] == "msg_000007"
    assert last["delta"]["stop_reason"] == body["stop_reason"]
    assert last["usage"] == body["usage"]


def test_a_message_stream_has_anthropics_order_of_events() -> None:
    types = [event["type"] for event in events(answers.message_frames(ANSWER))]
    assert types == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_each_frame_is_named_after_its_type() -> None:
    for frames in (answers.message_frames(ANSWER), answers.response_frames(ANSWER)):
        for frame in frames:
            name, data = frame.decode().splitlines()[:2]
            assert json.loads(data[6:])["type"] == name[7:]


def test_anthropics_usage_counts_the_cache_apart_and_openais_within() -> None:
    message = answers.message(ANSWER)["usage"]
    assert (message["input_tokens"], message["cache_read_input_tokens"]) == (5, 4)
    chat = answers.chat(ANSWER)["usage"]
    assert (chat["prompt_tokens"], chat["total_tokens"]) == (9, 11)
    assert chat["prompt_tokens_details"]["cached_tokens"] == 4
    assert answers.response(ANSWER)["usage"]["input_tokens"] == 9


def test_a_chat_stream_tells_its_usage_only_when_asked() -> None:
    *_, finish, done = events(answers.chat_frames(ANSWER))
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert done == {"type": "done"}
    *_, usage, done = events(answers.chat_frames(ANSWER, usage=True))
    assert (usage["choices"], usage["usage"]) == ([], answers.chat(ANSWER)["usage"])


def test_a_responses_stream_numbers_its_events_and_ends_with_the_body() -> None:
    sent = events(answers.response_frames(ANSWER))
    assert [event["sequence_number"] for event in sent] == list(range(len(sent)))
    assert sent[0]["response"]["usage"] is None
    assert sent[-1]["response"] == answers.response(ANSWER)


@pytest.mark.parametrize(
    "stream", [answers.message_frames, answers.chat_frames, answers.response_frames]
)
def test_the_same_answer_is_the_same_bytes(stream: Callable[[Answer], Iterable[bytes]]) -> None:
    assert list(stream(ANSWER)) == list(stream(ANSWER))


def test_encoded_vectors_are_the_plain_ones() -> None:
    plain = answers.embeddings("m", 2, 3)
    encoded = answers.embeddings("m", 2, 3, encoded=True)
    assert [one["index"] for one in plain["data"]] == [0, 1]
    packed = base64.b64decode(encoded["data"][1]["embedding"])
    assert struct.unpack("<4f", packed) == plain["data"][1]["embedding"]


def test_words_lose_nothing_of_the_text() -> None:
    text = " a  b c "
    assert "".join(answers.words(text)) == text
