from __future__ import annotations

from typing import Any

import pytest
import yaml

from ccproxyd.config.budgets import Budgets, LabelBudget, route_of
from ccproxyd.config.load import load
from ccproxyd.config.settings import Settings, documented_keys
from ccproxyd.errors import ConfigError
from tests.config.conftest import WriteConfig


def budgets(text: str) -> Budgets:
    return Settings.parse({"ccproxy": {"budgets": yaml.safe_load(text)}}).budgets


def error_of(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        budgets(text)
    return str(caught.value).removeprefix("ccproxy.yaml: ccproxy.budgets.")


def test_without_a_section_there_is_no_limit() -> None:
    assert budgets("") == Budgets() == Settings().budgets
    assert Budgets().daily_usd is None
    assert Budgets().on_exceeded == "warn"


def test_every_key_is_read() -> None:
    found = budgets(
        """
        daily_usd: 20
        monthly_usd: 300.5
        per_label:
          think: {daily_usd: 5, monthly_usd: 80}
          background: {monthly_usd: 10}
        on_exceeded: route:background
        """
    )
    assert (found.daily_usd, found.monthly_usd) == (20.0, 300.5)
    assert found.per_label == {
        "think": LabelBudget(5.0, 80.0),
        "background": LabelBudget(monthly_usd=10.0),
    }
    assert route_of(found.on_exceeded) == "background"


def test_a_key_without_a_value_counts_as_absent() -> None:
    empty = "daily_usd:\nmonthly_usd:\nper_label:\non_exceeded:"
    assert budgets(empty) == Budgets()


@pytest.mark.parametrize("word", ["warn", "reject"])
def test_what_is_done_may_be_no_route(word: str) -> None:
    found = budgets(f"on_exceeded: {word}")
    assert found.on_exceeded == word
    assert route_of(found.on_exceeded) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("daily: 3", "daily: unknown key; did you mean 'daily_usd'?"),
        ("daily_usd: '3'", "daily_usd: must be a number, not '3'"),
        ("daily_usd: 0", "daily_usd: must be more than 0, not 0"),
        ("monthly_usd: -1", "monthly_usd: must be more than 0, not -1"),
        ("monthly_usd: .inf", "monthly_usd: must be a number, not inf"),
        ("per_label: [think]", "per_label: must be a mapping, not a list"),
        (
            "per_label: {think: 5}",
            "per_label.think: must be a mapping such as {daily_usd: 5}, not a number",
        ),
        (
            "per_label: {think: }",
            "per_label.think: must be a mapping such as {daily_usd: 5}, not nothing",
        ),
        ("per_label: {think: {}}", "per_label.think: must have daily_usd, monthly_usd or both"),
        (
            "per_label: {think: {dayly_usd: 5}}",
            "per_label.think.dayly_usd: unknown key; did you mean 'daily_usd'?",
        ),
        (
            "per_label: {think: {daily_usd: 0}}",
            "per_label.think.daily_usd: must be more than 0, not 0",
        ),
        ("per_label: {4: {daily_usd: 5}}", "per_label.4: is not a text; put it in quotes"),
        (
            "on_exceeded: rejct",
            "on_exceeded: must be warn, reject or route:LABEL, not 'rejct'; did you mean 'reject'?",
        ),
        ("on_exceeded: 'route:'", "on_exceeded: must be warn, reject or route:LABEL, not 'route:'"),
        (
            "on_exceeded: {route: a}",
            "on_exceeded: must be warn, reject or route:LABEL, not a mapping",
        ),
        (
            "on_exceeded: 'route:claude-*'",
            "on_exceeded: 'claude-*' is a wildcard; name one model of it",
        ),
    ],
)
def test_a_wrong_key_is_one_line_with_the_fields_path(text: str, message: str) -> None:
    assert error_of(text) == message


def test_every_key_is_documented() -> None:
    keys = {key for key in documented_keys() if key.startswith("ccproxy.budgets.")}
    names = ("daily_usd", "monthly_usd", "per_label", "on_exceeded")
    assert keys == {f"ccproxy.budgets.{name}" for name in names}


# With config.yaml


def with_budgets(**keys: Any) -> str:
    return yaml.safe_dump({"ccproxy": {"budgets": keys}})


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"per_label": {"thnik": {"daily_usd": 1}}},
            "per_label.thnik: 'thnik' is no model_name of config.yaml; did you mean 'think'?",
        ),
        (
            {"on_exceeded": "route:defualt"},
            "on_exceeded: 'defualt' is no model_name of config.yaml; did you mean 'default'?",
        ),
    ],
)
def test_a_label_must_be_one_of_the_model_list(
    write_config: WriteConfig, keys: dict[str, Any], message: str
) -> None:
    config_dir = write_config(ours=with_budgets(daily_usd=3, **keys))
    with pytest.raises(ConfigError) as caught:
        load(config_dir, {})
    assert str(caught.value) == f"ccproxy.yaml: ccproxy.budgets.{message}"


def test_labels_of_the_model_list_are_good(write_config: WriteConfig) -> None:
    keys = {"per_label": {"think": {"daily_usd": 1}}, "on_exceeded": "route:default"}
    loaded = load(write_config(ours=with_budgets(**keys)), {})
    assert [label for _, label in loaded.settings.budgets.labels()] == ["think", "default"]
    assert loaded.warnings == ()


def test_an_edited_budget_is_an_edit_that_a_reload_sees(write_config: WriteConfig) -> None:
    before = load(write_config(ours=with_budgets(daily_usd=3)), {})
    after = load(write_config(ours=with_budgets(daily_usd=4)), {})
    assert before.fingerprint != after.fingerprint
    assert before.worker_fingerprint == after.worker_fingerprint


def test_the_gateway_reads_the_same_budgets(write_config: WriteConfig) -> None:
    loaded = load(write_config(ours=with_budgets(per_label={"think": {"monthly_usd": 9}})), {})
    again = type(loaded).from_message(loaded.to_message())
    assert again.settings.budgets == loaded.settings.budgets
