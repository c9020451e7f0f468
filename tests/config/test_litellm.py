from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from ccproxyd.config.callbacks import OUR_HANDLER
from ccproxyd.config.entries import RuleEntry
from ccproxyd.config.litellm import LiteLLMConfig, check_labels, render
from ccproxyd.errors import ConfigError
from ccproxyd.routing import Target


def entry(name: str = "default", model: str = "anthropic/sonnet", **params: Any) -> dict[str, Any]:
    return {"model_name": name, "litellm_params": {"model": model, "api_key": "k", **params}}


def parsed(document: dict[str, Any], **environ: str) -> LiteLLMConfig:
    return LiteLLMConfig.parse({"model_list": [entry()], **document}, environ=environ)


def error_of(document: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        LiteLLMConfig.parse(document, environ={})
    return str(caught.value)


def rendered(tmp_path: Path, document: dict[str, Any]) -> dict[str, Any]:
    before = copy.deepcopy(document)
    found = render(document, master_key="sk-w", config_dir=tmp_path, selftest_name="selftest-1")
    assert document == before
    return found


# Reading


def test_deployments_are_grouped_by_name_in_their_order() -> None:
    models = [entry("b", "x/1"), entry("a", "x/2"), entry("b", "x/3")]
    config = parsed({"model_list": models})
    assert config.targets() == (Target("b", ("x/1", "x/3")), Target("a", ("x/2",)))


def test_aliases_are_names_or_mappings() -> None:
    settings = {"model_group_alias": {"fast": "default", "slow": {"model": "b", "hidden": True}}}
    assert parsed({"router_settings": settings}).aliases == {"fast": "default", "slow": "b"}


def test_the_master_key_is_sought_in_litellms_order() -> None:
    setting = {"general_settings": {"master_key": "sk-1"}}
    variable = {"environment_variables": {"LITELLM_MASTER_KEY": "os.environ/OTHER"}}
    environ = {"LITELLM_MASTER_KEY": "sk-3", "OTHER": "sk-2"}
    assert parsed({**setting, **variable}, **environ).master_key == "sk-1"
    assert parsed(variable, **environ).master_key == "sk-2"
    assert parsed({}, **environ).master_key == "sk-3"
    assert parsed({}).master_key is None


def test_a_master_key_from_the_environment_is_looked_up() -> None:
    document = {"general_settings": {"master_key": "os.environ/KEY"}}
    assert parsed(document, KEY="sk-1").master_key == "sk-1"
    config = parsed(document)
    assert config.master_key is None
    assert config.warnings == (
        "config.yaml: general_settings.master_key: the environment has no KEY",
    )


@pytest.mark.parametrize(
    "document",
    [
        {"general_settings": {"database_url": "postgresql://x", "master_key": "sk-1"}},
        {
            "general_settings": {"master_key": "sk-1"},
            "environment_variables": {"DATABASE_URL": "postgresql://x"},
        },
    ],
)
def test_a_key_database_is_noticed(document: dict[str, Any]) -> None:
    assert parsed(document).database
    assert not parsed({}).database


def test_a_key_database_needs_a_master_key() -> None:
    message = error_of({"general_settings": {"database_url": "postgresql://x"}})
    assert message.startswith("config.yaml: general_settings.master_key: is missing")


def test_callbacks_are_those_that_have_names() -> None:
    assert parsed({"litellm_settings": {"callbacks": "a.b"}}).callbacks == ("a.b",)
    assert parsed({"litellm_settings": {"callbacks": ["a.b", {"x": 1}]}}).callbacks == ("a.b",)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"model_lst": []}, "config.yaml: model_lst: unknown key; did you mean 'model_list'?"),
        ({"model_list": {}}, "config.yaml: model_list: must be a list, not a mapping"),
        ({"model_list": ["x"]}, "config.yaml: model_list[0]: must be a mapping, not a text"),
        ({"general_settings": []}, "config.yaml: general_settings: must be a mapping, not a list"),
        (
            {"general_settings": {"master_key": 1234}},
            "config.yaml: general_settings.master_key: must be a text, not a number",
        ),
        (
            {"router_settings": {"model_group_alias": ["a"]}},
            "config.yaml: router_settings.model_group_alias: must be a mapping, not a list",
        ),
        (
            {"router_settings": {"model_group_alias": {"a": {}}}},
            "config.yaml: router_settings.model_group_alias.a.model: is missing",
        ),
    ],
)
def test_a_wrong_field_is_one_line_with_its_path(document: dict[str, Any], message: str) -> None:
    assert error_of(document) == message


def test_an_entry_that_was_included_is_named_by_its_file() -> None:
    with pytest.raises(ConfigError, match=r"^more\.yaml: model_list\[3\]\.model_name: is missing$"):
        LiteLLMConfig.parse(
            {"model_list": [{"litellm_params": {}}]},
            environ={},
            origins=["more.yaml: model_list[3]"],
        )


def test_a_name_that_the_environment_has_not_is_a_warning_at_its_field() -> None:
    config = parsed({"model_list": [entry(api_key="os.environ/K", api_base="${B}")]}, B="b")
    assert config.warnings == (
        "config.yaml: model_list[0].litellm_params.api_key: the environment has no K",
    )


def test_a_key_vault_may_have_what_the_environment_has_not() -> None:
    document = {
        "model_list": [entry(api_key="os.environ/K")],
        "general_settings": {"key_management_system": "hashicorp_vault"},
    }
    assert parsed(document).warnings == ()


@pytest.mark.parametrize("base", ["http://lan:8080/v1", "http://lan:8080/v1/"])
def test_an_address_with_a_path_that_is_added_anyway_is_a_warning(base: str) -> None:
    config = parsed({"model_list": [entry(model="openai/x", api_base=base), entry(api_base=base)]})
    assert config.warnings == (
        "config.yaml: model_list[1].litellm_params.api_base: anthropic/ takes an address without"
        " /v1",
    )


def test_unless_addresses_are_taken_as_they_are() -> None:
    document = {"model_list": [entry(api_base="http://lan:8080/v1")]}
    assert parsed(document, LITELLM_ANTHROPIC_DISABLE_URL_SUFFIX="true").warnings == ()


def test_a_config_without_models_is_a_warning() -> None:
    assert "model_list is empty" in parsed({"model_list": None}).warnings[0]


def test_a_section_of_the_ancestors_first_form_is_a_warning() -> None:
    config = parsed({"ccproxy_settings": {"token_count_threshold": 60000}})
    assert "ccproxy_settings: has no effect" in config.warnings[0]


def test_a_database_that_only_the_environment_names_is_a_warning() -> None:
    config = parsed({}, DATABASE_URL="postgresql://x")
    assert not config.database
    assert "DATABASE_URL is in the environment" in config.warnings[0]


# Labels


def rule(label: str) -> RuleEntry:
    return RuleEntry(label, "X", (), {}, False, "ccproxy.yaml: ccproxy.rules[0]")


@pytest.mark.parametrize("label", ["think", "fast", "anthropic/claude-x"])
def test_a_label_that_litellm_knows_is_accepted(label: str) -> None:
    targets = [Target("think", ("x/1",)), Target("anthropic/*", ("anthropic/*",))]
    check_labels([rule(label)], targets, {"fast": "think"})


def test_a_label_that_litellm_does_not_know_is_an_error() -> None:
    with pytest.raises(ConfigError) as caught:
        check_labels([rule("thnik")], [Target("think", ("x/1",))], {})
    assert str(caught.value) == (
        "ccproxy.yaml: ccproxy.rules[0].label: 'thnik' is no model_name of config.yaml;"
        " did you mean 'think'?"
    )


# Rendering


def test_what_the_worker_needs_is_added(tmp_path: Path) -> None:
    document = {"model_list": [entry()]}
    assert rendered(tmp_path, document) == {
        "model_list": [
            entry(),
            {
                "model_name": "selftest-1",
                "litellm_params": {
                    "model": "custom_openai/selftest",
                    "api_base": "http://127.0.0.1:1",
                    "mock_response": "ok",
                    "api_key": "none",
                },
            },
        ],
        "litellm_settings": {
            "anthropic_sse_ping_interval_seconds": 0,
            "callbacks": [OUR_HANDLER],
        },
        "general_settings": {
            "cancel_on_disconnect": True,
            "disable_model_info_refresh": True,
            "master_key": "sk-w",
            "trusted_proxy_ranges": [],
        },
        "router_settings": {"disable_cooldowns": True, "num_retries": 0},
    }


def test_where_somebody_can_sign_in_nothing_is_said_of_proxies(tmp_path: Path) -> None:
    named = {"master_key": "sk-w", "config_dir": tmp_path, "selftest_name": "selftest-1"}
    open_one = render({"model_list": []}, **named, management=True)
    assert "trusted_proxy_ranges" not in open_one["general_settings"]
    own = {"general_settings": {"trusted_proxy_ranges": ["10.0.0.0/8"]}}
    assert render(own, **named)["general_settings"]["trusted_proxy_ranges"] == ["10.0.0.0/8"]


def test_no_key_of_the_users_is_lost(tmp_path: Path) -> None:
    document = {
        "model_list": [{**entry(), "model_info": {"mode": "chat"}, "tpm": 5}],
        "litellm_settings": {
            "drop_params": True,
            "callbacks": ["a.b"],
            "cache": None,
            "anthropic_sse_ping_interval_seconds": 5,
        },
        "general_settings": {"alerting": ["slack"], "cancel_on_disconnect": False},
        "router_settings": {"routing_strategy": "least-busy"},
        "environment_variables": {"A": "b"},
        "guardrails": [{"x": [1, {"y": 2}]}],
    }
    found = rendered(tmp_path, document)
    assert found["model_list"][0] == document["model_list"][0]
    assert found["litellm_settings"] == {
        "drop_params": True,
        "callbacks": ["a.b", OUR_HANDLER],
        "cache": None,
        "anthropic_sse_ping_interval_seconds": 5,
    }
    assert found["general_settings"]["alerting"] == ["slack"]
    assert found["general_settings"]["cancel_on_disconnect"] is False
    assert found["router_settings"]["routing_strategy"] == "least-busy"
    assert found["environment_variables"] == {"A": "b"}
    assert found["guardrails"] == [{"x": [1, {"y": 2}]}]


def test_the_result_shares_nothing_with_the_document(tmp_path: Path) -> None:
    document = {"model_list": [entry()], "litellm_settings": {"callbacks": ["a.b"]}}
    found = rendered(tmp_path, document)
    found["model_list"][0]["litellm_params"]["model"] = "changed"
    found["litellm_settings"]["callbacks"].clear()
    assert document == {"model_list": [entry()], "litellm_settings": {"callbacks": ["a.b"]}}


@pytest.mark.parametrize(
    ("written", "callbacks"),
    [
        (None, []),
        ("ccproxy.handler", []),
        ("langfuse", ["langfuse"]),
        (["ccproxy.handler", "langfuse"], ["langfuse"]),
        (["a.b", OUR_HANDLER, "ccproxy.handler"], ["a.b"]),
        (["custom_callbacks.proxy_handler_instance", {"x": 1}], [{"x": 1}]),
    ],
)
def test_our_handler_is_registered_once_and_last(
    written: Any, callbacks: list[Any], tmp_path: Path
) -> None:
    document = {"model_list": [], "litellm_settings": {"callbacks": written}}
    found = rendered(tmp_path, document)["litellm_settings"]["callbacks"]
    assert found == [*callbacks, OUR_HANDLER]


def test_empty_sections_are_filled(tmp_path: Path) -> None:
    document = dict.fromkeys(
        ("model_list", "litellm_settings", "general_settings", "router_settings")
    )
    assert len(rendered(tmp_path, document)["model_list"]) == 1


def test_the_clients_key_is_replaced_by_the_workers(tmp_path: Path) -> None:
    document = {"model_list": [], "general_settings": {"master_key": "sk-users"}}
    assert rendered(tmp_path, document)["general_settings"]["master_key"] == "sk-w"


def test_with_a_key_database_the_users_master_key_stays(tmp_path: Path) -> None:
    general = {"master_key": "sk-users", "database_url": "os.environ/DATABASE_URL"}
    document = {"model_list": [], "general_settings": general}
    assert rendered(tmp_path, document)["general_settings"]["master_key"] == "sk-users"
    document["general_settings"] = {"database_url": "postgresql://x"}
    assert "master_key" not in rendered(tmp_path, document)["general_settings"]


@pytest.mark.parametrize(
    ("section", "key", "kept"),
    [
        ("router_settings", "num_retries", {"disable_cooldowns": True}),
        ("router_settings", "retry_policy", {"disable_cooldowns": True}),
        ("litellm_settings", "num_retries", {"disable_cooldowns": True}),
        ("router_settings", "disable_cooldowns", {"num_retries": 0}),
        ("router_settings", "cooldown_time", {"num_retries": 0}),
        ("router_settings", "allowed_fails", {"num_retries": 0}),
        ("litellm_settings", "allowed_fails", {"num_retries": 0}),
    ],
)
def test_cooldowns_and_retries_are_as_the_user_asks(
    section: str, key: str, kept: dict[str, Any], tmp_path: Path
) -> None:
    document: dict[str, Any] = {"model_list": [], section: {key: 3}}
    found = rendered(tmp_path, document)
    own = {key: 3} if section == "router_settings" else {}
    assert found["router_settings"] == {**own, **kept}


def test_an_indirection_is_rendered_with_what_it_names(tmp_path: Path) -> None:
    label = {"model_name": "think", "litellm_params": {"model": "opus"}}
    found = rendered(tmp_path, {"model_list": [label, entry("opus", "anthropic/opus")]})
    assert found["model_list"][:2] == [
        entry("think", "anthropic/opus"),
        entry("opus", "anthropic/opus"),
    ]
