"""The demo's process: where it listens, what it tells the daemon, and how it ends."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import anyio
import pytest
from attrs import frozen

from ccproxyd.channel import Decoder, encode
from ccproxyd.demo.server import main, serve

PATIENCE = 20


@frozen
class Demo:
    process: subprocess.Popen[bytes]
    port: int
    wire: socket.socket

    def ask(self) -> Any:
        """One request; the listener's queue holds it until the process is there."""
        return ask(self.port)

    def has_ended_quietly(self) -> None:
        _, said = self.process.communicate(timeout=PATIENCE)
        assert (self.process.returncode, said) == (0, b"")


def ask(port: int) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with closing(connection):
        connection.request("POST", "/v1/messages", b'{"model": "demo-think", "messages": []}')
        return json.load(connection.getresponse())


def kinds_until_ready(wire: socket.socket) -> set[str]:
    decoder = Decoder()
    kinds: set[str] = set()
    while "ready" not in kinds:
        kinds |= {message["kind"] for message in decoder.feed(wire.recv(4096))}
    return kinds


@pytest.fixture
def demo() -> Iterator[Demo]:
    listener = socket.create_server(("127.0.0.1", 0))
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE)
    with ours, theirs, listener:
        arguments = ["--listener", str(listener.fileno()), "--channel", str(theirs.fileno())]
        process = subprocess.Popen(
            [sys.executable, "-m", "ccproxyd.demo", *arguments],
            pass_fds=[listener.fileno(), theirs.fileno()],
            stderr=subprocess.PIPE,
        )
        theirs.close()
        with process:
            try:
                yield Demo(process, listener.getsockname()[1], ours)
            finally:
                process.kill()


def test_it_serves_on_the_listener_it_inherits(demo: Demo) -> None:
    assert demo.ask()["model"] == "demo-think"


@pytest.mark.parametrize(
    "end",
    [
        lambda demo: demo.wire.sendall(encode({"kind": "stop"})),
        lambda demo: demo.wire.close(),
        lambda demo: demo.process.send_signal(signal.SIGTERM),
    ],
    ids=["at a stop", "with the daemon", "at SIGTERM"],
)
def test_it_ends(demo: Demo, end: Callable[[Demo], None]) -> None:
    kinds_until_ready(demo.wire)
    end(demo)
    demo.has_ended_quietly()


def test_it_leaves_a_terminals_interrupt_to_the_daemon(demo: Demo) -> None:
    demo.ask()
    demo.process.send_signal(signal.SIGINT)
    demo.wire.sendall(encode({"kind": "drain"}))
    assert demo.ask()["model"] == "demo-think"


def test_its_descriptors_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([])
    assert exit_.value.code == 2
    assert "--listener" in capsys.readouterr().err


@pytest.mark.anyio
async def test_it_tells_the_daemon_that_it_is_ready_and_alive() -> None:
    ours, theirs = socket.socketpair()
    listener = socket.create_server(("127.0.0.1", 0))
    with ours:
        ours.settimeout(PATIENCE)
        async with anyio.create_task_group() as group:
            group.start_soon(serve, listener, theirs)
            kinds = await anyio.to_thread.run_sync(kinds_until_ready, ours)
            answer = await anyio.to_thread.run_sync(ask, listener.getsockname()[1])
            ours.sendall(encode({"kind": "stop"}))
    assert kinds == {"heartbeat", "ready"}
    assert answer["model"] == "demo-think"
