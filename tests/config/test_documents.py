from __future__ import annotations

import pytest

from ccproxyd.config.documents import MAX_DEPTH, parse_document
from ccproxyd.errors import ConfigError


def refused(text: str | bytes) -> str:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(ConfigError) as caught:
        parse_document(data, "ccproxy.yaml")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("ccproxy.yaml: ")
    return message


def test_a_mapping_comes_out_as_plain_values() -> None:
    text = b"a: {b: [1, 2.5, true, null, text]}\n"
    assert parse_document(text, "x") == {"a": {"b": [1, 2.5, True, None, "text"]}}


def test_a_byte_order_mark_is_no_part_of_the_document() -> None:
    assert parse_document("\ufeffa: 1\n".encode(), "x") == {"a": 1}


def test_an_unquoted_date_stays_a_text() -> None:
    assert parse_document(b"api_version: 2024-02-15\n", "x") == {"api_version": "2024-02-15"}


def test_a_number_as_a_key_is_a_text() -> None:
    assert parse_document(b"429: 3\n", "x") == {"429": 3}


def test_anchors_and_merges_work_and_may_override() -> None:
    text = b"""
base: &base {model: a, key: k}
over: &over {<<: *base, model: b}
deep: {list: [{<<: *over, model: c}]}
"""
    found = parse_document(text, "x")
    assert found["over"] == {"model": "b", "key": "k"}
    assert found["deep"]["list"] == [{"model": "c", "key": "k"}]


def test_yaml_that_does_not_parse_is_an_error_with_line_and_column() -> None:
    assert "line 2, column 7: mapping values are not allowed here" in refused("a: 1\nb: c d: e\n")


def test_a_tab_is_an_error_with_line_and_column() -> None:
    assert "line 2, column 1: found character '\\t'" in refused("a:\n\tb: 1\n")


def test_a_control_character_is_an_error_with_its_line() -> None:
    assert "line 2: special characters are not allowed" in refused("a: 1\nb: \x07\n")


def test_two_documents_in_a_file_are_an_error() -> None:
    assert "line 2, column 1" in refused("a: 1\n---\nb: 2\n")


@pytest.mark.parametrize("text", ["a: 1\nb:\n  c: 1\n  c: 2\n", "{a: 1, b: {c: 1,\nd: 2, c: 3}}"])
def test_a_key_that_stands_twice_is_an_error(text: str) -> None:
    assert "the key 'c' stands twice, first in line" in refused(text)


def test_a_key_that_stands_twice_in_one_line_is_an_error() -> None:
    assert "line 1: the key 'a' stands twice, first in line 1" in refused("{a: 1, a: 2}")


def test_bytes_that_are_not_utf8_are_an_error_with_their_line() -> None:
    assert refused(b"a: 1\nb: \xff\xfe\n") == (
        "ccproxy.yaml: line 2: is not UTF-8; save the file as UTF-8"
    )


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n"])
def test_an_empty_file_is_an_error_that_says_the_next_command(text: str) -> None:
    assert "is empty; `ccproxyctl install` writes a sample" in refused(text)


@pytest.mark.parametrize("text", ["- a\n- b\n", "just a text\n", "42\n"])
def test_a_top_level_that_is_no_mapping_is_an_error(text: str) -> None:
    assert "must hold a mapping" in refused(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !!binary aGk=\n", "a: a value of YAML's type bytes has no use here"),
        ("a: {b: !!set {c}}\n", "a.b: a value of YAML's type set has no use here"),
        ("a: [.inf]\n", "a[0]: must be a finite number, not inf"),
        ("a: 99999999999999999999\n", "a: is too large a number"),
        ('a: "\\ud800"\n', "a: holds half a character"),
        ("on: 1\n", "the key True must be a text; put it in quotes"),
        ("1.5: 1\n", "the key 1.5 must be a text; put it in quotes"),
    ],
)
def test_a_value_that_json_cannot_say_is_an_error(text: str, message: str) -> None:
    assert message in refused(text)


def test_a_tag_makes_no_object() -> None:
    message = refused("a: !!python/object/apply:os.getcwd []\n")
    assert "could not determine a constructor for the tag" in message


def test_a_value_that_is_not_what_its_tag_says_is_an_error() -> None:
    assert "line 1, column 4: a value is not what it looks like" in refused("a: !!int x\n")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("*hunter2", "line 1, column 10: found undefined alias"),
        ("!hunter2 x", "line 1, column 10: could not determine a constructor for the tag"),
        ("!hunter2!x y", "line 1, column 10: found undefined tag handle"),
        ("!<it's> x", "line 1, column 10: could not determine a constructor for the tag"),
        ("&hunter2 [&hunter2 x]", "line 1, column 20: second occurrence"),
        ("!!int hunter2", "line 1, column 10: a value is not what it looks like"),
        ("%hunter2", "line 1, column 10: found character '%' that cannot start any token"),
        ('"hunter2" hunter2', "line 1, column 20: expected <block end>, but found '<scalar>'"),
        ("'hunter2", "line 2, column 1: found unexpected end of stream"),
    ],
)
def test_an_error_says_where_it_is_and_not_what_stands_there(value: str, message: str) -> None:
    told = refused(f"api_key: {value}\n")
    assert message in told
    assert "hunter2" not in told
    assert "it's" not in told


def test_an_anchor_that_holds_itself_is_an_error() -> None:
    assert "too large or nested too deeply" in refused("a: &x [*x]\n")


def test_anchors_that_multiply_are_an_error() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 8)]
    assert "too large or nested too deeply" in refused("\n".join(lines))


def test_a_document_of_any_depth_is_refused_in_one_line() -> None:
    assert "nested too deeply" in refused("a: " + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))
    assert "nested too deeply" in refused("a: " + "[" * 20_000 + "]" * 20_000)
