"""reload, restart, stop: each waits until it is done, and shows on a terminal that it does."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable
from typing import Final

from ccproxyd.control.client import Client, FailedError, NotRunningError
from ccproxyd.control.messages import ReloadResult, RestartResult, Status, StopResult
from ccproxyd.ctl.printing import duration, plural, print_error, print_json
from ccproxyd.ctl.reach import ask, client_of
from ccproxyd.ctl.waiting import Waiting
from ccproxyd.errors import EXIT_FAILED

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


_OLD_GOES_ON: Final = "the old config goes on"
_LOG_SAYS: Final = "its log says why"
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


def _stopping(found: Status) -> str:
    in_flight = found.gateway.in_flight if found.gateway else 0
    return f"stopping, {plural(in_flight, 'request')} in flight" if in_flight else "stopping"
