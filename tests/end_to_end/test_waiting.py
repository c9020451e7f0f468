"""A daemon that waits for its config, with keys that stand in files of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, Setup, anthropic_model, short_directory, started
from tests.support.provider import RunningProvider

WRONG = "ccproxy.yaml: ccproxy.prot: unknown key; did you mean 'port'?"


def models(url: str) -> list[dict[str, Any]]:
    return [anthropic_model("default", url, api_key="os.environ/PROVIDER_KEY")]


@pytest.fixture(scope="module")
def waiting(provider: RunningProvider) -> Iterator[Daemon]:
    """A daemon whose config has been wrong from the start."""
    files = {"env": "PROVIDER_KEY_FILE=key\n", "key": "sk-first\n"}
    with short_directory() as root:
        Setup(rules=[], models=models, ours={"prot": 0}, files=files).write(
            root / "config", provider.url
        )
        (root / "config" / "env").chmod(0o600)
        with started(root, "--wait-for-config") as daemon:
            daemon.happened("cannot start, so waiting for another config", because=WRONG)
            yield daemon


def test_a_wrong_config_is_waited_on_until_it_is_right(
    waiting: Daemon, provider: RunningProvider
) -> None:
    status = waiting.ask("status")
    assert (status["state"], status["pid"]) == ("degraded", waiting.process.pid)
    assert (status["workers"], status["gateway"], waiting.children()) == ([], None, {})
    assert WRONG in status["warnings"][0]

    refused = waiting.ctl("routes", check=False)
    assert refused.returncode == 1
    assert "cannot routes: the config is wrong" in refused.stderr
    assert "next: ccproxyctl check" in refused.stderr

    again = waiting.ctl("reload", check=False)
    assert again.returncode == 1
    assert WRONG in again.stderr
    assert "the old config goes on" not in again.stderr

    waiting.edit("ccproxy.yaml", lambda text: text.replace("prot: 0", "debug: false"))
    waiting.edit("config.yaml", lambda text: text.replace("anthropic/", "google/"))
    dropped = waiting.ctl("reload", check=False)
    assert "LiteLLM did not load" in dropped.stderr, dropped.stderr
    waiting.happened("cannot start, so waiting for another config", count=2)
    assert waiting.ask("status")["state"] == "degraded"
    assert waiting.children() == {}

    waiting.edit("config.yaml", lambda text: text.replace("google/", "anthropic/"))
    assert waiting.ask("reload")["ok"]
    assert waiting.ask("status")["state"] == "ready"
    assert waiting.message().status_code == 200
    assert provider.requests[-1].headers["x-api-key"] == "sk-first"


def test_an_edited_key_file_takes_effect_with_a_reload(
    waiting: Daemon, provider: RunningProvider
) -> None:
    Path(waiting.config_dir / "key").write_text("sk-second\n")
    assert waiting.ask("reload")["changed"] == "workers"
    assert waiting.message().status_code == 200
    assert provider.requests[-1].headers["x-api-key"] == "sk-second"
    assert waiting.ask("reload")["changed"] == "nothing"
    assert waiting.stop() == 0
    assert "sk-first" not in "".join(waiting.text)
    assert "sk-second" not in "".join(waiting.text)
