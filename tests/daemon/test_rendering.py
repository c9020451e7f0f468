from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from ccproxyd.config.load import Loaded, load
from ccproxyd.daemon import rendering as module
from ccproxyd.daemon.rendering import Rendering, check_models, clear_runtime, new_seal
from ccproxyd.errors import ConfigError
from ccproxyd.paths import Directories


def loaded(directory: Path, *models: str, **ours: Any) -> Loaded:
    """A config with these provider models, named m0, m1, ..."""
    entries = [
        {"model_name": f"m{index}", "litellm_params": {"model": model, "api_key": "k"}}
        for index, model in enumerate(models)
    ]
    directory.mkdir(exist_ok=True)
    (directory / "ccproxy.yaml").write_text(yaml.safe_dump({"ccproxy": ours}))
    (directory / "config.yaml").write_text(yaml.safe_dump({"model_list": entries}))
    return load(directory, {})


@pytest.fixture
def directories(tmp_path: Path) -> Directories:
    (tmp_path / "run").mkdir()
    return Directories(tmp_path / "c", tmp_path / "run", tmp_path / "s", tmp_path / "l")


@pytest.fixture
def rendering(directories: Directories) -> Rendering:
    config = loaded(directories.config, "anthropic/claude-sonnet-5")
    return Rendering.of(config, 3, new_seal(), directories)


def test_every_generation_has_secrets_of_its_own() -> None:
    first, second = new_seal(), new_seal()
    assert first.secret != second.secret
    assert first.key != second.key
    assert first.key.startswith("sk-")
    assert len(first.secret) >= 32


def test_no_secret_is_in_a_rendering_that_is_printed(rendering: Rendering) -> None:
    assert rendering.seal.key not in repr(rendering)
    assert rendering.seal.secret not in repr(rendering)


def test_the_workers_config_is_the_users_with_a_key_and_a_self_test(rendering: Rendering) -> None:
    rendering.write()
    document = json.loads(rendering.file.read_text())
    names = [entry["model_name"] for entry in document["model_list"]]
    assert names == ["m0", rendering.selftest]
    assert document["general_settings"]["master_key"] == rendering.seal.key


def test_the_workers_config_is_for_the_owner_alone(rendering: Rendering) -> None:
    rendering.write()
    rendering.write()
    assert stat.S_IMODE(rendering.file.stat().st_mode) == 0o600
    assert [file.name for file in rendering.runtime.iterdir()] == [rendering.file.name]


def test_a_worker_that_reads_while_another_is_started_reads_a_whole_file(
    rendering: Rendering,
) -> None:
    rendering.write()
    with rendering.file.open() as reading:
        rendering.write()
        assert json.load(reading) == rendering.document


def test_order_and_address_name_the_same_socket(rendering: Rendering) -> None:
    order, address = rendering.order("3.1"), rendering.address("3.1")
    assert order["kind"] == "serve"
    assert order["config"] == str(rendering.file)
    assert order["config_dir"] == str(rendering.config_dir)
    assert order["selftest"] == rendering.selftest
    for name in ("name", "generation", "socket", "secret", "key"):
        assert order[name] == address[name]
    assert order["socket"] != rendering.order("3.0")["socket"]
    assert len(order["socket"]) - len(str(rendering.runtime)) < 40


def test_two_daemons_one_after_the_other_share_no_file(directories: Directories) -> None:
    config = loaded(directories.config, "anthropic/a")
    first, second = (Rendering.of(config, 1, new_seal(), directories) for _ in range(2))
    assert first.file != second.file
    assert first.socket("1.0") != second.socket("1.0")


def test_a_generation_that_has_gone_leaves_nothing(rendering: Rendering) -> None:
    rendering.write()
    rendering.socket("3.0").touch()
    rendering.remove(["3.0", "3.1"])
    assert list(rendering.runtime.iterdir()) == []


def test_a_socket_that_is_in_the_way_is_removed(rendering: Rendering) -> None:
    rendering.socket("3.0").touch()
    rendering.clear_socket("3.0")
    rendering.clear_socket("3.0")
    assert not rendering.socket("3.0").exists()


def test_what_a_killed_daemon_left_is_removed_and_nothing_else(rendering: Rendering) -> None:
    rendering.write()
    rendering.socket("3.0").touch()
    (rendering.runtime / "lock").touch()
    clear_runtime(rendering.runtime)
    assert [file.name for file in rendering.runtime.iterdir()] == ["lock"]


@pytest.mark.parametrize(
    ("method", "can", "forks"),
    [
        ("fork", False, True),
        ("auto", True, True),
        ("auto", False, False),
        ("spawn", True, False),
    ],
)
def test_workers_are_forked_where_that_is_safe_or_asked_for(
    directories: Directories,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    can: bool,
    forks: bool,
) -> None:
    monkeypatch.setattr(module, "can_fork", lambda: can)
    config = loaded(directories.config, "anthropic/a", workers={"start_method": method})
    assert Rendering.of(config, 1, new_seal(), directories).forks is forks


def test_all_models_are_there(tmp_path: Path) -> None:
    check_models(loaded(tmp_path / "c", "anthropic/a", "openai/b"), frozenset({"m0", "m1"}))


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        ("google/gemini-3", "gemini/gemini-3"),
        ("Grok/grok-5", "xai/grok-5"),
        ("aws/claude/claude", "bedrock/claude/claude"),
        ("unheard-of/x", None),
    ],
)
def test_a_model_that_litellm_dropped_is_named_with_its_field(
    tmp_path: Path, model: str, hint: str | None
) -> None:
    config = loaded(tmp_path / "c", "anthropic/a", model)
    with pytest.raises(ConfigError) as caught:
        check_models(config, frozenset({"m0"}))
    assert caught.value.path == "config.yaml: model_list[1].litellm_params.model"
    assert caught.value.hint == hint
    assert repr(model) in caught.value.reason
