"""How much of a body is passed over, and that nothing is which should not be."""

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import orjson
import pytest

from ccproxyd.routing import prefixes
from ccproxyd.routing.prefixes import Counted, Mark, Prefixes

CHUNK = 256


@pytest.fixture(autouse=True)
def small_chunks() -> Iterator[None]:
    with patch.object(prefixes, "CHUNK_BYTES", CHUNK):
        yield


def message(number: int, length: int = 60) -> dict[str, Any]:
    return {"role": "user", "content": f"{number} ".ljust(length, "x")}


def talk(count: int, length: int = 60) -> list[dict[str, Any]]:
    return [message(number, length) for number in range(count)]


def raw_of(messages: list[Any], **more: Any) -> bytes:
    return orjson.dumps({"model": "m", "messages": messages, **more})


class Counting:
    """Counts a message as a token, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def __call__(self, messages: list[Any]) -> Counted:
        self.asked.extend(messages)
        return Counted(len(messages), frozenset(hash(str(found)) for found in messages))


def learn(memory: Prefixes, raw: bytes) -> list[Any]:
    """What had to be counted for it."""
    return learn_as(orjson.loads(raw)["messages"], memory, raw)


def learn_as(messages: list[Any], memory: Prefixes, raw: bytes) -> list[Any]:
    count = Counting()
    memory.learn(raw, messages, memory.known(raw, messages), count)
    return count.asked


def mark_of(memory: Prefixes, raw: bytes) -> Mark:
    return memory.known(raw, orjson.loads(raw)["messages"]).mark


def learned(raw: bytes) -> Prefixes:
    memory = Prefixes()
    learn(memory, raw)
    return memory


def test_nothing_is_known_of_a_body_that_was_never_seen() -> None:
    assert mark_of(Prefixes(), raw_of(talk(100))) == Mark()
    assert mark_of(learned(raw_of(talk(100))), raw_of(talk(100), model="n")) == Mark()


def test_the_mark_stands_where_a_message_begins() -> None:
    raw = raw_of(talk(20), tools=[{"name": "f"}])
    mark = mark_of(learned(raw), raw)
    assert raw[mark.offset :].startswith(orjson.dumps(message(mark.messages)))
    assert mark.counted == Counting()(talk(mark.messages))
    assert mark.messages >= 15


def test_a_grown_conversation_is_passed_over_up_to_its_last_chunk() -> None:
    memory = learned(raw_of(talk(20)))
    grown = raw_of(talk(22))
    assert mark_of(memory, grown).messages >= 15


def test_only_what_is_behind_the_mark_is_counted_for_the_next_one() -> None:
    memory = Prefixes()
    first = learn(memory, raw_of(talk(20)))
    second = learn(memory, raw_of(talk(40)))
    assert first + second == talk(len(first) + len(second))
    assert len(second) > 10
    assert learn(memory, raw_of(talk(40))) == []


def test_a_moved_cache_mark_costs_the_last_message_alone() -> None:
    marked = [*talk(19), {**message(19), "cache_control": {"type": "ephemeral"}}]
    memory = learned(raw_of(marked, tools=[{"name": "f"}] * 100))
    assert mark_of(memory, raw_of(talk(22))).messages >= 15


def test_an_edited_message_ends_what_is_known() -> None:
    memory = learned(raw_of(talk(40)))
    edited = raw_of([*talk(20), message(7), *talk(40)[21:]])
    assert 15 <= mark_of(memory, edited).messages <= 20


def test_a_message_of_many_chunks_is_passed_over_once_it_has_been_answered() -> None:
    long = [*talk(5), message(5, 50 * CHUNK), *talk(5)]
    memory = learned(raw_of(long))
    assert mark_of(memory, raw_of([*long, *talk(3)])).messages >= 6


def test_messages_may_come_last() -> None:
    body = {"system": "s" * 1000, "tools": [{"name": "f"}] * 50, "messages": talk(30)}
    raw = orjson.dumps(body)
    memory = learned(raw)
    assert mark_of(memory, raw).messages >= 25


def test_what_looks_like_a_message_inside_of_one_is_none() -> None:
    quoted = {"role": "user", "content": [{"type": "tool_use", "input": {"messages": talk(30)}}]}
    messages = [*talk(5), quoted, *talk(20)]
    raw = raw_of(messages)
    mark = mark_of(learned(raw), raw)
    assert raw[mark.offset :].startswith(orjson.dumps(messages[mark.messages]))
    assert mark.messages > 6


def test_a_list_of_that_name_that_is_not_the_bodys_is_not_taken_for_it() -> None:
    raw = orjson.dumps({"metadata": {"messages": talk(30)}, "messages": talk(30, 50)})
    asked = learn(Prefixes(), raw)
    assert len(asked) > 20
    assert asked == talk(len(asked), 50)


@pytest.mark.parametrize("name", ['x"messages', "messages"])
def test_a_list_of_nearly_that_name_is_not_taken_for_it(name: str) -> None:
    raw = orjson.dumps({name: None, "stop": talk(30)})
    assert learn_as(talk(30), Prefixes(), raw) == []
    raw = orjson.dumps({'x"messages': talk(30)})
    assert learn_as(talk(30), Prefixes(), raw) == []


def test_a_text_that_quotes_a_body_is_not_taken_for_it() -> None:
    raw = orjson.dumps({"system": raw_of(talk(30)).decode(), "messages": talk(30, 50)})
    asked = learn(Prefixes(), raw)
    assert len(asked) > 20
    assert asked == talk(len(asked), 50)


def test_messages_that_do_not_begin_with_their_role_are_not_passed_over() -> None:
    turned = [{"content": found["content"], "role": "user"} for found in talk(40)]
    raw = raw_of(turned)
    assert mark_of(learned(raw), raw).messages == 0


def test_a_mark_beyond_the_messages_that_a_parser_found_is_none() -> None:
    """The body says `messages` twice, and the second time there are fewer."""
    memory = learned(raw_of(talk(40)))
    raw = raw_of(talk(40))[:-1] + b',"messages":[{"role":"user","content":"Hi"}]}'
    assert memory.known(raw, orjson.loads(raw)["messages"]).mark == Mark()


def test_counts_are_of_the_bytes_before_the_mark_whatever_else_a_body_says() -> None:
    """So a body that says `messages` twice spoils nothing for another."""
    raw = raw_of(talk(40))[:-1] + b',"messages":%s}' % orjson.dumps(talk(50, 100))
    memory = Prefixes()
    asked = learn(memory, raw)
    assert asked == talk(len(asked))
    assert mark_of(memory, raw_of(talk(42))).counted == Counting()(asked)


def test_only_the_first_megabyte_is_looked_at() -> None:
    with patch.object(prefixes, "MAX_BYTES", 4 * CHUNK):
        raw = raw_of(talk(100))
        memory = learned(raw)
        assert len(memory) == 4
        assert 0 < mark_of(memory, raw).offset < 4 * CHUNK


def test_few_marks_are_made_of_what_is_behind_the_messages() -> None:
    """It changes its place with every turn."""
    memory = learned(raw_of(talk(20), tools=["t" * 100 * CHUNK]))
    assert len(memory) <= 2000 // CHUNK + 1


def test_a_memory_of_prefixes_is_bounded() -> None:
    memory = Prefixes(capacity=10)
    for number in range(10):
        learn(memory, raw_of([message(number), *talk(100)]))
    assert len(memory) <= 10


def test_a_last_message_that_cannot_be_written_again_is_no_obstacle() -> None:
    """A parser takes deeper nests than a writer makes."""
    raw = raw_of(talk(40))[:-2] + b',{"role":"user","content":%b"Hi"%b}]}' % (
        b"[" * 500,
        b"]" * 500,
    )
    assert mark_of(learned(raw), raw).messages > 20


@pytest.mark.parametrize("messages", [[], ["Hi"], [None, 7, [], {}], talk(1)])
def test_the_shortest_conversations_are_read_whole(messages: list[Any]) -> None:
    raw = raw_of(messages)
    assert mark_of(learned(raw), raw) == Mark()
