"""uninstall: the service, and what was never edited.

What somebody has written stays and is named: edited config, providers' keys, and what the daemon
has kept, unless it is to be purged. Nothing is touched that `ccproxyctl install` has not written;
the unit of a package is disabled and left to its package.
"""

from __future__ import annotations

import datetime
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ccproxyd.control.client import Client, FailedError
from ccproxyd.ctl.machine import Machine, this_machine
from ccproxyd.ctl.reach import own_client
from ccproxyd.ctl.service.find import own_directory, unit_files
from ccproxyd.ctl.service.manager import Manager
from ccproxyd.ctl.serving import status_of
from ccproxyd.ctl.setup import samples
from ccproxyd.ctl.setup.files import Outcome, read, remove, remove_directory, set_aside
from ccproxyd.ctl.setup.marker import is_ours, is_unedited
from ccproxyd.ctl.setup.plan import our_files
from ccproxyd.ctl.setup.report import Report
from ccproxyd.ctl.setup.site import Site, site_of
from ccproxyd.ctl.waiting import Waiting

_KEPT: Final = "the clients' key, statistics and logs; --purge removes them"


def uninstall(args: Namespace, machine: Machine | None = None) -> int:
    machine = machine or this_machine()
    site = site_of(args, machine)
    report = Report(args.json)
    _end_service(site, report)
    _refuse_while_running(args, site)
    removed = report.tell(_remove_service(site, purge=args.purge))
    if any(outcome.path.parent.name == "sysusers.d" for outcome in removed):
        report.note("the user ccproxyd stays; to remove it, too: userdel ccproxyd")
    report.tell(_remove_config(site, purge=args.purge))
    report.tell(_remove_state(site, purge=args.purge))
    report.finish("there is nothing to remove")
    return 0


def _end_service(site: Site, report: Report) -> None:
    """Disabled and stopped, unless it is somebody else's."""
    if not site.has_manager or not _is_known(site, report):
        return
    manager = site.manager()
    if not manager.show().is_quiet:
        with Waiting("stopping"):
            manager.disable()
        report.add(f"disabled  {manager.unit}, and stopped it")


def _is_known(site: Site, report: Report) -> bool:
    """Whether there is a service, and one that we wrote or a package brought."""
    if site.machine.macos:
        return any(our_files(site))
    first = next(unit_files(site.scope, site.machine), None)
    if first is None:
        return False
    own = first.parent == own_directory(site.scope, site.machine)
    if own and not is_ours(read(first) or ""):
        report.note(f"{first} was not written by ccproxyctl install; it is left as it is")
        return False
    if not own:
        report.note(f"{first} belongs to a package, which has to remove it")
    return True


def _refuse_while_running(args: Namespace, site: Site) -> None:
    clients = [Client(site.manager().control_socket)]
    if site.scope == "user" and not site.machine.macos:
        clients.append(own_client(args))
    for client in clients:
        if running := status_of(client):
            raise FailedError(
                f"cannot uninstall: ccproxyd still runs (pid {running.pid}); first: ccproxyctl stop"
            )


def _remove_service(site: Site, *, purge: bool) -> Iterator[Outcome]:
    ours = list(our_files(site))
    for path in ours:
        is_edited = not is_unedited(read(path) or "")
        yield set_aside(path, datetime.datetime.now()) if is_edited and not purge else remove(path)
    for path in ours:
        if (additions := path.with_name(f"{path.name}.d")).is_dir():
            yield Outcome(additions, "left", "additions of your own")
    if ours and site.has_manager:
        _forget(site.manager())


def _forget(manager: Manager) -> None:
    manager.refresh()
    manager.forget()


def _remove_config(site: Site, *, purge: bool) -> Iterator[Outcome]:
    directory = site.config_dir
    if not directory.is_dir():
        return
    yield from samples.purge(directory) if purge else samples.remove_samples(directory)
    if removed := remove_directory(directory):
        yield removed
    elif purge:
        yield Outcome(directory, "left", "what else is in it is not ccproxyd's")


def _remove_state(site: Site, *, purge: bool) -> Iterator[Outcome]:
    for directory in site.state:
        if not _is_state(directory):
            continue
        if not purge:
            yield Outcome(directory, "left", _KEPT)
        elif removed := remove_directory(directory, with_all=True):
            yield removed


def _is_state(directory: Path) -> bool:
    """Named after us, and a directory by itself: nothing else is ever removed with its content."""
    return directory.name == "ccproxyd" and directory.is_dir() and not directory.is_symlink()
