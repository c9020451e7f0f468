"""The facts of a request, and what hostile bodies do to them: nothing."""

import json
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccproxyd.errors import CcproxydError
from ccproxyd.routing.request import Request, Thinking, Tool, call_type_of
from ccproxyd.routing.tokens import TokenCounter
from tests.support.shapes import NAMES, STANDARD, Shape, shape


def request_of(made: Shape) -> Request:
    return Request(made.body, headers=made.headers, path=made.path)


def facts_of(request: Request) -> dict[str, Any]:
    names = [name for name in dir(Request) if not name.startswith("_")]
    return {name: getattr(request, name) for name in names if name != "token_count"}


# -- the view


def test_a_request_is_a_mapping_over_its_body() -> None:
    request = Request({"model": "m", "stream": True})
    assert dict(request) == {"model": "m", "stream": True}
    assert (len(request), request.get("none"), "model" in request) == (2, None, True)
    with pytest.raises(TypeError):
        request["model"] = "other"  # type: ignore[index]


def test_a_request_does_not_show_its_words() -> None:
    request = Request({"messages": [{"role": "user", "content": "a secret"}]})
    assert repr(request) == "<Request anthropic_messages 1 messages>"


def test_header_names_are_lower_case() -> None:
    assert Request({}, headers={"X-App": "cli"}).headers == {"x-app": "cli"}


@pytest.mark.parametrize("body", [None, [], "text", 7])
def test_a_body_that_is_no_object_is_an_empty_one(body: Any) -> None:
    assert dict(Request(body)) == {}


def test_tokens_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = TokenCounter()
    request = Request({"system": "Hello, world"}, counter=counter)
    assert request.token_count == 3
    monkeypatch.setattr(counter, "finish", lambda tally: pytest.fail("counted again"))
    assert request.token_count == 3


def test_without_a_counter_tokens_are_counted_all_the_same() -> None:
    assert Request({"system": "Hello, world"}).token_count == 3


def test_a_given_counter_is_used_though_it_is_empty() -> None:
    counter = TokenCounter()
    assert Request({"system": "Hi"}, counter=counter).token_count == 1
    assert len(counter) > 0


# -- the model


@pytest.mark.parametrize(
    ("sent", "model"),
    [
        ("claude-opus-4-8", "claude-opus-4-8"),
        ("claude-opus-4-8[1m]", "claude-opus-4-8"),
        ("claude-opus-4-8[1M]", "claude-opus-4-8"),
        ("a[1m]b", "a[1m]b"),
        ("", ""),
        (None, ""),
        (7, ""),
        (["m"], ""),
    ],
)
def test_the_mark_of_a_long_context_is_no_part_of_the_model(sent: Any, model: str) -> None:
    assert Request({"model": sent}).model == model


def test_the_requested_model_is_as_it_was_sent() -> None:
    assert Request({"model": "m[1m]"}).requested_model == "m[1m]"


# -- the call type


@pytest.mark.parametrize(
    ("path", "call_type"),
    [
        ("/v1/messages", "anthropic_messages"),
        ("/v1/messages?beta=true", "anthropic_messages"),
        ("/anthropic/v1/messages/", "anthropic_messages"),
        ("/v1/messages/count_tokens", "anthropic_messages"),
        ("/v1/chat/completions", "acompletion"),
        ("/chat/completions", "acompletion"),
        ("/openai/deployments/x/chat/completions", "acompletion"),
        ("/v1/completions", "atext_completion"),
        ("/v1/responses", "aresponses"),
        ("/v1/embeddings", "aembedding"),
        ("/v1/moderations", "amoderation"),
        ("/v1/images/generations", "aimage_generation"),
        ("/v1/audio/speech", "aspeech"),
        ("/v1/audio/transcriptions", "atranscription"),
        ("/v1/rerank", "arerank"),
        ("/v1/threads/1/messages", ""),
        ("/v1/models", ""),
        ("", ""),
    ],
)
def test_a_path_tells_what_is_asked(path: str, call_type: str) -> None:
    assert call_type_of(path) == call_type


def test_a_given_call_type_wins_over_the_path() -> None:
    request = Request({}, path="/v1/messages", call_type="aembedding")
    assert (request.call_type, request.is_conversation) == ("aembedding", False)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/v1/responses"])
def test_a_chat_is_a_conversation(path: str) -> None:
    assert Request({}, path=path).is_conversation


# -- who asks


def test_the_session_is_in_the_header() -> None:
    user_id = json.dumps({"session_id": "other"})
    headers = {"X-Claude-Code-Session-Id": "one"}
    assert Request({"metadata": {"user_id": user_id}}, headers=headers).session_id == "one"


def test_without_a_header_the_session_is_in_the_users_id() -> None:
    user_id = json.dumps({"device_id": "d", "session_id": "one"})
    assert Request({"metadata": {"user_id": user_id}}).session_id == "one"


def test_the_old_form_of_a_users_id_is_understood() -> None:
    session = "00000000-0000-4000-8000-000000000000"
    user_id = f"user_abc_account__session_{session}"
    assert Request({"metadata": {"user_id": user_id}}).session_id == session


@pytest.mark.parametrize(
    "user_id",
    [None, 7, "", "me", "{", "[]", '{"session_id": 7}', '{"session_id": ""}', "{" * 5000, "\ud800"],
)
def test_a_users_id_without_a_session_gives_none(user_id: Any) -> None:
    assert Request({"metadata": {"user_id": user_id}}).session_id is None


@pytest.mark.parametrize("name", ["task-explore-02", "task-gp-03"])
def test_a_subagent_is_known_by_its_header(name: str) -> None:
    made = shape(name)
    request = Request({**made.body, "system": []}, headers=made.headers)
    assert request.agent_id == made.headers["x-claude-code-agent-id"]
    assert request.is_subagent


@pytest.mark.parametrize("name", ["task-explore-02", "task-gp-03"])
def test_a_subagent_is_known_by_its_first_system_block(name: str) -> None:
    request = Request(shape(name).body)
    assert request.agent_id is None
    assert request.is_subagent


def test_the_main_conversation_is_no_subagents() -> None:
    assert not request_of(shape("task-gp-04")).is_subagent


# -- thinking


@pytest.mark.parametrize(
    ("body", "thinking", "on"),
    [
        ({}, Thinking(), False),
        ({"thinking": {"type": "disabled"}}, Thinking("disabled"), False),
        ({"thinking": {"type": "adaptive"}}, Thinking("adaptive"), True),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 31999}},
            Thinking("enabled", 31999),
            True,
        ),
        (
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}},
            Thinking("adaptive", None, "xhigh"),
            True,
        ),
        ({"output_config": {"effort": "high"}}, Thinking(None, None, "high"), False),
        ({"reasoning_effort": "low"}, Thinking("enabled", None, "low"), True),
        ({"reasoning_effort": "none"}, Thinking("disabled"), False),
        ({"reasoning": {"effort": "high"}}, Thinking("enabled", None, "high"), True),
        ({"reasoning": {"summary": "auto"}}, Thinking(), False),
        ({"thinking": None, "output_config": None, "reasoning": None}, Thinking(), False),
        ({"thinking": "adaptive"}, Thinking(), False),
        ({"thinking": {"budget_tokens": 5000}}, Thinking(None, 5000), False),
        (
            {"thinking": {"type": ["enabled"], "budget_tokens": True}, "reasoning_effort": []},
            Thinking(),
            False,
        ),
        (
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": 9}},
            Thinking("adaptive"),
            True,
        ),
    ],
)
def test_thinking_is_read_from_either_shape(body: Any, thinking: Thinking, on: bool) -> None:
    found = Request(body).thinking
    assert (found, found.on) == (thinking, on)


def test_a_disabled_thinking_block_is_not_thinking() -> None:
    assert not request_of(shape("think-0-01")).thinking.on


# -- tools


def test_all_tools_are_declared_and_none_is_used() -> None:
    request = request_of(shape("simple-01"))
    assert request.tools_declared == STANDARD
    assert (request.tools_used, request.tool_forced, request.server_tools) == ((), None, ())


@pytest.mark.parametrize(
    ("name", "used"),
    [
        ("toolloop-01", ()),
        ("toolloop-02", ("Bash",)),
        ("toolloop-03", ("Read", "Read")),
        ("toolloop-04", ("Edit",)),
        ("toolloop-05", ("Bash",)),
        ("compact-01", ()),
        ("websearch-03", ("WebSearch",)),
        ("task-gp-03", ("Bash",)),  # a system message comes after the result
        ("tty-plan-03", ("ExitPlanMode",)),
    ],
)
def test_a_tool_is_used_when_the_last_turn_answers_it(name: str, used: tuple[str, ...]) -> None:
    assert request_of(shape(name)).tools_used == used


def test_a_call_without_an_answer_is_no_use() -> None:
    call = {"type": "tool_use", "id": "1", "name": "Read", "input": {}}
    messages = [{"role": "assistant", "content": [call]}, {"role": "user", "content": "Stop"}]
    assert Request({"messages": messages}).tools_used == ()


def test_tools_used_in_a_chat_of_openai() -> None:
    calls = [{"id": str(n), "function": {"name": f"f{n}", "arguments": "{}"}} for n in range(3)]
    messages = [
        {"role": "user", "content": "Go"},
        {"role": "assistant", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "0", "content": "a"},
        {"role": "tool", "tool_call_id": "2", "content": "b"},
    ]
    assert Request({"messages": messages}).tools_used == ("f0", "f2")


def test_tools_used_in_a_response_of_openai() -> None:
    items = [
        {"role": "user", "content": "Go"},
        {"type": "reasoning", "summary": []},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "2", "name": "g", "input": ""},
        {"type": "function_call_output", "call_id": "1", "output": "a"},
        {"type": "custom_tool_call_output", "call_id": "2", "output": "b"},
    ]
    assert Request({"input": items}).tools_used == ("f", "g")


@pytest.mark.parametrize(
    ("declared", "tools"),
    [
        ({"name": "Read"}, (Tool("Read"),)),
        ({"type": "custom", "name": "Read"}, (Tool("Read"),)),
        ({"type": "function", "function": {"name": "f"}}, (Tool("f"),)),
        ({"type": "function", "name": "f"}, (Tool("f"),)),
        (
            {"type": "web_search_20250305", "name": "web_search"},
            (Tool("web_search", "web_search_20250305"),),
        ),
        ({"type": "web_search_preview"}, (Tool("web_search_preview", "web_search_preview"),)),
        ({}, ()),
        (None, ()),
        ({"name": 7}, ()),
        ({"type": ["x"], "name": "Read"}, (Tool("Read"),)),
        ({"type": "function", "function": "f"}, ()),
    ],
)
def test_a_declared_tool_has_a_name_and_maybe_a_type(declared: Any, tools: Any) -> None:
    assert Request({"tools": [declared]}).tools == tools


def test_a_search_asked_for_by_an_option_is_a_tool() -> None:
    request = Request({"web_search_options": {}, "functions": [{"name": "f"}]})
    assert request.tools_declared == ("f", "web_search")
    assert request.server_tools == ("web_search",)


@pytest.mark.parametrize(
    ("choice", "forced"),
    [
        ({"type": "tool", "name": "web_search"}, "web_search"),
        ({"type": "function", "function": {"name": "f"}}, "f"),
        ({"type": "function", "name": "f"}, "f"),
        ({"type": "web_search_preview"}, "web_search_preview"),
        ({"type": "auto"}, None),
        ({"type": "any"}, None),
        ({"type": "none"}, None),
        ({"type": "tool"}, None),
        ({"type": "allowed_tools", "tools": []}, None),
        ("required", None),
        ("auto", None),
        (None, None),
        ({"type": []}, None),
        ({"name": 7}, None),
        ({}, None),
    ],
)
def test_a_tool_is_forced_by_name_or_type(choice: Any, forced: str | None) -> None:
    assert Request({"tool_choice": choice}).tool_forced == forced


# -- the rest


def test_images_are_seen() -> None:
    request = request_of(shape("image-attach-01"))
    assert (request.has_images, request.image_count) == (True, 1)
    assert not request_of(shape("simple-01")).has_images


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ({"messages": [{}, {}]}, 2),
        ({"input": [{}, {}, {}]}, 3),
        ({"input": "Hi"}, 1),
        ({"prompt": "Hi"}, 1),
        ({"messages": 7}, 0),
        ({}, 0),
    ],
)
def test_messages_are_counted_in_every_shape(body: Any, count: int) -> None:
    assert Request(body).message_count == count


def test_a_stream_and_tools_are_seen() -> None:
    request = request_of(shape("simple-01"))
    assert (request.stream, request.has_tools) == (True, True)
    assert not Request({"stream": "yes"}).stream
    assert not Request({"tools": []}).has_tools


def test_system_text_is_gathered_from_everywhere() -> None:
    body = {
        "system": [{"type": "text", "text": "One"}],
        "instructions": "Two",
        "messages": [
            {"role": "system", "content": "Three"},
            {"role": "user", "content": "not this"},
            {"role": "developer", "content": [{"type": "text", "text": "Four"}]},
        ],
    }
    assert Request(body).system_text == "One\nTwo\nThree\nFour"


# -- hostile bodies

FIELDS = (
    "model messages system tools tool_choice thinking output_config reasoning reasoning_effort "
    "metadata input instructions prompt functions web_search_options stream"
).split()
INNER = (
    "type name id role content text effort user_id session_id function tool_use_id tool_calls "
    "call_id budget_tokens"
).split()
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
KNOWN = st.sampled_from(
    ["assistant", "user", "tool_use", "tool_result", "text", "image", "function_call", "none"]
)
HOSTILE = st.recursive(
    SCALARS | KNOWN,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(INNER), inner, max_size=5)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None, database=None)
@given(HOSTILE | st.dictionaries(st.sampled_from(FIELDS), HOSTILE))
def test_no_body_makes_a_fact_raise(body: Any) -> None:
    request = Request(body)
    assert facts_of(request).keys() >= {"thinking", "tools_used", "session_id"}
    assert request.token_count >= 0


@pytest.mark.parametrize("name", NAMES)
def test_every_shape_has_its_session_and_model(name: str) -> None:
    made = shape(name)
    request = request_of(made)
    assert request.session_id == made.headers["X-Claude-Code-Session-Id"]
    assert request.model == made.body["model"]
    assert request.call_type == "anthropic_messages"


def test_a_count_that_has_begun_is_not_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = TokenCounter()
    request = Request({"system": "Hello, world"}, counter=counter)
    assert request.new_characters == 12
    monkeypatch.setattr(counter, "begin", lambda *_: pytest.fail("begun again"))
    assert request.token_count == 3


def test_a_count_is_helped_by_the_bytes_of_the_request() -> None:
    counter = TokenCounter()
    body = {"messages": [{"role": "user", "content": "many words " * 20}] * 200}
    raw = orjson.dumps(body)
    first, second = (Request(orjson.loads(raw), counter=counter, raw=raw) for _ in range(2))
    assert first.token_count == second.token_count
    assert second._tally.known.mark.messages > 100


def test_a_count_that_is_done_leaves_nothing_to_encode() -> None:
    request = Request({"system": "Hello, world"}, counter=TokenCounter())
    assert (request.token_count, request.new_characters) == (3, 0)


def encoded_for(limit: int, **body: Any) -> tuple[bool, bool]:
    """Whether there are more tokens than that, and whether it had to be counted."""
    request = Request(body, counter=TokenCounter())
    return request.has_more_tokens_than(limit), "token_count" in request.__dict__


def test_what_cannot_have_so_many_tokens_is_not_encoded() -> None:
    assert encoded_for(12, system="Hello, world") == (False, False)
    assert encoded_for(11, system="Hello, world") == (False, True)
    assert encoded_for(2, system="Hello, world") == (True, True)


def test_a_text_may_have_more_tokens_than_characters() -> None:
    text = "\U00013000" * 5
    tokens = Request({"system": text}).token_count
    assert tokens > len(text)
    assert encoded_for(tokens - 1, system=text) == (True, True)
    assert encoded_for(4 * len(text), system=text) == (False, False)


def test_the_tokens_that_nobody_has_asked_for_are_not_told() -> None:
    request = Request({"system": "Hello, world"}, counter=TokenCounter())
    assert request.asked_token_count is None
    assert not request.has_more_tokens_than(100)
    assert request.asked_token_count == 3


def test_tokens_that_cannot_be_counted_are_not_told() -> None:
    class Missing:
        def lengths(self, texts: Sequence[str]) -> list[int]:
            raise CcproxydError("cannot count tokens: the file is not there")

    request = Request({"system": "Hello, world"}, counter=TokenCounter(Missing()))
    assert not request.has_more_tokens_than(100)
    assert request.asked_token_count is None


def test_what_is_said_twice_may_count_twice() -> None:
    hello = {"role": "user", "content": "Hello, world"}
    assert encoded_for(23, messages=[hello, hello]) == (False, True)
    assert encoded_for(24, messages=[hello, hello]) == (False, False)


def test_what_is_known_to_be_too_much_needs_no_more_encoding() -> None:
    counter = TokenCounter()
    hello = {"role": "user", "content": "Hello, world"}
    counter.count({"messages": [hello], "system": "Be brief, please."})
    body = {"messages": [hello, {"role": "user", "content": "Hi"}], "system": "Be brief, please."}
    request = Request(body, counter=counter)
    assert request.has_more_tokens_than(6)
    assert "token_count" not in request.__dict__
