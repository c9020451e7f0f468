"""A process that has imported LiteLLM once, and forks workers on request.

Importing LiteLLM takes 5 to 12 s, forking a process that has done so a few milliseconds, and what
was imported is shared. Fork is only sound in a process with one thread: another's locks would stay
locked in the child for ever. So this process runs no loop and no thread of its own, checks before
each fork that nobody else started one, and refuses with the reason otherwise.

It speaks over one Unix socket, a JSON object a line, as everybody in the house does. A `fork` comes
with two descriptors (SCM_RIGHTS): the new worker's channel and the pipe for what it prints.

    down  fork{name, environ} + [channel, output]   stop
    up    ready{threads, litellm}   forked{name, pid}   refused{name, reason}
          exited{pid, status}       heartbeat{rss_bytes}

`gc.freeze` takes what was imported out of the collector's sight, whose marks would otherwise copy
every shared page in every child. The children are its own to wait for; when it dies they go on, as
children of the daemon.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib.metadata
import os
import random
import select
import signal
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import psutil

from ccproxyd.channel import ChannelError, Decoder, Message, encode
from ccproxyd.worker import environment, process
from ccproxyd.worker.process import Serve
from ccproxyd.worker.rehearsal import build_what_a_start_needs

HEARTBEAT_SECONDS: Final = 5.0
_PIECE: Final = 64 * 1024
_DESCRIPTORS: Final = 8
_TASKS: Final = Path("/proc/self/task")
_KEPT: Final = ("TIKTOKEN_CACHE_DIR",)
"""LiteLLM names it when it loads its tokenizer, which a worker finds loaded."""


class Template:
    """The process, between its import and its end."""

    def __init__(self, channel: socket.socket, serve: Serve) -> None:
        self._channel = channel
        self._serve = serve
        self._decoder = Decoder()
        self._descriptors: list[int] = []
        self._wakeup, self._alarm = socket.socketpair()
        self._alarm.setblocking(False)
        self._wakeup.setblocking(False)

    def run(self) -> int:
        """Fork on request until told to stop, or until the daemon is gone."""
        signal.set_wakeup_fd(self._alarm.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._say({"kind": "ready", "litellm": importlib.metadata.version("litellm")})
        due = time.monotonic()
        while True:
            if time.monotonic() >= due:
                self._say({"kind": "heartbeat", "rss_bytes": psutil.Process().memory_info().rss})
                due = time.monotonic() + HEARTBEAT_SECONDS
            timeout = max(0.0, due - time.monotonic())
            readable, _, _ = select.select([self._channel, self._wakeup], [], [], timeout)
            if self._wakeup in readable:
                self._report_exits()
            if self._channel in readable and not self._obey():
                return 0

    def _obey(self) -> bool:
        """Take what has arrived; False when there is nothing more to wait for."""
        data, descriptors, _, _ = socket.recv_fds(self._channel, _PIECE, _DESCRIPTORS)
        self._descriptors += descriptors
        if not data:
            return False
        for message in self._decoder.feed(data):
            if message["kind"] == "stop":
                return False
            if message["kind"] == "fork":
                self._fork(message)
        return True

    def _fork(self, message: Mapping[str, Any]) -> None:
        channel, output = self._descriptors[:2]
        del self._descriptors[:2]
        name = message["name"]
        try:
            if reason := why_not_fork():
                self._say({"kind": "refused", "name": name, "reason": reason})
            elif pid := os.fork():
                self._say({"kind": "forked", "name": name, "pid": pid})
            else:
                self._become_worker(channel, output, message["environ"])
        finally:
            os.close(channel)
            os.close(output)

    def _become_worker(self, channel: int, output: int, environ: Mapping[str, str]) -> NoReturn:
        """In the child: from here to its end it is a worker like a spawned one."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for ours in (self._channel, self._wakeup, self._alarm):
                ours.close()
            os.setsid()
            os.dup2(output, 1)
            os.dup2(output, 2)
            kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
            os.environ.clear()
            os.environ.update({**environ, **kept})
            random.seed()
            environment.prepare(os.environ)
            code = process.run(socket.socket(fileno=os.dup(channel)), lambda: self._serve)
        finally:
            # Not sys.exit: what the template registered for its own end is not the child's.
            os._exit(code)

    def _report_exits(self) -> None:
        while self._wakeup_drained():
            pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            self._say({"kind": "exited", "pid": pid, "status": code})

    def _wakeup_drained(self) -> bool:
        try:
            return bool(self._wakeup.recv(_PIECE))
        except BlockingIOError:
            return False

    def _say(self, message: Message) -> None:
        self._channel.sendall(encode(message))


def why_not_fork() -> str | None:
    """The reason why this process must not fork, if there is one."""
    if (count := threading.active_count()) > 1:
        names = sorted(one.name for one in threading.enumerate() if one.name != "MainThread")
        return f"{count - 1} more threads run: {', '.join(names)}"
    if _TASKS.exists() and (count := len(list(_TASKS.iterdir()))) > 1:
        return f"{count - 1} native threads run beside the one of Python"
    return None


def main(channel: socket.socket) -> int:
    """`python -m ccproxyd.worker --template --channel FD`: import, freeze, fork on request."""
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    serve = process.load()
    build_what_a_start_needs(serve)
    process.load_what_is_shared()
    gc.collect()
    gc.freeze()
    try:
        return Template(channel, serve).run()
    except (OSError, ChannelError):
        return 0  # the daemon is gone
