"""Contestants as processes: started, seen to answer, and ended, whatever happens.

Each has a session of its own, so that ^C at the terminal reaches this process alone, which then
ends everybody in order. A server is ready when it has given the provider's answer to a request;
until then it is asked every 50 ms.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, sleep
from typing import Final

import psutil
import uvloop
from attrs import frozen

from scripts.bench.bodies import Address, kinds
from scripts.bench.contestants import KEY, Contestant, Launch
from scripts.bench.driver import WrongAnswerError, ask
from scripts.bench.processes import tree
from scripts.bench.provider import LAST, SAID
from tests.support.daemon import environment

START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 15.0
WORK_IN_TIMES: Final = 5
WORK_IN_CLIENTS: Final = 4
_ROOT: Final = Path(__file__).parents[2]
_PAUSE: Final = 0.05
_TAIL: Final = 2000

LOCAL_PRICES: Final[Mapping[str, str]] = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
"""Or LiteLLM's start would depend on the network."""


class CannotStartError(Exception):
    """Its text says why, and what the process said last."""


@frozen
class Server:
    """A contestant that answers."""

    name: str
    title: str
    pid: int
    address: Address
    ready_seconds: float
    """From its start to its first answer."""
    directory: Path


@contextmanager
def provider() -> Iterator[Server]:
    """The mock provider, a contestant as well: the way without anybody in between."""
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.bench.provider"],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    with ended(process):
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin, process.stdout:
            port = int(process.stdout.readline())
            address = Address("127.0.0.1", port, KEY)
            yield Server("provider", "the provider alone", process.pid, address, 0.0, _ROOT)


@contextmanager
def running(contestant: Contestant, directory: Path, provider: Address) -> Iterator[Server]:
    """A contestant that has answered once.

    Raises:
        CannotStartError: it did not, or not with the provider's answer.
    """
    url = f"http://{provider.host}:{provider.port}"
    launch = Launch(directory, free_port(), url)
    directory.mkdir(parents=True, exist_ok=True)
    command = contestant.start(launch)
    log = directory / "log"
    began = perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env={**environment(directory), **LOCAL_PRICES},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    with ended(process):
        address = Address("127.0.0.1", launch.port, KEY)
        _await_answer(process, address, log)
        seconds = perf_counter() - began
        title = contestant.title
        yield Server(contestant.name, title, process.pid, address, seconds, directory)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Whatever happens inside, nothing of the process's tree is left."""
    try:
        yield
    finally:
        family = tree(process.pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        _, alive = psutil.wait_procs(family, timeout=1.0)
        for one in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(alive, timeout=1.0)
        process.wait()


def work_in(server: Server) -> None:
    """Some usual turns, from several clients at once, so that every worker has had one.

    Raises:
        WrongAnswerError: an answer was not the provider's.
    """
    feed = kinds()["116 KB"].feed(server.address, stream=True)
    for _ in range(WORK_IN_TIMES):
        uvloop.run(ask(server.address, feed, LAST, clients=WORK_IN_CLIENTS))


def _await_answer(process: subprocess.Popen[bytes], address: Address, log: Path) -> None:
    deadline = perf_counter() + START_SECONDS
    said = "it does not listen"
    while process.poll() is None and perf_counter() < deadline:
        try:
            uvloop.run(ask(address, kinds()["1 KB"].feed(address, stream=False), SAID))
        except OSError:
            sleep(_PAUSE)
        except WrongAnswerError as error:
            said = str(error)
            sleep(_PAUSE)
        else:
            return
    tail = log.read_text(encoding="utf-8", errors="replace")[-_TAIL:]
    raise CannotStartError(f"{said}\n{tail}")
