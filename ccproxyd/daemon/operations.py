"""What each verb of the control API does, and what `status` tells.

Answers are put together from what the lives last said of themselves; nothing here waits for a
child, but `explain`, `reload` and `restart`, which are about one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, Final

import anyio
import psutil

from ccproxyd import __version__
from ccproxyd.config.settings import Settings
from ccproxyd.control.messages import ControlError
from ccproxyd.daemon.change import Changed, explain_failure, reload, restart
from ccproxyd.daemon.house import House
from ccproxyd.errors import CcproxydError, ConfigError
from ccproxyd.supervision.generations import GenerationFailedError
from ccproxyd.supervision.lifecycle import State
from ccproxyd.supervision.supervisor import Supervised
from ccproxyd.wire import WireClosedError

Answer = Mapping[str, Any]

_EXPLAIN_SECONDS: Final = 30.0
_WORKER_STATES: Final = {
    State.READY: "ready",
    State.DRAINING: "draining",
    State.STOPPING: "draining",
}


class Operations:
    """The daemon, as the control API sees it."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def status(self) -> Answer:
        house = self._house
        host, port = house.owned.address
        return {
            "version": __version__,
            "state": house.shown_state,
            "pid": os.getpid(),
            "uptime_seconds": round(time.monotonic() - house.started, 3),
            "config_dir": str(house.owned.directories.config),
            "generation": house.generation_number,
            "listen": {"host": host, "port": port},
            "control_socket": str(house.owned.directories.control_socket),
            "labels": [target.name for target in house.loaded.litellm.targets()],
            "lanes": {
                name: {"lane": lane.name, "reason": lane.reason}
                for name, lane in house.lanes(house.loaded).items()
            },
            "gateway": _gateway(house.gateway) if house.gateways else None,
            "workers": [
                _worker(generation.number, worker)
                for generation, worker in house.generations.workers()
                if worker.state is not State.GONE
            ],
            "restarts_total": house.restarts_total,
            "last_exit": house.last_exit,
            "last_reload": house.last_reload,
            "template": _process(house.template.life) if house.template else None,
            "rule_errors": house.gateway.vital_signs.get("rule_errors", {}),
            "hook_errors": house.gateway.vital_signs.get("hook_errors", {}),
            "budgets": house.purse.to_json(),
            "warnings": [*house.loaded.warnings, *house.complaints()],
        }

    async def stats(self) -> Answer:
        return self._house.stats.to_json()

    async def routes(self) -> Answer:
        house = self._house
        settings: Settings = house.loaded.settings
        return {
            "generation": house.generation_number,
            "default_model_passthrough": settings.default_model_passthrough,
            "rules": [
                {"label": rule.label, "rule": rule.rule, "sticky": rule.sticky, "path": rule.path}
                for rule in settings.rules
            ],
            "targets": [
                {"name": target.name, "models": list(target.models)}
                for target in house.loaded.litellm.targets()
            ],
            "aliases": dict(house.loaded.litellm.aliases),
        }

    async def reload(self) -> Answer:
        try:
            changed = await reload(self._house)
        except CcproxydError as error:
            raise _as_control_error(error) from None
        return {**_result(changed), "changed": changed.what}

    async def restart(self, what: str) -> Answer:
        try:
            changed = await restart(self._house, what)
        except CcproxydError as error:
            raise _as_control_error(error) from None
        return {**_result(changed), "what": what}

    async def stop(self) -> Answer:
        self._house.end()
        return {"ok": True, "pid": os.getpid()}

    async def explain(self, payload: Mapping[str, Any]) -> Answer:
        gateway = self._house.gateway
        if gateway.child is None or gateway.state is not State.READY:
            raise ControlError("NotReady", "the gateway is starting; try again in a moment", 503)
        try:
            with anyio.fail_after(_EXPLAIN_SECONDS):
                answer = await gateway.child.ask({**payload, "kind": "explain"})
        except (WireClosedError, TimeoutError):
            raise ControlError("NotReady", "the gateway did not answer", 503) from None
        if not answer["ok"]:
            error = answer["error"]
            raise ControlError("NoRoute", error["reason"], error.get("code", 500))
        result: Answer = answer["result"]
        return result


def _process(life: Supervised) -> dict[str, Any]:
    return {"pid": _pid(life), "rss_bytes": _rss(life)}


def _gateway(life: Supervised) -> dict[str, Any]:
    return {
        "pid": _pid(life),
        "uptime_seconds": _uptime(life),
        "rss_bytes": _rss(life),
        "in_flight": life.vital_signs.get("in_flight", 0),
    }


def _worker(generation: int, life: Supervised) -> dict[str, Any]:
    return {
        "pid": _pid(life),
        "generation": generation,
        "state": _WORKER_STATES.get(life.state, "starting"),
        "uptime_seconds": _uptime(life),
        "rss_bytes": _rss(life),
        "in_flight": life.vital_signs.get("in_flight", 0),
    }


def _pid(life: Supervised) -> int:
    return life.child.pid if life.child else 0


def _uptime(life: Supervised) -> float:
    return round(anyio.current_time() - life.started_at, 3) if life.child else 0.0


def _rss(life: Supervised) -> int:
    """Asked of the system: a heartbeat may be seconds old, and a hung process sends none."""
    try:
        return int(psutil.Process(_pid(life)).memory_info().rss) if life.child else 0
    except psutil.Error:
        return 0


def _result(changed: Changed) -> dict[str, Any]:
    return {"ok": True, "generation": changed.generation, "seconds": round(changed.seconds, 3)}


def _as_control_error(error: CcproxydError) -> CcproxydError:
    if isinstance(error, GenerationFailedError):
        return ControlError("WorkersFailed", explain_failure(error), 409)
    return (
        error
        if isinstance(error, ConfigError | ControlError)
        else ControlError(type(error).__name__, str(error), 409)
    )
