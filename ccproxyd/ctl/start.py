"""start: the service if there is one, else the daemon in the foreground, or detached.

In the foreground the daemon is a child that shares the terminal; its exit code is the command's. ^C
reaches both, and the daemon decides what it means.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ccproxyd.control.client import Client
from ccproxyd.control.status import Status
from ccproxyd.ctl.printing import address, print_error, print_json
from ccproxyd.ctl.reach import own_client
from ccproxyd.ctl.service.find import service_for
from ccproxyd.ctl.service.manager import Manager
from ccproxyd.ctl.serving import (
    complain_of,
    progress,
    status_of,
    wait_for_service,
    wait_until_serving,
)
from ccproxyd.ctl.waiting import Waiting


def start(args: Namespace) -> int:
    manager = service_for(args)
    client = Client(manager.control_socket) if manager else own_client(args)
    if pid := _running_pid(manager, client):
        print_error(f"ccproxyd is running already (pid {pid})")
        return 0
    if manager:
        return tell(args, start_service(manager), unit=manager.unit)
    if args.detach:
        return tell(args, _detached(args, client), after="; see: ccproxyctl logs")
    return _in_foreground(args, client)


def start_in_background(args: Namespace) -> Status:
    """What `start` starts, but never in the foreground, and without a word: its status.

    Raises:
        CcproxydError: it does not serve, and why.
    """
    manager = service_for(args)
    return start_service(manager) if manager else _detached(args, own_client(args))


def _detached(args: Namespace, client: Client) -> Status:
    from ccproxyd.ctl.detach import start_detached

    return start_detached(args, _command_line(args), client)


def _running_pid(manager: Manager | None, client: Client) -> int:
    """Of a daemon that need not be started; a service that is starting is waited for."""
    found = manager.show() if manager else None
    if found and found.is_up:
        return found.running_pid
    running = status_of(client)
    return running.pid if running else 0


def start_service(manager: Manager) -> Status:
    """The daemon's status, as far as it tells us, once it serves.

    Raises:
        FailedError: it does not, with what it has said itself.
    """
    since = time.time()
    client = Client(manager.control_socket)
    with Waiting("starting", detail=lambda: progress(status_of(client))):
        manager.start()
    return wait_for_service(manager, since)


def tell(args: Namespace, found: Status, *, unit: str = "", after: str = "") -> int:
    """Say that it serves, and where, as far as it tells us: the system's daemon tells root alone.

    The exit code is 1 for one that runs and serves nothing.
    """
    if args.json:
        print_json(_served(found, unit))
    else:
        where = f" on {address(found.listen.host, found.listen.port)}" if found.listen.port else ""
        pid = f" (pid {found.pid})" if found.pid else ""
        print(f"ccproxyd is {found.state or 'started'}{where}{pid}{after}", flush=True)
    return complain_of(found)


def _served(found: Status, unit: str) -> dict[str, Any]:
    listen = address(found.listen.host, found.listen.port) if found.listen.port else None
    told = {
        "ok": found.state != "degraded",
        "state": found.state,
        "pid": found.pid,
        "listen": listen,
    }
    return {**told, "unit": unit} if unit else told


def _in_foreground(args: Namespace, client: Client) -> int:
    daemon = subprocess.Popen(_command_line(args))
    with _signals_left_to(daemon):
        found = wait_until_serving(client, lambda: daemon.poll() is not None)
        if found is not None:
            tell(args, found, after="; ^C stops it")
        return daemon.wait()


def _command_line(args: Namespace) -> list[str]:
    return [*_command(), *_options(args)]


def _command() -> list[str]:
    return [sys.executable, "-P", "-m", "ccproxyd"]


def _options(args: Namespace) -> list[str]:
    return ["--config-dir", str(args.config_dir.absolute())] if args.config_dir else []


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
