"""start: the daemon in the foreground, with what it waits for until it serves.

The daemon is a child that shares the terminal; its exit code is the command's. ^C reaches both, and
the daemon decides what it means.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from ccproxyd.control.client import Client, NotRunningError
from ccproxyd.control.status import Status
from ccproxyd.ctl.printing import plural, print_error, print_json
from ccproxyd.ctl.reach import client_of
from ccproxyd.ctl.waiting import Waiting
from ccproxyd.errors import CcproxydError

_POLL_SECONDS: Final = 0.25
_SERVING: Final = ("ready", "reloading", "degraded")


def start(args: Namespace) -> int:
    client = client_of(args)
    if running := _status(client):
        print_error(f"ccproxyd is running already (pid {running.pid})")
        return 0
    daemon = subprocess.Popen([*_command(), *_options(args)])
    with _signals_left_to(daemon):
        found = wait_until_serving(client, lambda: daemon.poll() is not None)
        if found is not None:
            _tell(args, found)
        return daemon.wait()


def wait_until_serving(
    client: Client,
    is_over: Callable[[], bool],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Status | None:
    """Its status once it serves, or None when it has ended before; shows what it waits for."""
    with Waiting("starting") as waiting:
        while not is_over():
            found = _status(client)
            if found and found.state in _SERVING:
                return found
            waiting.what = _progress(found)
            sleep(_POLL_SECONDS)
    return None


def _progress(found: Status | None) -> str:
    if found is None:
        return "starting"
    ready = sum(one.state == "ready" for one in found.workers)
    if found.template and found.template.pid and not any(one.pid for one in found.workers):
        return "starting, LiteLLM is being imported"
    return f"starting, {ready} of {plural(len(found.workers), 'worker')} ready"


def _status(client: Client) -> Status | None:
    try:
        return Status.from_json(client.call("status"))
    except NotRunningError:
        return None
    except CcproxydError:
        return Status()  # something is there, and not ready to say more


def _tell(args: Namespace, found: Status) -> None:
    where = f"{found.listen.host}:{found.listen.port}"
    if args.json:
        print_json({"ok": True, "pid": found.pid, "listen": where})
    else:
        print(f"ccproxyd is {found.state} on {where} (pid {found.pid}); ^C stops it", flush=True)


def _command() -> list[str]:
    return [sys.executable, "-P", "-m", "ccproxyd"]


def _options(args: Namespace) -> list[str]:
    return ["--config-dir", str(args.config_dir)] if args.config_dir else []


@contextmanager
def _signals_left_to(daemon: subprocess.Popen[bytes]) -> Iterator[None]:
    """^C reaches the daemon by itself; a SIGTERM for us is meant for it."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: daemon.terminate()),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
