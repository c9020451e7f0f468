"""Two processes of the house, here as two wires in one loop."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from attrs import define, field

from ccproxyd import wire as wire_module
from ccproxyd.wire import Wire, WireClosedError, connect

pytestmark = pytest.mark.anyio


@define
class End:
    """A wire, and what it received; `answers` is what it says when it is asked."""

    answers: dict[str, Any] | None = None
    is_busy: bool = False
    asked: anyio.Event = field(factory=anyio.Event)
    """Set when the wire wants to know whether it is."""
    heard: list[dict[str, Any]] = field(factory=list)
    wire: Wire = field(init=False)
    _news: anyio.Event = field(factory=anyio.Event)

    def receive(self, message: dict[str, Any]) -> None:
        self.heard.append(message)
        if self.answers is not None and "id" in message:
            self.wire.send({"kind": "answer", "id": message["id"], **self.answers})
        self._news.set()
        self._news = anyio.Event()

    def busy(self) -> bool:
        self.asked.set()
        return self.is_busy

    async def until(self, count: int) -> list[dict[str, Any]]:
        while len(self.heard) < count:
            await self._news.wait()
        return self.heard


@asynccontextmanager
async def pair(here: End | None = None, there: End | None = None) -> AsyncIterator[tuple[End, End]]:
    ends = here or End(), there or End()
    with anyio.fail_after(20):
        for end, plug in zip(ends, socket.socketpair(), strict=True):
            end.wire = await connect(plug, end.receive)
        try:
            yield ends
        finally:
            for end in ends:
                end.wire.close()
                await end.wire.closed.wait()


@asynccontextmanager
async def against_a_socket(end: End) -> AsyncIterator[socket.socket]:
    """The wire of `end`, and the other end as a plain socket that reads only when asked to."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with anyio.fail_after(20), theirs:
        end.wire = await connect(ours, end.receive, end.busy)
        try:
            yield theirs
        finally:
            theirs.close()
            end.wire.close()
            await end.wire.closed.wait()


async def test_what_is_for_statistics_goes_together_and_before_what_is_said_later() -> None:
    gateway = End()
    async with against_a_socket(gateway) as daemon:
        gateway.wire.send({"kind": "decided"})
        gateway.wire.send({"kind": "finished"})
        with pytest.raises(BlockingIOError):
            daemon.recv(100)
        gateway.wire.send({"kind": "idle"})
        lines = daemon.recv(1000).splitlines()
        assert lines == [b'{"kind":"decided"}', b'{"kind":"finished"}', b'{"kind":"idle"}']


async def test_what_is_for_statistics_waits_while_somebody_waits_for_an_answer() -> None:
    gateway = End(is_busy=True)
    async with against_a_socket(gateway) as daemon:
        gateway.wire.send({"kind": "decided"})
        gateway.wire.settle()
        with pytest.raises(BlockingIOError):
            daemon.recv(100)
        await gateway.asked.wait()
        await anyio.lowlevel.checkpoint()
        gateway.wire.send({"kind": "finished"})
        gateway.wire.settle()
        lines = daemon.recv(1000).splitlines()
        assert lines == [b'{"kind":"decided"}', b'{"kind":"finished"}']


async def test_but_not_for_long() -> None:
    gateway = End(is_busy=True)
    async with against_a_socket(gateway) as daemon:
        gateway.wire.send({"kind": "decided"})
        await anyio.wait_readable(daemon)
        assert daemon.recv(100) == b'{"kind":"decided"}\n'
        assert gateway.asked.is_set()


async def test_a_wire_that_is_closed_loses_nothing() -> None:
    gateway = End()
    async with against_a_socket(gateway) as daemon:
        gateway.wire.send({"kind": "finished"})
        gateway.wire.close()
        await gateway.wire.closed.wait()
        assert daemon.recv(100) == b'{"kind":"finished"}\n'


async def test_what_was_gathered_for_an_end_that_is_gone_is_nobodys() -> None:
    gateway = End()
    async with against_a_socket(gateway) as daemon:
        gateway.wire.send({"kind": "finished"})
        daemon.close()
        await gateway.wire.closed.wait()
        gateway.wire.close()


async def test_messages_arrive_in_their_order() -> None:
    async with pair() as (daemon, gateway):
        for number in range(100):
            gateway.wire.send({"kind": "decided", "number": number})
        heard = await daemon.until(100)
        assert [message["number"] for message in heard] == list(range(100))


async def test_a_large_message_arrives_whole() -> None:
    async with pair() as (daemon, gateway):
        daemon.wire.send({"kind": "explain", "body": "x" * 3_000_000})
        [message] = await gateway.until(1)
        assert len(message["body"]) == 3_000_000


async def test_who_asks_gets_the_answer() -> None:
    async with pair(there=End(answers={"ok": True})) as (daemon, gateway):
        assert (await daemon.wire.ask({"kind": "commit"}))["ok"] is True
        assert gateway.heard == [{"kind": "commit", "id": 1}]
        assert daemon.heard == []


async def test_answers_find_their_questions_in_any_order() -> None:
    answers: dict[str, int] = {}

    async def ask(what: str) -> None:
        answers[what] = (await daemon.wire.ask({"kind": "explain", "what": what}))["to"]

    async with pair() as (daemon, gateway):
        async with anyio.create_task_group() as group:
            for what in ("first", "second"):
                group.start_soon(ask, what)
            asked = await gateway.until(2)
            for question in reversed(asked):
                answer = {"kind": "answer", "id": question["id"], "to": question["id"]}
                gateway.wire.send(answer)
        assert answers == {question["what"]: question["id"] for question in asked}


async def test_both_ends_may_ask() -> None:
    async with pair(End(answers={"who": "daemon"}), End(answers={"who": "gateway"})) as ends:
        daemon, gateway = ends
        assert (await daemon.wire.ask({"kind": "x"}))["who"] == "gateway"
        assert (await gateway.wire.ask({"kind": "x"}))["who"] == "daemon"


async def test_who_asks_one_that_dies_is_told() -> None:
    async with pair() as (daemon, gateway):

        async def die_when_asked() -> None:
            await gateway.until(1)
            gateway.wire.close()

        async with anyio.create_task_group() as group:
            group.start_soon(die_when_asked)
            with pytest.raises(WireClosedError):
                await daemon.wire.ask({"kind": "explain"})


async def test_who_asks_one_that_is_dead_is_told_at_once() -> None:
    async with pair() as (daemon, gateway):
        gateway.wire.close()
        await daemon.wire.closed.wait()
        with pytest.raises(WireClosedError):
            await daemon.wire.ask({"kind": "explain"})


async def test_an_answer_that_nobody_waits_for_any_more_is_ignored() -> None:
    async with pair() as (daemon, gateway):
        with anyio.move_on_after(0):
            await daemon.wire.ask({"kind": "explain"})
        [question] = await gateway.until(1)
        for wrong in (question["id"], 99, None, "x"):
            gateway.wire.send({"kind": "answer", "id": wrong})
        gateway.wire.send({"kind": "ready"})
        assert await daemon.until(1) == [{"kind": "ready"}]
        assert not daemon.wire.closed.is_set()


async def test_what_is_sent_to_the_dead_is_lost_without_an_error() -> None:
    async with pair() as (daemon, gateway):
        gateway.wire.close()
        await daemon.wire.closed.wait()
        daemon.wire.send({"kind": "stop"})


async def test_the_end_of_a_process_is_the_end_of_its_wire() -> None:
    daemon = End()
    async with against_a_socket(daemon) as gateway:
        gateway.close()
        await daemon.wire.closed.wait()


async def test_an_answer_that_was_given_stays_when_the_process_then_dies() -> None:
    async with pair(there=End(answers={"ok": True})) as (daemon, gateway):
        answers: list[dict[str, Any]] = []

        async def ask() -> None:
            answers.append(await daemon.wire.ask({"kind": "commit"}))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await gateway.until(1)
            gateway.wire.close()
        assert answers[0]["ok"] is True


async def test_telemetry_is_dropped_and_counted_when_nobody_reads_it_but_no_command_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wire_module, "BACKLOG_BYTES", 10_000)
    gateway = End()
    async with against_a_socket(gateway) as daemon:
        for number in range(2000):
            gateway.wire.send({"kind": "decided", "number": number, "text": "x" * 500})
        for number in range(100):
            gateway.wire.send({"kind": "idle", "worker": f"1.{number}"})
        gateway.wire.send({"kind": "end"})
        assert gateway.wire.dropped > 0

        data = b""
        while not data.endswith(b'{"kind":"end"}\n'):
            await anyio.wait_readable(daemon)
            data += daemon.recv(1 << 20)
        assert data.count(b'"idle"') == 100
        assert data.count(b'"decided"') + gateway.wire.dropped == 2000


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n", b"\x00\xff\n", b"[]\n", b"{}\n"])
async def test_garbage_ends_the_wire_after_what_came_before_it(garbage: bytes) -> None:
    daemon = End()
    async with against_a_socket(daemon) as gateway:
        gateway.send(b'{"kind":"ready"}\n' + garbage + b'{"kind":"late"}\n')
        await daemon.wire.closed.wait()
        assert daemon.heard == [{"kind": "ready"}]
        await anyio.wait_readable(gateway)
        assert gateway.recv(1) == b""


async def test_a_descriptor_goes_along_with_a_line() -> None:
    reading, writing = os.pipe()
    daemon = End()
    async with against_a_socket(daemon) as template:
        daemon.wire.send_descriptors(b'{"kind":"fork"}\n', [writing])
        os.close(writing)
        await anyio.wait_readable(template)
        line, descriptors, _, _ = socket.recv_fds(template, 100, 4)
        assert line == b'{"kind":"fork"}\n'
        os.write(descriptors[0], b"hello")
        os.close(descriptors[0])
        assert os.read(reading, 100) == b"hello"
    os.close(reading)


async def test_descriptors_do_not_overtake_what_waits() -> None:
    daemon = End()
    async with against_a_socket(daemon):
        daemon.wire.send({"kind": "explain", "body": "x" * 3_000_000})
        with pytest.raises(OSError, match="does not read"):
            daemon.wire.send_descriptors(b"{}\n", [0])


async def test_a_wire_that_is_not_connected_yet_says_nothing() -> None:
    wire = Wire(lambda _: None)
    wire.send({"kind": "ready"})
    wire.close()
    with pytest.raises(OSError, match="does not read"):
        wire.send_descriptors(b"{}\n", [])
    assert not wire.closed.is_set()


HANGING = """
import socket, sys, time
from ccproxyd.wire import hold_on_to

end = socket.socket(fileno=int(sys.argv[1]))
hold_on_to(end, 0.0)
sys.stdout.buffer.write(end.recv(100))
sys.stdout.flush()
while True:
    time.sleep(60)
"""


def test_a_process_that_hangs_does_not_outlive_its_wire() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", HANGING, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdout=subprocess.PIPE,
        )
    with process:
        ours.sendall(b"hello")
        assert process.stdout is not None
        # What arrives on the wire is left to the process itself, and is no reason to go.
        assert process.stdout.read(5) == b"hello"
        assert process.poll() is None
        ours.close()
        assert process.wait(timeout=20) == -signal.SIGKILL
