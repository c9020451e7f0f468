import json
from pathlib import Path

import pytest

from ccproxyd.ctl import main

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
