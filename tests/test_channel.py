from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccproxyd import channel
from ccproxyd.channel import ChannelError, Decoder, encode, may_be_dropped

words = st.text(max_size=8)
plain = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | words
values = plain | st.lists(plain, max_size=3) | st.dictionaries(words, plain, max_size=3)
messages = st.builds(
    lambda kind, rest: {**rest, "kind": kind}, words, st.dictionaries(words, values, max_size=3)
)
anything = settings(max_examples=60, deadline=None, database=None)


def read(*pieces: bytes) -> list[dict[str, Any]]:
    decoder = Decoder()
    return [message for piece in pieces for message in decoder.feed(piece)]


@anything
@given(st.lists(messages, max_size=5), st.integers(1, 40))
def test_what_is_written_is_read_however_the_socket_cuts_it(
    sent: list[dict[str, Any]], size: int
) -> None:
    stream = b"".join(encode(message) for message in sent)
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert read(*pieces) == sent


@anything
@given(messages)
def test_a_message_is_one_line(message: dict[str, Any]) -> None:
    assert encode(message).count(b"\n") == 1
    assert encode(message).endswith(b"\n")


def test_what_json_does_not_know_is_written_as_text() -> None:
    when = datetime.date(2026, 1, 2)
    [message] = read(encode({"kind": "serve", "config": Path("/a/b"), "when": when}))
    assert message == {"kind": "serve", "config": "/a/b", "when": "2026-01-02"}


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1",
        b"",
        b"\xff\xfe",
        b"[]",
        b"7",
        b"null",
        b"{}",
        b'{"kind":7}',
        b'{"kind":null}',
        b'{"kind":"stop"',
    ],
)
def test_another_language_is_an_error(line: bytes) -> None:
    with pytest.raises(ChannelError):
        read(line + b"\n")


def test_what_came_before_the_garbage_was_read() -> None:
    decoder = Decoder()
    pieces = decoder.feed(b'{"kind":"stop"}\nnonsense\n')
    assert next(pieces) == {"kind": "stop"}
    with pytest.raises(ChannelError, match="not a JSON line"):
        next(pieces)


def test_a_line_without_end_is_an_error_before_it_fills_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(channel, "MAX_LINE_BYTES", 100)
    decoder = Decoder()
    assert list(decoder.feed(b"x" * 100)) == []
    with pytest.raises(ChannelError, match="more than 100 bytes"):
        list(decoder.feed(b"x"))


def test_many_messages_of_some_size_are_no_long_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "MAX_LINE_BYTES", 100)
    line = encode({"kind": "k", "text": "x" * 60})
    assert len(read(*[line[:50], line[50:]] * 10)) == 10


@pytest.mark.parametrize("kind", ["decided", "finished", "priced", "log", "heartbeat"])
def test_telemetry_may_be_lost(kind: str) -> None:
    assert may_be_dropped({"kind": kind})


@pytest.mark.parametrize(
    "kind", ["ready", "failed", "idle", "answer", "prepare", "commit", "workers", "stop"]
)
def test_commands_and_answers_may_not(kind: str) -> None:
    assert not may_be_dropped({"kind": kind})
