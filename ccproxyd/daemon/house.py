"""The daemon at work: which lives there are, and what their events mean.

    the gateway      one, or two while one replaces another
    the generations  the workers of the config in force, and those that finish
    the template     from which workers are forked, where they are
    the provider     with `--demo` alone

It is ready when the gateway accepts and a whole generation serves, or sleeps until it is needed.
What is in force (`loaded`) only changes in `change`. A failure that cannot be mended by trying
again (a rule that does not load, a model that LiteLLM dropped) ends a daemon that is still
starting, and nothing else.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import secrets
import signal
import socket
import sys
import time
from collections import defaultdict, deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup
from attrs import define, field, frozen

from ccproxyd import __version__
from ccproxyd.channel import Message
from ccproxyd.config.lanes import Lane, lanes_of, needs_litellm
from ccproxyd.config.load import Loaded
from ccproxyd.config.settings import Settings
from ccproxyd.daemon.address import Address, agree, how_to_move, shown
from ccproxyd.daemon.callbacks import (
    DemoCallbacks,
    GatewayCallbacks,
    TemplateCallbacks,
    WorkerCallbacks,
)
from ccproxyd.daemon.commands import (
    child_environment,
    demo_command,
    gateway_command,
    template_command,
    worker_command,
)
from ccproxyd.daemon.hearing import Hearing
from ccproxyd.daemon.invitation import invitation
from ccproxyd.daemon.purse import Purse
from ccproxyd.daemon.rendering import Rendering, check_models, new_seal
from ccproxyd.errors import CcproxydError, ConfigError
from ccproxyd.notify import Notifier
from ccproxyd.paths import Directories
from ccproxyd.supervision.generations import Generation, GenerationFailedError, Generations
from ccproxyd.supervision.lifecycle import Life, Limits, State, Wanted
from ccproxyd.supervision.process import Child, spawn
from ccproxyd.supervision.supervisor import Supervised
from ccproxyd.supervision.template import (
    ForkRefusedError,
    Template,
    become_subreaper,
    reap_strangers,
)
from ccproxyd.telemetry.logs import Logger
from ccproxyd.telemetry.redact import LinesRedactor, is_stack_line
from ccproxyd.telemetry.stats import Stats
from ccproxyd.wire import WireClosedError

if TYPE_CHECKING:
    from ccproxyd.daemon.operations import Operations

REMEMBERED_LINES: Final = 30
_PUBLISH_SECONDS: Final = 5.0
RECYCLE_SECONDS: Final = 60.0
"""A worker younger than this has not grown: its limit is too low."""
BURY_SECONDS: Final = 30.0
FAREWELL_SECONDS: Final = 15.0
"""LiteLLM reports its last prices in up to 5 s and shuts down in up to 10."""


@frozen
class Owned:
    """What was taken before anything started."""

    directories: Directories
    host: str
    port: int
    listener: socket.socket
    passed: bool
    """The listener came from the service manager."""
    keys: tuple[str, ...] = field(repr=False)
    demo: socket.socket | None
    fixed_address: bool
    """Host or port were given as arguments: the config's do not matter."""
    address: Address = field(init=False)
    """Where it listens, or did."""

    @address.default
    def _bound(self) -> Address:
        host, port = self.listener.getsockname()[:2]
        return str(host), int(port)

    def asked(self, settings: Settings) -> Address:
        """Where it was to listen."""
        given = self.fixed_address
        return (self.host, self.port) if given else (settings.host, settings.port)


@define(eq=False)
class House:
    """Everything that lives, and what is in force."""

    owned: Owned
    loaded: Loaded
    log: Logger
    notifier: Notifier
    state: str = "starting"
    started: float = field(factory=time.monotonic)
    stats: Stats = field(factory=lambda: Stats(_utc_now()))
    gateways: list[Supervised] = field(factory=list)
    generations: Generations = field(init=False)
    purse: Purse = field(init=False, repr=False)
    template: Template | None = None
    demo: Supervised | None = None
    last_number: int = 0
    restarts_total: int = 0
    last_exit: str | None = None
    last_reload: dict[str, Any] | None = None
    words: dict[str, deque[str]] = field(factory=dict, repr=False)
    redactors: defaultdict[str, LinesRedactor] = field(
        factory=lambda: defaultdict(LinesRedactor), repr=False
    )
    """By the processes whose lines they clean."""
    hearing: Hearing = field(init=False, repr=False)
    error: CcproxydError | None = None
    settled: anyio.Event = field(factory=anyio.Event)
    """It serves for the first time, or has begun to stop."""
    ending: anyio.Event = field(factory=anyio.Event)
    stop_asked: bool = False
    changing: anyio.Lock = field(factory=anyio.Lock)
    group: TaskGroup = field(init=False, repr=False)
    session_key: str = field(factory=lambda: secrets.token_hex(32), repr=False)
    """By which the gateways mark sessions in the log; it is kept nowhere else."""
    recycling: set[int] = field(factory=set)
    """The generations of which one worker is being exchanged."""

    @property
    def shown_state(self) -> str:
        """Its state, or `degraded` while something of it keeps dying."""
        lives = [self.gateway, *(worker for _, worker in self.generations.workers())]
        if self.state in ("starting", "ready") and any(life.is_degraded for life in lives):
            return "degraded"
        return self.state

    @property
    def gateway(self) -> Supervised:
        """The one that takes new connections."""
        return self.gateways[-1]

    @property
    def generation_number(self) -> int:
        current = self.generations.current
        return current.number if current else 0

    @property
    def operations(self) -> Operations:
        from ccproxyd.daemon.operations import Operations

        return Operations(self)

    async def run(self) -> None:
        """Live until told to stop.

        Raises:
            CcproxydError: it could not start.
        """
        async with anyio.create_task_group() as group:
            self.group = group
            self.generations = Generations(group)
            self.purse = self._open_purse()
            self.hearing = Hearing(self.log, self.stats, self.purse, lambda: self.loaded.settings)
            group.start_soon(self.purse.run)
            group.start_soon(self._bury_strangers)
            await self._start()
            await self.ending.wait()
            await self._shut_down()
            group.cancel_scope.cancel()
        if self.error is not None:
            raise self.error

    def _open_purse(self) -> Purse:
        """Before anything could ask for it, so it is waited for, as the config was."""
        state = self.owned.directories.state
        return Purse.open(state, self.loaded, self.log, self._tell_gateways)

    def _tell_gateways(self, message: Message) -> None:
        for gateway in self.gateways:
            if gateway.child is not None:
                gateway.child.send(message)

    def end(self, error: CcproxydError | None = None) -> None:
        """Begin to stop, because of an error or because somebody asks; the first error is kept."""
        self.stop_asked |= error is None
        if not self.ending.is_set():
            self.error = error
            self.state = "stopping"
            self.ending.set()
            self.settled.set()

    def hurry(self) -> None:
        """Wait for nobody any longer."""
        for life in self._everybody():
            if life.child is not None:
                life.child.signal(signal.SIGKILL)

    # -- starting

    async def _start(self) -> None:
        host, port = self.owned.address
        self.log("info", "starting", version=__version__, listen=f"{host}:{port}")
        for warning in [*self.loaded.warnings, *self._about_address(), *self._about_lanes()]:
            self.log("warning", warning)
        self.notifier.starting("starting LiteLLM", seconds=Limits().start + 30)
        if self.owned.demo is not None:
            self.demo = Supervised("demo", self._launch_demo, DemoCallbacks(self))
            self.group.start_soon(self.demo.run)
        become_subreaper()
        self.group.start_soon(self.new_gateway().run)
        generation = self.new_generation(self.loaded, again=True)
        if not self.may_sleep(self.loaded):
            self.generations.begin(generation)
        self.generations.take_over(generation)
        self.group.start_soon(self._first_ready, generation)

    async def _first_ready(self, generation: Generation) -> None:
        try:
            if generation.begun:
                await generation.serving()
                check_models(self.loaded, generation.models)
            await self.gateway.ready.wait()
        except GenerationFailedError:
            return  # it was told to stop before it was ready
        except ConfigError as error:
            self.end(error)
        else:
            if self.state == "starting":
                self.be_ready()

    @property
    def serves(self) -> bool:
        """Whether a request could be answered: a gateway, and a worker of the config in force."""
        current = self.generations.current
        workers = current.ready_workers() if current else []
        return self.gateway.state is State.READY and bool(workers or self.generations.asleep)

    def be_ready(self) -> None:
        """It serves for the first time."""
        self.state = "ready"
        self.settled.set()
        host, port = self.owned.address
        self.log(
            "info",
            "ready",
            version=__version__,
            listen=f"{host}:{port}",
            labels=[target.name for target in self.loaded.litellm.targets()],
            seconds=round(time.monotonic() - self.started, 2),
        )
        self.notifier.ready(f"serving on {host}:{port}")
        if self.owned.demo is not None:
            os.write(2, invitation(Path(sys.argv[0])).encode())

    # -- the gateway

    def new_gateway(self) -> Supervised:
        life = Supervised("gateway", self._launch_gateway, GatewayCallbacks(self), self._limits())
        self.gateways.append(life)
        return life

    async def _launch_gateway(self, life: Supervised) -> Child:
        environ = child_environment(os.environ, self.loaded.environ)
        command = gateway_command(environ, self.owned.listener.fileno())
        child = await spawn(command, life.receive, lambda line: self.said(life, line))
        self.group.start_soon(self._configure, child)
        return child

    async def _configure(self, child: Child) -> None:
        """A gateway's first config is the one in force; without it the gateway is of no use."""
        try:
            await self.prepare(child, self.loaded)
            if self.purse.gate["exceeded"]:
                child.send(self.purse.gate)
            await child.ask({"kind": "commit"})
        except WireClosedError:
            return
        except CcproxydError as error:
            if self.state == "starting":
                self.end(error)
            else:
                self.log("error", "cannot start the gateway", because=str(error))
                child.signal(signal.SIGKILL)

    async def prepare(self, child: Child, loaded: Loaded) -> None:
        """Have a gateway build the table of a config, without using it yet.

        Raises:
            ConfigError: it cannot be built; the field, and why.
        """
        order = {
            "kind": "prepare",
            "config": loaded.to_message(),
            "config_dir": str(self.owned.directories.config),
            "keys": self.keys_for(loaded),
            "session_key": self.session_key,
        }
        answer = await child.ask(order)
        if not answer["ok"]:
            raise _refusal(answer["error"])

    def keys_for(self, loaded: Loaded) -> list[str]:
        """A key that the config names replaces the one of the start."""
        configured = loaded.litellm.master_key
        return [configured] if configured else list(self.owned.keys)

    # -- the workers

    def new_generation(self, loaded: Loaded, *, again: bool) -> Generation:
        """Workers for a config, not yet started. `again`: a failed first start is retried."""
        self.last_number += 1
        number = self.last_number
        rendering = Rendering.of(loaded, number, new_seal(), self.owned.directories)
        generation = Generation(number, rendering)
        for _ in range(loaded.settings.workers.count):
            worker = self._worker(generation, rendering, self._limits(loaded), again=again)
            generation.workers.append(worker)
        return generation

    def _worker(
        self, generation: Generation, rendering: Rendering, limits: Limits, *, again: bool
    ) -> Supervised:
        generation.started += 1
        return Supervised(
            f"{generation.number}.{generation.started - 1}",
            lambda life: self._launch_worker(life, rendering),
            WorkerCallbacks(self, generation, rendering),
            limits,
            Life(again=again),
        )

    def lanes(self, loaded: Loaded) -> dict[str, Lane]:
        """How the requests of each label go."""
        return lanes_of(loaded, os.environ, self.owned.directories.config)

    def may_sleep(self, loaded: Loaded) -> bool:
        """Whether LiteLLM can wait until a request needs it."""
        return loaded.settings.workers.lazy and needs_litellm(self.lanes(loaded)) is None

    def wake(self) -> None:
        """A request needs LiteLLM."""
        if self.ending.is_set() or (generation := self.generations.wake()) is None:
            return
        self.log("info", "starting LiteLLM, since a request needs it")
        self.group.start_soon(self._woken, generation)

    async def _woken(self, generation: Generation) -> None:
        try:
            await generation.serving()
            check_models(self.loaded, generation.models)
        except CcproxydError as error:
            self.log("error", "cannot start LiteLLM", because=str(error))

    def check_memory(
        self, generation: Generation, rendering: Rendering, worker: Supervised
    ) -> None:
        """LiteLLM keeps what it has answered; a worker that has grown too large is exchanged."""
        limit = self.loaded.settings.workers.max_rss_mb * 1024 * 1024
        too_large = worker.vital_signs.get("rss_bytes", 0) > limit
        settled = anyio.current_time() - worker.started_at > RECYCLE_SECONDS
        idle = generation.number not in self.recycling and worker.state is State.READY
        if too_large and settled and idle:
            self.group.start_soon(self.recycle, generation, rendering, worker)

    async def recycle(
        self, generation: Generation, rendering: Rendering, worker: Supervised
    ) -> None:
        """Exchange one worker for a new one, which takes over before the old one drains."""
        self.recycling.add(generation.number)
        try:
            size = worker.vital_signs.get("rss_bytes")
            self.log("info", "recycling a worker", process=worker.name, rss_bytes=size)
            new = self._worker(generation, rendering, worker.limits, again=False)
            if not await self.generations.exchange(generation, worker, new):
                self.log("error", "cannot recycle a worker", because=new.last_exit)
        finally:
            self.recycling.discard(generation.number)

    async def _launch_worker(self, life: Supervised, rendering: Rendering) -> Child:
        rendering.write()
        rendering.clear_socket(life.name)
        child = await self._new_worker(life, rendering)
        child.send(rendering.order(life.name))
        return child

    async def _new_worker(self, life: Supervised, rendering: Rendering) -> Child:
        environ = child_environment(os.environ, rendering.environ)

        def said(line: str) -> None:
            self.said(life, line)

        if rendering.forks:
            try:
                template = self.template_for(environ)
                await template.usable()
                return await template.fork(life.name, environ, life.receive, said)
            except ForkRefusedError as error:
                if rendering.start_method == "fork" or self.state == "stopping":
                    raise
                self.log("warning", "cannot fork a worker, so spawning it", because=str(error))
        return await spawn(worker_command(environ), life.receive, said)

    # -- the template

    def template_for(self, environ: dict[str, str]) -> Template:
        """The template; a new one when what LiteLLM reads at its import may have changed."""
        if self.template is None or self.template.environ != environ:
            return self.new_template(environ)
        return self.template

    def new_template(self, environ: dict[str, str]) -> Template:
        """Start a template; the one before it goes, and its workers become our own children."""
        before = self.template
        callbacks = TemplateCallbacks(self)
        life = Supervised("template", self._launch_template, callbacks)
        self.template = Template(life, environ)
        self.group.start_soon(life.run)
        if before is not None:
            before.life.want(Wanted.DOWN)
        return self.template

    async def _launch_template(self, life: Supervised) -> Child:
        environ = self.template.environ if self.template else {}
        return await spawn(
            template_command(environ), life.receive, lambda line: self.said(life, line)
        )

    def _limits(self, loaded: Loaded | None = None) -> Limits:
        workers = (loaded or self.loaded).settings.workers
        return Limits(
            drain=workers.drain_seconds, stop=workers.stop_seconds, farewell=FAREWELL_SECONDS
        )

    async def publish(self) -> None:
        """Tell every gateway which workers take requests."""
        with anyio.move_on_after(_PUBLISH_SECONDS):
            # The newest first: a lame duck that hangs must not keep it waiting.
            for gateway in self.gateways[::-1]:
                if gateway.state in (State.READY, State.DRAINING):
                    await self._tell(gateway, self.workers_message())

    async def _tell(self, gateway: Supervised, message: dict[str, Any]) -> None:
        try:
            await self.tell_workers(gateway, message)
        except WireClosedError:
            return  # whoever takes its place is told when it is ready

    async def tell_workers(self, gateway: Supervised, message: dict[str, Any]) -> dict[str, Any]:
        """Send a gateway a list of workers, and note what it has in hand once it knows."""
        if gateway.child is None:
            raise WireClosedError
        self.generations.asked(gateway)
        answer = await gateway.child.ask(message)
        if answer["ok"]:
            self.generations.held(gateway, answer["workers"])
        return answer

    def workers_message(self, generation: Generation | None = None) -> dict[str, Any]:
        serving = generation or self.generations.current
        ready = serving.ready_workers() if serving else []
        return {
            "kind": "workers",
            "workers": [serving.rendering.address(worker.name) for worker in ready]
            if serving
            else [],
            "reason": self.last_exit and f"the last worker {self.last_exit}",
        }

    # -- what is heard

    def said(self, life: Supervised, line: str) -> None:
        """A line of a child's own output: free text, so only of one that has not served yet."""
        if life.life.was_ready and not is_stack_line(line):
            return
        text = self.redactors[life.name](line)
        if not text:
            return
        self.words.setdefault(life.name, deque(maxlen=REMEMBERED_LINES)).append(text)
        self.log("info", "output", process=life.name, line=text)

    def count_exit(self, life: Supervised) -> None:
        """A process ended; whether that was asked for is in its state."""
        asked = life.state in (State.STOPPING, State.DRAINING, State.DOWN)
        if asked or self.state == "stopping":
            self.log("info", "process has gone", process=life.name, how=life.last_exit)
            self.words.pop(life.name, None)
            self.redactors.pop(life.name, None)
            return
        reason = (life.failure or {}).get("reason")
        self.last_exit = f"{life.name}: {reason or life.last_exit}"
        self.restarts_total += 1
        self.log(
            "error",
            f"cannot keep {_kind(life)} running",
            because=reason or life.last_exit,
            process=life.name,
            last_words=(life.failure or {}).get("last_words") or None,
        )

    def complaints(self) -> list[str]:
        """What is not as it should be, for whoever asks how it is."""
        lives = [self.gateway, *(worker for _, worker in self.generations.workers())]
        dying = [
            f"{_kind(life)} keeps dying: {_reason_of(life)}; its last words: {self._words_of(life)}"
            for life in lives
            if life.is_degraded
        ]
        settings = [*self._about_address(), *self._about_lanes(), *self._about_detail()]
        return [*dying, *self._about_litellm(), *settings, *self.purse.complaints()]

    def _about_detail(self) -> list[str]:
        if not self.loaded.settings.debug or self.log.tells("debug"):
            return []
        return ["ccproxy.debug is read at the start: run ccproxyctl stop, and start it again"]

    def _about_lanes(self) -> list[str]:
        if not self.loaded.settings.workers.lazy:
            return []
        reason = needs_litellm(self.lanes(self.loaded))
        return [f"ccproxy.workers.lazy has no effect: {reason}"] if reason else []

    def _words_of(self, life: Supervised) -> str:
        told = (life.last_failure or {}).get("last_words")
        return told or "\n".join(self.words.get(life.name, ())) or "none"

    def _about_litellm(self) -> list[str]:
        imported = self.template.litellm if self.template else None
        installed = installed_litellm()
        if imported is None or imported == installed:
            return []
        return [
            f"LiteLLM {installed} is installed, {imported} is running;"
            " `ccproxyctl restart` takes it up"
        ]

    def _about_address(self) -> list[str]:
        asked, bound = self.owned.asked(self.loaded.settings), self.owned.address
        if not self.owned.passed or agree(asked, bound):
            return []
        who = "the arguments ask" if self.owned.fixed_address else "ccproxy.yaml asks"
        return [f"{who} for {shown(asked)}, but {how_to_move(bound, os.environ)}"]

    async def _bury_strangers(self) -> None:
        """As a subreaper we inherit whatever our workers' own children leave behind."""
        while True:
            await anyio.sleep(BURY_SECONDS)
            reap_strangers({life.child.pid for life in self._everybody() if life.child})

    # -- stopping

    async def _shut_down(self) -> None:
        """Answer what is in flight, within `stop_seconds`; then everything goes."""
        limits = self._limits()
        grace = limits.stop + limits.farewell + limits.kill
        if self.error is None:
            # A start that failed is told by its exit code, or the daemon goes on in another phase.
            self.notifier.stopping(seconds=grace + limits.kill)
        self.log("info", "stopping")
        self.owned.listener.close()
        with anyio.move_on_after(grace):
            if self.template is not None:
                self.template.close()
            await self._down(self.gateways)
            await self._down([worker for _, worker in self.generations.workers()])
            await self._down(self._helpers())
        self.hurry()
        await self.purse.close()
        self.log("info", "stopped")

    async def _down(self, lives: list[Supervised]) -> None:
        for life in lives:
            life.want(Wanted.DOWN)
        for life in list(lives):
            await life.gone.wait()

    def _everybody(self) -> list[Supervised]:
        workers = [worker for _, worker in self.generations.workers()]
        return [*self.gateways, *workers, *self._helpers()]

    def _helpers(self) -> list[Supervised]:
        template = [self.template.life] if self.template else []
        return [*template, *([self.demo] if self.demo else [])]

    # -- the demo's provider

    async def _launch_demo(self, life: Supervised) -> Child:
        if self.owned.demo is None:
            raise CcproxydError("the demo has no listener")
        command = demo_command(child_environment(os.environ), self.owned.demo.fileno())
        return await spawn(command, life.receive, lambda line: self.said(life, line))


def _refusal(error: dict[str, Any]) -> CcproxydError:
    """What a gateway answered to `prepare`, as the exception it was there."""
    if "path" in error:
        return ConfigError(error["path"], error["reason"], error.get("hint"))
    return CcproxydError(error["reason"])


def installed_litellm() -> str | None:
    """The version on disk, without importing it."""
    try:
        return importlib.metadata.version("litellm")
    except importlib.metadata.PackageNotFoundError:
        return None


def _reason_of(life: Supervised) -> str:
    return str((life.last_failure or {}).get("reason") or life.last_exit)


def _kind(life: Supervised) -> str:
    return f"worker {life.name}" if life.name[0].isdigit() else f"the {life.name}"


def _utc_now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
