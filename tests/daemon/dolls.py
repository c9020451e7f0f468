"""A doll's house: the daemon as it is, with small stand-ins for gateway, workers, template and
provider.

The stand-ins speak the channel and do nothing else, so a house is up in a fraction of a second.
What they are to do wrong stands in the config, since that is what reaches them: the gateway looks
at `ccproxy.timeouts.idle` (see `Idle`), the worker at `litellm_settings.doll`.

An `explain` makes the gateway talk: `{"say": [...]}` are messages to send, `{"hold": true}` keeps
it from letting go of workers until `{"hold": false}`. It answers with what it has `heard` (kinds of
messages) and the `workers` of its list.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import pytest
import yaml
from attrs import define, evolve, field, frozen

from ccproxyd.config.load import Loaded, load
from ccproxyd.control.client import Client
from ccproxyd.daemon import house as house_module
from ccproxyd.daemon.house import House, Owned
from ccproxyd.daemon.instance import bind_listener
from ccproxyd.daemon.phases import Daemon
from ccproxyd.errors import CcproxydError, ConfigError
from ccproxyd.notify import Notifier
from ccproxyd.paths import Directories, make_private
from ccproxyd.supervision.supervisor import Supervised
from ccproxyd.telemetry.logs import Told
from tests.supervision.children import PATIENCE, command

GATEWAY: Final = """
import json

def tell(**message):
    say(json.dumps(message))

def let_go():
    global held
    for name in [name for name in held if name not in listed]:
        held.remove(name)
        tell(kind="idle", worker=name)

def obey_one(line):
    global listed, held, hold
    message = json.loads(line)
    kind = message["kind"]
    heard.append(kind)
    answer = {"ok": True}
    if kind == "prepare" and b'"idle":14' in line or kind == "commit" and odd == 17:
        os._exit(9)
    elif kind == "prepare":
        answer = prepare(line)
    elif kind in ("commit", "workers"):
        if kind == "commit" and odd == 16:
            answer = {"ok": False, "error": {"reason": "nothing is prepared"}}
        if answer["ok"] and "workers" in message:
            listed = [worker["name"] for worker in message["workers"]]
            held = sorted({*held, *listed})
            answer["workers"] = held if hold else listed
            if not hold:
                let_go()
    elif kind == "explain":
        answer = explain(message)
    elif kind in ("stop", "drain"):
        sys.exit(0)
    if "id" in message:
        tell(kind="answer", id=message["id"], **answer)
    if kind == "commit" and heard.count("commit") == 1:
        tell(kind="ready")

def prepare(line):
    global odd
    odd = next((number for number in range(13, 19) if b'"idle":%d' % number in line), 0)
    if odd == 13:
        error = {"path": "ccproxy.yaml: ccproxy.rules[0]", "reason": "bad", "hint": "good"}
        return {"ok": False, "error": error}
    if odd == 15:
        return {"ok": False, "error": {"reason": "internal error"}}
    return {"ok": True}

def explain(message):
    global hold
    body = message["body"]
    for one in body.get("say", []):
        tell(**one)
    if "hold" in body:
        hold = body["hold"]
        if not hold:
            let_go()
    if "refuse" in body:
        return {"ok": False, "error": body["refuse"]}
    return {"ok": True, "result": {"heard": heard, "workers": listed}}

listed, held, hold, heard, odd, rest = [], [], False, [], 0, b""
while True:
    data = os.read(wire, 1 << 20)
    if not data:
        sys.exit(0)
    *lines, rest = (rest + data).split(b"\\n")
    for line in lines:
        obey_one(line)
"""
WORKER: Final = """
import json

def order():
    heard = b""
    while not heard.endswith(b"\\n"):
        heard += os.read(wire, 65536)
    return json.loads(heard)

wanted = order()
with open(wanted["config"]) as file:
    config = json.load(file)
behaviour = config.get("litellm_settings", {}).get("doll")
models = [one["model_name"] for one in config["model_list"]]
models.remove(wanted["selftest"])
print("importing", models, "api_key=sk-ant-0123456789")
sys.stdout.flush()
if behaviour == "failed":
    say('{"kind":"failed","reason":"no such model","last_words":"ValueError: gpt-99"}')
    sys.exit(1)
if behaviour == "dies":
    sys.exit(3)
if behaviour == "mute":
    obey()
if behaviour == "drops":
    models = []
say(json.dumps({"kind": "ready", "models": models, "rss_bytes": 1}))
if behaviour == "deaf":
    forever()
obey()
"""
TEMPLATE: Final = """
import json, select, socket

end = socket.socket(fileno=wire)
refusing, children = globals().get("refusing"), []
say('{"kind":"ready","litellm":"0.0.1"}')
while True:
    ready, _, _ = select.select([end], [], [], 0.01)
    for pid in list(children):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            children.remove(pid)
            code = os.waitstatus_to_exitcode(status)
            say(json.dumps({"kind": "exited", "pid": pid, "status": code}))
    if not ready:
        continue
    data, descriptors, _, _ = socket.recv_fds(end, 1 << 20, 4)
    if not data or b'"stop"' in data:
        os._exit(0)
    name = json.loads(data)["name"]
    if refusing:
        say(json.dumps({"kind": "refused", "name": name, "reason": "2 threads"}))
        continue
    pid = os.fork()
    if pid == 0:
        wire, output = descriptors
        os.setsid()
        end.close()
        os.dup2(output, 1)
        os.dup2(output, 2)
        try:
            exec(WORKER)
        except SystemExit as end:
            os._exit(end.code)
    children.append(pid)
    for one in descriptors:
        os.close(one)
    say(json.dumps({"kind": "forked", "name": name, "pid": pid}))
""".replace("WORKER", repr(WORKER))
REFUSING: Final = "refusing = True\n" + TEMPLATE
DEMO: Final = 'say(\'{"kind":"ready"}\')\nobey()'


REQUEST: Final[dict[str, Any]] = {
    "request_id": "r1",
    "label": "default",
    "rule": "default",
    "model": "anthropic/claude-sonnet-5",
    "prompt": "what nobody else may read",
    "status": 200,
    "failed": False,
    "latency_ms": 5.0,
    "output_tokens": 7,
}
"""What a gateway tells of a request that has ended, and more than it may tell."""


class Idle:
    """Values of `ccproxy.timeouts.idle` that make the gateway fail."""

    REFUSED = 13
    DIES_AT_PREPARE = 14
    REFUSED_WITHOUT_A_PLACE = 15
    COMMIT_REFUSED = 16
    DIES_AT_COMMIT = 17


def entry(name: str, model: str = "anthropic/claude-sonnet-5") -> dict[str, Any]:
    return {"model_name": name, "litellm_params": {"model": model, "api_key": "k"}}


@define
class Config:
    """The config directory, to be changed while the house stands."""

    directory: Path

    def write(
        self,
        *,
        ours: Mapping[str, Any] | None = None,
        doll: str | None = None,
        models: tuple[str, ...] = ("default",),
        model: str = "anthropic/claude-sonnet-5",
    ) -> None:
        spawned = {"start_method": "spawn", "stop_seconds": 20}
        given = dict(ours or {})
        workers = {**spawned, **given.pop("workers", {})}
        document = {"ccproxy": {"port": 0, "workers": workers, **given}}
        self.directory.mkdir(exist_ok=True)
        (self.directory / "ccproxy.yaml").write_text(yaml.safe_dump(document))
        litellm: dict[str, Any] = {"model_list": [entry(name, model) for name in models]}
        if doll is not None:
            litellm["litellm_settings"] = {"doll": doll}
        (self.directory / "config.yaml").write_text(yaml.safe_dump(litellm))

    def idle(self, seconds: int, **more: Any) -> None:
        self.write(ours={"timeouts": {"idle": seconds}}, **more)


@frozen
class Ear:
    """A logger to a house; the street hears everything."""

    street: Street
    in_detail: bool = True

    def __call__(self, level: str, event: str, /, **facts: Any) -> None:
        self.street.log(level, event, **facts)

    def tell(self, records: Iterable[Told]) -> None:
        for level, event, facts in records:
            self(level, event, **facts)

    def tells(self, level: str) -> bool:
        return self.in_detail or level != "debug"


@define(eq=False)
class Street:
    """Where a house stands: its directories, what it logs, what it tells the service manager."""

    directories: Directories
    config: Config
    records: list[tuple[str, str, dict[str, Any]]] = field(factory=list)
    notified: list[str] = field(factory=list)
    codes: list[int] = field(factory=list)
    """With which each daemon ended."""
    _news: anyio.Event = field(factory=anyio.Event)

    def log(self, level: str, event: str, /, **facts: Any) -> None:
        self.records.append((level, event, facts))
        self._news.set()
        self._news = anyio.Event()

    def notify(self, text: str) -> None:
        self.notified.append(text.split("\n")[0])
        self._news.set()
        self._news = anyio.Event()

    def facts(self, event: str) -> list[dict[str, Any]]:
        return [facts for _, told, facts in self.records if told == event]

    async def until(self, holds: Callable[[], object]) -> None:
        while not holds():
            await self._news.wait()

    async def logged(self, event: str, times: int = 1) -> dict[str, Any]:
        await self.until(lambda: len(self.facts(event)) >= times)
        return self.facts(event)[times - 1]

    @property
    def notifier(self) -> Notifier:
        return Notifier(systemd=self)  # type: ignore[arg-type]

    def house(
        self,
        loaded: Loaded | None = None,
        *,
        demo: socket.socket | None = None,
        fixed: bool = False,
        passed: bool = False,
    ) -> House:
        for directory in (self.directories.runtime, self.directories.state):
            make_private(directory)
        owned = Owned(
            directories=self.directories,
            host="127.0.0.1",
            port=0,
            listener=bind_listener("127.0.0.1", 0),
            passed=passed,
            keys=("sk-ours",),
            demo=demo,
            fixed_address=fixed,
        )
        loaded = loaded or load(self.directories.config, {})
        return House(owned, loaded, Ear(self), self.notifier)  # type: ignore[arg-type]

    def daemon(self, *, waits: bool = False, **how: Any) -> Daemon:
        def build(loaded: Loaded) -> House:
            return self.house(loaded, **how)

        make_private(self.directories.runtime)
        log: Any = self.log
        return Daemon(self.directories, log, self.notifier, build, waits)

    @asynccontextmanager
    async def living(self, *, waits: bool = False, **how: Any) -> AsyncIterator[Daemon]:
        """A daemon on the config as it is, until the block ends, with its exit code in `codes`."""
        daemon = self.daemon(waits=waits, **how)
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(self._live, daemon)
                await anyio.wait_all_tasks_blocked()
                try:
                    yield daemon
                finally:
                    daemon.phase.end()

    async def _live(self, daemon: Daemon) -> None:
        self.codes.append(await daemon.run(self.read()))

    def read(self) -> Loaded | ConfigError:
        try:
            return load(self.directories.config, {})
        except ConfigError as error:
            return error

    async def ask(self, verb: str, payload: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The answer of a living daemon's control socket."""
        client = Client(self.directories.control_socket)
        return await anyio.to_thread.run_sync(client.call, verb, payload)

    @asynccontextmanager
    async def built(self, **how: Any) -> AsyncIterator[House]:
        """A house that runs until the block ends; what it raises at its end is raised."""
        house = self.house(**how)
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(house.run)
                await anyio.wait_all_tasks_blocked()
                try:
                    yield house
                finally:
                    house.end()

    @asynccontextmanager
    async def ready(self, **how: Any) -> AsyncIterator[House]:
        async with self.built(**how) as house:
            await self.logged("ready")
            yield house


@contextmanager
def street() -> Iterator[Street]:
    """Short paths: a Unix socket's must be."""
    top = Path(tempfile.mkdtemp(prefix="ccd-"))
    try:
        directories = Directories(top / "c", top / "r", top / "s", top / "l")
        config = Config(top / "c")
        config.write()
        yield Street(directories, config)
    finally:
        shutil.rmtree(top)


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every process of the house be a doll."""

    def without(variables: Mapping[str, str], script: str) -> Any:
        return evolve(command(script), environ={"PATH": variables.get("PATH", "")})

    def gateway(environ: Mapping[str, str], listener: int) -> Any:
        return without(environ, GATEWAY)

    monkeypatch.setattr(house_module, "gateway_command", gateway)
    monkeypatch.setattr(house_module, "worker_command", lambda environ: without(environ, WORKER))
    monkeypatch.setattr(house_module, "demo_command", lambda environ, _: without(environ, DEMO))
    monkeypatch.setattr(
        house_module, "template_command", lambda environ: without(environ, TEMPLATE)
    )


async def ask_gateway(house: House, **body: Any) -> Any:
    """Make the gateway do something, and get what it has heard."""
    assert house.gateway.child is not None
    answer = await house.gateway.child.ask({"kind": "explain", "body": body})
    return answer.get("result")


async def gateway_lists(house: House, *names: str) -> None:
    """Wait until the gateway has just these workers."""
    while (await ask_gateway(house))["workers"] != list(names):  # noqa: ASYNC110
        await anyio.sleep(0.005)


def only_worker(house: House) -> Supervised:
    [worker] = [worker for _, worker in house.generations.workers()]
    return worker


async def raised(house: House) -> CcproxydError:
    """What a house that cannot start ends with."""
    with anyio.fail_after(PATIENCE), pytest.raises(CcproxydError) as caught:
        await house.run()
    return caught.value
