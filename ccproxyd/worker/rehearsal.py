"""What a worker still builds after LiteLLM is imported, found out by letting one start.

Some two hundred modules are imported, and some dozens of pydantic models completed, only when
LiteLLM starts on a config and takes its first request: half a second in each worker that is forked
without them. Which ones they are differs from version to version, so no list of them is kept. The
template forks a child, has it start on a config of nothing but the self-test, and builds what the
child had to. The child sends nothing anywhere: its one request is answered by `mock_response`.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import SchemaValidator

from ccproxyd.worker.order import Order, Orders
from ccproxyd.worker.process import Serve, Voice

_PREFIXES: Final = ("litellm.", "pydantic", "opentelemetry.", "openai.", "fastapi", "prometheus_")
"""What only a start imports. The user's own modules are not ours to keep."""


def build_what_a_start_needs(serve: Serve) -> None:
    """Let a child start, then import and complete what it did.

    Raises:
        SystemExit: this process was told to go (SIGTERM), and its child has gone.
    """
    told = _told_by_a_child(serve)
    if told:
        built = json.loads(told)
        _import(built["modules"])
        _complete(set(built["models"]))


def _told_by_a_child(serve: Serve) -> bytes:
    reading, writing = os.pipe()
    with _leaving_in_order(), tempfile.TemporaryDirectory(prefix="ccproxyd-") as directory:
        pid = os.fork()
        if pid == 0:
            _rehearse(serve, writing, Path(directory))
        try:
            os.close(writing)
            return _read_all(reading)
        except SystemExit:
            os.kill(pid, signal.SIGKILL)
            raise
        finally:
            os.waitpid(pid, 0)


@contextmanager
def _leaving_in_order() -> Iterator[None]:
    """A SIGTERM is an exception meanwhile: there is a child and a directory to take along."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _rehearse(serve: Serve, writing: int, directory: Path) -> None:
    """In the child: start, and say what that took."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    modules, incomplete = set(sys.modules), _incomplete()
    try:
        Voice().take_over()
        asyncio.run(_start(serve, directory))
    finally:
        built = {
            "modules": [name for name in sys.modules if name not in modules and _is_theirs(name)],
            "models": sorted(incomplete.keys() - _incomplete().keys()),
        }
        with os.fdopen(writing, "w") as pipe:
            json.dump(built, pipe)
        os._exit(0)


def _is_theirs(module: str) -> bool:
    return module.startswith(_PREFIXES)


def _incomplete() -> dict[str, type[BaseModel]]:
    """pydantic's models that will be completed when they are first used."""
    found: dict[str, type[BaseModel]] = {}
    waiting = [BaseModel]
    while waiting:
        for model in waiting.pop().__subclasses__():
            waiting.append(model)
            if not isinstance(model.__dict__.get("__pydantic_validator__"), SchemaValidator):
                found[f"{model.__module__}:{model.__qualname__}"] = model
    return found


async def _start(serve: Serve, directory: Path) -> None:
    orders = Orders()

    def stop_when_ready(message: Any) -> None:
        if message["kind"] == "ready":
            orders.stop_within(0.1)

    await serve(_order(directory), stop_when_ready, orders, on_request=lambda: None)


def _order(directory: Path) -> Order:
    key, model = f"sk-{secrets.token_hex(16)}", "ccproxyd-rehearsal"
    nowhere = {"api_base": "http://127.0.0.1:1", "api_key": "none"}
    params = {"model": "openai/rehearsal", "mock_response": "ok", **nowhere}
    config = {
        "model_list": [{"model_name": model, "litellm_params": params}],
        "litellm_settings": {"callbacks": ["ccproxyd.worker.handler.proxy_handler_instance"]},
        "general_settings": {"master_key": key},
    }
    file = directory / "config.yaml"
    file.write_text(json.dumps(config))
    return Order(
        config=file,
        socket=directory / "socket",
        config_dir=directory,
        secret=secrets.token_hex(8),
        key=key,
        selftest=model,
    )


def _read_all(reading: int) -> bytes:
    with os.fdopen(reading, "rb") as pipe:
        return pipe.read()


def _import(names: Iterable[str]) -> None:
    for name in names:
        with suppress(Exception):  # it is only a worker's time that is lost
            importlib.import_module(name)


def _complete(names: set[str]) -> None:
    for name, model in _incomplete().items():
        if name in names:
            with suppress(Exception):
                model.model_rebuild(force=True)
