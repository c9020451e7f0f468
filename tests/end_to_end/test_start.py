"""How a start ends that cannot succeed: one line on standard error, and the exit code."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import (
    Daemon,
    Setup,
    environment,
    running_daemon,
    short_directory,
    started,
    without_litellm,
)
from tests.support.provider import RunningProvider

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def root() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory


def failed_start(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ccproxyd", *words],
        env=environment(root),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("ccproxy.yaml", "ccproxy: {port: 70000}", "ccproxy.port"),
        ("ccproxy.yaml", "ccproxy: {prot: 4000}", "did you mean 'port'"),
        ("ccproxy.yaml", "ccproxy: [", "line 1"),
        (
            "ccproxy.yaml",
            "ccproxy: {port: 0, rules: [{label: default, rule: Nope}]}",
            "rules[0].rule",
        ),
        (
            "ccproxy.yaml",
            "ccproxy: {port: 0, rules: [{label: defualt, rule: DefaultRule}]}",
            "did you mean 'default'",
        ),
        (
            "ccproxy.yaml",
            "ccproxy: {port: 0, rules: [{label: think, rule: TokenCountRule, params: {some: 1}}]}",
            "rules[0].params",
        ),
        ("config.yaml", "model_list: {}", "config.yaml: model_list"),
    ],
)
def test_a_bad_config_is_one_line_and_78(root: Path, file: str, text: str, told: str) -> None:
    Setup().write(root / "config", NOWHERE)
    (root / "config" / file).write_text(text)
    done = failed_start(root)
    assert done.returncode == 78
    assert told in last_line(done)
    assert "Traceback" not in done.stderr


def test_a_missing_config_names_the_next_command(root: Path) -> None:
    done = failed_start(root)
    assert done.returncode == 78
    assert "--demo" in last_line(done)


def test_a_model_that_litellm_drops_is_a_config_error(root: Path) -> None:
    Setup().write(root / "config", NOWHERE)
    file = root / "config" / "config.yaml"
    file.write_text(file.read_text().replace("anthropic/mock-think", "google/gemini-pro"))
    done = failed_start(root)
    assert done.returncode == 78, done.stderr
    assert "did you mean 'gemini/gemini-pro'" in last_line(done)
    assert "config.yaml: model_list[3]" in last_line(done)


def test_a_busy_port_names_its_owner_and_exits_75(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        Setup(ours={"port": taken.getsockname()[1]}).write(root / "config", NOWHERE)
        done = failed_start(root)
    assert done.returncode == 75
    assert "pid" in last_line(done)
    assert str(taken.getsockname) not in last_line(done)


def test_a_second_instance_is_refused_and_the_first_lives_on(provider: RunningProvider) -> None:
    with running_daemon(Setup(ours=without_litellm()), provider.url) as daemon:
        second = failed_start(daemon.root)
        assert second.returncode == 75
        assert f"pid {daemon.process.pid}" in last_line(second)
        assert daemon.message().status_code == 200
        rss = daemon.children()["gateway"].parent()
        assert rss is not None
        assert rss.memory_info().rss < 60 * 1024 * 1024


def test_neither_daemon_nor_gateway_nor_command_line_ever_imports_litellm() -> None:
    code = (
        "import sys, ccproxyd.daemon, ccproxyd.gateway.server, ccproxyd.ctl, ccproxyd.demo;"
        "from ccproxyd.routing import TokenCounter; TokenCounter().count({'messages': []});"
        "print([name for name in sys.modules if name.partition('.')[0] == 'litellm'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_demo_answers_without_keys_or_network(root: Path) -> None:
    with started(root, "--demo", "--port", "0") as daemon:
        daemon.happened("ready")
        client = daemon.client
        body = {"model": "claude-haiku-4-5", "max_tokens": 32}
        body["messages"] = [{"role": "user", "content": "hello"}]
        plain = client.post("/v1/messages", json=body)
        assert plain.headers["x-ccproxy-label"] == "background"
        assert "demo" in plain.json()["content"][0]["text"]
        chat = client.post("/v1/chat/completions", json={**body, "model": "gpt-5"})
        assert chat.headers["x-ccproxy-label"] == "default"
        assert "demo" in chat.json()["choices"][0]["message"]["content"]
        body["thinking"] = {"type": "enabled", "budget_tokens": 1024}
        with client.stream(
            "POST",
            "/v1/messages",
            json={**body, "model": "claude-opus-4-8", "stream": True, "max_tokens": 2048},
        ) as answer:
            assert answer.status_code == 200
            assert "message_stop" in "".join(answer.iter_lines())
        words = "".join(daemon.text)
        assert [one["event"] for one in daemon.records if one["level"] == "warning"] == []
        assert "demo" in invited(daemon, words)
        assert client.headers["x-api-key"] not in words


def invited(daemon: Daemon, words: str) -> str:
    """What the commands say that the demo asks its user to try; they are those of the PATH."""
    _, begin, rest = words.partition('  eval "$(ccproxyctl env)"')
    commands, _, _ = rest.partition("\n\n")
    beside = Path(sys.executable).parent
    done = subprocess.run(
        ["/bin/sh", "-ec", begin + commands],
        env={**environment(daemon.root), "PATH": f"{beside}:{os.defpath}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_good_start_says_that_it_begins_and_is_ready_and_nothing_else(
    provider: RunningProvider,
) -> None:
    """With the real LiteLLM, whose own remarks would be warnings that nobody can act on."""
    with running_daemon(Setup(), provider.url) as daemon:
        daemon.happened("ready")
        assert [record["event"] for record in daemon.records] == ["starting", "ready"]
