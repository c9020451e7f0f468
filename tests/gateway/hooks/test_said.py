import base64
import codecs

import orjson
import pytest

from ccproxyd.gateway.hooks import said as module
from ccproxyd.gateway.hooks.said import said_in, said_in_bytes, strings_of
from ccproxyd.routing import Request

PNG = b"\x89PNG\r\n\x1a\n\xff"


def user(content):
    return {"role": "user", "content": content}


def model(content="An answer"):
    return {"role": "assistant", "content": content}


def block(text):
    return {"type": "text", "text": text}


def said(*messages, path="/v1/messages", scope="newest", **more):
    return said_in(Request({"messages": list(messages), **more}, path=path), scope)


def newest(body, path="/v1/responses"):
    return said_in(Request(body, path=path), "newest")


def document(data, media_type="text/plain", kind="base64"):
    data = base64.b64encode(data).decode() if isinstance(data, bytes) else data
    source = {"type": kind, "media_type": media_type, "data": data}
    return user([{"type": "document", "source": source}])


# The newest turn


def test_what_is_new_is_what_stands_behind_the_last_answer():
    assert said(user("old"), model(), user("new"), user("newer")) == ["new", "newer"]
    assert said(user("first")) == ["first"]


def test_the_results_of_tools_are_new_too():
    result = {"type": "tool_result", "tool_use_id": "t", "content": [block("r")]}
    assert said(user("old"), model(), user([result, block("n")])) == ["t", "r", "n"]
    assert said(user("old"), model(), {"role": "tool", "content": "r"}) == ["r"]


def test_the_beginning_of_an_answer_hides_nothing():
    assert said(user("old"), model(), user("new"), model("Sure,")) == ["new", "Sure,"]
    assert said(model("all"), model("answers")) == ["all", "answers"]


def test_a_turn_is_looked_at_in_whatever_letters_its_field_is_written():
    assert newest({"input": ["a"], "Messages": [user("b")]}) == ["a", "b"]
    assert newest({"Input": "b", "INSTRUCTIONS": "c", "messages": [user("a")]}) == ["b", "a", "c"]


def test_neither_system_nor_tools_are_new():
    assert said(user("new"), system="secret", tools=[{"name": "secret"}]) == ["new"]


def test_openais_responses_have_turns_as_well():
    items = [
        user("old"),
        {"type": "reasoning", "summary": []},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "result"},
    ]
    assert newest({"input": items}) == ["c", "result"]
    assert newest({"input": "plain"}) == ["plain"]


def test_what_holds_for_this_answer_alone_is_new():
    assert newest({"input": "a", "instructions": "b"}) == ["a", "b"]
    assert newest({"prompt": ["a", "b"], "suffix": "c"}, "/v1/completions") == ["a", "b", "c"]
    predicted = {"type": "content", "content": [block("b")]}
    chat = {"messages": [user("a")], "prediction": predicted}
    assert newest(chat, "/v1/chat/completions") == ["a", "b"]


def test_a_message_says_also_what_stands_beside_its_content():
    assert said({**user("a"), "name": "b"}) == ["a", "b"]
    assert said(user([{"type": "image", "source": {"type": "url", "url": "u"}}])) == ["u"]


def test_a_second_conversation_in_a_body_is_new_as_well():
    assert newest({"messages": [user("a")], "prompt": "b"}, "/v1/messages") == ["a", "b"]


# All of it


def test_in_the_scope_all_nothing_is_passed_over():
    texts = said(
        user("old"),
        model([block("answer"), {"type": "tool_use", "id": "t", "input": {"q": "asked"}}]),
        user("new"),
        scope="all",
        system=[block("system")],
        tools=[{"name": "f", "description": "does"}],
        metadata={"user_id": "u"},
    )
    assert texts == ["old", "answer", "t", "asked", "new", "system", "f", "does", "u"]


def test_what_is_ciphered_is_nothing_to_read():
    thought = {"type": "thinking", "thinking": "a", "signature": "zeus"}
    hidden = {"type": "redacted_thinking", "data": "zeus"}
    assert said(model([thought, hidden]), user("b"), scope="all") == ["a", "b"]


def test_of_what_is_no_conversation_every_text_is_looked_at():
    assert newest({"model": "m", "input": ["a", "b"]}, "/v1/embeddings") == ["m", "a", "b"]


def test_so_it_is_of_a_conversation_in_no_known_form():
    assert newest({"prompt": {"id": "p", "variables": {"x": "y"}}}) == ["p", "y"]


def test_strings_are_found_at_any_depth():
    deep = "bottom"
    for _ in range(5000):
        deep = [deep]
    assert strings_of({"a": deep, "b": {"c": "d"}, "n": None}) == ["bottom", "d"]


def test_blocks_that_stand_side_by_side_are_told_together_too():
    image = {"type": "image", "source": {}}
    result = {"type": "tool_result", "content": [block("c"), block("d")]}
    found = said(user([block("a"), image, block("b"), result]), user([block("e")]))
    assert found == ["a", "b", "c", "d", "e", ("a", "b"), ("c", "d")]


def test_texts_that_are_no_blocks_are_told_alone():
    assert strings_of({"input": ["a", "b"]}) == ["a", "b"]


def test_a_string_of_json_is_read_as_its_reader_would():
    raw = r'{"q": "Z\u00fcrich \ud83d\ude00 \ud800"}'
    assert strings_of([raw]) == [raw, '{"q": "Zürich 😀 \ufffd"}']
    assert strings_of([r"C:\users"]) == [r"C:\users"]


# Documents in base64


@pytest.mark.parametrize(
    "message",
    [
        document(b"project zeus " * 30),
        document(b"project zeus " * 30, "application/json"),
        document(b"project zeus " * 30, "application/octet-stream"),
        document(b"project zeus \xff" * 30, "text/csv"),
        document("project zeus " * 30, kind="text"),
        document("project zeus " * 30),
        document(b'{"a": "project \\u007aeus"}', "application/json"),
        document("project zeus\r\n".encode("utf-16")),
        document(b"<svg>project zeus</svg>", "image/svg+xml"),
        user([{"inlineData": {"mimeType": "text/plain", "data": "cHJvamVjdCB6ZXVz"}}]),
        user([{"type": "file", "file": {"file_data": "cHJvamVjdCB6ZXVz"}}]),
        user([{"type": "file", "file": {"file_data": "data:text/plain;base64,cHJvamVjdCB6ZXVz"}}]),
        user([{"type": "tool_use", "input": {"data": "project zeus", "format": "x"}}]),
    ],
)
def test_the_text_of_a_document_is_found(message):
    assert any("project zeus" in text for text in said(message))


def test_base64_may_be_in_lines_without_padding_and_of_the_other_alphabet():
    text = "zeus?>~ and hera?>~" * 20
    urlsafe = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
    assert "_" in urlsafe
    assert text in said(document(f"{urlsafe[:76]}\r\n{urlsafe[76:]}"))


@pytest.mark.parametrize("media_type", ["image/png", "application/pdf"])
def test_what_is_no_text_says_nothing(media_type):
    assert said(user("a"), document(PNG * 100, media_type)) == ["a", media_type]
    url = f"data:{media_type};base64,{base64.b64encode(PNG * 100).decode()}"
    assert said(user([{"type": "input_image", "image_url": url}])) == []
    sound = {"data": base64.b64encode(PNG * 100).decode(), "format": "wav"}
    assert said(user([{"type": "input_audio", "input_audio": sound}])) == ["wav"]


def test_what_is_as_short_as_a_key_stands_for_itself_too():
    assert "AKIAABCDEFGHIJKLMNOP" in said(document("AKIAABCDEFGHIJKLMNOP", "image/png"))


# Bytes


def in_bytes(raw, content_type=""):
    return list(said_in_bytes(raw, content_type))


@pytest.mark.parametrize(
    ("raw", "texts"),
    [
        (orjson.dumps({"contents": [{"parts": [{"text": "h\u00e4"}]}]}), ["h\u00e4"]),
        (b'{"p": "a"}\n{"p": "\\u0062"}\nrest', ["a", "b", '{"p": "a"}\n{"p": "b"}\nrest']),
        (b'{"p": "a"}\n{"p": "\\u0062\xff"}', ["a", '{"p": "a"}\n{"p": "b\ufffd"}']),
        (codecs.BOM_UTF8 + b'["\\u0062"]', ["b"]),
        (b'{"p": NaN, "q": "\\u0062"}', ['{"p": NaN, "q": "\\u0062"}', '{"p": NaN, "q": "b"}']),
        (b"4111111111111111", ["4111111111111111"]),
        (b"\xff\xd8 a picture \x00", ["\ufffd\ufffd a picture \x00"]),
        (b"", [""]),
    ],
)
def test_of_bytes_all_is_looked_at(raw, texts):
    found = in_bytes(raw)
    assert set(texts) <= set(found)
    assert raw.decode("utf-8-sig", "replace") in found, "names of fields are words, too"


def test_utf16_says_what_it_is():
    assert in_bytes("zeus".encode("utf-16"))[0] == "zeus"


@pytest.mark.parametrize("place", [0, 95, 100, 190, 290])
def test_of_many_bytes_each_place_is_looked_at(monkeypatch, place):
    monkeypatch.setattr(module, "_PIECE", 100)
    monkeypatch.setattr(module, "_OVERLAP", 20)
    raw = b"\xff" * place + b"project zeus" + b"\xff" * (300 - place)
    assert any("project zeus" in text for text in in_bytes(raw))


MULTIPART = "multipart/form-data; boundary=X"


def form(head, content):
    return b'--X\r\ncontent-disposition: form-data; name="n"%s\r\n\r\n%s\r\n--X--\r\n' % (
        head,
        content,
    )


@pytest.mark.parametrize(
    ("head", "content", "texts"),
    [
        (b"", b"a", ["n", "a"]),
        (b"", b"4111111111111111", ["n", "4111111111111111"]),
        (b'; filename="f"', b'{"p": "\\u0062"}\n{"p": "c"}\n', ["n", "f", "b", "c"]),
        (b'; filename="f"', b"a\xff", ["n", "f", "a\ufffd"]),
        (b'; filename="f"\r\ncontent-type: image/png', PNG, ["n", "f"]),
        (b'; filename="f"\r\ncontent-type: image/svg+xml', b"<svg>", ["n", "f", "<svg>"]),
        (b'; filename=""\r\ncontent-type: audio/wav', b"a", ["n", "a"]),
    ],
)
def test_each_part_of_a_form_is_looked_at_by_itself(head, content, texts):
    found = in_bytes(form(head, content), MULTIPART)
    assert found[: len(texts)] == texts
    assert all(text.startswith('{"p"') for text in found[len(texts) :])


def test_a_form_may_be_in_a_charset_of_its_own():
    raw = form(b"", "zeus".encode("utf-16-le"))
    assert "zeus" in in_bytes(raw, f"{MULTIPART}; charset=utf-16-le")


def test_what_calls_itself_a_form_and_is_none_is_looked_at_as_a_whole():
    assert in_bytes(b'{"p": "a"}', MULTIPART) == ["a", '{"p": "a"}']
    cut = form(b"", b"zeus").removesuffix(b"\r\n--X--\r\n")
    assert in_bytes(cut, MULTIPART) == [cut.decode()]


def test_a_urlencoded_form_is_read_each_value_of_it():
    kind = "application/x-www-form-urlencoded"
    assert in_bytes(b"p=project+zeus&p=%68era&q=", kind) == [
        *("p", "project zeus", "p", "hera", "q", ""),
    ]
    assert in_bytes(b'{"p": "a"}', kind) == ["a", '{"p": "a"}']


@pytest.mark.parametrize(
    "raw",
    [
        b'{"project zeus": 1}',
        b'{"role": "project zeus lead"}',
        b'{"type": "redacted_thinking", "note": "project zeus"}',
    ],
)
def test_what_a_conversation_has_no_words_in_may_be_a_word_of_a_document(raw):
    upload = form(b'; filename="f"', raw)
    assert any("project zeus" in text for text in in_bytes(upload, MULTIPART))
    encoded = base64.b64encode(raw).decode()
    assert any("project zeus" in text for text in said(document(encoded, "application/json")))


def test_words_in_the_place_of_a_media_type_are_words():
    found = said(user("data: project zeus;base64,AAAA"))
    assert any("project zeus" in text for text in found)
