import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import attrs
import pytest

from ccproxyd.control.client import NotPermittedError
from ccproxyd.control.messages import Listen
from ccproxyd.ctl import env, main
from ccproxyd.ctl.env import client_variables, compaction, read_key
from ccproxyd.ctl.machine import Machine
from ccproxyd.ctl.service import find
from ccproxyd.errors import CcproxydError
from tests.control.fakes import STATUS, FakeOperations, running_in_thread
from tests.ctl.service.fakes import write

KEY = "sk-the-clients-key"
MODELS = "model_list: [{model_name: default, litellm_params: {model: anthropic/sonnet}}]\n"


@pytest.fixture
def state(home: Path) -> Path:
    directory = home / ".local" / "state" / "ccproxyd"
    directory.mkdir(parents=True)
    (directory / "key").write_text(f"{KEY}\n")
    return directory


@pytest.fixture
def config(home: Path) -> Path:
    directory = home / ".ccproxy"
    directory.mkdir()
    (directory / "ccproxy.yaml").write_text("ccproxy: {host: 0.0.0.0, port: 4321}\n")
    (directory / "config.yaml").write_text(MODELS)
    return directory


def daemon(**changes: Any) -> FakeOperations:
    return FakeOperations(status=attrs.evolve(STATUS, **changes).to_json())


# Where the values come from


@pytest.mark.usefixtures("state")
def test_a_running_daemon_says_where_it_is(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_in_thread(path, daemon(listen=Listen("127.0.0.1", 4999))):
        assert main(["env", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert json.loads(captured.out) == {
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:4999",
        "ANTHROPIC_AUTH_TOKEN": KEY,
        "OPENAI_BASE_URL": "http://127.0.0.1:4999/v1",
        "OPENAI_API_BASE": "http://127.0.0.1:4999/v1",
        "OPENAI_API_KEY": KEY,
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "ENABLE_TOOL_SEARCH": "true",
        "CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY": "1",
    }


@pytest.mark.usefixtures("state", "config")
def test_without_a_daemon_the_config_says_where_it_would_be(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["env", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:4321"
    assert "ccproxyd is not running; this is what its config says" in captured.err


@pytest.mark.usefixtures("state")
def test_without_a_daemon_and_a_config_there_is_nothing_to_say(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["env"]) == 1
    assert str(home / ".ccproxy") in capsys.readouterr().err


def test_a_daemon_that_does_not_say_where_it_listens_is_a_failure(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_in_thread(path, FakeOperations(status={"state": "ready"})):
        assert main(["env"]) == 1
    assert "cannot tell where ccproxyd listens" in capsys.readouterr().err


@pytest.mark.usefixtures("state")
def test_the_configs_master_key_goes_before_the_daemons_own(
    path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (config / "config.yaml").write_text(MODELS + "general_settings: {master_key: sk-master}\n")
    with running_in_thread(path, daemon(config_dir=str(config))):
        assert main(["env", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["OPENAI_API_KEY"] == "sk-master"


@pytest.mark.usefixtures("state")
def test_the_environments_master_key_counts(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LITELLM_MASTER_KEY", "sk-from-the-environment")
    assert main(["env", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ANTHROPIC_AUTH_TOKEN"] == "sk-from-the-environment"


@pytest.mark.usefixtures("state")
def test_a_config_that_was_broken_since_is_no_matter_to_a_running_daemon(
    path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (config / "config.yaml").write_text("model_list: {")
    with running_in_thread(path, daemon(config_dir=str(config))):
        assert main(["env", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["OPENAI_API_KEY"] == KEY


def test_a_key_beside_the_config_is_found(
    home: Path, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = home / ".config" / "ccproxyd"
    directory.mkdir(parents=True)
    (directory / "key").write_text(KEY)
    with running_in_thread(path, daemon()):
        assert main(["env", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["OPENAI_API_KEY"] == KEY


@pytest.mark.usefixtures("state")
def test_the_systems_daemon_has_the_systems_key(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    system = path.with_name("var")
    system.mkdir()
    (system / "key").write_text("sk-system")
    monkeypatch.setattr(env, "SYSTEM_STATE", system)
    monkeypatch.setattr(env, "SYSTEM_RUNTIME", path.parent)
    with running_in_thread(path, daemon()):
        assert main(["env", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["OPENAI_API_KEY"] == "sk-system"


def test_the_systems_service_has_them_too_while_it_is_down(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As root sees it."""
    etc, state = machine.root / "etc/ccproxyd", machine.root / "var/lib/ccproxyd"
    unit = f"[Service]\nEnvironment=CCPROXY_CONFIG_DIR={etc}\n"
    write(machine.root / "etc/systemd/system/ccproxyd.service", unit)
    write(etc / "ccproxy.yaml", "ccproxy: {port: 4321}\n")
    write(etc / "config.yaml", MODELS)
    write(state / "key", KEY)
    monkeypatch.setattr(find, "this_machine", lambda: attrs.evolve(machine, user_id=0))
    monkeypatch.setattr(env, "SYSTEM_CONFIG", etc)
    monkeypatch.setattr(env, "SYSTEM_STATE", state)
    assert main(["env", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:4321"
    assert told["ANTHROPIC_AUTH_TOKEN"] == KEY


def test_a_missing_key_is_explained(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_in_thread(path, daemon()):
        assert main(["env"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "there is no client key yet" in captured.err
    assert ".local/state/ccproxyd/key" in captured.err


@pytest.mark.parametrize("content", ["", "\n", "sk a", "sk-a\nsk-b\n", "sk-\u00e9", "sk-\x1b"])
def test_a_broken_key_is_refused(home: Path, content: str) -> None:
    (home / "key").write_text(content)
    with pytest.raises(CcproxydError, match="the key in"):
        read_key([home / "key"])


def test_a_key_that_is_a_directory_is_refused(home: Path) -> None:
    with pytest.raises(CcproxydError, match="cannot read the key"):
        read_key([home])


def test_a_key_of_somebody_else_is_not_permitted(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(NotPermittedError, match="permission denied"):
        read_key([home / "key"])


# The values


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:4000"),
        ("0.0.0.0", "http://127.0.0.1:4000"),  # noqa: S104
        ("::", "http://[::1]:4000"),
        ("", "http://127.0.0.1:4000"),
        ("::1", "http://[::1]:4000"),
        ("proxy.lan", "http://proxy.lan:4000"),
    ],
)
def test_a_wildcard_is_reached_on_loopback(host: str, url: str) -> None:
    found = client_variables(host, 4000, KEY, {})
    assert found["ANTHROPIC_BASE_URL"] == url
    assert found["OPENAI_BASE_URL"] == f"{url}/v1"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "127.0.0.1"),
        ({"NO_PROXY": "a.example, b"}, "a.example,b,127.0.0.1"),
        ({"no_proxy": "c"}, "c,127.0.0.1"),
        ({"NO_PROXY": "127.0.0.1,d"}, "127.0.0.1,d"),
        ({"NO_PROXY": "*"}, "*"),
    ],
)
def test_the_daemon_joins_the_hosts_without_a_proxy(environ: dict[str, str], expected: str) -> None:
    found = client_variables("127.0.0.1", 4000, KEY, environ)
    assert found["NO_PROXY"] == found["no_proxy"] == expected


# Claude Code


def told(config: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """What `env` says of this config; the daemon is down."""
    assert main(["--config-dir", str(config), "env", "--json", *words]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.usefixtures("state")
def test_a_smaller_window_on_the_way_is_told(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = MODELS.replace("anthropic/sonnet}", "x/y}, model_info: {max_input_tokens: 128000}")
    (config / "config.yaml").write_text(small)
    assert told(config, capsys)["CLAUDE_CODE_AUTO_COMPACT_WINDOW"] == "128000"


@pytest.mark.parametrize(
    ("window", "compacts_at"),
    [(999_999, 966_999), (200_000, 167_000), (100_000, 67_000), (64_000, 32_000), (20_000, 9_600)],
)
def test_a_conversation_is_compacted_before_the_window_is_full(
    window: int, compacts_at: int
) -> None:
    """As Claude Code reckons: of what it is told it leaves room for an answer and a compaction."""
    found = compaction(window, {})
    told = int(found["CLAUDE_CODE_AUTO_COMPACT_WINDOW"] or 0)
    percent = int(found.get("CLAUDE_AUTOCOMPACT_PCT_OVERRIDE") or 100)
    assert told >= 100_000
    usable = told - 20_000
    assert min(usable * percent // 100, usable - 13_000) == compacts_at


def test_the_largest_window_needs_no_word() -> None:
    assert compaction(1_000_000, {}) == {}


@pytest.mark.parametrize(
    ("own", "told"), [("150000", None), ("200000", None), ("300000", "200000"), ("soon", "200000")]
)
def test_who_wants_to_compact_earlier_is_left_alone(own: str, told: str | None) -> None:
    found = compaction(200_000, {"CLAUDE_CODE_AUTO_COMPACT_WINDOW": own})
    assert found.get("CLAUDE_CODE_AUTO_COMPACT_WINDOW") == told


@pytest.mark.usefixtures("state")
def test_a_choice_about_tools_and_models_is_respected(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = {"ENABLE_TOOL_SEARCH": "auto:5", "CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY": "0"}
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    assert told(config, capsys).items() >= chosen.items()


@pytest.mark.usefixtures("state")
def test_small_tasks_go_to_a_small_model_as_in_front_of_anthropic(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "haiku" in told(config, capsys)["ANTHROPIC_DEFAULT_HAIKU_MODEL"]


@pytest.mark.parametrize("name", ["ANTHROPIC_SMALL_FAST_MODEL", "ANTHROPIC_DEFAULT_HAIKU_MODEL"])
@pytest.mark.usefixtures("state")
def test_who_has_chosen_a_model_for_small_tasks_keeps_it(
    name: str, config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, "small-x")
    assert "ANTHROPIC_DEFAULT_HAIKU_MODEL" not in told(config, capsys)


@pytest.mark.usefixtures("state")
def test_a_small_model_that_nobody_serves_is_not_asked_for(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (config / "config.yaml").write_text(MODELS.replace("default", "other"))
    assert "ANTHROPIC_DEFAULT_HAIKU_MODEL" not in told(config, capsys)


@pytest.mark.usefixtures("state")
def test_with_a_login_of_its_own_the_client_has_our_key_in_another_header(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(config, capsys, "--oauth")
    assert found["ANTHROPIC_CUSTOM_HEADERS"] == f"x-litellm-api-key: {KEY}"
    assert "ANTHROPIC_AUTH_TOKEN" not in found
    assert found["OPENAI_API_KEY"] == KEY


@pytest.mark.usefixtures("state")
def test_headers_of_ones_own_are_kept_and_an_older_key_is_replaced(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "X-Litellm-Api-Key: old\n\nx-team: blue")
    found = told(config, capsys, "--oauth")
    assert found["ANTHROPIC_CUSTOM_HEADERS"] == f"x-team: blue\nx-litellm-api-key: {KEY}"


@pytest.mark.usefixtures("state")
def test_a_key_in_the_environment_would_stand_before_the_login(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-api")
    assert told(config, capsys, "--oauth")["ANTHROPIC_API_KEY"] is None
    assert "ANTHROPIC_API_KEY" not in told(config, capsys)


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("sh", "unset ANTHROPIC_AUTH_TOKEN"),
        ("fish", "set -e ANTHROPIC_AUTH_TOKEN"),
        ("powershell", "Remove-Item Env:ANTHROPIC_AUTH_TOKEN -ErrorAction SilentlyContinue"),
    ],
)
@pytest.mark.usefixtures("state", "config")
def test_each_shell_takes_a_variable_away(
    shell: str, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "sk-before")
    assert main(["env", "--oauth", "--shell", shell]) == 0
    assert line in capsys.readouterr().out.splitlines()


# The shells

HOSTILE = "a'b\"c$(touch owned)`touch owned`\\d;e"


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "dash"])
@pytest.mark.usefixtures("state")
def test_a_shell_takes_the_values_as_they_are(
    shell: str, path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = shutil.which(shell)
    if not found:
        pytest.skip(f"there is no {shell} here")
    monkeypatch.setenv("NO_PROXY", HOSTILE)
    with running_in_thread(path, daemon()):
        assert main(["env"]) == 0
    script = capsys.readouterr().out + 'printf %s "$NO_PROXY|$ANTHROPIC_AUTH_TOKEN"'
    done = subprocess.run([found, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"{HOSTILE},127.0.0.1|{KEY}"
    assert not Path("owned").exists()


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("sh", "export ANTHROPIC_BASE_URL=http://127.0.0.1:4000"),
        ("sh", "export NO_PROXY='it'\"'\"'s,127.0.0.1'"),
        ("fish", "set -gx ANTHROPIC_AUTH_TOKEN 'sk-the-clients-key'"),
        ("fish", "set -gx NO_PROXY 'it\\'s,127.0.0.1'"),
        ("powershell", "$env:OPENAI_API_KEY = 'sk-the-clients-key'"),
        ("powershell", "$env:NO_PROXY = 'it''s,127.0.0.1'"),
    ],
)
@pytest.mark.usefixtures("state")
def test_each_shell_has_its_own_words(
    shell: str,
    line: str,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("NO_PROXY", "it's")
    with running_in_thread(path, daemon()):
        assert main(["env", "--shell", shell]) == 0
    assert line in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("shell", "how"),
    [
        ("sh", '# to use it: eval "$(ccproxyctl env)"'),
        ("fish", "# to use it: ccproxyctl env --shell fish | source"),
        ("powershell", "# to use it: ccproxyctl env --shell powershell | Out-String | Invoke-Exp"),
    ],
)
@pytest.mark.usefixtures("state", "terminal")
def test_a_person_is_told_how_to_use_it(
    shell: str, how: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_in_thread(path, daemon()):
        assert main(["env", "--shell", shell]) == 0
    assert how in capsys.readouterr().out
