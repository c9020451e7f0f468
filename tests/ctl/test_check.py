import json
from pathlib import Path

import pytest

from ccproxyd.control.status import Status
from ccproxyd.ctl import main
from ccproxyd.ctl.check import examine_for
from ccproxyd.ctl.machine import Machine
from ccproxyd.errors import ConfigError
from tests.ctl.service.fakes import USER_UNIT, write

OURS = """\
ccproxy:
  rules:
    - {label: think, rule: ThinkingRule}
"""
THEIRS = """\
model_list:
  - {model_name: default, litellm_params: {model: anthropic/sonnet}}
  - {model_name: think, litellm_params: {model: anthropic/opus}}
  - {model_name: think, litellm_params: {model: openai/o5}}
router_settings: {model_group_alias: {smart: think}}
"""


@pytest.fixture
def config(home: Path) -> Path:
    directory = home / ".ccproxy"
    directory.mkdir()
    (directory / "ccproxy.yaml").write_text(OURS)
    (directory / "config.yaml").write_text(THEIRS)
    return directory


def test_a_good_config_lists_what_labels_mean(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.splitlines() == [
        f"the config in {config} is good",
        "LABEL    MODEL",
        "default  anthropic/sonnet",
        "think    anthropic/opus, openai/o5",
        "smart    = think",
    ]


def test_a_warning_is_printed_and_the_config_is_good(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (config / "config.yaml").write_text(THEIRS.replace("default", "other"))
    assert main(["check"]) == 0
    assert "warning: config.yaml: there is no model_name 'default'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ("ccproxy: {prot: 1}", "ccproxy.yaml: ccproxy.prot"),
        ("ccproxy: {rules: [{label: think, rule: ThinkRule}]}", "ccproxy.yaml: ccproxy.rules[0]"),
        ("ccproxy: {rules: [{label: thnk, rule: ThinkingRule}]}", "ccproxy.yaml: ccproxy.rules[0]"),
        ("ccproxy: {hooks: [nowhere.hook]}", "ccproxy.yaml: ccproxy.hooks[0]"),
        ("ccproxy: {", "ccproxy.yaml"),
    ],
)
def test_a_bad_config_is_one_line_with_its_field(
    config: Path, wrong: str, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (config / "ccproxy.yaml").write_text(wrong)
    assert main(["check"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    assert line.startswith(f"ccproxyctl: {path}")


@pytest.mark.parametrize("words", [["check"], ["--json", "check"]])
def test_what_a_module_says_is_told_without_what_looks_like_a_secret(
    config: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (config / "ccproxy.yaml").write_text("ccproxy: {hooks: [my_code.hook]}")
    (config / "my_code.py").write_text("raise OSError('Authorization: Token hunter2')")
    assert main(words) == 1
    captured = capsys.readouterr()
    assert "OSError: Authorization: [redacted] (my_code.py:1)" in captured.out + captured.err
    assert "hunter2" not in captured.out + captured.err


def test_a_missing_directory_is_a_bad_config(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--config-dir", str(home / "nowhere")]) == 1
    assert str(home / "nowhere") in capsys.readouterr().err


def test_the_named_directory_is_checked(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = config.with_name("other")
    config.rename(other)
    assert main(["check", "--config-dir", str(other)]) == 0
    assert str(other) in capsys.readouterr().out


def test_json_of_a_good_config(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "ok": True,
        "config_dir": str(config),
        "rules": [{"label": "think", "rule": "ThinkingRule"}],
        "labels": {"default": ["anthropic/sonnet"], "think": ["anthropic/opus", "openai/o5"]},
        "aliases": {"smart": "think"},
        "warnings": [],
    }


def test_json_of_a_bad_config(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (config / "ccproxy.yaml").write_text("ccproxy: {prot: 1}")
    assert main(["check", "--json"]) == 1
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["ok"], found["config_dir"]) == (False, str(config))
    assert found["error"]["path"] == "ccproxy.yaml: ccproxy.prot"
    assert found["error"]["hint"] == "port"
    assert captured.err.startswith("ccproxyctl: ccproxy.yaml: ccproxy.prot: ")


def test_the_services_config_is_the_one_that_is_meant(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = machine.home / "elsewhere"
    write(machine.home / USER_UNIT, f"[Service]\nEnvironment=CCPROXY_CONFIG_DIR={directory}\n")
    write(directory / "ccproxy.yaml", OURS)
    write(directory / "config.yaml", THEIRS)
    assert main(["check"]) == 0
    assert f"the config in {directory} is good" in capsys.readouterr().out


# What a daemon that runs would say of its files


@pytest.fixture
def processes(config: Path, tmp_path: Path) -> Path:
    """The daemon has a name in its environment that nobody else has."""
    (config / "ccproxy.yaml").write_text("ccproxy: {port: '${DAEMONS_PORT}'}")
    write(tmp_path / "7" / "environ", "A=1\0DAEMONS_PORT=4001\0")
    return tmp_path


def test_a_daemon_is_asked_about_with_its_own_environment(config: Path, processes: Path) -> None:
    examine_for(Status(pid=7, config_dir=str(config)), processes)
    write(processes / "8" / "environ", "A=1\0")
    with pytest.raises(ConfigError, match="DAEMONS_PORT"):
        examine_for(Status(pid=8, config_dir=str(config)), processes)


@pytest.mark.parametrize("running", [None, Status(), Status(pid=9, config_dir="/nonexistent")])
def test_a_daemon_that_cannot_be_seen_is_not_asked_about(
    processes: Path, running: Status | None
) -> None:
    examine_for(running, processes)


def test_a_daemon_whose_credentials_cannot_be_seen_is_not_asked_about(
    config: Path, processes: Path
) -> None:
    write(processes / "7" / "environ", "CREDENTIALS_DIRECTORY=/nonexistent\0")
    examine_for(Status(pid=7, config_dir=str(config)), processes)


def test_the_users_modules_are_not_loaded_for_it(config: Path, processes: Path) -> None:
    rule = "ccproxy: {rules: [{label: think, rule: mine.Rule}]}"
    (config / "ccproxy.yaml").write_text(rule)
    (config / "mine.py").write_text("raise SystemExit('loaded')\n")
    examine_for(Status(pid=7, config_dir=str(config)), processes)
