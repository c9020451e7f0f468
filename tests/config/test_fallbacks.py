from __future__ import annotations

from typing import Any

import pytest

from ccproxyd.config.fallbacks import labels_of, parse_fallbacks, with_fallbacks
from ccproxyd.config.fields import Fields
from ccproxyd.config.load import load
from ccproxyd.errors import ConfigError
from tests.config.conftest import WriteConfig


def parsed(value: Any) -> Any:
    return parse_fallbacks(Fields({"fallbacks": value}, "ccproxy.yaml: ccproxy"), "fallbacks", {})


def test_one_label_or_several_stand_in() -> None:
    assert parsed({"think": ["default", "long"], "long": "default"}) == {
        "think": ("default", "long"),
        "long": ("default",),
    }
    assert parsed(None) == {}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"think": []}, "names no label; leave it out, or say which stands in"),
        ({"think": 5}, "must be a label or a list of them, not a number"),
        ({"think": [5]}, "must hold labels, not a number"),
        ({"think": ["think"]}, "cannot stand in for itself"),
        (["think"], "must be a mapping, not a list"),
        ({"claude-*": ["default"]}, r"'claude-\*' is a wildcard; name one model of it"),
        ({"think": ["claude-*"]}, r"'claude-\*' is a wildcard; name one model of it"),
        ({"think": ["*"]}, r"'\*' is a wildcard; name one model of it"),
    ],
)
def test_what_makes_no_sense_is_an_error(value: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parsed(value)


def test_every_name_is_told_with_its_field() -> None:
    path = "ccproxy.yaml: ccproxy.fallbacks.think"
    assert list(labels_of({"think": ("default",)})) == [(path, "think"), (path, "default")]


def test_litellms_own_are_kept_for_other_labels() -> None:
    document = {
        "router_settings": {"timeout": 5, "fallbacks": [{"think": ["x"]}, {"long": ["y"]}]},
        "litellm_settings": {"fallbacks": [{"docs": ["z"]}]},
    }
    found = with_fallbacks(document, {"think": ("default",)})
    assert found["router_settings"] == {
        "timeout": 5,
        "fallbacks": [{"think": ["default"]}, {"long": ["y"]}, {"docs": ["z"]}],
    }
    assert with_fallbacks(document, {}) == document


def test_litellms_word_for_every_label_may_have_some() -> None:
    assert parsed({"*": ["default"]}) == {"*": ("default",)}


def test_an_alias_has_those_of_its_model_name_unless_it_has_its_own() -> None:
    aliases = {"hard": "think", "harder": "think", "hardest": "think", "x": "default"}
    theirs = {"router_settings": {"fallbacks": [{"hardest": ["z"]}]}}
    ours = {"think": ("harder", "long"), "hard": ("default",)}
    assert with_fallbacks(theirs, ours, aliases)["router_settings"]["fallbacks"] == [
        {"think": ["harder", "long"]},
        {"hard": ["default"]},
        {"harder": ["long"]},
        {"hardest": ["z"]},
    ]


def test_a_config_has_them_where_litellm_looks(write_config: WriteConfig) -> None:
    config_dir = write_config()
    ours = config_dir / "ccproxy.yaml"
    text = ours.read_text()
    before = load(config_dir, {})
    ours.write_text(f"{text.rstrip()}\n  fallbacks: {{think: [default]}}\n")
    loaded = load(config_dir, {})
    assert loaded.documents["litellm"]["router_settings"]["fallbacks"] == [{"think": ["default"]}]
    assert loaded.worker_fingerprint != before.worker_fingerprint
    ours.write_text(f"{text.rstrip()}\n  fallbacks: {{think: [defualt]}}\n")
    with pytest.raises(ConfigError, match="'defualt' is no model_name") as caught:
        load(config_dir, {})
    assert caught.value.path == "ccproxy.yaml: ccproxy.fallbacks.think"
