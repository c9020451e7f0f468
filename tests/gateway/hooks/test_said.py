import orjson
import pytest

from ccproxyd.gateway.hooks.said import said_in, said_in_bytes, strings_of
from ccproxyd.routing import Request


def user(content):
    return {"role": "user", "content": content}


def model(content="An answer"):
    return {"role": "assistant", "content": content}


def said(*messages, path="/v1/messages", **more):
    return said_in(Request({"messages": list(messages), **more}, path=path))


def test_what_is_new_is_what_stands_behind_the_last_answer():
    assert said(user("old"), model(), user("new"), user("newer")) == ["new", "newer"]
    assert said(user("first")) == ["first"]


def test_the_results_of_tools_are_new_too():
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "r"}]}
    assert said(user("old"), model(), user([result, {"type": "text", "text": "n"}])) == ["r", "n"]
    assert said(user("old"), model(), {"role": "tool", "content": "r"}) == ["r"]


def test_the_beginning_of_an_answer_hides_nothing():
    assert said(user("old"), model(), user("new"), model("Sure,")) == ["new", "Sure,"]
    assert said(model("all"), model("answers")) == ["all", "answers"]


def test_neither_system_nor_tools_are_looked_at():
    assert said(user("new"), system="secret", tools=[{"name": "secret"}]) == ["new"]


def test_openais_responses_have_turns_as_well():
    items = [
        user("old"),
        {"type": "reasoning", "summary": []},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "result"},
    ]
    request = Request({"input": items}, path="/v1/responses")
    assert said_in(request) == ["result"]
    assert said_in(Request({"input": "plain"}, path="/v1/responses")) == ["plain"]


def test_an_image_alone_says_nothing():
    assert said(user("old"), model(), user([{"type": "image", "source": {}}])) == []


def test_of_what_is_no_conversation_every_text_is_looked_at():
    request = Request({"model": "m", "input": ["a", "b"]}, path="/v1/embeddings")
    assert said_in(request) == ["m", "a", "b"]


def test_so_it_is_of_a_conversation_in_no_known_form():
    body = {"prompt": {"id": "p", "variables": {"x": "y"}}}
    assert said_in(Request(body, path="/v1/responses")) == ["p", "y"]


def test_strings_are_found_at_any_depth():
    deep = "bottom"
    for _ in range(5000):
        deep = [deep]
    assert strings_of({"a": deep, "b": {"c": "d"}, "n": None}) == ["bottom", "d"]


@pytest.mark.parametrize(
    ("raw", "texts"),
    [
        (orjson.dumps({"contents": [{"parts": [{"text": "h\u00e4"}]}]}), ["h\u00e4"]),
        (b'{"prompt": "a"}\n{"prompt": "b"}', ['{"prompt": "a"}\n{"prompt": "b"}']),
        (b"\xff\xd8\xff\xe0 a picture", []),
        (b"", [""]),
    ],
)
def test_of_bytes_all_is_looked_at_that_is_text(raw, texts):
    assert said_in_bytes(raw) == texts
