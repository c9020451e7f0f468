"""A gateway's parts as the process puts them together, with ends that a test can hold."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, Self

import orjson
import yaml
from attrs import define, field

from ccproxyd.config.load import load
from ccproxyd.gateway.app import App
from ccproxyd.gateway.exchange import Exchange
from ccproxyd.gateway.lanes.direct import DirectLane
from ccproxyd.gateway.lanes.litellm import LiteLLMLane
from ccproxyd.gateway.lanes.upstream import Upstream
from ccproxyd.gateway.pool import Address, Pool
from ccproxyd.gateway.prices import load_prices
from ccproxyd.gateway.server import _Server, _settings_of
from ccproxyd.gateway.table import Table
from ccproxyd.routing import StickyTable, TokenCounter, Toolsets
from ccproxyd.telemetry.prices import PriceList
from tests.gateway.scripted import PATIENCE

KEY = "sk-the-clients-key"
SESSION_KEY = "5e" * 32
CANARY = "canary-7f3a"
"""Stands in prompts, and may stand nowhere else."""

OURS = """
ccproxy:
  rules:
    - {label: think, rule: ThinkingRule}
"""
MODELS = """
model_list:
  - {model_name: default, litellm_params: {model: anthropic/claude-sonnet-5, api_key: k}}
  - {model_name: think, litellm_params: {model: anthropic/claude-opus-4-8, api_key: k}}
  - {model_name: claude-haiku-4-5, litellm_params: {model: anthropic/claude-haiku-4-5, api_key: k}}
"""


def write_config(directory: Path, ours: str = OURS, litellm: str = MODELS, rules: str = "") -> Path:
    """A config directory; `rules` is the user's own module `own_rules`.

    Requests go to the workers, unless `ours` says something of lanes.
    """
    document = yaml.safe_load(ours)
    document["ccproxy"] = {"lanes": {"direct": "off"}, **document["ccproxy"]}
    (directory / "ccproxy.yaml").write_text(yaml.safe_dump(document))
    (directory / "config.yaml").write_text(litellm)
    if rules:
        (directory / "own_rules.py").write_text(rules)
    return directory


def order_to_prepare(config_dir: Path, keys: Iterable[str] = (KEY,)) -> dict[str, Any]:
    """What the daemon sends of a config directory."""
    return {
        "kind": "prepare",
        "config": load(config_dir, {}).to_message(),
        "config_dir": str(config_dir),
        "keys": list(keys),
        "session_key": SESSION_KEY,
    }


def build_table(
    config_dir: Path,
    on_error: Any = lambda _path, _error, _place: None,
    on_hook_error: Any = lambda _path, _error, _place: None,
) -> Table:
    order = order_to_prepare(config_dir)
    return Table.build(order, StickyTable(), on_error, prices(), on_hook_error)


@cache
def prices() -> PriceList:
    return load_prices()


@define
class House:
    """An app with what it told: `sent` to the daemon, `logged` beside it."""

    app: App
    sent: list[dict[str, Any]]
    logged: list[dict[str, Any]]

    def finished(self) -> dict[str, Any]:
        return next(one for one in self.sent if one["kind"] == "finished")

    def decided(self) -> dict[str, Any]:
        return next(one for one in self.sent if one["kind"] == "decided")

    def told(self) -> str:
        return repr(self.sent) + repr(self.logged)


@asynccontextmanager
async def open_house(config_dir: Path, *workers: Address) -> AsyncIterator[House]:
    """An app with these workers ready."""
    sent: list[dict[str, Any]] = []
    logged: list[dict[str, Any]] = []

    def log(level: str, event: str, **facts: Any) -> None:
        logged.append({"level": level, "event": event, **facts})

    pool = Pool(lambda _: None)
    lane = LiteLLMLane(pool, log)
    app = App(
        table=build_table(config_dir),
        pool=pool,
        lane=lane,
        direct=DirectLane(Upstream()),
        counter=TokenCounter(),
        toolsets=Toolsets(),
        send_report=lambda message: sent.append(dict(message)),
        log=log,
    )
    pool.replace(workers)
    try:
        yield House(app, sent, logged)
    finally:
        await app.close()


@define
class Call:
    """One request to an ASGI app without a server between, and its answer."""

    method: str = "POST"
    path: str = "/v1/messages"
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(factory=dict)
    query: str = ""
    raw_path: str | None = None
    again: Iterable[tuple[str, str]] = ()
    """More headers, of names that may stand there already."""
    status: int = 0
    answered: list[tuple[str, str]] = field(factory=list)
    pieces: list[bytes] = field(factory=list)
    complete: bool = False
    begun: asyncio.Event = field(factory=asyncio.Event)
    _asked: bool = False
    _over: asyncio.Event = field(factory=asyncio.Event)

    async def to(self, app: Any) -> Self:
        async with asyncio.timeout(PATIENCE):
            await app(self.scope(), self.receive, self.send)
        return self

    def scope(self) -> dict[str, Any]:
        return {
            "type": "http",
            "method": self.method,
            "path": self.path,
            "raw_path": (self.raw_path or self.path).encode(),
            "query_string": self.query.encode(),
            "headers": [(k.encode(), v.encode()) for k, v in [*self.headers.items(), *self.again]],
        }

    def exchange(self) -> Exchange:
        return Exchange(self.scope(), self.receive, self.send)

    def leave(self) -> None:
        """The client goes away."""
        self._over.set()

    async def receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.answered = [(k.decode(), v.decode()) for k, v in message["headers"]]
            return
        self.pieces.append(message.get("body", b""))
        self.begun.set()
        if not message.get("more_body", False):
            self.complete = True
            self._over.set()

    @property
    def answer(self) -> bytes:
        return b"".join(self.pieces)

    def json(self) -> Any:
        return orjson.loads(self.answer)

    def header(self, name: str) -> str | None:
        return next((value for found, value in self.answered if found == name), None)


def asking(model: str = "claude-haiku-4-5", prompt: str = CANARY, **more: Any) -> bytes:
    """A small conversation."""
    messages = [{"role": "user", "content": prompt}]
    return orjson.dumps({"model": model, "max_tokens": 16, "messages": messages, **more})


def call(body: bytes | None = None, path: str = "/v1/messages", **more: Any) -> Call:
    """A request with the client's key."""
    headers = {"x-api-key": KEY, **more.pop("headers", {})}
    return Call(path=path, body=asking() if body is None else body, headers=headers, **more)


def on_the_wire(body: bytes) -> bytes:
    """The same as bytes, for a client that does only what it must."""
    head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def listen() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=128)


def url_of(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def serving(app: App) -> AsyncIterator[str]:
    """The app behind a real uvicorn, as the process runs it; its address."""
    listener = listen()
    url = url_of(listener)
    started = asyncio.Event()
    server = _Server(_settings_of(app), started.set)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await started.wait()
    try:
        yield url
    finally:
        server.should_exit = True
        server.cut_off()
        await task
