"""reload, restart, stop: each waits until it is done, and shows on a terminal that it does.

What a service runs is stopped and restarted by its service manager, which would otherwise take the
daemon's end for an accident, or for the moment to start it again. `reload` is the daemon's alone,
and so is the replacement of some of its processes.
"""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable
from typing import Final

from ccproxyd.control.client import Client, FailedError, NotRunningError
from ccproxyd.control.messages import ReloadResult, RestartResult, Status, StopResult
from ccproxyd.ctl.printing import duration, plural, print_error, print_json
from ccproxyd.ctl.reach import ask, client_of
from ccproxyd.ctl.service.manager import Manager
from ccproxyd.ctl.serving import (
    complain_of,
    manager_in_charge,
    progress,
    status_of,
    wait_for_service,
)
from ccproxyd.ctl.waiting import Waiting
from ccproxyd.errors import EXIT_FAILED, ConfigError

STOP_LIMIT_SECONDS: Final = 900.0
"""Longer than any drain that is configured sensibly."""

_POLL_SECONDS: Final = 0.25


def reload(args: Namespace) -> int:
    try:
        answer = ask(args, "reload", doing="reloading")
    except FailedError as error:
        if error.error and error.error.type == "ConfigError":
            raise FailedError(f"{error}; {_OLD_GOES_ON}", error.error) from None
        raise
    if args.json:
        print_json(answer)
    return _report_reload(ReloadResult.from_json(answer), quiet=args.json)


def restart(args: Namespace) -> int:
    what = args.word or args.option or "all"
    if what == "all" and (manager := manager_in_charge(args)):
        return _restart_service(args, manager)
    name = _NAMES[what]
    answer = ask(args, "restart", {"what": what}, doing=f"restarting {name}")
    result = RestartResult.from_json(answer)
    if args.json:
        print_json(answer)
    if not result.ok:
        print_error(f"cannot restart {name}: {result.error or _LOG_SAYS}")
        return EXIT_FAILED
    if not args.json:
        took = f"{duration(result.seconds)} (generation {result.generation})"
        print(f"restarted {name} in {took}")
    return 0


def stop(args: Namespace) -> int:
    if manager := manager_in_charge(args):
        return _stop_service(args, manager)
    client = client_of(args)
    answer = ask(args, "stop", client=client)
    result = StopResult.from_json(answer)
    if not result.ok:
        raise FailedError(f"cannot stop ccproxyd: {_LOG_SAYS}")
    ending = "ccproxyd is stopping" if args.no_wait else wait_until_gone(client, result.pid)
    if args.json:
        print_json(answer)
    else:
        print(ending)
    return 0


def wait_until_gone(
    client: Client,
    pid: int,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """How the daemon with this pid ended, once it has.

    Raises:
        FailedError: it is still there after `STOP_LIMIT_SECONDS`.
    """
    deadline = clock() + STOP_LIMIT_SECONDS
    with Waiting("stopping") as waiting:
        while clock() < deadline:
            try:
                found = Status.from_json(client.call("status"))
            except NotRunningError:
                return "ccproxyd has stopped"
            except FailedError:
                found = Status()  # it ended while it was asked, or refuses while it stops
            if pid and found.pid not in (0, pid):
                return f"ccproxyd has stopped, and was started again (pid {found.pid})"
            waiting.what = _stopping(found)
            sleep(_POLL_SECONDS)
    raise FailedError(f"ccproxyd is still stopping after {duration(STOP_LIMIT_SECONDS)}")


def _stop_service(args: Namespace, manager: Manager) -> int:
    found = manager.show()
    if not found.is_up and not found.listens:
        raise NotRunningError(f"{manager.unit} is not running; start it with: ccproxyctl start")
    client = Client(manager.control_socket)
    with Waiting("stopping", detail=lambda: _in_flight(status_of(client))):
        manager.stop(wait=not args.no_wait)
    if args.json:
        print_json({"ok": True, "pid": found.pid, "unit": manager.unit})
    elif args.no_wait:
        print("ccproxyd is stopping")
    else:
        print("ccproxyd has stopped" if found.is_up else "the port of ccproxyd is closed")
    return 0


def _restart_service(args: Namespace, manager: Manager) -> int:
    client = Client(manager.control_socket)
    _refuse_bad_config(status_of(client))
    begun = time.time()
    with Waiting("restarting", detail=lambda: _restarting(status_of(client))):
        manager.restart()
    found = wait_for_service(manager, begun)
    if args.json:
        ok = found.state != "degraded"
        print_json({"ok": ok, "what": "all", "pid": found.pid, "unit": manager.unit})
    else:
        print(f"restarted {manager.unit} in {duration(time.time() - begun)}")
    return complain_of(found)


_OLD_GOES_ON: Final = "the old config goes on"
_LOG_SAYS: Final = "its log says why (ccproxyctl logs)"
_NAMES: Final = {
    "all": "gateway and workers",
    "workers": "the workers",
    "gateway": "the gateway",
}


def _report_reload(result: ReloadResult, *, quiet: bool) -> int:
    if result.error or not result.ok:
        print_error(f"cannot reload: {result.error or _LOG_SAYS}; {_OLD_GOES_ON}")
        return EXIT_FAILED
    if not quiet:
        print(_reloaded(result))
    return 0


def _reloaded(result: ReloadResult) -> str:
    generation = f"(generation {result.generation})"
    if result.changed == "nothing":
        return f"nothing has changed {generation}"
    return f"reloaded {result.changed} in {duration(result.seconds)} {generation}"


def _refuse_bad_config(running: Status | None) -> None:
    """A daemon whose config has become wrong since would end, and not come back."""
    from ccproxyd.ctl.check import examine_for

    try:
        examine_for(running)
    except ConfigError as error:
        raise FailedError(f"cannot restart: {error}; {_OLD_GOES_ON}") from None


def _stopping(found: Status) -> str:
    return ", ".join(["stopping", *filter(None, [_in_flight(found)])])


def _restarting(found: Status | None) -> str:
    """First the old daemon finishes what it has, then a new one starts."""
    return _in_flight(found) if found and found.state == "stopping" else progress(found)


def _in_flight(found: Status | None) -> str:
    in_flight = found.gateway.in_flight if found and found.gateway else 0
    return f"{plural(in_flight, 'request')} in flight" if in_flight else ""
