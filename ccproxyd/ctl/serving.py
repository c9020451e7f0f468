"""Whether a daemon serves yet, and how far it is."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable
from typing import Final

from ccproxyd.control.client import Client, FailedError, NotRunningError
from ccproxyd.control.status import Status
from ccproxyd.ctl.printing import plural, print_error
from ccproxyd.ctl.service.find import service_for
from ccproxyd.ctl.service.manager import Manager
from ccproxyd.ctl.waiting import Waiting
from ccproxyd.errors import EXIT_FAILED, CcproxydError

_POLL_SECONDS: Final = 0.25
_SERVING: Final = ("ready", "reloading", "degraded")


def wait_until_serving(
    client: Client,
    is_over: Callable[[], bool],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Status | None:
    """Its status once it serves, or None when it has ended before; shows what it waits for."""
    with Waiting("starting") as waiting:
        while not is_over():
            found = status_of(client)
            if found and found.state in _SERVING:
                return found
            waiting.what = ", ".join(["starting", *filter(None, [progress(found)])])
            sleep(_POLL_SECONDS)
    return None


def wait_for_service(manager: Manager, since: float) -> Status:
    """The status of a daemon that its manager has started, as far as it tells us.

    Raises:
        FailedError: it has ended, with what it has logged since that time.
    """
    client = Client(manager.control_socket)
    if manager.tells_ready:
        return status_of(client) or Status()
    found = wait_until_serving(client, lambda: not manager.show().is_up)
    if found is None:
        why = manager.reason(since) or manager.show().failure or "it has ended"
        raise FailedError(f"cannot start {manager.unit}: {why}; see: ccproxyctl logs")
    return found


def complain_of(started: Status) -> int:
    """The exit code for what was started: 1 for what runs and serves nothing, which says why."""
    if started.state != "degraded":
        return 0
    for warning in started.warnings:
        print_error(warning)
    return EXIT_FAILED


def progress(found: Status | None) -> str:
    """How far a daemon is that does not serve yet; nothing where it does not say."""
    if found is None or not found.workers:
        return ""
    if found.template and found.template.pid and not any(one.pid for one in found.workers):
        return "LiteLLM is being imported"
    ready = sum(one.state == "ready" for one in found.workers)
    return f"{ready} of {plural(len(found.workers), 'worker')} ready"


def manager_in_charge(args: Namespace) -> Manager | None:
    """The service manager, unless the daemon that runs was started beside it by hand."""
    manager = service_for(args)
    if manager is None or manager.show().is_up:
        return manager
    by_hand = status_of(Client(manager.control_socket))
    return None if by_hand and by_hand.pid else manager


def status_of(client: Client) -> Status | None:
    try:
        return Status.from_json(client.call("status"))
    except NotRunningError:
        return None
    except CcproxydError:
        return Status()  # something is there, and not ready to say more
