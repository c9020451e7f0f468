"""status: how the daemon and its processes are."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator

from ccproxyd.control.status import Gateway, LastReload, Status, Worker
from ccproxyd.ctl import STATUS_UNKNOWN
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
from ccproxyd.ctl.reach import ask

Pairs = Iterator[tuple[str, str]]


def status(args: Namespace) -> int:
    """0 for a daemon that answers, whatever its state: that is printed, and in the JSON."""
    answer = ask(args, "status")
    found = Status.from_json(answer)
    if not found.state:
        print_error("cannot tell the daemon's state: its answer has none")
        return STATUS_UNKNOWN
    if args.json:
        print_json(answer)
    else:
        _print_status(found)
    return 0


def _print_status(found: Status) -> None:
    print(f"ccproxyd is {coloured_state(found.state)}")
    print_pairs([*_identity(found), *_processes(found), *_history(found)])
    print_warnings(found.warnings)


def _identity(found: Status) -> Pairs:
    yield "pid", f"{found.pid}, up {duration(found.uptime_seconds)}"
    yield "version", found.version
    yield "generation", str(found.generation)
    yield "listens on", address(found.listen.host, found.listen.port)
    yield "config", found.config_dir
    yield "socket", found.control_socket
    yield "labels", ", ".join(found.labels) or "none"


def _processes(found: Status) -> Pairs:
    yield "gateway", _gateway(found.gateway)
    for worker in found.workers:
        yield "worker", _worker(worker)
    if not found.workers:
        yield "worker", "none is running"
    if found.template:
        yield "template", f"pid {found.template.pid}, {size(found.template.rss_bytes)}"


def _history(found: Status) -> Pairs:
    yield "restarts", number(found.restarts_total)
    if found.last_exit:
        yield "last exit", found.last_exit
    if found.last_reload:
        yield "last reload", _last_reload(found.last_reload)
    for label, count in found.rule_errors.items():
        yield "rule errors", f"{label}: {plural(count, 'error')}"


def _gateway(gateway: Gateway | None) -> str:
    return f"pid {gateway.pid}, {_load(gateway)}" if gateway else "not running"


def _worker(worker: Worker) -> str:
    return f"pid {worker.pid}, {worker.state}, generation {worker.generation}, {_load(worker)}"


def _load(process: Gateway | Worker) -> str:
    up = duration(process.uptime_seconds)
    return f"up {up}, {size(process.rss_bytes)}, {process.in_flight} in flight"


def _last_reload(last: LastReload) -> str:
    if last.error or not last.ok:
        return f"failed: {last.error or 'the log says why'}"
    return f"generation {last.generation} in {duration(last.seconds)}"
