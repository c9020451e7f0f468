"""A real template: LiteLLM imported once, workers forked from it on request."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ccproxyd.channel import Decoder, encode
from ccproxyd.worker.environment import prepare
from ccproxyd.worker.template import why_not_fork
from tests.worker.harness import clean_environment

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone"),
]

PATIENCE = 120.0


class Line:
    """One end of a channel, read message by message."""

    def __init__(self, end: socket.socket) -> None:
        end.settimeout(PATIENCE)
        self.end = end
        self._decoder = Decoder()
        self._waiting: list[dict[str, Any]] = []

    def next(self, kind: str) -> dict[str, Any]:
        """The next message of this kind; heartbeats and logs in between are passed over."""
        while True:
            while self._waiting:
                if (message := self._waiting.pop(0))["kind"] == kind:
                    return message
            data = self.end.recv(65536)
            assert data, f"the channel ended before {kind!r}"
            self._waiting += self._decoder.feed(data)


class RunningTemplate(Line):
    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        super().__init__(ours)
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "ccproxyd.worker",
                "--template",
                "--channel",
                str(theirs.fileno()),
            ],
            pass_fds=[theirs.fileno()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=clean_environment({}),
        )
        theirs.close()

    def fork(self, name: str, environ: dict[str, str]) -> tuple[int, Line, int]:
        """A worker: its pid, our end of its channel, and what it prints."""
        ours, theirs = socket.socketpair()
        reading, writing = os.pipe()
        order = encode({"kind": "fork", "name": name, "environ": environ})
        socket.send_fds(self.end, [order], [theirs.fileno(), writing])
        theirs.close()
        os.close(writing)
        forked = self.next("forked")
        assert forked["name"] == name
        return forked["pid"], Line(ours), reading


@pytest.fixture(scope="module")
def template() -> Iterator[RunningTemplate]:
    running = RunningTemplate()
    try:
        assert running.next("ready")["litellm"]
        yield running
    finally:
        running.end.close()
        assert running.process.wait(PATIENCE) == 0


def serve_order(directory: Path, name: str, *callbacks: str) -> dict[str, Any]:
    params = {"model": "openai/x", "mock_response": "hello", "api_key": "k"}
    models = [{"model_name": one, "litellm_params": params} for one in (name, "selftest")]
    config = directory / f"{name}.yaml"
    handler = "ccproxyd.worker.handler.proxy_handler_instance"
    document = {
        "model_list": models,
        "litellm_settings": {"callbacks": [*callbacks, handler]},
        "general_settings": {"master_key": f"sk-key-of-{name}"},
    }
    config.write_bytes(encode(document))
    return {
        "kind": "serve",
        "config": str(config),
        "socket": str(directory / f"{name}.sock"),
        "config_dir": str(directory),
        "secret": f"secret-of-{name}",
        "key": f"sk-key-of-{name}",
        "selftest": "selftest",
    }


def test_ten_forks_serve_ten_configs_and_none_leaks_into_the_next(
    template: RunningTemplate, tmp_path: Path
) -> None:
    seen = []
    for number in range(10):
        name = f"m{number}"
        pid, worker, output = template.fork(name, {"HOME": str(tmp_path)})
        worker.end.sendall(encode(serve_order(tmp_path, name)))
        seen.append(worker.next("ready")["models"])
        worker.end.sendall(encode({"kind": "stop", "seconds": 1}))
        assert template.next("exited") == {"kind": "exited", "pid": pid, "status": 0}
        worker.end.close()
        os.close(output)
    assert seen == [[f"m{number}"] for number in range(10)]


def test_a_worker_has_the_environment_of_its_order_and_a_session_of_its_own(
    template: RunningTemplate, tmp_path: Path
) -> None:
    pid, worker, output = template.fork("env", {"HOME": str(tmp_path), "MY_KEY": "from the order"})
    worker.end.sendall(encode(serve_order(tmp_path, "env")))
    worker.next("ready")
    assert os.getsid(pid) == pid
    worker.end.close()  # the daemon is gone
    assert template.next("exited")["pid"] == pid
    os.close(output)


TELLS = """
import os, json
from pathlib import Path
from litellm.integrations.custom_logger import CustomLogger

Path(__file__).with_suffix(".json").write_text(json.dumps(dict(os.environ)))
callback = CustomLogger()
"""


def test_a_worker_still_finds_the_tokenizers_that_it_did_not_load(
    template: RunningTemplate, tmp_path: Path
) -> None:
    (tmp_path / "telling.py").write_text(TELLS)
    environ = {"HOME": str(tmp_path), "TIKTOKEN_CACHE_DIR": str(tmp_path)}
    pid, worker, output = template.fork("tokens", environ)
    worker.end.sendall(encode(serve_order(tmp_path, "tokens", "telling.callback")))
    worker.next("ready")
    worker.end.close()
    assert template.next("exited")["pid"] == pid
    os.close(output)
    told = json.loads((tmp_path / "telling.json").read_text())
    assert told["HOME"] == str(tmp_path)
    assert len(list(Path(told["TIKTOKEN_CACHE_DIR"]).iterdir())) >= 2


def test_a_failing_worker_says_why_and_the_template_goes_on(
    template: RunningTemplate, tmp_path: Path
) -> None:
    pid, worker, output = template.fork("bad", {"HOME": str(tmp_path)})
    order = serve_order(tmp_path, "bad")
    worker.end.sendall(encode({**order, "selftest": "no-such-model"}))
    assert "no-such-model" in worker.next("failed")["reason"]
    assert template.next("exited") == {"kind": "exited", "pid": pid, "status": 1}
    os.close(output)
    assert template.process.poll() is None


def test_a_process_with_another_thread_does_not_fork() -> None:
    over = threading.Event()
    another = threading.Thread(target=over.wait, name="the-other")
    another.start()
    try:
        reason = why_not_fork()
    finally:
        over.set()
        another.join()
    assert reason is not None
    assert "the-other" in reason


def test_the_environment_of_a_fork_is_made_fit_like_that_of_a_spawned_worker() -> None:
    environ = {"HOME": "/h"}
    prepare(environ)
    assert environ["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"
