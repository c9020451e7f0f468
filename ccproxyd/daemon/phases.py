"""From the first moment to the last: the control socket, the signals, the watchdog.

What the daemon does meanwhile comes in phases, one after the other:

    the house   the config is good, and everything lives until it is told to stop
    waiting     the config is wrong, and nothing lives until a reload finds it right; without
                `--wait-for-config` a wrong config ends the daemon instead

Whoever asks on the control socket is answered by the phase that is on. A verb may outlive its
phase: a reload that ends the wait is answered once the house serves.
"""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import Any, Protocol, cast

import anyio
from anyio.abc import TaskGroup
from attrs import define, field, frozen

from ccproxyd.config.load import Loaded
from ccproxyd.control.server import Operations, bind_control_socket, serve
from ccproxyd.daemon.waiting import Build, Waiting
from ccproxyd.errors import CcproxydError, ConfigError
from ccproxyd.notify import Notifier, watchdog_seconds
from ccproxyd.paths import Directories
from ccproxyd.telemetry.logs import Logger
from ccproxyd.telemetry.redact import redact


class Phase(Protocol):
    """What the daemon is at."""

    stop_asked: bool

    @property
    def operations(self) -> Any:
        """What each verb means in this phase."""

    async def run(self) -> Phase | None:
        """Last until it is over; the next phase, if there is one.

        Raises:
            CcproxydError: it could not begin.
        """

    def end(self) -> None:
        """Begin to stop."""

    def hurry(self) -> None:
        """Stop now."""


@define(eq=False)
class Daemon:
    """What stays while phases come and go."""

    directories: Directories
    log: Logger
    notifier: Notifier
    build: Build
    waits: bool
    """`--wait-for-config`"""
    phase: Phase = field(init=False)

    async def run(self, first: Loaded | ConfigError) -> int:
        """Live until told to stop.

        Args:
            first: the config, or what is wrong with it.

        Raises:
            CcproxydError: it could not start.
        """
        self.phase = self._wait(first) if isinstance(first, ConfigError) else self.build(first)
        control = bind_control_socket(self.directories.control_socket)
        async with anyio.create_task_group() as group:
            desk = cast("Operations", _Desk(self))
            group.start_soon(partial(serve, control, desk, clean=redact))
            group.start_soon(self._follow_signals, group)
            group.start_soon(self._feed_watchdog)
            error = await self._live()
            group.cancel_scope.cancel()
        if error is not None:
            raise error
        return 0

    async def _live(self) -> CcproxydError | None:
        """One phase after the other; what ended the last of them, if that was an error."""
        after: Phase | None = self.phase
        while after is not None:
            self.phase = after
            try:
                after = await self.phase.run()
            except ConfigError as error:
                if not self.waits:
                    return error
                after = None if self.phase.stop_asked else self._wait(error)
            except CcproxydError as error:
                return error
        return None

    def _wait(self, error: ConfigError) -> Waiting:
        return Waiting(error, self.directories, self.log, self.notifier, self.build)

    async def _follow_signals(self, group: TaskGroup) -> None:
        told = 0
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                if number == signal.SIGHUP:
                    group.start_soon(self.reload_aside)
                    continue
                told += 1
                self.phase.end()
                if told > 1:
                    self.phase.hurry()

    async def reload_aside(self) -> None:
        """SIGHUP has nobody to answer to: the outcome is in the log and in `status`."""
        try:
            await self.phase.operations.reload()
        except CcproxydError:
            return  # told already
        except Exception as error:
            # A fault of ours must not end what works.
            because = f"internal error: {type(error).__name__}"
            self.log("error", "cannot reload", because=because)

    async def _feed_watchdog(self) -> None:
        interval = watchdog_seconds(os.environ, os.getpid())
        while interval is not None:
            self.notifier.alive()
            await anyio.sleep(interval / 3)


@frozen
class _Desk:
    """Where verbs are asked for; the phase that is on has the answer."""

    _daemon: Daemon

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._daemon.phase.operations, verb)
