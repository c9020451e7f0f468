"""A daemon whose config is wrong, kept up until it is right: `--wait-for-config`.

launchd cannot be told that an exit code means "do not try again", and would start a daemon with a
wrong config every ten seconds for ever. So it stays, `degraded`: the control socket answers what is
wrong, and no port is open. A `reload`, or SIGHUP, reads the config again; a good one becomes a
house, which is the next phase. The answer comes when that serves, or says why it does not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import anyio
import anyio.to_thread
from attrs import define, field, frozen

from ccproxyd import __version__
from ccproxyd.config.load import Loaded, load
from ccproxyd.control.errors import ControlError
from ccproxyd.control.status import Status
from ccproxyd.daemon.change import reload_record
from ccproxyd.daemon.house import House
from ccproxyd.errors import CcproxydError, ConfigError
from ccproxyd.notify import Notifier
from ccproxyd.paths import Directories
from ccproxyd.telemetry.logs import Logger
from ccproxyd.telemetry.redact import redact

Answer = Mapping[str, Any]
Build = Callable[[Loaded], House]
"""A house for a config, with all that it must own; CcproxydError if that is not to be had."""

START_SECONDS: Final = 150.0
"""A start that takes longer goes on without being waited for."""


@define(eq=False)
class Waiting:
    """The phase in which there is nothing but the control socket, and the reason."""

    error: CcproxydError
    directories: Directories
    log: Logger
    notifier: Notifier
    build: Build
    house: House | None = None
    """The next phase."""
    started: float = field(factory=time.monotonic)
    last_reload: dict[str, Any] = field(init=False)
    stop_asked: bool = False
    trying: anyio.Lock = field(factory=anyio.Lock)
    over: anyio.Event = field(factory=anyio.Event)

    def __attrs_post_init__(self) -> None:
        self.last_reload = reload_record(self.error, 0, 0.0)

    @property
    def operations(self) -> WaitingOperations:
        return WaitingOperations(self)

    @property
    def reason(self) -> str:
        """Without a secret that it might quote: the service manager shows it to everybody."""
        if isinstance(self.error, ConfigError):
            return redact(f"the config is wrong: {self.error}; next: ccproxyctl check")
        return redact(str(self.error))

    async def run(self) -> House | None:
        """Wait until there is a house, or until told to stop."""
        self.log("error", "cannot start, so waiting for another config", because=str(self.error))
        # It is up, as far as a service manager is concerned: not to be given up or started again.
        self.notifier.ready(f"waiting: {self.reason}")
        await self.over.wait()
        if self.stop_asked:
            self.notifier.stopping()
            return None
        return self.house

    def end(self) -> None:
        self.stop_asked = True
        self.over.set()

    def hurry(self) -> None:
        """There is nobody that it waits for when it ends."""

    async def next_house(self) -> House:
        """The house for the config as it is on disk; the first good one counts.

        Raises:
            CcproxydError: there can be none.
        """
        async with self.trying:
            if self.house is None:
                self.house = await self._try()
                self.over.set()
            return self.house

    async def _try(self) -> House:
        began = time.monotonic()
        try:
            return await anyio.to_thread.run_sync(self._built)
        except CcproxydError as error:
            self.error = error
            self.last_reload = reload_record(error, 0, time.monotonic() - began)
            self.log("error", "cannot reload", because=str(error))
            raise

    def _built(self) -> House:
        return self.build(load(self.directories.config, os.environ))


@frozen
class WaitingOperations:
    """What can be asked of it; every other verb is answered with the reason."""

    _waiting: Waiting

    async def status(self) -> Answer:
        waiting = self._waiting
        advice = f"nothing is served: {waiting.reason}; when that is mended: ccproxyctl reload"
        told = Status(
            version=__version__,
            state="degraded",
            pid=os.getpid(),
            uptime_seconds=round(time.monotonic() - waiting.started, 3),
            config_dir=str(waiting.directories.config),
            control_socket=str(waiting.directories.control_socket),
            warnings=(advice,),
        )
        return {**told.to_json(), "last_reload": waiting.last_reload}

    async def reload(self) -> Answer:
        began = time.monotonic()
        try:
            house = await self._waiting.next_house()
        except CcproxydError as error:
            raise _refusal(error) from None
        await _settled(house)
        seconds = time.monotonic() - began
        house.last_reload = reload_record(None, house.generation_number, seconds)
        told = {key: house.last_reload[key] for key in ("ok", "generation", "seconds")}
        return {**told, "changed": "workers"}

    async def stop(self) -> Answer:
        self._waiting.end()
        return {"ok": True, "pid": os.getpid()}

    def __getattr__(self, verb: str) -> Callable[..., Awaitable[Answer]]:
        async def refuse(*_: object) -> Answer:
            reason = f"cannot {verb}: {self._waiting.reason}"
            raise ControlError("WaitingForConfig", reason, 503)

        return refuse


async def _settled(house: House) -> None:
    """Wait until a house serves.

    Raises:
        ControlError: it does not, or not yet.
    """
    with anyio.move_on_after(START_SECONDS):
        await house.settled.wait()
    if house.error is not None:
        raise _refusal(house.error)
    if house.ending.is_set():
        raise ControlError("Stopping", "ccproxyd is stopping", 503)
    if not house.settled.is_set():
        reason = "the config is good, but nothing serves yet; see: ccproxyctl status"
        raise ControlError("NotReady", reason, 503)


def _refusal(error: CcproxydError) -> ControlError:
    """Not as the ConfigError that it may be: after one of those an old config would go on."""
    return ControlError("WaitingForConfig", str(error), 422)
