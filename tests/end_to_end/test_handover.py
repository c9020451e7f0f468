"""A port that the service manager holds, and a log that goes to a file."""

from __future__ import annotations

import json
import socket
import stat
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.daemon import (
    PATIENCE,
    Daemon,
    Setup,
    message_body,
    short_directory,
    started,
    without_litellm,
)
from tests.support.provider import RunningProvider

EARLY = 5
KEY = "sk-of-the-clients"


@pytest.fixture(scope="module")
def root(provider: RunningProvider) -> Iterator[Path]:
    key = {"general_settings": {"master_key": KEY}}
    with short_directory() as root:
        Setup(ours={"port": 4001, **without_litellm()}, litellm=key).write(
            root / "config", provider.url
        )
        yield root


@pytest.fixture(scope="module")
def port() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield listener


@pytest.fixture(scope="module")
def early(port: socket.socket) -> Iterator[list[Future[httpx.Response]]]:
    """Requests that come before anybody is there to take them."""
    url = f"http://127.0.0.1:{port.getsockname()[1]}/v1/messages"

    def ask() -> httpx.Response:
        body, headers = message_body(), {"x-api-key": KEY}
        return httpx.post(url, json=body, headers=headers, timeout=PATIENCE)

    with ThreadPoolExecutor(EARLY) as pool:
        yield [pool.submit(ask) for _ in range(EARLY)]


@pytest.fixture(scope="module")
def daemon(
    root: Path, port: socket.socket, early: list[Future[httpx.Response]]
) -> Iterator[Daemon]:
    assert not any(one.done() for one in early)
    with started(root, "--log-file", str(root / "logs" / "log"), listener=port) as daemon:
        yield daemon


def records(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / "logs" / "log").read_text().splitlines()]


def test_what_came_before_it_was_ready_is_answered(
    daemon: Daemon, early: list[Future[httpx.Response]]
) -> None:
    assert [one.result(PATIENCE).status_code for one in early] == [200] * EARLY


def test_the_unit_is_named_where_the_config_asks_for_another_port(
    daemon: Daemon, port: socket.socket
) -> None:
    here = port.getsockname()[1]
    status = daemon.ask("status")
    assert status["listen"] == {"host": "127.0.0.1", "port": here}
    [warning] = status["warnings"]
    assert warning.startswith("ccproxy.yaml asks for 127.0.0.1:4001, but ccproxyd.socket")
    daemon.edit("ccproxy.yaml", lambda text: text.replace("port: 4001", "port: 4002"))
    refused = daemon.ctl("reload", check=False)
    assert refused.returncode == 1
    assert "cannot change from 4001 to 4002" in refused.stderr
    assert "edit ccproxyd.socket" in refused.stderr
    daemon.edit("ccproxy.yaml", lambda text: text.replace("port: 4002", f"port: {here}"))
    daemon.ctl("reload")
    assert daemon.ask("status")["warnings"] == []


def test_the_log_is_in_its_file_and_standard_error_has_nothing(daemon: Daemon, root: Path) -> None:
    assert daemon.stop() == 0
    told = {record["event"]: record for record in records(root)}
    assert told["ready"]["labels"] == [
        "default", "token_count", "background", "think", "web_search",
    ]  # fmt: skip
    assert {"ccproxy_post_api_call", "cannot reload", "reloaded", "stopped"} <= told.keys()
    assert daemon.text == []
    assert stat.S_IMODE((root / "logs" / "log").stat().st_mode) == 0o600
    assert stat.S_IMODE((root / "logs").stat().st_mode) == 0o700


def test_the_port_outlives_the_daemon(daemon: Daemon, port: socket.socket) -> None:
    assert daemon.stop() == 0
    socket.create_connection(port.getsockname(), timeout=PATIENCE).close()
