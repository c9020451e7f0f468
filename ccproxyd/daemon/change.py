"""Reload and restart: from one config, one generation, one gateway to the next.

A reload asks everybody before it changes anything:

    the files     are read and parsed; an error names the field
    the gateway   builds the new table, with the users' modules loaded afresh
    the workers   of a new generation start and prove themselves, if LiteLLM sees a change

Only then does it commit, in one message: the gateway's table and its list of workers change in the
same moment, and the old generation finishes what it has. Whatever fails before that leaves
everything as it was. One change at a time; the next waits.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
import anyio.to_thread
from attrs import frozen

from ccproxyd.config.environment import saying_references
from ccproxyd.config.load import Loaded, load
from ccproxyd.daemon.address import hosts_agree, how_to_move
from ccproxyd.daemon.house import House, Owned, installed_litellm
from ccproxyd.daemon.rendering import check_models
from ccproxyd.errors import CcproxydError, ConfigError
from ccproxyd.supervision.generations import Generation, GenerationFailedError
from ccproxyd.supervision.lifecycle import State, Wanted
from ccproxyd.supervision.process import Child
from ccproxyd.supervision.supervisor import Supervised
from ccproxyd.wire import WireClosedError

START_PATIENCE: Final = 30.0
"""Seconds that a change waits for a daemon that is just starting."""

LEAVING_PATIENCE: Final = 5.0
"""Seconds that a change waits for old workers to go: those that have nothing left need less."""


class RefusedError(CcproxydError):
    """A change that cannot be made now, or not this way."""


@frozen
class Changed:
    """What a change came to; `what` is nothing, rules or workers."""

    what: str
    generation: int
    seconds: float


async def reload(house: House) -> Changed:
    """Take the config as it is on disk.

    Raises:
        CcproxydError: it was not taken, and the old one goes on.
    """
    return await _recorded(house, _reload)


async def restart(house: House, what: str) -> Changed:
    """Replace workers, gateway or all, with the config that is in force; nothing is lost.

    Raises:
        CcproxydError: the replacement did not come up, and the old ones go on.
    """

    async def change(house: House) -> str:
        if what in ("all", "workers"):
            _renew_template(house)
            await _new_workers(house, house.loaded, prepared=None)
        if what in ("all", "gateway"):
            await _new_gateway(house)
        return what

    return await _recorded(house, change, is_reload=False)


async def _recorded(
    house: House, change: Callable[[House], Awaitable[str]], *, is_reload: bool = True
) -> Changed:
    await _started(house)
    async with house.changing:
        if house.shown_state not in ("ready", "degraded"):
            raise RefusedError(f"ccproxyd is {house.state}; try again when it is ready")
        before, began = house.state, time.monotonic()
        house.state = "reloading"
        house.notifier.reloading()
        try:
            what = await change(house)
        except CcproxydError as error:
            _note(house, error, time.monotonic() - began, is_reload)
            raise
        finally:
            _settle(house, before)
        changed = Changed(what, house.generation_number, time.monotonic() - began)
        _note(house, None, changed.seconds, is_reload, what)
        return changed


async def _started(house: House) -> None:
    """Who asks right after a start means the daemon that it becomes."""
    if house.shown_state == "starting":
        with anyio.move_on_after(START_PATIENCE):
            await house.settled.wait()


def _settle(house: House, before: str) -> None:
    if house.state != "reloading":
        return  # it was told to stop meanwhile, and the listener may be closed
    house.state = before
    if before == "starting":
        # It never served: the config that it was started with kept its workers from starting.
        if house.serves:
            house.be_ready()
        return
    host, port = house.owned.address
    house.notifier.ready(f"serving on {host}:{port}")


def _note(
    house: House, error: CcproxydError | None, seconds: float, is_reload: bool, what: str = ""
) -> None:
    name, seconds = "reload" if is_reload else "restart", round(seconds, 3)
    if error is None:
        event = "reloaded" if is_reload else "restarted"
        house.log("info", event, what=what, generation=house.generation_number, seconds=seconds)
    else:
        house.log("error", f"cannot {name}", because=str(error), seconds=seconds)
    if is_reload:
        house.last_reload = reload_record(error, house.generation_number, seconds)


def reload_record(error: CcproxydError | None, generation: int, seconds: float) -> dict[str, Any]:
    """What `status` says of the last reload."""
    return {
        "ok": error is None,
        "generation": generation,
        "error": _fault(error),
        "seconds": round(seconds, 3),
    }


def _fault(error: CcproxydError | None) -> dict[str, str] | None:
    if error is None:
        return None
    if isinstance(error, ConfigError):
        meant = f"; did you mean '{error.hint}'?" if error.hint else ""
        return {"path": error.path, "reason": error.reason + meant}
    return {"path": "", "reason": str(error)}


async def _reload(house: House) -> str:
    directory = house.owned.directories.config
    loaded = await anyio.to_thread.run_sync(load, directory, os.environ)
    before = house.loaded
    if loaded.fingerprint == before.fingerprint:
        return "nothing"
    with saying_references(loaded.referred):
        _check_address(house, loaded)
    gateway, child = _gateway(house)
    try:
        await house.prepare(child, loaded)
    except WireClosedError:
        raise _gateway_died() from None
    if loaded.worker_fingerprint == before.worker_fingerprint:
        await _commit(house, gateway, loaded, None)
        return "rules"
    try:
        await _new_workers(house, loaded, prepared=gateway)
    except CcproxydError:
        child.send({"kind": "abandon"})
        raise
    return "workers"


def _check_address(house: House, loaded: Loaded) -> None:
    """The listener is never given up, so its address cannot change under it."""
    owned, before, after = house.owned, house.loaded.settings, loaded.settings
    if owned.fixed_address:
        return
    host, port = owned.address
    if before.host != after.host and not hosts_agree(after.host, host):
        raise _immovable(owned, "host", before.host, after.host)
    if before.port != after.port and after.port != port:
        raise _immovable(owned, "port", before.port, after.port)


def _immovable(owned: Owned, name: str, old: str | int, new: str | int) -> ConfigError:
    anew = "run ccproxyctl stop, and start it again"
    how = how_to_move(owned.address, os.environ) if owned.passed else anew
    reason = f"cannot change from {old!r} to {new!r} while running; {how}"
    return ConfigError(f"ccproxy.yaml: ccproxy.{name}", reason)


async def _new_workers(house: House, loaded: Loaded, *, prepared: Supervised | None) -> None:
    """A generation for a config, in place of the one that serves."""
    await _room_for_one_more(house, loaded.settings.workers.max_generations)
    if house.generations.asleep and house.may_sleep(loaded):
        return await _commit(house, prepared, loaded, house.new_generation(loaded, again=True))
    generation = house.new_generation(loaded, again=False)
    house.generations.begin(generation)
    try:
        await generation.serving()
        check_models(loaded, generation.models)
        await _commit(house, prepared, loaded, generation)
    except BaseException:
        generation.want(Wanted.DOWN)
        raise


async def _room_for_one_more(house: House, limit: int) -> None:
    with anyio.move_on_after(LEAVING_PATIENCE) as waiting:
        await house.generations.fewer_than(limit)
    if waiting.cancelled_caught:
        raise RefusedError(
            f"{limit} generations of workers live already, the old ones finishing their requests;"
            " try again when one has gone, or raise ccproxy.workers.max_generations"
        )


async def _commit(
    house: House, gateway: Supervised | None, loaded: Loaded, generation: Generation | None
) -> None:
    """The new state comes into force; from here on nothing can fail but the gateway itself."""
    if gateway is not None:
        workers = house.workers_message(generation)["workers"]
        if gateway.state is not State.READY:
            raise _gateway_died()  # what was prepared went with it
        try:
            commit = {"kind": "commit", "workers": workers}
            answer = await house.tell_workers(gateway, commit)
        except WireClosedError:
            raise _gateway_died() from None
        if not answer["ok"]:
            raise CcproxydError(answer["error"]["reason"])
    house.loaded = loaded
    house.purse.take(loaded)
    if generation is not None:
        house.generations.take_over(generation)
        await house.publish()


def _renew_template(house: House) -> None:
    """A restart takes up a LiteLLM that was upgraded on disk."""
    template = house.template
    if template is not None and template.litellm not in (None, installed_litellm()):
        house.new_template(dict(template.environ))


async def _new_gateway(house: House) -> None:
    """A second gateway on the same listener; the first becomes its lame duck."""
    old = house.gateway
    new = house.new_gateway()
    house.group.start_soon(new.run)
    with anyio.move_on_after(new.limits.start):
        await new.ready.wait()
    if not new.ready.is_set():
        _give_up(house, new)
        raise CcproxydError(f"the new gateway did not start: {new.last_exit or 'no answer'}")
    if old.child is not None:
        old.child.send({"kind": "drain", "seconds": old.limits.drain})
    old.want(Wanted.DRAIN)


def _give_up(house: House, gateway: Supervised) -> None:
    """Known until it is gone, so that a daemon that stops does not leave it behind."""
    house.gateways.remove(gateway)
    house.gateways.insert(0, gateway)
    gateway.want(Wanted.DOWN)
    house.group.start_soon(_forget, house, gateway)


async def _forget(house: House, gateway: Supervised) -> None:
    await gateway.gone.wait()
    if gateway in house.gateways:
        house.gateways.remove(gateway)


def _gateway_died() -> RefusedError:
    return RefusedError("the gateway died during the reload; try again")


def _gateway(house: House) -> tuple[Supervised, Child]:
    gateway = house.gateway
    if gateway.child is None or gateway.state is not State.READY:
        raise RefusedError("the gateway is being restarted; try again in a moment")
    return gateway, gateway.child


def explain_failure(error: CcproxydError) -> str:
    """The reason, with LiteLLM's own last words where it had any."""
    if isinstance(error, GenerationFailedError) and error.words:
        return f"{error}\n{error.words}"
    return str(error)
