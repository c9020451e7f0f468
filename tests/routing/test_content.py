"""What is read of each shape of body, and what is not."""

from typing import Any

import orjson
import pytest

from ccproxyd.routing.content import (
    UNKNOWN_MEDIA_TOKENS,
    count_images,
    read,
    texts,
)
from ccproxyd.routing.media import PAGE_TOKENS, UNKNOWN_IMAGE_TOKENS
from tests.support.shapes import jpeg

PICTURE = jpeg(200, 200, 1000)
DATA_URL = f"data:image/jpeg;base64,{PICTURE}"


def user(*blocks: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


def everything(body: Any) -> tuple[set[str], set[bytes], int]:
    content = read(body)
    return set(content.texts), set(content.values), content.tokens


def test_an_anthropic_request_is_read_whole() -> None:
    body = {
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": "Look it up"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Where?", "signature": "c2lnbmVk"},
                    {"type": "redacted_thinking", "data": "aGlkZGVu"},
                    {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"path": "/a"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_1",
                        "content": [{"type": "text", "text": "Found"}],
                    }
                ],
            },
            {"role": "system", "content": "One more thing"},
        ],
        "tools": [{"name": "Read", "description": "Reads.", "input_schema": {"type": "object"}}],
        "metadata": {"user_id": "nobody"},
    }
    found = {"Be brief.", "Look it up", "Where?", "Read", "Found", "One more thing", "Reads."}
    assert everything(body) == (found, {b'{"path":"/a"}', b'{"type":"object"}'}, 0)


def test_an_openai_chat_is_read_whole() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    body = {
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "assistant", "function_call": {"name": "old", "arguments": "{}"}},
            {"role": "tool", "tool_call_id": "call_1", "content": "Found"},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "I will not"}]},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "functions": [{"name": "old", "description": "It is old."}],
    }
    said = {"Be brief.", "f", '{"a":1}', "Found", "I will not", "old", "{}", "It is old."}
    assert everything(body) == (said, {b"{}"}, 0)


def test_an_openai_response_is_read_whole() -> None:
    body = {
        "instructions": "Be brief.",
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
            {"role": "user", "content": "There"},
            {
                "type": "reasoning",
                "summary": [{"type": "summary_text", "text": "Hm"}],
                "encrypted_content": "aGlkZGVu",
            },
            {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "1", "output": "Found"},
        ],
        "tools": [{"type": "function", "name": "f", "description": "It fs.", "parameters": {}}],
    }
    said = {"Be brief.", "Hi", "There", "Hm", "f", "{}", "Found", "It fs."}
    assert everything(body) == (said, {b"{}"}, 0)


@pytest.mark.parametrize("field", ["input", "prompt"])
def test_a_plain_prompt_is_a_text_or_several_or_token_ids(field: str) -> None:
    assert read({field: "Once"}).texts == ["Once"]
    assert read({field: ["Once", "upon"]}).texts == ["Once", "upon"]
    assert read({field: [1, 2, 3]}).tokens == 3
    assert read({field: [[1, 2], [3]]}).tokens == 3


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "source": {"type": "base64", "media_type": "x", "data": PICTURE}},
        {"type": "image_url", "image_url": {"url": DATA_URL, "detail": "high"}},
        {"type": "image_url", "image_url": DATA_URL},
        {"type": "input_image", "image_url": DATA_URL},
        {"type": "tool_result", "content": [{"type": "image", "source": {"data": PICTURE}}]},
    ],
)
def test_an_image_costs_its_pixels_and_its_base64_is_not_read(block: Any) -> None:
    assert everything(user(block)) == (set(), set(), 54)


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        {"type": "image", "source": 7},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "input_image", "file_id": "file_1"},
    ],
)
def test_an_image_that_is_elsewhere_costs_as_the_largest(block: Any) -> None:
    assert everything(user(block)) == (set(), set(), UNKNOWN_IMAGE_TOKENS)


@pytest.mark.parametrize(
    ("block", "said", "tokens"),
    [
        ({"source": {"type": "base64", "data": "A" * 100_000}}, set(), 2 * PAGE_TOKENS),
        ({"source": {"type": "url", "url": "https://a.org"}}, set(), PAGE_TOKENS),
        ({"source": {"type": "text", "data": "Once"}, "title": "Tale"}, {"Once", "Tale"}, 0),
        ({"source": {"type": "content", "content": "Once"}, "context": "x"}, {"Once", "x"}, 0),
        (
            {"source": {"type": "content", "content": [{"type": "text", "text": "Once"}]}},
            {"Once"},
            0,
        ),
    ],
)
def test_a_document_is_its_text_or_its_pages(block: Any, said: set[str], tokens: int) -> None:
    assert everything(user({"type": "document", **block})) == (said, set(), tokens)


@pytest.mark.parametrize(
    "block",
    [
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}},
        {"type": "file", "file": {"file_id": "file_1"}},
        {"type": "input_file", "file_data": "data:application/pdf;base64,AAAA"},
        {"type": "input_file", "file_url": "https://example.org/a.pdf"},
    ],
)
def test_a_file_of_openai_is_a_document(block: Any) -> None:
    assert everything(user(block)) == (set(), set(), PAGE_TOKENS)


def test_audio_and_unknown_media_have_a_price_and_no_text() -> None:
    audio = {"type": "input_audio", "input_audio": {"data": "A" * 1000, "format": "wav"}}
    assert everything(user(audio)) == (set(), set(), UNKNOWN_MEDIA_TOKENS)
    video = {"type": "video", "source": {"type": "base64", "data": "A" * 1000}}
    assert everything(user(video)) == (set(), set(), UNKNOWN_MEDIA_TOKENS)
    linked = {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}}
    assert everything(user(linked)) == (set(), set(), UNKNOWN_MEDIA_TOKENS)


def test_a_block_of_an_unknown_type_gives_its_strings() -> None:
    block = {
        "type": "web_search_result",
        "title": "News",
        "encrypted_content": "aGlkZGVu",
        "more": [{"snippet": "Rain"}, 7, None],
    }
    results = {"type": "web_search_tool_result", "tool_use_id": "1", "content": [block]}
    assert everything(user(results)) == ({"News", "Rain"}, set(), 0)


def test_a_deferred_tool_is_read_once_it_is_referred_to() -> None:
    reference = {"type": "tool_reference", "tool_name": "Near"}
    tools = [
        {"name": name, "description": f"It is {name}.", "defer_loading": True}
        for name in ("Near", "Far")
    ]
    body = {**user({"type": "tool_result", "content": [reference]}), "tools": tools}
    assert everything(body)[0] == {"Near", "It is Near."}


def test_a_server_side_search_for_tools_refers_to_them_too() -> None:
    found = {
        "type": "tool_search_tool_search_result",
        "tool_references": [{"type": "tool_reference", "tool_name": "Near"}],
    }
    tools = [{"name": "Near", "description": "It is near.", "defer_loading": True}]
    body = {**user({"type": "tool_search_tool_result", "content": found}), "tools": tools}
    assert everything(body)[0] == {"Near", "It is near."}


@pytest.mark.parametrize(
    "value",
    [None, 7, True, 1.5, {}, [], [None], [[]], {"type": []}, {"type": {}}, {"type": "text"}, [{}]],
)
@pytest.mark.parametrize(
    "field", ["system", "messages", "tools", "input", "prompt", "instructions"]
)
def test_a_field_of_a_wrong_type_is_an_absent_one(field: str, value: Any) -> None:
    content = read({field: value})
    assert (content.texts, content.values) == ([], [])


@pytest.mark.parametrize("kind", ["text", "tool_use", "tool_result", "image", "document", "file"])
@pytest.mark.parametrize("value", [None, 7, True, [], {}, [None], {"type": 7}])
def test_a_malformed_block_does_not_raise(kind: str, value: Any) -> None:
    fields = ("text", "name", "input", "content", "source", "file", "title", "tool_name")
    block = {"type": kind, **dict.fromkeys(fields, value)}
    assert read(user(block)).texts == []


def test_a_message_that_is_a_bare_string_is_a_text() -> None:
    assert read({"messages": ["Hi"]}).texts == ["Hi"]


@pytest.mark.parametrize(
    "nest",
    [
        '{"content":[' * 300 + '"deep"' + "]}" * 300,
        '{"type":"tool_result","content":' * 300 + '"deep"' + "}" * 300,
        "[" * 900 + '"deep"' + "]" * 900,
        '{"type":"unknown","inner":' * 900 + '"deep"' + "}" * 900,
    ],
)
def test_a_nest_beyond_any_sense_is_read_flat(nest: str) -> None:
    assert read({"messages": [orjson.loads(nest)]}).texts == ["deep"]


@pytest.mark.parametrize("odd", ["\ud800", 2**70])
def test_a_value_that_is_no_json_gives_its_strings(odd: Any) -> None:
    block = {"type": "tool_use", "name": "f", "input": {"odd": odd, "even": "Hi"}}
    assert {"f", "Hi"} <= set(read(user(block)).texts)


def test_texts_are_those_of_a_part() -> None:
    assert texts({"role": "system", "content": [{"type": "text", "text": "Hi"}]}) == ["Hi"]
    assert texts(None) == []


def test_images_are_counted_at_any_depth() -> None:
    image = {"type": "image", "source": {}}
    nested = {"type": "tool_result", "content": [image, {"type": "text", "text": "Hi"}]}
    output = {"type": "function_call_output", "output": [{"type": "input_image"}]}
    assert count_images([{"role": "user", "content": [nested, image]}, output]) == 3
    assert count_images([{"content": "Hi"}, None, {"type": []}, 7]) == 0
