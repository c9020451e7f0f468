from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ccproxyd.config.callbacks import OUR_HANDLER
from ccproxyd.config.litellm import render
from ccproxyd.config.load import Loaded, is_too_open, load, read_env_file
from ccproxyd.config.samples import samples_directory
from ccproxyd.config.settings import Settings, Workers
from ccproxyd.errors import ConfigError
from tests.config.conftest import FIXTURES, KEYS, MODELS, RULES, WriteConfig


def error_of(config_dir: Path, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(config_dir, environ)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_both_files_are_read(write_config: WriteConfig) -> None:
    loaded = load(write_config(), {})
    assert [rule.label for rule in loaded.settings.rules] == ["think"]
    assert [target.name for target in loaded.litellm.targets()] == ["default", "think"]
    assert loaded.warnings == ()
    assert [Path(file).name for file in loaded.files] == ["ccproxy.yaml", "config.yaml"]


def test_a_missing_file_is_an_error_that_says_the_next_command(tmp_path: Path) -> None:
    assert error_of(tmp_path) == (
        f"{tmp_path}/ccproxy.yaml: does not exist; `ccproxyctl install` writes samples,"
        " `ccproxyd --demo` tries it without any"
    )
    (tmp_path / "ccproxy.yaml").write_text("ccproxy:\n")
    assert error_of(tmp_path).startswith(f"{tmp_path}/config.yaml: does not exist; ")


def test_a_file_that_cannot_be_read_is_an_error(write_config: WriteConfig) -> None:
    config_dir = write_config()
    (config_dir / "config.yaml").unlink()
    (config_dir / "config.yaml").mkdir()
    assert error_of(config_dir) == "config.yaml: cannot be read: Is a directory"


def test_each_file_is_named_in_its_errors(write_config: WriteConfig) -> None:
    assert error_of(write_config(ours="a: b: c")).startswith("ccproxy.yaml: line 1, column 5: ")
    assert error_of(write_config(litellm="a: b: c")).startswith("config.yaml: line 1, column 5: ")


@pytest.mark.parametrize(
    ("ours", "told"),
    [
        ("{port: '${KEY}'}", "ccproxy.port: must be a whole number, not ${KEY}"),
        ("{port: os.environ/KEY}", "ccproxy.port: must be a whole number, not ${KEY}"),
        ("{port: '${PIN}'}", "ccproxy.port: must be between 0 and 65535, not ${PIN}"),
        (
            "{rules: [{label: 'a-${KEY}', rule: DefaultRule}]}",
            "ccproxy.rules[0].label: 'a-${KEY}' is no model_name of config.yaml",
        ),
    ],
)
def test_what_came_out_of_the_environment_is_not_quoted(
    write_config: WriteConfig, ours: str, told: str
) -> None:
    config_dir = write_config(ours=f"ccproxy: {ours}")
    assert error_of(config_dir, KEY="hunter2", PIN="123456789") == f"ccproxy.yaml: {told}"


def test_nor_is_it_at_the_channel_s_other_end(write_config: WriteConfig) -> None:
    config_dir = write_config(ours="ccproxy: {host: '${KEY}'}")
    message = load(config_dir, {"KEY": "hunter2"}).to_message()
    message["documents"]["ccproxy"]["ccproxy"]["port"] = "hunter2"
    with pytest.raises(ConfigError, match=r"not \$\{KEY\}$"):
        Loaded.from_message(message)


def test_a_label_without_a_model_is_an_error(write_config: WriteConfig) -> None:
    config_dir = write_config(ours=RULES.replace("label: think", "label: thnik"))
    assert error_of(config_dir) == (
        "ccproxy.yaml: ccproxy.rules[0].label: 'thnik' is no model_name of config.yaml;"
        " did you mean 'think'?"
    )


def test_values_are_taken_from_the_environment(write_config: WriteConfig) -> None:
    config_dir = write_config(
        ours="ccproxy: {port: '${PORT}'}", litellm=MODELS.replace("api_key: k", "api_key: '${K}'")
    )
    loaded = load(config_dir, {"PORT": "4321", "K": "sk"})
    assert loaded.settings.port == 4321
    params = loaded.documents["litellm"]["model_list"][0]["litellm_params"]
    assert params["api_key"] == "os.environ/K"
    assert loaded.litellm.deployments[0].has_key


def test_a_key_vault_is_not_asked_for_what_the_environment_has(write_config: WriteConfig) -> None:
    vault = "general_settings: {key_management_system: hashicorp_vault}\n"
    config_dir = write_config(litellm=MODELS.replace("api_key: k", "api_key: '${K}'") + vault)
    params = load(config_dir, {"K": "sk"}).documents["litellm"]["model_list"][0]["litellm_params"]
    assert params["api_key"] == "sk"


def test_includes_are_merged(write_config: WriteConfig) -> None:
    config_dir = write_config(litellm="include: [models.yaml]\n")
    (config_dir / "models.yaml").write_text(MODELS)
    loaded = load(config_dir, {})
    assert "include" not in loaded.documents["litellm"]
    assert loaded.litellm.deployments[1].path == "models.yaml: model_list[1]"
    assert str(config_dir / "models.yaml") in loaded.files


def test_without_a_default_there_is_a_warning(write_config: WriteConfig) -> None:
    config_dir = write_config(litellm=MODELS.replace("default", "other"))
    [warning] = load(config_dir, {}).warnings
    assert warning.startswith("config.yaml: there is no model_name 'default'; ")
    assert "whose model is not in model_list" in warning


# The environment


def test_the_env_file_adds_to_the_environment_and_goes_before_it(write_config: WriteConfig) -> None:
    config_dir = write_config(ours="ccproxy: {port: '${PORT}'}")
    env = config_dir / "env"
    env.write_text("PORT=4002\nKEY='a b'\n")
    env.chmod(0o600)
    loaded = load(config_dir, {"PORT": "4001"})
    assert loaded.settings.port == 4002
    assert loaded.environ == {"PORT": "4002", "KEY": "a b"}
    assert loaded.warnings == ()


def test_an_env_file_that_others_may_read_is_a_warning(write_config: WriteConfig) -> None:
    config_dir = write_config()
    env = config_dir / "env"
    env.write_text("A=1\n")
    env.chmod(0o640)
    assert load(config_dir, {}).warnings == (f"env: others may read it; run `chmod 600 {env}`",)


@pytest.mark.parametrize(
    ("mode", "owner", "group", "user", "too_open"),
    [
        (0o600, 7, 7, 7, False),
        (0o640, 7, 7, 7, True),
        (0o604, 7, 7, 7, True),
        (0o640, 0, 7, 7, False),
        (0o440, 0, 8, 7, False),
        (0o640, 0, 9, 7, True),
        (0o660, 0, 7, 7, True),
        (0o644, 0, 7, 7, True),
        (0o640, 0, 0, 0, True),
        (0o640, 0, 9, 0, False),
        (0o644, 0, 9, 0, True),
        (0o600, 0, 0, 0, False),
    ],
)
def test_a_service_of_the_system_reads_what_root_has_written_by_its_group(
    mode: int, owner: int, group: int, user: int, too_open: bool
) -> None:
    found = os.stat_result((mode, 0, 0, 1, owner, group, 0, 0, 0, 0))
    assert is_too_open(found, user=user, groups={7, 8}) is too_open


def test_an_env_file_that_is_wrong_is_an_error(write_config: WriteConfig) -> None:
    config_dir = write_config()
    (config_dir / "env").write_text("A=1\nsk-secret\n")
    assert error_of(config_dir) == "env: line 2: must be NAME=value"
    (config_dir / "env").write_bytes(b"A=\xff\n")
    with pytest.raises(ConfigError, match=r"^env: is not UTF-8"):
        read_env_file(config_dir / "env")


def test_systemds_credentials_add_to_the_environment(
    write_config: WriteConfig, tmp_path: Path
) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "ANTHROPIC_API_KEY").write_text("sk-1\n")
    (credentials / "tls.key").write_text("x")
    (credentials / "DIRECTORY").mkdir()
    loaded = load(write_config(), {"CREDENTIALS_DIRECTORY": str(credentials)})
    assert loaded.environ == {"ANTHROPIC_API_KEY": "sk-1"}


@pytest.mark.parametrize("reference", ["os.environ/ANTHROPIC_API_KEY", "'${ANTHROPIC_API_KEY}'"])
def test_a_credential_is_found_by_either_reference(
    write_config: WriteConfig, tmp_path: Path, reference: str
) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "ANTHROPIC_API_KEY").write_text("sk-1\n")
    config_dir = write_config(litellm=MODELS.replace("api_key: k", f"api_key: {reference}"))
    loaded = load(config_dir, {"CREDENTIALS_DIRECTORY": str(credentials)})
    assert loaded.warnings == ()
    assert loaded.names == {"ANTHROPIC_API_KEY": "sk-1"}
    assert all(deployment.has_key for deployment in loaded.litellm.deployments)
    [params, _] = [one["litellm_params"] for one in loaded.documents["litellm"]["model_list"]]
    assert params["api_key"] == "os.environ/ANTHROPIC_API_KEY"


def test_credentials_that_cannot_be_read_are_an_error(
    write_config: WriteConfig, tmp_path: Path
) -> None:
    message = error_of(write_config(), CREDENTIALS_DIRECTORY=str(tmp_path / "none"))
    assert message.endswith("none: cannot read systemd's credentials (FileNotFoundError)")


def test_a_value_of_the_environment_that_is_not_utf8_is_an_error(write_config: WriteConfig) -> None:
    config_dir = write_config(litellm=MODELS.replace("api_key: k", "api_key: os.environ/K"))
    assert error_of(config_dir, K="\udcff") == "config.yaml: the environment's K is not UTF-8"


# Keys in files of their own


@pytest.mark.parametrize("reference", ["os.environ/K", "'${K}'", "'${K:-none}'", "'x-${K}'"])
def test_a_key_may_be_in_a_file(write_config: WriteConfig, tmp_path: Path, reference: str) -> None:
    file = tmp_path / "key"
    file.write_text("sk-1\n")
    config_dir = write_config(litellm=MODELS.replace("api_key: k", f"api_key: {reference}"))
    loaded = load(config_dir, {"K_FILE": str(file)})
    assert loaded.environ == {"K": "sk-1"}
    assert all(deployment.has_key for deployment in loaded.litellm.deployments)
    assert loaded.warnings == ()


def test_the_file_of_a_key_may_be_named_in_the_env_file_and_be_beside_it(
    write_config: WriteConfig,
) -> None:
    config_dir = write_config(litellm=MODELS.replace("api_key: k", "api_key: os.environ/K"))
    (config_dir / "env").write_text("K_FILE=keys/k\n")
    (config_dir / "env").chmod(0o600)
    (config_dir / "keys").mkdir()
    (config_dir / "keys" / "k").write_text("two\nlines\n")
    assert load(config_dir, {}).environ["K"] == "two\nlines"


def test_the_master_key_may_be_in_a_file(write_config: WriteConfig, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-master")
    loaded = load(write_config(), {"LITELLM_MASTER_KEY_FILE": str(tmp_path / "key")})
    assert loaded.litellm.master_key == "sk-master"
    assert loaded.names == {"LITELLM_MASTER_KEY": "sk-master"}


def test_a_value_goes_before_a_file(write_config: WriteConfig) -> None:
    config_dir = write_config(litellm=MODELS.replace("api_key: k", "api_key: os.environ/K"))
    loaded = load(config_dir, {"K": "sk", "K_FILE": "/nowhere"})
    assert (loaded.environ, loaded.names) == ({}, {"K": "sk"})


def test_an_empty_value_is_none(write_config: WriteConfig, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-1")
    config_dir = write_config(litellm=MODELS.replace("api_key: k", "api_key: os.environ/K"))
    assert load(config_dir, {"K": "", "K_FILE": str(tmp_path / "key")}).names == {"K": "sk-1"}
    assert load(config_dir, {"K": "", "K_FILE": ""}).names == {"K": ""}


def test_only_what_the_config_asks_for_is_looked_for(write_config: WriteConfig) -> None:
    assert load(write_config(), {"SSL_CERT_FILE": "/nowhere", "K_FILE": "/nowhere"}).environ == {}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot read {file}: No such file or directory"),
        (b"\xff", "{file} is not UTF-8"),
        (b"\n", "{file} is empty"),
        (b"sk-\0secret", "{file} has a NUL in it"),
    ],
)
def test_a_file_without_a_key_is_an_error_that_names_it(
    write_config: WriteConfig, tmp_path: Path, content: bytes | None, why: str
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    config_dir = write_config(litellm=MODELS.replace("api_key: k", "api_key: os.environ/K"))
    assert error_of(config_dir, K_FILE=str(file)) == f"K_FILE: {why.format(file=file)}"


def test_an_edited_key_file_concerns_the_workers(write_config: WriteConfig, tmp_path: Path) -> None:
    config_dir = write_config(litellm=MODELS.replace("api_key: k", "api_key: os.environ/K"))
    file = tmp_path / "key"
    file.write_text("sk-1\n")
    before = prints(config_dir, K_FILE=str(file))
    file.write_text("sk-1")
    assert changed(before, prints(config_dir, K_FILE=str(file))) == NOTHING
    file.write_text("sk-2\n")
    assert changed(before, prints(config_dir, K_FILE=str(file))) == WORKERS_ALONE


# Fingerprints


def prints(config_dir: Path, **environ: str) -> tuple[str, str, str]:
    loaded = load(config_dir, environ)
    return loaded.fingerprint, loaded.routing_fingerprint, loaded.worker_fingerprint


def changed(before: tuple[str, str, str], after: tuple[str, str, str]) -> tuple[bool, bool, bool]:
    everything, routing, worker = (one != other for one, other in zip(before, after, strict=True))
    return everything, routing, worker


NOTHING, RULES_ALONE, WORKERS_ALONE, BOTH = (
    (False, False, False),
    (True, True, False),
    (True, False, True),
    (True, True, True),
)

LOCAL = {
    "ours": "ccproxy: {rules: [{label: think, rule: my_rules.Rule}]}\n",
    "litellm": MODELS + "litellm_settings: {callbacks: [my_callbacks.log]}\n",
    "my_rules": "import my_helper\nclass Rule: ...\n",
    "my_helper": "LIMIT = 1\n",
    "my_callbacks": "log = 1\n",
    "unrelated": "x = 1\n",
}


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("ccproxy.yaml", LOCAL["ours"], NOTHING),
        ("ccproxy.yaml", LOCAL["ours"] + "# a comment\n", NOTHING),
        ("unrelated.py", "x = 2\n", NOTHING),
        ("ccproxy.yaml", LOCAL["ours"] + "litellm: {port: 4001}\n", RULES_ALONE),
        ("my_rules.py", LOCAL["my_rules"] + "y = 1\n", RULES_ALONE),
        ("my_helper.py", "LIMIT = 2\n", RULES_ALONE),
        ("ccproxy.yaml", LOCAL["ours"] + "litellm: {num_workers: 2}\n", BOTH),
        ("ccproxy.yaml", LOCAL["ours"].replace("{", "{management_routes: true, ", 1), BOTH),
        ("config.yaml", LOCAL["litellm"].replace("opus", "sonnet"), BOTH),
        ("config.yaml", LOCAL["litellm"] + "general_settings: {x: 1}\n", WORKERS_ALONE),
        ("my_callbacks.py", "log = 2\n", WORKERS_ALONE),
        ("env", "A=1\n", WORKERS_ALONE),
    ],
)
def test_the_fingerprints_say_what_an_edit_concerns(
    write_config: WriteConfig, file: str, text: str, expected: tuple[bool, bool, bool]
) -> None:
    config_dir = write_config(**LOCAL)
    before = prints(config_dir)
    (config_dir / file).write_text(text)
    assert changed(before, prints(config_dir)) == expected


def test_the_fingerprint_covers_the_names_of_the_environment_that_are_used(
    write_config: WriteConfig,
) -> None:
    config_dir = write_config(litellm=MODELS.replace("api_key: k", "api_key: os.environ/K"))
    before = prints(config_dir, K="1")
    assert changed(before, prints(config_dir, K="1", OTHER="2")) == NOTHING
    assert changed(before, prints(config_dir, K="2")) == WORKERS_ALONE


def test_fingerprints_are_sha256_in_hex(write_config: WriteConfig) -> None:
    assert all(len(bytes.fromhex(one)) == 32 for one in prints(write_config()))


# The channel


def test_what_was_loaded_travels_as_a_message(write_config: WriteConfig) -> None:
    config_dir = write_config(
        litellm=MODELS.replace("api_key: k", "api_key: os.environ/K")
        + "general_settings: {master_key: os.environ/MASTER}\n"
    )
    (config_dir / "env").write_text("MASTER=sk-1\n")
    loaded = load(config_dir, {"K": "k", "OTHER": "not sent", "DATABASE_URL": "a warning"})
    message = json.loads(json.dumps(loaded.to_message()))
    assert "not sent" not in json.dumps(message)
    received = Loaded.from_message(message)
    assert received.litellm.master_key == "sk-1"
    assert received.litellm.deployments[0].has_key
    assert received.settings == loaded.settings
    assert received.warnings == loaded.warnings
    assert received.to_message() == message


# What claude-ccproxy documents, through the years


def fixture(name: str) -> Loaded:
    return load(FIXTURES / name, KEYS)


def callbacks(name: str) -> list[str]:
    config = render(
        fixture(name).documents["litellm"],
        master_key="sk-w",
        config_dir=FIXTURES / name,
        selftest_name="selftest",
    )
    found: list[str] = config["litellm_settings"]["callbacks"]
    return found


def models(name: str) -> dict[str, tuple[str, ...]]:
    return {target.name: target.models for target in fixture(name).litellm.targets()}


def test_the_form_with_labels_means_the_same() -> None:
    settings = fixture("labels").settings
    assert settings.debug
    assert [(rule.label, rule.rule, rule.kwargs) for rule in settings.rules] == [
        ("token_count", "ccproxy.rules.TokenCountRule", {"threshold": 60000}),
        ("background", "ccproxy.rules.MatchModelRule", {"model_name": "claude-3-5-haiku-20241022"}),
        ("think", "ccproxy.rules.ThinkingRule", {}),
        ("web_search", "ccproxy.rules.MatchToolRule", {"tool_name": "WebSearch"}),
    ]
    assert settings.has_hook("forward_oauth")
    assert models("labels")["token_count"] == ("gemini/gemini-2.5-pro",)
    assert all(deployment.has_key for deployment in fixture("labels").litellm.deployments)
    assert fixture("labels").warnings == (
        "config.yaml: ccproxy_settings: has no effect; rules stand in ccproxy.yaml",
    )


def test_the_form_with_a_generated_handler_means_the_same() -> None:
    loaded = fixture("handler_file")
    assert loaded.settings.port == 4000
    assert loaded.settings.workers == Workers(count=4)
    assert models("handler_file") == {
        "default": ("anthropic/claude-sonnet-4-20250514",),
        "think": ("anthropic/claude-opus-4-20250514",),
        "token_count": ("gemini/gemini-2.5-pro",),
        "claude-sonnet-4-20250514": ("anthropic/claude-sonnet-4-20250514",),
        "claude-opus-4-20250514": ("anthropic/claude-opus-4-20250514",),
        "gemini-2.5-pro": ("gemini/gemini-2.5-pro",),
    }
    has_key = {one.model_name: one.has_key for one in loaded.litellm.deployments}
    assert (has_key["default"], has_key["token_count"]) == (False, True)
    assert loaded.warnings == ()


def test_the_form_with_names_means_the_same() -> None:
    loaded = fixture("names")
    settings = loaded.settings
    assert (settings.host, settings.port, settings.workers.count) == ("0.0.0.0", 4010, 2)  # noqa: S104
    assert [rule.label for rule in settings.rules] == [
        "token_count", "web_search", "background", "think",
    ]  # fmt: skip
    assert [entry.hook for entry in settings.hooks] == [
        "rule_evaluator",
        "model_router",
        "my_hooks.request_logger",
        "forward_oauth",
        "extract_session_id",
        "capture_headers",
    ]
    assert settings.hooks[-1].params == {"headers": ["user-agent", "x-request-id"]}
    assert [warning.partition(": ")[2] for warning in loaded.warnings] == [
        "ccproxy.metrics_enabled: is not used by this version",
        "ccproxy.oat_sources: is not used by this version",
        "ccproxy.credentials: is not used by this version",
    ]
    assert models("names")["think"] == ("anthropic/claude-opus-4-5-20251101",)


def test_the_installed_form_means_the_same() -> None:
    settings = fixture("template").settings
    assert settings.rules == ()
    assert settings.default_model_passthrough
    assert settings.has_hook("forward_oauth")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("labels", [OUR_HANDLER]),
        ("handler_file", [OUR_HANDLER]),
        ("custom_rules", ["custom_callbacks.proxy_handler_instance", OUR_HANDLER]),
        ("names", ["langfuse", OUR_HANDLER]),
        ("template", [OUR_HANDLER]),
    ],
)
def test_every_form_registers_our_handler(name: str, expected: list[str]) -> None:
    assert callbacks(name) == expected


# Our own samples


def test_the_samples_load_without_a_warning() -> None:
    loaded = load(samples_directory(), KEYS)
    assert loaded.warnings == ()
    assert set(models_of(loaded)) >= {"default", "token_count", "background", "think", "web_search"}


def test_the_samples_show_every_key_with_its_default() -> None:
    settings = load(samples_directory(), KEYS).settings
    assert Settings(rules=settings.rules) == settings


def test_the_demo_needs_no_key() -> None:
    loaded = load(samples_directory() / "demo", {"CCPROXYD_DEMO_URL": "http://127.0.0.1:9"})
    assert loaded.warnings == ()
    assert {one.api_base for one in loaded.litellm.deployments} == {"http://127.0.0.1:9"}
    assert models_of(loaded) == {
        "default": ("anthropic/demo-default",),
        "token_count": ("anthropic/demo-token_count",),
        "background": ("anthropic/demo-background",),
        "think": ("anthropic/demo-think",),
        "web_search": ("openai/demo-web_search",),
    }


def models_of(loaded: Loaded) -> dict[str, tuple[str, ...]]:
    return {target.name: target.models for target in loaded.litellm.targets()}


def test_a_relative_directory_is_as_good(
    write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config_dir = write_config()
    monkeypatch.chdir(config_dir.parent)
    relative = load(Path(config_dir.name), {})
    assert relative == load(config_dir, {})
    assert all(os.path.isabs(file) for file in relative.files)  # noqa: PTH117
