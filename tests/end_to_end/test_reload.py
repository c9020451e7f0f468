"""A config that changes under a running daemon: what takes effect, and what is refused."""

from __future__ import annotations

import threading
from typing import Any

import orjson
import pytest

from tests.support.daemon import Daemon, Setup, message_body
from tests.support.provider import RunningProvider

CUSTOM = """
from ccproxyd.routing import ClassificationRule

class Weekday(ClassificationRule):
    def __init__(self, word):
        self.word = word

    def evaluate(self, request, config):
        return self.word in str(request.get("metadata", {}).get("tag", ""))
"""


@pytest.fixture(scope="module")
def setup_of_module() -> Setup:
    rules = [
        {"label": "background", "rule": "MatchModelRule", "params": [{"model_name": "haiku"}]},
        {"label": "think", "rule": "weekday.Weekday", "params": [{"word": "tuesday"}]},
    ]
    return Setup(rules=rules, files={"weekday.py": CUSTOM})


def label_of(daemon: Daemon, **more: Any) -> str:
    return daemon.message(**more).headers["x-ccproxy-label"]


def generation(daemon: Daemon) -> int:
    return int(daemon.ask("status")["generation"])


def test_an_unchanged_config_is_left_alone(daemon: Daemon) -> None:
    before = daemon.children()
    assert daemon.ask("reload")["changed"] == "nothing"
    assert daemon.children() == before


def test_an_edited_rule_takes_effect_and_restarts_nothing(daemon: Daemon) -> None:
    before = daemon.children()
    assert label_of(daemon, model="claude-sonnet-5") == "default"
    daemon.edit("ccproxy.yaml", lambda text: text.replace("haiku", "sonnet"))
    assert daemon.ask("reload")["changed"] == "rules"
    assert label_of(daemon, model="claude-sonnet-5") == "background"
    assert daemon.children() == before


def test_an_edited_rule_module_takes_effect(daemon: Daemon) -> None:
    tagged = {"metadata": {"tag": "friday"}}
    assert label_of(daemon, **tagged) == "default"
    daemon.edit("weekday.py", lambda text: text.replace("self.word in", "'friday' in"))
    assert daemon.ask("reload")["changed"] == "rules"
    assert label_of(daemon, **tagged) == "think"


@pytest.mark.parametrize(
    ("file", "old", "new", "path"),
    [
        ("ccproxy.yaml", "label: think", "label: thimk", "ccproxy.rules[1].label"),
        ("ccproxy.yaml", "model_name:", "model_nam:", "ccproxy.rules[0].params"),
        ("ccproxy.yaml", "MatchModelRule", "MatchModleRule", "ccproxy.rules[0].rule"),
        ("ccproxy.yaml", "port: 0", "port: seven", "ccproxy.port"),
        ("ccproxy.yaml", "rules:", "rules: [", "ccproxy.yaml"),
        ("weekday.py", "class Weekday", "class Weekday(", "ccproxy.rules[1].rule"),
        ("config.yaml", "model_name: think", "model_nome: think", "config.yaml: model_list"),
    ],
)
def test_a_broken_edit_is_named_and_changes_nothing(
    daemon: Daemon, file: str, old: str, new: str, path: str
) -> None:
    before, good = daemon.children(), (daemon.config_dir / file).read_text()
    assert old in good
    daemon.edit(file, lambda text: text.replace(old, new, 1))
    try:
        refused = daemon.ctl("reload", check=False)
        assert refused.returncode == 1
        assert path in refused.stderr
        assert "Traceback" not in refused.stderr
        assert label_of(daemon, model="think") == "think"
        assert daemon.children() == before
        assert daemon.ask("status")["last_reload"]["ok"] is False
    finally:
        (daemon.config_dir / file).write_text(good)
    assert daemon.ask("reload")["changed"] == "nothing"


def test_the_port_cannot_change_under_its_clients(daemon: Daemon) -> None:
    good = (daemon.config_dir / "ccproxy.yaml").read_text()
    daemon.edit("ccproxy.yaml", lambda text: text.replace("port: 0", "port: 4999"))
    refused = daemon.ctl("reload", check=False)
    (daemon.config_dir / "ccproxy.yaml").write_text(good)
    assert refused.returncode == 1
    assert "ccproxy.port" in refused.stderr


def test_what_litellm_sees_changes_with_a_new_generation_and_no_stream_is_cut(
    daemon: Daemon, provider: RunningProvider
) -> None:
    before = generation(daemon)
    seen: list[str] = []
    begun = threading.Event()

    def stream() -> None:
        body = message_body("@@events=20;hold=8@@", stream=True)
        with daemon.client.stream("POST", "/v1/messages", json=body) as answer:
            for line in answer.iter_lines():
                seen.append(line)
                begun.set()

    streaming = threading.Thread(target=stream)
    streaming.start()
    begun.wait(60)
    provider.holding(1)
    daemon.edit("config.yaml", lambda text: text.replace("mock-think", "mock-thought"))
    changed = daemon.ask("reload")
    assert changed["changed"] == "workers"
    assert changed["generation"] == before + 1
    states = [(one["generation"], one["state"]) for one in daemon.ask("status")["workers"]]
    assert (before, "draining") in states
    assert (before + 1, "ready") in states
    daemon.message(model="think")
    assert provider.requests[-1].model == "mock-thought"
    provider.release()
    streaming.join(60)
    assert any("message_stop" in line for line in seen)
    assert not any("error" in line for line in seen)


def test_a_model_that_litellm_drops_is_an_error_with_its_path(daemon: Daemon) -> None:
    before = generation(daemon)
    good = (daemon.config_dir / "config.yaml").read_text()
    daemon.edit("config.yaml", lambda text: text.replace("anthropic/mock-think", "google/mock"))
    daemon.edit("config.yaml", lambda text: text.replace("anthropic/mock-thought", "google/mock"))
    refused = daemon.ctl("reload", check=False)
    (daemon.config_dir / "config.yaml").write_text(good)
    assert refused.returncode == 1
    assert "config.yaml: model_list[" in refused.stderr
    assert "gemini/mock" in refused.stderr
    assert generation(daemon) == before
    assert label_of(daemon, model="think") == "think"


def test_a_generation_that_does_not_start_leaves_the_old_one_and_says_why(daemon: Daemon) -> None:
    before = generation(daemon)
    good = (daemon.config_dir / "config.yaml").read_text()
    broken = "litellm_settings: {callbacks: [no_such_module.handler]}\n"
    daemon.edit("config.yaml", lambda text: text + broken)
    refused = daemon.ctl("reload", check=False)
    (daemon.config_dir / "config.yaml").write_text(good)
    assert refused.returncode == 1
    assert "no_such_module" in refused.stderr
    assert generation(daemon) == before
    assert daemon.message().status_code == 200


def test_a_hangup_reloads_as_well(daemon: Daemon) -> None:
    import signal

    daemon.edit("ccproxy.yaml", lambda text: text.replace("sonnet", "haiku"))
    count = len([one for one in daemon.records if one["event"] == "reloaded"])
    daemon.process.send_signal(signal.SIGHUP)
    daemon.happened("reloaded", count + 1)
    assert label_of(daemon, model="claude-haiku-4-5") == "background"


def test_the_control_api_answers_curl_too(daemon: Daemon) -> None:
    import subprocess

    done = subprocess.run(
        ["curl", "-s", "--unix-socket", str(daemon.socket), "http://localhost/ping"],  # noqa: S607
        capture_output=True,
        check=True,
    )
    assert orjson.loads(done.stdout)["name"] == "ccproxyd"


def test_a_gateway_that_dies_gets_the_rules_in_force_not_a_broken_edit(daemon: Daemon) -> None:
    good = (daemon.config_dir / "weekday.py").read_text()
    daemon.edit("weekday.py", lambda text: text.replace("class Weekday", "class Weekday("))
    gateway = daemon.children()["gateway"]
    gateway.kill()
    gateway.wait()
    try:
        assert label_of(daemon, metadata={"tag": "tuesday friday"}) == "think"
    finally:
        (daemon.config_dir / "weekday.py").write_text(good)
