import pytest

from ccproxyd.errors import ConfigError
from ccproxyd.gateway import table as table_module
from ccproxyd.gateway.paths import Carriage
from ccproxyd.gateway.table import Table
from ccproxyd.routing import Request, StickyTable
from tests.gateway.house import KEY, build_table, order_to_prepare, prices, write_config

LENDING = """
ccproxy:
  hooks: [rule_evaluator, forward_oauth]
"""


def models(*entries):
    lines = [
        f"  - {{model_name: {name}, litellm_params: {{{params}}}}}" for name, params in entries
    ]
    return "\n".join(["model_list:", *lines])


TOKEN = {"authorization": "Bearer sk-ant-oat01-abc"}
OWN_KEY = {"x-api-key": "sk-ant-api03-abc", "x-litellm-api-key": KEY}


def lent(directory, *entries, ours=LENDING, more="", environ=None, headers=TOKEN, keys=(KEY,)):
    write_config(directory, ours, f"{models(*entries)}\n{more}")
    order = order_to_prepare(directory, keys)
    order["config"]["environ"] = environ or {}
    table = Table.build(order, StickyTable(), lambda *_: None, prices())
    return table.lent("own", headers)


def lends(*arguments, **named):
    return lent(*arguments, **named) is not None


ANTHROPIC = "model: anthropic/claude-opus-4-8"
ELSEWHERE = "model: anthropic/claude, api_base: 'https://elsewhere.example'"


@pytest.fixture(autouse=True)
def _no_base_from_outside(monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_BASE", raising=False)
    monkeypatch.delenv("ANTHROPIC_BASE_URL", raising=False)
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)


def test_a_table_is_all_that_a_request_needs(config_dir):
    table = build_table(config_dir)
    request = Request({"thinking": {"type": "adaptive"}})
    assert table.router.decide(request).label == "think"
    assert table.keyring.opens_for([KEY])
    assert table.paths.carriage("POST", "/v1/messages") is Carriage.ROUTED
    assert not table.clients_belong_to_litellm


def test_a_rule_that_does_not_load_is_named(tmp_path):
    ours = "ccproxy: {rules: [{label: default, rule: own_rules.Mine}]}"
    write_config(tmp_path, ours, rules="raise RuntimeError('half written')")
    with pytest.raises(ConfigError, match=r"rules\[0\].*half written") as refused:
        build_table(tmp_path)
    assert refused.value.path == "ccproxy.yaml: ccproxy.rules[0].rule"


def test_management_and_the_users_own_endpoints_are_opened_by_the_config(tmp_path):
    endpoints = "[{path: /v1/mine, target: x}, {path: no-path}, {}, 3]"
    general = f"general_settings: {{pass_through_endpoints: {endpoints}}}"
    litellm = f"{models(('default', ANTHROPIC))}\n{general}"
    table = build_table(write_config(tmp_path, "ccproxy: {}", litellm))
    assert table.paths.carriage("POST", "/v1/mine") is Carriage.CARRIED
    assert table.paths.carriage("POST", "/key/info") is Carriage.CLOSED
    write_config(tmp_path, "ccproxy: {management_routes: true}", litellm)
    assert build_table(tmp_path).paths.carriage("POST", "/key/info") is Carriage.CARRIED


def test_a_subscription_is_lent_to_anthropics_own_address(tmp_path):
    assert lends(tmp_path, ("own", ANTHROPIC))
    assert lends(tmp_path, ("own", "model: claude-opus-4-8"))
    assert lends(tmp_path, ("own", f"{ANTHROPIC}, api_base: 'https://api.anthropic.com/'"))


@pytest.mark.parametrize(
    "params",
    [
        f"{ANTHROPIC}, api_key: k",
        ELSEWHERE,
        f"{ANTHROPIC}, api_base: 'http://api.anthropic.com'",
        f"{ANTHROPIC}, api_base: 'https://api.anthropic.com.elsewhere.example'",
        f"{ANTHROPIC}, api_base: 'https://api.anthropic.com@elsewhere.example'",
        "model: openai/gpt-5",
        "model: gpt-5",
    ],
)
def test_a_subscription_goes_nowhere_else(tmp_path, params):
    assert not lends(tmp_path, ("own", params))


def test_one_deployment_elsewhere_is_enough_to_keep_it(tmp_path):
    assert not lends(tmp_path, ("own", ANTHROPIC), ("own", ELSEWHERE))
    assert lends(tmp_path, ("own", ANTHROPIC), ("other", ELSEWHERE))


@pytest.mark.parametrize("section", ["litellm_settings", "router_settings"])
def test_what_litellm_falls_back_to_is_the_workers_to_judge(tmp_path, section):
    more = f"{section}: {{fallbacks: [{{own: [other]}}]}}"
    assert lends(tmp_path, ("own", ANTHROPIC), ("other", ELSEWHERE), more=more)
    assert not lends(tmp_path, ("own", ELSEWHERE), ("other", ANTHROPIC), more=more)


def test_fallbacks_are_those_of_the_name_that_litellm_is_asked_by(tmp_path):
    aliases = "router_settings: {model_group_alias: {hard: own, other: own}}"
    ours = "ccproxy: {fallbacks: {hard: [more], claude-opus-4-8: [own], claude-haiku-4-5: [own]}}"
    entries = [(f"'{name}'", ANTHROPIC) for name in ("own", "more", "claude-*", "anthropic/*")]
    table = build_table(write_config(tmp_path, ours, f"{models(*entries)}\n{aliases}"))
    assert table.falls_back("hard")
    assert not table.falls_back("own")
    assert not table.falls_back("other")
    assert table.falls_back("claude-opus-4-8")
    assert table.falls_back("anthropic/claude-haiku-4-5")
    assert not table.falls_back("claude-sonnet-4-6")


def test_an_address_of_the_environment_counts(tmp_path, monkeypatch):
    base = "https://elsewhere.example"
    assert not lends(tmp_path, ("own", ANTHROPIC), environ={"ANTHROPIC_API_BASE": base})
    monkeypatch.setenv("ANTHROPIC_BASE_URL", base)
    assert not lends(tmp_path, ("own", ANTHROPIC))


def test_it_is_lent_only_where_the_hook_is_on_and_the_label_is_known(tmp_path):
    assert not lends(tmp_path, ("own", ANTHROPIC), ours="ccproxy: {hooks: []}")
    assert not lends(tmp_path, ("own", ANTHROPIC), ours="ccproxy: {hooks: [forward_apikey]}")
    assert not lends(tmp_path, ("other", ANTHROPIC))


def test_a_hook_of_that_name_by_somebody_else_lends_nothing(tmp_path):
    ours = "ccproxy: {hooks: [own_rules.forward_oauth]}"
    write_config(tmp_path, rules="def forward_oauth(data, user_api_key_dict): ...")
    assert not lends(tmp_path, ("own", ANTHROPIC), ours=ours)


FORWARDING = "ccproxy: {hooks: [forward_apikey]}"


def test_a_key_of_the_clients_own_is_lent_as_a_subscription_is(tmp_path):
    found = lent(tmp_path, ("own", ANTHROPIC), ours=FORWARDING, headers=OWN_KEY)
    assert found == "sk-ant-api03-abc"
    for params in (ELSEWHERE, f"{ANTHROPIC}, api_key: k", "model: openai/gpt-5"):
        assert not lends(tmp_path, ("own", params), ours=FORWARDING, headers=OWN_KEY)


ASTRAY = 'environment_variables: {ANTHROPIC_BASE_URL: "https://elsewhere.example"}'


def test_an_address_that_config_yaml_sets_for_litellm_counts(tmp_path):
    assert lends(tmp_path, ("own", ANTHROPIC))
    assert not lends(tmp_path, ("own", ANTHROPIC), more=ASTRAY)


def test_a_provider_that_is_said_by_name_counts(tmp_path):
    named = "model: claude-opus-4-8, custom_llm_provider: {}"
    assert lends(tmp_path, ("own", named.format("anthropic")))
    assert not lends(tmp_path, ("own", named.format("openai")))


@pytest.mark.parametrize("key", [KEY, "sk-proj-openai", "sk-ant-oat01-abc", "sk-ant-admin01-x", ""])
def test_no_other_key_is_lent(tmp_path, key):
    headers = {"x-api-key": key}
    assert not lends(tmp_path, ("own", ANTHROPIC), ours=FORWARDING, headers=headers)


def test_a_key_that_opens_our_port_is_never_lent(tmp_path):
    keys = (OWN_KEY["x-api-key"],)
    entry = ("own", ANTHROPIC)
    assert not lends(tmp_path, entry, ours=FORWARDING, headers=OWN_KEY, keys=keys)


def test_nor_is_one_that_looks_like_a_token(tmp_path):
    keys = ("sk-ant-oat01-abc",)
    assert not lends(tmp_path, ("own", ANTHROPIC), headers=TOKEN, keys=keys)
    both = "ccproxy: {hooks: [forward_apikey, forward_oauth]}"
    named = {"ours": both, "headers": {**TOKEN, **OWN_KEY}, "keys": keys}
    assert lent(tmp_path, ("own", ANTHROPIC), **named) == OWN_KEY["x-api-key"]


def test_nor_is_any_where_the_environment_has_one(tmp_path):
    environ = {"ANTHROPIC_API_KEY": "sk-ant-api03-ours"}
    entry = ("own", ANTHROPIC)
    assert not lends(tmp_path, entry, ours=FORWARDING, headers=OWN_KEY, environ=environ)


def test_a_token_goes_before_a_key(tmp_path):
    both = "ccproxy: {hooks: [forward_apikey, forward_oauth]}"
    headers = {**TOKEN, **OWN_KEY}
    assert lent(tmp_path, ("own", ANTHROPIC), ours=both, headers=headers) == "sk-ant-oat01-abc"


def test_hooks_and_moderation_are_loaded_with_the_rules(tmp_path):
    ours = "ccproxy: {hooks: [own_rules.mine], moderation: {enabled: true, deny: [x]}}"
    write_config(tmp_path, ours, rules="def mine(data, user_api_key_dict): ...")
    table = build_table(tmp_path)
    assert len(table.hooks.steps) == 2
    assert table.moderator is not None
    (tmp_path / "own_rules.py").write_text("1 / 0")
    with pytest.raises(ConfigError, match=r"hooks\[0\]: cannot import own_rules: ZeroDivision"):
        build_table(tmp_path)


def test_what_a_label_is_for_is_told_by_the_config_or_by_the_price_list(tmp_path):
    own = "model: openai/my-own}, model_info: {mode: rerank"
    litellm = models(
        ("embedder", "model: openai/text-embedding-3-small"),
        ("ranker", own),
        ("both", "model: openai/gpt-5"),
        ("both", "model: openai/omni-moderation-latest"),
        ("unknown", "model: openai/nobody-knows"),
    )
    table = build_table(write_config(tmp_path, "ccproxy: {}", litellm))
    modes = {target.name: target.modes for target in table.routing.targets}
    assert modes == {
        "embedder": ("embedding",),
        "ranker": ("rerank",),
        "both": ("moderation",),
        "unknown": (),
    }
    judged = table.router.decide(Request({"input": "x"}, path="/v1/moderations"))
    assert (judged.label, judged.rule) == ("both", "default")


def test_the_tariffs_of_models_that_clients_name_are_not_remembered_for_ever(
    config_dir, monkeypatch
):
    monkeypatch.setattr(table_module, "_TARIFFS", 2)
    table = build_table(config_dir)
    for number in range(5):
        assert table.tariff_as_asked(f"made-up-{number}") is None
    assert table.tariff_as_asked("gpt-4o") is table.tariff_as_asked("gpt-4o") is not None
    assert len(table._tariffs_as_asked) <= 2


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("think", "think"),
        ("claude-haiku-4-5", "claude-haiku-4-5"),
        ("claude-opus-99-20990101[1m]", "claude-opus-99-20990101[1m]"),
        ("anthropic/claude-opus-99", "anthropic/claude-opus-99"),
        ("gpt-4o", "gpt-4o"),
        ("what the user asked", "(other)"),
        ("claude-what the user asked", "(other)"),
        ("canary-model", "(other)"),
        ("", ""),
    ],
)
def test_the_log_has_no_name_of_a_model_that_nobody_knows(config_dir, asked, told):
    assert build_table(config_dir).told_name(asked) == told
