"""What keeps dying, what hangs, and a listener that somebody else holds."""

from __future__ import annotations

import os
import signal
import socket

import psutil

from tests.support.daemon import (
    Setup,
    running_daemon,
    short_directory,
    started,
    without_litellm,
)
from tests.support.provider import RunningProvider

BROKEN_CALLBACK = """
raise RuntimeError("the callback's own trouble, api_key=sk-secret-1234567890")
"""
MENDED_CALLBACK = """
from litellm.integrations.custom_logger import CustomLogger
handler = CustomLogger()
"""


def test_a_litellm_that_keeps_dying_is_degraded_and_can_be_mended(
    provider: RunningProvider,
) -> None:
    setup = Setup(
        litellm={"litellm_settings": {"callbacks": ["broken.handler"]}},
        files={"broken.py": BROKEN_CALLBACK},
    )
    with short_directory() as root:
        setup.write(root / "config", provider.url)
        with started(root) as daemon:
            daemon.happened("cannot keep worker 1.0 running", 5)
            status = daemon.ask("status")
            assert status["state"] == "degraded"
            assert "the callback's own trouble" in str(status["warnings"])
            assert "sk-secret" not in "".join(daemon.text)
            config = root / "config" / "config.yaml"
            good = config.read_text().replace("broken.handler", "mended.handler")
            config.write_text(good)
            (root / "config" / "mended.py").write_text(MENDED_CALLBACK)
            assert daemon.ask("reload")["changed"] == "workers"
            daemon.happened("ready")
            assert daemon.ask("status")["state"] == "ready"
            assert daemon.message().status_code == 200


def test_a_gateway_that_hangs_is_replaced_and_its_stacks_are_logged(
    provider: RunningProvider,
) -> None:
    """The gateway is held in one call of its own loop, so that only its heart stands still.

    The pipe tells when: what the gateway has accepted before that is lost together with it.
    """
    rule = """
import pathlib
import time
from ccproxyd.routing import ClassificationRule

class Endless(ClassificationRule):
    def evaluate(self, request, config):
        if request.get("metadata") == {"tag": "hang"}:
            pathlib.Path(__file__).with_name("hanging").write_bytes(b"now")
            time.sleep(600)
        return False
"""
    rules = [{"label": "default", "rule": "endless.Endless"}]
    setup = Setup(rules=rules, files={"endless.py": rule}, ours=without_litellm())
    with running_daemon(setup, provider.url) as daemon:
        before = daemon.ask("status")["gateway"]["pid"]
        pipe = daemon.config_dir / "hanging"
        os.mkfifo(pipe)
        with socket.create_connection(("127.0.0.1", daemon.port)) as hanging:
            body = b'{"model":"x","messages":[],"metadata":{"tag":"hang"}}'
            hanging.sendall(
                b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: "
                + daemon.key.encode()
                + b"\r\ncontent-length: %d\r\n\r\n" % len(body)
                + body
            )
            assert pipe.read_bytes() == b"now"
            assert daemon.message().status_code == 200
        assert daemon.ask("status")["gateway"]["pid"] != before
        daemon.happened("cannot keep the gateway running")
        assert not psutil.pid_exists(before)
    assert any("endless.py" in line and "evaluate" in line for line in daemon.text)


def test_a_socket_units_port_holds_requests_through_a_restart_of_the_daemon(
    provider: RunningProvider,
) -> None:
    with short_directory() as root, socket.create_server(("127.0.0.1", 0)) as listener:
        Setup(ours=without_litellm()).write(root / "config", provider.url)
        port = listener.getsockname()[1]
        with started(root, listener=listener) as first:
            first.happened("ready")
            assert first.port == port
            key = first.key
        with socket.create_connection(("127.0.0.1", port)) as early:
            early.sendall(
                f"GET /v1/models HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\n\r\n".encode()
            )
            with started(root, listener=listener):
                early.settimeout(60)
                assert early.recv(100).startswith(b"HTTP/1.1 200")


def test_a_second_interrupt_does_not_wait_for_streams(provider: RunningProvider) -> None:
    with running_daemon(Setup(ours=without_litellm(stop_seconds=600)), provider.url) as daemon:
        body = {
            "model": "default",
            "max_tokens": 9,
            "stream": True,
            "messages": [{"role": "user", "content": "@@events=4000;gap=0.05@@"}],
        }
        with daemon.client.stream("POST", "/v1/messages", json=body) as answer:
            lines = answer.iter_lines()
            next(lines)
            os.kill(daemon.process.pid, signal.SIGINT)
            daemon.happened("stopping")
            os.kill(daemon.process.pid, signal.SIGINT)
            assert daemon.process.wait(30) == 0
