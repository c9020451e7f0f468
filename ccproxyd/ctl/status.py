"""status: how the daemon and its processes are, and the service that runs it, if there is one."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any

from ccproxyd.control.client import Client, NotPermittedError, NotRunningError
from ccproxyd.control.errors import ControlError
from ccproxyd.control.status import Gateway, Lane, LastReload, Standing, Status, Worker
from ccproxyd.ctl import STATUS_NOT_RUNNING, STATUS_UNKNOWN
from ccproxyd.ctl.printing import (
    address,
    coloured_state,
    duration,
    number,
    plural,
    print_error,
    print_json,
    print_pairs,
    print_warnings,
    size,
)
from ccproxyd.ctl.reach import ask, client_of
from ccproxyd.ctl.service.find import service_for
from ccproxyd.ctl.service.manager import Manager, Service
from ccproxyd.ctl.service.words import heading, next_command, rows
from ccproxyd.ctl.serving import wait_until_serving
from ccproxyd.errors import CcproxydError

Pairs = Iterator[tuple[str, str]]


def status(args: Namespace) -> int:
    """0 for a daemon that answers, whatever its state: that is printed, and in the JSON."""
    manager = service_for(args)
    try:
        answer = _ask_daemon(args, manager)
    except NotRunningError as error:
        service = _ask_manager(manager)
        if manager is None or service is None:
            raise
        return _report_stopped(args, manager, service, error)
    except NotPermittedError:
        service = _ask_manager(manager)
        if service and not args.json:
            print_pairs(rows(service, None))
        raise
    found, service = Status.from_json(answer), _ask_manager(manager)
    if not found.state:
        print_error("cannot tell the daemon's state: its answer has none")
        return STATUS_UNKNOWN
    if args.json:
        print_json({**answer, "service": service.to_json()} if service else answer)
    else:
        _print_status(found, service)
    return 0


def _ask_manager(manager: Manager | None) -> Service | None:
    """A service manager that does not answer must not keep the daemon from it."""
    try:
        return manager.show() if manager else None
    except CcproxydError as error:
        print_error(f"note: {error}")
        return None


def _ask_daemon(args: Namespace, manager: Manager | None) -> dict[str, Any]:
    """Somebody else's daemon, the system's, is none of ours where there is a service of ours."""
    client = client_of(args)
    try:
        return _settled(args, client)
    except NotPermittedError:
        if manager is None or client.path == manager.control_socket:
            raise
        raise NotRunningError(f"{manager.unit} is not running") from None


def _settled(args: Namespace, client: Client) -> dict[str, Any]:
    """What it says; with `--wait` what it says when it serves, if that is in time."""
    deadline = time.monotonic() + args.wait
    answer = ask(args, "status", client=client)
    if not args.wait or Status.from_json(answer).state != "starting":
        return answer
    wait_until_serving(client, lambda: time.monotonic() > deadline)
    return client.call("status")


def _report_stopped(
    args: Namespace, manager: Manager, service: Service, error: NotRunningError
) -> int:
    why = manager.reason() if service.failure else None
    if args.json:
        name = type(error).__name__
        told = ControlError(name, f"{heading(service)}: {why or service.active}", 503)
        print_json({**told.to_json(), "service": service.to_json()})
    else:
        print(heading(service))
        reason = [("reason", why)] if why else []
        print_pairs([*rows(service, None), *reason, ("next", next_command(service))])
    return STATUS_NOT_RUNNING


def _print_status(found: Status, service: Service | None) -> None:
    print(f"ccproxyd is {coloured_state(found.state)}")
    managed = rows(service, found) if service else ()
    print_pairs([*managed, *_identity(found), *_processes(found), *_history(found)])
    print_warnings(found.warnings)


def _identity(found: Status) -> Pairs:
    yield "pid", f"{found.pid}, up {duration(found.uptime_seconds)}"
    yield "version", found.version
    yield "generation", str(found.generation)
    yield "listens on", _listen(found)
    yield "config", found.config_dir
    yield "socket", found.control_socket
    yield "labels", ", ".join(found.labels) or "none"
    yield from _lanes(found.lanes)


def _lanes(lanes: Mapping[str, Lane]) -> Pairs:
    """The labels that go direct, and those that need LiteLLM, by what they need it for."""
    direct = [label for label, lane in lanes.items() if lane.lane == "direct"]
    if direct:
        yield "direct", ", ".join(direct)
    others = {label: lane for label, lane in lanes.items() if label not in direct}
    for reason in dict.fromkeys(lane.reason for lane in others.values()):
        labels = [label for label, lane in others.items() if lane.reason == reason]
        yield "LiteLLM", f"{', '.join(labels)}: {reason}"


def _listen(found: Status) -> str:
    return address(found.listen.host, found.listen.port) if found.listen.port else "no port"


def _processes(found: Status) -> Pairs:
    yield "gateway", _gateway(found.gateway)
    for worker in found.workers:
        yield "worker", _worker(worker)
    if not found.workers:
        yield "worker", _no_worker(found)
    if found.template:
        yield "template", f"pid {found.template.pid}, {size(found.template.rss_bytes)}"


def _no_worker(found: Status) -> str:
    all_direct = found.lanes and all(lane.lane == "direct" for lane in found.lanes.values())
    sleeps = found.state == "ready" and all_direct
    return "none yet; LiteLLM starts when a request needs it" if sleeps else "none is running"


def _history(found: Status) -> Pairs:
    yield "restarts", number(found.restarts_total)
    if found.last_exit:
        yield "last exit", found.last_exit
    if found.last_reload:
        yield "last reload", _last_reload(found.last_reload)
    for one in found.budgets:
        yield "budget", _budget(one)
    for label, count in found.rule_errors.items():
        yield "rule errors", f"{label}: {plural(count, 'error')}"
    for path, count in found.hook_errors.items():
        yield "hook errors", f"{path}: {plural(count, 'error')}"


def _budget(one: Standing) -> str:
    whose = f" for {one.label}" if one.label else ""
    return f"{one.spent_usd:.2f} of {one.limit_usd:g} USD a {one.period}{whose} ({one.share:.0%})"


def _gateway(gateway: Gateway | None) -> str:
    return f"pid {gateway.pid}, {_load(gateway)}" if gateway else "not running"


def _worker(worker: Worker) -> str:
    if not worker.pid:  # between two lives, or before the first
        return f"{worker.state}, generation {worker.generation}"
    return f"pid {worker.pid}, {worker.state}, generation {worker.generation}, {_load(worker)}"


def _load(process: Gateway | Worker) -> str:
    up = duration(process.uptime_seconds)
    return f"up {up}, {size(process.rss_bytes)}, {process.in_flight} in flight"


def _last_reload(last: LastReload) -> str:
    if last.error or not last.ok:
        return f"failed: {last.error or 'the log says why'}"
    return f"generation {last.generation} in {duration(last.seconds)}"
