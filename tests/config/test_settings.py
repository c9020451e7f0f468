from __future__ import annotations

from typing import Any

import pytest

from ccproxyd.config.settings import (
    Logging,
    Moderation,
    Settings,
    Timeouts,
    Workers,
    documented_keys,
)
from ccproxyd.errors import ConfigError


def ours(**keys: Any) -> Settings:
    return Settings.parse({"ccproxy": keys})


def error_of(document: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        Settings.parse(document)
    return str(caught.value)


def test_an_empty_section_is_all_defaults() -> None:
    settings = Settings.parse({"ccproxy": None})
    assert settings == Settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 4000)
    assert settings.default_model_passthrough
    assert not settings.management_routes
    assert settings.workers == Workers(1, "auto", 600.0, 30.0, 1500, 3)
    assert settings.timeouts == Timeouts(600.0, 300.0)
    assert settings.logging == Logging(True, True, False, True, False, True, True, False)


def test_every_key_is_read() -> None:
    settings = ours(
        host="::",
        port=0,
        debug=True,
        default_model_passthrough=False,
        rules=[{"label": "think", "rule": "ThinkingRule"}],
        hooks=["model_router", "rule_evaluator"],
        workers={"count": 2, "start_method": "spawn", "drain_seconds": 1, "stop_seconds": 0},
        timeouts={"first_byte": 0.5, "idle": 2},
        moderation={"enabled": True, "deny": ["x"]},
        logging={"enable_moderation": True},
        management_routes=True,
    )
    assert (settings.host, settings.port, settings.debug) == ("::", 0, True)
    assert not settings.default_model_passthrough
    assert settings.rules[0].label == "think"
    assert settings.has_hook("model_router")
    assert not settings.has_hook("forward_oauth")
    assert settings.workers == Workers(2, "spawn", 1.0, 0.0, 1500, 3)
    assert settings.timeouts == Timeouts(0.5, 2.0)
    assert settings.moderation == Moderation(enabled=True, deny=("x",))
    assert settings.logging == Logging(enable_moderation=True)
    assert settings.management_routes
    assert settings.warnings == ()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"port": 65536}, "ccproxy.port: must be between 0 and 65535, not 65536"),
        ({"port": -1}, "ccproxy.port: must be between 0 and 65535, not -1"),
        ({"port": "4000"}, "ccproxy.port: must be a whole number, not '4000'"),
        ({"prot": 4000}, "ccproxy.prot: unknown key; did you mean 'port'?"),
        ({"host": ""}, "ccproxy.host: must be a text, not ''"),
        ({"debug": "yes please"}, "ccproxy.debug: must be true or false"),
        ({"rules": {}}, "ccproxy.rules: must be a list, not a mapping"),
        ({"hooks": "model_router"}, "ccproxy.hooks: must be a list, not a text"),
        ({"workers": 2}, "ccproxy.workers: must be a mapping, not a number"),
        ({"workers": {"count": 0}}, "ccproxy.workers.count: must be at least 1, not 0"),
        ({"workers": {"conut": 2}}, "ccproxy.workers.conut: unknown key; did you mean 'count'?"),
        ({"workers": {"start_method": "frok"}}, "workers.start_method: must be auto, fork, spawn"),
        ({"workers": {"max_rss_mb": "1G"}}, "workers.max_rss_mb: must be a whole number"),
        ({"timeouts": {"idle": 0}}, "ccproxy.timeouts.idle: must be more than 0, not 0"),
        ({"timeouts": {"first_byte": "10s"}}, "timeouts.first_byte: must be a number, not '10s'"),
        ({"logging": {"enable_pre_api_calls": True}}, "did you mean 'enable_pre_api_call'?"),
        ({"management_routes": 1}, "ccproxy.management_routes: must be true or false, not 1"),
        ({"oat_sources": ["x"]}, "ccproxy.oat_sources: must be a mapping, not a list"),
    ],
)
def test_a_wrong_key_is_one_line_with_the_fields_path(keys: dict[str, Any], message: str) -> None:
    found = error_of({"ccproxy": keys})
    assert found.startswith("ccproxy.yaml: ccproxy.")
    assert message in found


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"ccproxi": {}}, "ccproxy.yaml: ccproxi: unknown key; did you mean 'ccproxy'?"),
        ({"rules": []}, "ccproxy.yaml: rules: belongs below 'ccproxy:'"),
        ({"model_list": []}, "ccproxy.yaml: model_list: unknown key"),
        ({"ccproxy": []}, "ccproxy.yaml: ccproxy: must be a mapping, not a list"),
        ({"litellm": {"prot": 1}}, "ccproxy.yaml: litellm.prot: unknown key; did you mean 'port'?"),
        ({"litellm": {"num_workers": 0}}, "litellm.num_workers: must be at least 1, not 0"),
    ],
)
def test_a_wrong_top_level_is_one_line(document: dict[str, Any], message: str) -> None:
    assert error_of(document) == message or message in error_of(document)


def test_the_ancestors_litellm_section_holds_where_ours_says_nothing() -> None:
    litellm = {
        "host": "::1",
        "port": 4040,
        "num_workers": 4,
        "debug": False,
        "detailed_debug": True,
    }
    settings = Settings.parse({"litellm": litellm})
    assert (settings.host, settings.port, settings.debug) == ("::1", 4040, True)
    assert settings.workers == Workers(count=4)


def test_our_section_goes_before_the_ancestors() -> None:
    litellm = {"host": "::1", "port": 4040, "num_workers": 4, "debug": True}
    own = {"port": 4000, "debug": False, "workers": {"count": 1, "max_rss_mb": 900}}
    settings = Settings.parse({"ccproxy": own, "litellm": litellm})
    assert (settings.host, settings.port, settings.debug) == ("::1", 4000, False)
    assert settings.workers == Workers(count=1, max_rss_mb=900)


@pytest.mark.parametrize(
    "handler",
    [
        "ccproxy.handler:CCProxyHandler",
        "ccproxy.handler",
        "ccproxyd.worker.handler:CCProxyHandler",
        "ccproxyd.worker.handler",
    ],
)
def test_the_ancestors_own_handler_is_ours(handler: str) -> None:
    assert ours(handler=handler) == Settings()


def test_a_handler_of_the_users_belongs_in_litellms_callbacks() -> None:
    message = error_of({"ccproxy": {"handler": "mypackage.custom:MyHandler"}})
    assert message.startswith("ccproxy.yaml: ccproxy.handler: 'mypackage.custom:MyHandler'")
    assert "litellm_settings.callbacks of config.yaml" in message


def test_keys_without_effect_are_accepted_with_a_warning() -> None:
    settings = ours(metrics_enabled=True, oat_sources={"anthropic": "cat key"}, credentials="cat")
    assert settings.warnings == (
        "ccproxy.yaml: ccproxy.metrics_enabled: is not used by this version",
        "ccproxy.yaml: ccproxy.oat_sources: is not used by this version",
        "ccproxy.yaml: ccproxy.credentials: is not used by this version",
    )


def test_a_hook_of_the_users_is_kept() -> None:
    settings = ours(hooks=["my_hooks.log", "forward_oauth"])
    assert settings.hooks[0].hook == "my_hooks.log"
    assert settings.warnings == ()


def test_a_header_with_a_credential_is_not_captured_and_warned_of() -> None:
    named = {"hook": "capture_headers", "params": {"headers": ["user-agent", "Authorization"]}}
    settings = ours(hooks=["rule_evaluator", named])
    assert settings.hooks[1].headers() == ("user-agent",)
    assert settings.warnings == (
        "ccproxy.yaml: ccproxy.hooks[1].params.headers: 'Authorization' may hold a credential; it"
        " is passed over",
    )


def test_rules_without_the_hook_that_evaluates_them_are_evaluated_with_a_warning() -> None:
    settings = ours(rules=[{"label": "a", "rule": "X"}], hooks=["forward_oauth"])
    assert "without rule_evaluator the rules are evaluated all the same" in settings.warnings[0]


def test_every_key_is_documented() -> None:
    keys = documented_keys()
    assert list(keys)[:3] == ["ccproxy.host", "ccproxy.port", "ccproxy.debug"]
    assert {"ccproxy.workers.max_generations", "ccproxy.timeouts.idle"} <= set(keys)
    assert {"ccproxy.logging.enable_moderation", "ccproxy.rules", "ccproxy.hooks"} <= set(keys)
    assert "ccproxy.warnings" not in keys
    assert all(keys.values())
