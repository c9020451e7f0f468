from __future__ import annotations

from typing import Any

import pytest

from ccproxyd.config.fields import Fields, join, kind_of
from ccproxyd.errors import ConfigError


def fields(**values: Any) -> Fields:
    return Fields(values, "ccproxy.yaml: ccproxy")


def test_each_getter_returns_what_stands_there() -> None:
    section = fields(text="a", integer=7, number=1, flag=False, choice="fork")
    assert section.text("text") == "a"
    assert section.integer("integer") == 7
    assert section.number("number") == 1.0
    assert section.flag("flag") is False
    assert section.choice("choice", "auto", ("auto", "fork")) == "fork"
    section.finish()


def test_a_key_without_a_value_counts_as_absent() -> None:
    section = fields(port=None)
    assert not section.has("port")
    assert section.integer("port", 4000) == 4000


def test_a_section_without_a_value_has_no_keys() -> None:
    section = fields(workers=None).section("workers")
    assert section.integer("count", 1) == 1
    section.finish()


def test_the_items_of_a_list_have_their_paths() -> None:
    found = list(fields(rules=["a", "b"]).items("rules"))
    assert found == [
        ("ccproxy.yaml: ccproxy.rules[0]", "a"),
        ("ccproxy.yaml: ccproxy.rules[1]", "b"),
    ]
    assert list(fields().items("rules")) == []


@pytest.mark.parametrize(
    ("value", "read", "message"),
    [
        ("x", lambda it: it.integer("key"), "key: must be a whole number, not 'x'"),
        (True, lambda it: it.integer("key"), "key: must be a whole number, not True"),
        (1.5, lambda it: it.integer("key"), "key: must be a whole number, not 1.5"),
        (70000, lambda it: it.integer("key", most=65535), "between 0 and 65535, not 70000"),
        (0, lambda it: it.integer("key", least=1), "key: must be at least 1, not 0"),
        (True, lambda it: it.number("key"), "key: must be a number, not True"),
        (float("nan"), lambda it: it.number("key"), "key: must be a number, not nan"),
        (-1, lambda it: it.number("key"), "key: must not be negative, not -1"),
        (0, lambda it: it.number("key", above=0), "key: must be more than 0, not 0"),
        ("yes", lambda it: it.flag("key"), "key: must be true or false, not 'yes'"),
        (1, lambda it: it.text("key"), "key: must be a text, not 1"),
        (" ", lambda it: it.text("key"), "key: must be a text, not ' '"),
        ({}, lambda it: it.text("key"), "key: must be a text, not a mapping"),
        (["x" * 99], lambda it: it.text("key"), "key: must be a text, not a list"),
        ("x" * 99, lambda it: it.flag("key"), "key: must be true or false, not a text"),
        ("frok", lambda it: it.choice("key", "a", ["auto", "fork"]), "did you mean 'fork'?"),
        ("x", lambda it: list(it.items("key")), "key: must be a list, not a text"),
        (["x"], lambda it: it.section("key"), "key: must be a mapping, not a list"),
    ],
)
def test_a_wrong_value_is_an_error_with_its_path(value: Any, read: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(fields(key=value))
    assert message in str(caught.value)
    assert str(caught.value).startswith("ccproxy.yaml: ccproxy.key: ")


def test_an_unknown_key_is_refused_with_the_nearest_known_one() -> None:
    section = fields(prot=4000)
    section.integer("port", 4000)
    with pytest.raises(ConfigError, match=r"ccproxy\.prot: unknown key; did you mean 'port'\?$"):
        section.finish()


def test_a_key_that_belongs_elsewhere_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError, match=r"ccproxy\.rules: belongs below 'ccproxy:'$"):
        fields(rules=[]).finish(elsewhere={"rules": "belongs below 'ccproxy:'"})


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^ccproxy\.yaml: ccproxy\.rule: is missing$"):
        fields(label="think").text("rule")


def test_a_missing_key_that_is_there_misspelt_is_the_misspelt_one() -> None:
    with pytest.raises(ConfigError, match=r"ccproxy\.rul: unknown key; did you mean 'rule'\?$"):
        fields(rul="ThinkingRule").text("rule")


def test_a_value_of_a_foreign_type_is_named_by_its_type() -> None:
    assert kind_of(object()) == "object"


def test_a_path_starts_with_the_file() -> None:
    assert join(join("config.yaml", "model_list"), "x") == "config.yaml: model_list.x"
