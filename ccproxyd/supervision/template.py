"""The daemon's side of the template: a worker in a fraction of a second.

The template (`ccproxyd.worker.template`) has imported LiteLLM and forks on request. Its workers are
its children, not ours, so they are waited for by pidfd, and their exit status comes from the
template. When the template dies its workers go on: the daemon is a *subreaper* (prctl(2)), so they
become its own children, and the status is then the kernel's to tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import anyio
import psutil
from attrs import define, field

from ccproxyd.channel import encode
from ccproxyd.errors import CcproxydError
from ccproxyd.supervision.lifecycle import State
from ccproxyd.supervision.process import Child, Ends
from ccproxyd.supervision.supervisor import Supervised

_PR_SET_CHILD_SUBREAPER: Final = 36
_FORK_SECONDS: Final = 10.0
_STATUS_SECONDS: Final = 1.0
UNKNOWN_STATUS: Final = 255
"""For a worker that ended together with its template, before anybody could ask."""


class ForkRefusedError(CcproxydError):
    """The template cannot fork; a worker can still be spawned."""


def can_fork() -> bool:
    """Linux alone: fork without exec is not safe on macOS, which has no pidfd either."""
    return sys.platform == "linux" and hasattr(os, "pidfd_open")


def become_subreaper() -> None:
    """Have orphaned grandchildren come to this process instead of to init."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@define
class ForkedChild(Child):
    """A worker that the template has forked."""

    pidfd: int
    template: Template = field(repr=False)

    def signal(self, number: int) -> None:
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except (ProcessLookupError, OSError):
            return

    async def exit_status(self) -> int:
        await anyio.wait_readable(self.pidfd)
        try:
            if (status := _reap(self.pidfd)) is not None:
                return status
            said = await self.template.status_of(self.pid)
            # A template that died before it looked has left it to us meanwhile.
            late = _reap(self.pidfd)
            return said if late is None else late
        finally:
            os.close(self.pidfd)


@define(eq=False)
class Template:
    """A template's life, and the forks that it was asked for."""

    life: Supervised
    environ: Mapping[str, str] = field(repr=False)
    closed: bool = False
    litellm: str | None = None
    """The version that it has imported."""
    _usable: anyio.Event = field(factory=anyio.Event, repr=False)
    _forks: dict[str, asyncio.Future[dict[str, Any]]] = field(factory=dict, repr=False)
    _statuses: dict[int, asyncio.Future[int]] = field(factory=dict, repr=False)

    def ready(self) -> None:
        self._usable.set()

    def close(self) -> None:
        """Fork no more; whoever waits for it waits no longer."""
        self.closed = True
        self._usable.set()

    def lost(self) -> None:
        """It is gone: whoever waits for a fork waits no longer."""
        self._usable = anyio.Event()
        for future in self._forks.values():
            if not future.done():
                future.set_exception(ForkRefusedError("the template died"))

    def heard(self, message: dict[str, Any]) -> None:
        match message["kind"]:
            case "ready":
                self.litellm = message.get("litellm")
            case "forked" | "refused":
                _settle(self._forks.get(message["name"]), message)
            case "exited":
                _settle(self._status(message["pid"]), message["status"])

    async def usable(self) -> None:
        """Wait until it can fork.

        Raises:
            ForkRefusedError: it does not start.
        """
        while self.closed or self.life.state is not State.READY:
            if self.closed:
                raise ForkRefusedError("the daemon is stopping")
            if self.life.gone.is_set() or self.life.life.backoff.failures > 1:
                raise ForkRefusedError(f"the template does not start: {self.life.last_exit}")
            with anyio.move_on_after(_STATUS_SECONDS):
                await self._usable.wait()

    async def fork(
        self,
        name: str,
        environ: Mapping[str, str],
        receive: Callable[[dict[str, Any]], None],
        on_line: Callable[[str], None],
    ) -> Child:
        """A new worker, not yet ordered to serve.

        Raises:
            ForkRefusedError: the template cannot, and says why.
        """
        ends = Ends.make()
        try:
            pid = await self._ask_for(name, environ, ends)
            pidfd = os.pidfd_open(pid)
        except (OSError, ForkRefusedError) as error:
            ends.abandon()
            raise ForkRefusedError(str(error)) from None
        finally:
            ends.given()
        self._status(pid)
        wire, lines = await ends.connect(receive, on_line)
        return ForkedChild(pid, wire, lines, pidfd, self)

    async def _ask_for(self, name: str, environ: Mapping[str, str], ends: Ends) -> int:
        if self.life.child is None:
            raise ForkRefusedError("the template is gone")
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._forks[name] = answer
        order = encode({"kind": "fork", "name": name, "environ": dict(environ)})
        try:
            self.life.child.wire.send_descriptors(order, [ends.theirs.fileno(), ends.writing])
            async with asyncio.timeout(_FORK_SECONDS):
                said = await answer
        except TimeoutError:
            raise ForkRefusedError("the template did not answer") from None
        finally:
            del self._forks[name]
        if said["kind"] == "refused":
            raise ForkRefusedError(said["reason"])
        return int(said["pid"])

    async def status_of(self, pid: int) -> int:
        """What the template says of a worker's end."""
        try:
            async with asyncio.timeout(_STATUS_SECONDS):
                return await asyncio.shield(self._status(pid))
        except TimeoutError:
            return UNKNOWN_STATUS
        finally:
            self._statuses.pop(pid, None)

    def _status(self, pid: int) -> asyncio.Future[int]:
        if pid not in self._statuses:
            self._statuses[pid] = asyncio.get_running_loop().create_future()
        return self._statuses[pid]


def _settle(future: asyncio.Future[Any] | None, value: Any) -> None:
    if future is not None and not future.done():
        future.set_result(value)


def _reap(pidfd: int) -> int | None:
    """The status of a child of our own that has ended; None of anybody else's."""
    try:
        found = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return None
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def reap_strangers(known: Collection[int]) -> None:
    """Bury what nobody waits for: a subreaper inherits the processes of users' callbacks too."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process().children():
            if child.pid not in known and child.status() == psutil.STATUS_ZOMBIE:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(child.pid, os.WNOHANG)
