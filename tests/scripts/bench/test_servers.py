"""Contestants as processes: nothing of them outlives the benchmark."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import uvloop

from scripts.bench import servers
from scripts.bench.bodies import Address, kinds
from scripts.bench.contestants import Contestant, Launch
from scripts.bench.driver import ask
from scripts.bench.measure import messages_of
from scripts.bench.processes import tree
from scripts.bench.provider import LAST
from scripts.bench.servers import CannotStartError, ended, free_port, provider, running, work_in

NOBODY = Address("127.0.0.1", 1, "sk-test")

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; "
    "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"])
child.wait()
"""
"""A parent whose child does not go when it is asked to."""

FORWARDER = """
import asyncio, sys

async def copy(reader, writer):
    while piece := await reader.read(65536):
        writer.write(piece)
    writer.close()

async def handle(reader, writer):
    there, back = await asyncio.open_connection("127.0.0.1", int(sys.argv[2]))
    await asyncio.gather(copy(reader, back), copy(there, writer), return_exceptions=True)

async def main():
    server = await asyncio.start_server(handle, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()

asyncio.run(main())
"""
"""The simplest router of all."""


def contestant(script: str) -> Contestant:
    def start(launch: Launch) -> list[str]:
        provider = launch.provider.rpartition(":")[2]
        return [sys.executable, "-c", script, str(launch.port), provider]

    return Contestant("friend", "a friend", start)


def test_a_contestant_is_ready_when_it_has_given_the_providers_answer(tmp_path: Path) -> None:
    with provider() as mock, running(contestant(FORWARDER), tmp_path, mock.address) as server:
        assert server.ready_seconds > 0
        assert messages_of(mock.address) == 1
        work_in(server)
        assert messages_of(mock.address) > servers.WORK_IN_TIMES * servers.WORK_IN_CLIENTS
        family = tree(server.pid)
    assert not any(one.is_running() for one in family)


def test_one_that_dies_at_once_has_its_last_words_told(tmp_path: Path) -> None:
    dying = contestant("raise SystemExit('my config is bad')")
    with pytest.raises(CannotStartError, match="my config is bad"):
        running(dying, tmp_path, NOBODY).__enter__()


def test_one_that_answers_in_its_own_words_is_no_contestant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "START_SECONDS", 3.0)
    script = "import http.server, sys; http.server.test(port=int(sys.argv[1]), bind='127.0.0.1')"
    with pytest.raises(CannotStartError, match="status 501"):
        running(contestant(script), tmp_path, NOBODY).__enter__()


def test_children_that_ignore_the_request_to_go_are_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, start_new_session=True
    )
    assert parent.stdout is not None
    with parent.stdout, ended(parent):
        assert parent.stdout.readline() == b"up\n"
        family = tree(parent.pid)
        assert len(family) == 2
    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family)


def test_an_error_inside_ends_the_process_too() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True
    )
    with pytest.raises(ZeroDivisionError), ended(process):
        _ = 1 / 0
    assert process.returncode is not None


def test_the_provider_ends_with_the_benchmark_however_that_ends() -> None:
    """Its standard input is its lifeline: no signal is needed."""
    with provider() as mock:
        feed = kinds()["1 KB"].feed(mock.address, stream=True)
        uvloop.run(ask(mock.address, feed, LAST))
        process = psutil.Process(mock.pid)
        assert process.is_running()
    assert not process.is_running()


def test_a_free_port_is_free() -> None:
    assert free_port() != free_port()
