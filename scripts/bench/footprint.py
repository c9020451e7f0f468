"""Memory by the room, and what a start costs where nothing needs LiteLLM.

A room's figure is RSS, what `ps` and `top` show; a worker's is USS, since it shares LiteLLM's code
with the process that it was forked from; a whole tree's is PSS where the system knows it, because
the sum of RSS counts what is shared several times.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import psutil
from attrs import asdict, frozen

from scripts.bench.bodies import Address
from scripts.bench.contestants import ours
from scripts.bench.processes import Memory, memory, tree
from scripts.bench.servers import Server, running, work_in
from tests.support.daemon import environment

LAZY: Final = ours(
    "lazy", "ccproxyd, LiteLLM when needed", lanes={"direct": "auto"}, workers={"lazy": True}
)


@frozen
class Rooms:
    """The processes of one ccproxyd, in MB."""

    daemon: float
    gateway: float
    template: float | None
    worker: float | None
    """Of the workers the one that has most for itself."""


@frozen
class Lazy:
    """A ccproxyd that has answered in the direct lane alone."""

    ready_seconds: float
    megabytes: float
    litellm_runs: bool
    """It should not; where it does, the other two say nothing."""


@frozen
class Footprint:
    """What everybody weighs: after some usual turns, and after the whole benchmark."""

    early: Mapping[str, Memory]
    late: Mapping[str, Memory]
    ready_seconds: Mapping[str, float]
    rooms: Rooms | None = None
    """After some usual turns."""
    lazy: Lazy | None = None

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = _rounded(asdict(self))
        return found


Servers = Mapping[str, Server]


def weights(servers: Servers) -> dict[str, Memory]:
    """Of each server with all its processes."""
    return {name: memory(tree(server.pid)) for name, server in servers.items()}


def ready_seconds(servers: Servers) -> dict[str, float]:
    return {name: one.ready_seconds for name, one in servers.items() if one.ready_seconds}


def rooms_of(servers: Servers) -> Rooms | None:
    """Of the ccproxyd that uses LiteLLM, if possible with two workers."""
    server = servers.get("lane-2") or servers.get("lane")
    if server is None:
        return None
    status = _status(server)
    template = (status.get("template") or {}).get("pid")
    workers = [_memory(one["pid"]).uss for one in status["workers"] if one["state"] == "ready"]
    return Rooms(
        daemon=_memory(status["pid"]).rss,
        gateway=_memory(status["gateway"]["pid"]).rss,
        template=_memory(template).rss if template else None,
        worker=max(workers, default=None),
    )


def lazy_start(directory: Path, provider: Address) -> Lazy:
    """Start a ccproxyd without LiteLLM, give it usual turns, and look."""
    with running(LAZY, directory / LAZY.name, provider) as server:
        work_in(server)
        status = _status(server)
        return Lazy(
            ready_seconds=server.ready_seconds,
            megabytes=memory(tree(server.pid)).of_tree,
            litellm_runs=bool(status["workers"] or (status.get("template") or {}).get("pid")),
        )


def _memory(pid: int) -> Memory:
    return memory([psutil.Process(pid)])


def _status(server: Server) -> dict[str, Any]:
    socket = server.directory / "run" / "control.sock"
    done = subprocess.run(
        [sys.executable, "-m", "ccproxyd.ctl", "--socket", str(socket), "--json", "status"],
        env=environment(server.directory),
        capture_output=True,
        check=False,
        timeout=30,
    )
    if done.returncode:
        raise RuntimeError(f"cannot ask {server.title} how it is: {done.stderr.decode()}")
    status: dict[str, Any] = json.loads(done.stdout)
    return status


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_rounded(one) for one in value]
    return round(value, 2) if isinstance(value, float) else value
