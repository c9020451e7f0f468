"""A body says what it would have said, whether its tools were known or not."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccproxyd.routing.toolsets import (
    LEAST_BYTES,
    MOST_BEHIND,
    MOST_BYTES,
    MOST_SETS,
    Toolset,
    Toolsets,
)

TOOL = {"name": "Read", "description": "x" * LEAST_BYTES, "input_schema": {"required": ["path"]}}
MESSAGES = [{"role": "user", "content": "Hello"}]


def saying(tools: Any, **more: Any) -> bytes:
    return orjson.dumps({"messages": MESSAGES, "tools": tools, **more})


def met(raw: bytes, times: int = 2) -> Toolsets:
    """Toolsets that have had a body so often."""
    toolsets = Toolsets()
    for _ in range(times):
        meet(toolsets, raw)
    return toolsets


def meet(toolsets: Toolsets, raw: bytes) -> None:
    body = toolsets.loads(raw)
    if toolsets.lacks(body):
        toolsets.learn(raw, body)


def knows(toolsets: Toolsets, raw: bytes) -> bool:
    body = toolsets.loads(raw)
    assert body == orjson.loads(raw)
    assert list(body) == list(orjson.loads(raw))
    return isinstance(body["tools"], Toolset)


def test_tools_that_come_again_are_known_and_shared() -> None:
    toolsets = met(saying([TOOL], stream=True))
    first, second = (toolsets.loads(saying([TOOL], max_tokens=limit)) for limit in (1, 2))
    assert first == {"messages": MESSAGES, "tools": [TOOL], "max_tokens": 1}
    assert first["tools"] is second["tools"]
    assert not toolsets.lacks(first)


def test_what_came_once_is_not_kept() -> None:
    assert not knows(met(saying([TOOL]), times=1), saying([TOOL]))


@pytest.mark.parametrize("more", [{}, {"stream": True}, {"metadata": {"tools": []}}])
def test_they_may_be_the_last_field_or_not(more: dict[str, Any]) -> None:
    raw = saying([TOOL], **more)
    assert knows(met(raw), raw)


def test_other_tools_are_other_tools() -> None:
    toolsets = met(saying([TOOL]))
    assert not knows(toolsets, saying([TOOL, TOOL]))
    assert not knows(toolsets, saying([{**TOOL, "name": "Write"}]))
    assert not knows(toolsets, saying([]))


@pytest.mark.parametrize("place", ["messages", "input"])
def test_tools_within_something_else_are_not_the_requests(place: str) -> None:
    toolsets = met(saying([TOOL]))
    inner = b'{"%b":[{"tools":%b}],"tools":[{"name":"Other"}]}'
    assert not knows(toolsets, inner % (place.encode(), orjson.dumps([TOOL])))
    assert toolsets.loads(b'{"tools":%b,"tools":[]}' % orjson.dumps([TOOL])) == {"tools": []}


def test_a_text_that_quotes_them_stays_a_text() -> None:
    toolsets = met(saying([TOOL]))
    quoted = orjson.dumps({"messages": saying([TOOL]).decode(), "tools": [TOOL]})
    assert knows(toolsets, quoted)


def test_what_is_no_json_is_none_beside_known_tools() -> None:
    toolsets, raw = met(saying([TOOL])), saying([TOOL])
    for broken in (raw[:-1], raw + b"}", raw.replace(b'"tools"', b'"tools":'), raw[1:]):
        with pytest.raises(orjson.JSONDecodeError):
            toolsets.loads(broken)
    assert toolsets.loads(b"[]") == []


def test_small_ones_are_not_worth_it_nor_huge_ones() -> None:
    for length in (10, MOST_BYTES):
        raw = saying([{"name": "Read", "description": "x" * length}])
        assert not knows(met(raw), raw)


def test_there_is_room_for_some_and_the_newest_stay() -> None:
    toolsets, third = Toolsets(), MOST_BYTES // 3
    bodies = [saying([{"name": str(number), "description": "x" * third}]) for number in range(4)]
    for raw in bodies:
        meet(toolsets, raw)
        meet(toolsets, raw)
    assert [knows(toolsets, raw) for raw in bodies] == [False, False, True, True]


def test_a_long_conversation_is_not_searched() -> None:
    toolsets = met(saying([TOOL]))
    long = [{"role": "user", "content": "x" * MOST_BEHIND}]
    assert knows(toolsets, orjson.dumps({"messages": long, "tools": [TOOL], "stream": True}))
    assert not knows(toolsets, orjson.dumps({"tools": [TOOL], "messages": long}))


def test_a_body_that_is_shorter_than_known_tools_is_parsed_as_any() -> None:
    assert met(saying([TOOL])).loads(b'{"tools":[]}') == {"tools": []}


def test_of_many_small_ones_the_last_few_stay() -> None:
    toolsets = Toolsets()
    bodies = [saying([{**TOOL, "name": str(number)}]) for number in range(MOST_SETS + 3)]
    for raw in bodies:
        meet(toolsets, raw)
        meet(toolsets, raw)
    assert [knows(toolsets, raw) for raw in bodies] == [False] * 3 + [True] * MOST_SETS


def test_tools_in_the_last_message_do_not_hide_the_requests() -> None:
    raw = saying([TOOL], messages=[{"role": "user", "content": [{"input": {"tools": ["Read"]}}]}])
    toolsets = met(raw)
    assert knows(toolsets, raw)
    known = toolsets.loads(raw)["tools"]
    toolsets.learn(raw, orjson.loads(raw))
    assert toolsets.loads(raw)["tools"] is known


def test_who_writes_json_with_spaces_is_understood_and_not_remembered() -> None:
    raw = json.dumps({"tools": [TOOL]}).encode()
    assert not knows(met(raw), raw)


VALUES = st.sampled_from(
    [1, None, "tools", '"tools":[', [], [TOOL], {"tools": [TOOL]}, [{"tools": [TOOL]}], MESSAGES]
)
NAMES = st.sampled_from(["a", "b", "tools", '"tools":[', "tool", "metadata"])


@given(before=st.dictionaries(NAMES, VALUES), after=st.dictionaries(NAMES, VALUES))
@settings(max_examples=200, deadline=None)
def test_whatever_stands_around_known_tools(before: Any, after: Any) -> None:
    """Fields of all kinds in any order, the same tools in them and beside them, twice perhaps."""
    toolsets = met(saying([TOOL]))
    pieces = [before, {"tools": [TOOL]}, after]
    raw = b"{%b}" % b",".join(orjson.dumps(piece)[1:-1] for piece in pieces if piece)
    assert toolsets.loads(raw) == orjson.loads(raw)
    meet(toolsets, raw)
    meet(toolsets, raw)
    assert toolsets.loads(raw) == orjson.loads(raw)
