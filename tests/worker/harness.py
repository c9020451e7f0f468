"""A real worker in a process of its own, and the daemon's and the gateway's side of it."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

from ccproxyd.config.litellm import render
from ccproxyd.worker.verdict import HEADER, Verdict, seal

SECRET = "the-generations-secret"
KEY = "sk-the-generations-key"
SELFTEST = "ccproxyd-selftest"
PATIENCE = 120.0

Message = dict[str, Any]


class Worker:
    """A worker's process with its channel; `messages` is what it said so far."""

    def __init__(self, directory: Path, environ: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self.socket = directory / "worker.sock"
        self.messages: list[Message] = []
        self.raw = b""
        self._news = threading.Condition()
        self._channel, end = socket.socketpair()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ccproxyd.worker", "--channel", str(end.fileno())],
            pass_fds=[end.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory,
            env=clean_environment(environ or {}),
        )
        end.close()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def order(self, document: Mapping[str, Any]) -> None:
        """Have it serve this config.yaml, rendered as the daemon renders it."""
        rendered = render(
            document, master_key=KEY, config_dir=self.directory, selftest_name=SELFTEST
        )
        config = self.directory / "rendered.yaml"
        config.write_text(json.dumps(rendered))
        self.say(
            kind="serve",
            generation=1,
            name="1.0",
            config=str(config),
            socket=str(self.socket),
            config_dir=str(self.directory),
            secret=SECRET,
            key=KEY,
            selftest=SELFTEST,
            document={},
        )

    def say(self, **message: Any) -> None:
        self._channel.sendall(orjson.dumps(message) + b"\n")

    def until(self, kind: str, accept: Callable[[Message], bool] = lambda _: True) -> Message:
        """The first message of this kind that is accepted, as soon as it came."""

        def found() -> Message | None:
            fitting = (one for one in self.messages if one["kind"] == kind and accept(one))
            return next(fitting, None)

        with self._news:
            if not self._news.wait_for(found, PATIENCE):
                raise AssertionError(f"no {kind} among {self.messages}")
            return found() or {}

    def ready(self) -> Message:
        """Wait until it is ready, or fail with what it says instead."""
        with self._news:
            self._news.wait_for(lambda: self.kinds() & {"ready", "failed"}, PATIENCE)
        assert "ready" in self.kinds(), self.messages
        return self.until("ready")

    def kinds(self) -> set[str]:
        return {message["kind"] for message in self.messages}

    def connect(self) -> http.client.HTTPConnection:
        return UnixConnection(self.socket)

    def post(self, path: str, body: Mapping[str, Any] | bytes, **headers: str) -> tuple[int, bytes]:
        connection = self.connect()
        try:
            send(connection, path, body, **headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def refuses(self) -> None:
        """Return when it takes no more connections."""
        until = time.monotonic() + PATIENCE
        with suppress(OSError):
            while time.monotonic() < until:
                self.connect().connect()
                time.sleep(0.02)
            raise AssertionError("it still takes connections")

    def leave(self) -> None:
        """End the channel, as a daemon that dies does."""
        self._channel.shutdown(socket.SHUT_WR)

    def end(self) -> tuple[int, str, str]:
        """Wait for its end: the exit code, and what it wrote to descriptors 1 and 2."""
        out, err = self.process.communicate(timeout=PATIENCE)
        self._reader.join(PATIENCE)
        self._channel.close()
        return self.process.returncode, out.decode(), err.decode()

    def _read(self) -> None:
        with self._channel.makefile("rb") as lines:
            for line in lines:
                with self._news:
                    self.raw += line
                    self.messages.append(orjson.loads(line))
                    self._news.notify_all()


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket, on which nothing may take for ever."""

    def __init__(self, path: Path) -> None:
        super().__init__("worker", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(os.fspath(self._path))


def send(
    connection: http.client.HTTPConnection,
    path: str,
    body: Mapping[str, Any] | bytes,
    **headers: str,
) -> None:
    """Send a request with the worker's key; header names may have `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    fixed = {"content-type": "application/json", "x-litellm-api-key": f"Bearer {KEY}"}
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    connection.request("POST", path, data, {**fixed, **named})


def sealed(label: str, request_id: str, secret: str = SECRET) -> dict[str, str]:
    """The header by which the gateway decides, as `post` takes it."""
    return {HEADER: seal(Verdict(label, request_id), secret)}


@contextmanager
def running_worker(
    directory: Path, document: Mapping[str, Any], environ: Mapping[str, str] | None = None
) -> Iterator[Worker]:
    """A worker that serves this config.yaml, and is gone at the end."""
    worker = Worker(directory, environ)
    try:
        worker.order(document)
        yield worker
    finally:
        if worker.process.poll() is None:
            worker.leave()
            worker.end()


def clean_environment(more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what LiteLLM reads of it."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LITELLM_", "OPENAI_", "ANTHROPIC_", "DATABASE_", "CONFIG_FILE"))
    }
    return {**kept, "PYTHONPATH": os.pathsep.join(sys.path), "NO_PROXY": "127.0.0.1", **more}


def deployment(name: str, model: str, base: str, **more: Any) -> dict[str, Any]:
    """One entry of a `model_list`, with a price."""
    price = {"input_cost_per_token": 0.001, "output_cost_per_token": 0.01}
    params = {"model": model, "api_base": base, "api_key": "a-providers-key", **price, **more}
    return {"model_name": name, "litellm_params": params}
