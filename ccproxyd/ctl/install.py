"""install: the config samples and the service.

It can be repeated: what is as it should be is left alone, what somebody has edited is kept, and
each file that changes is named. A service that runs is not restarted behind its user's back.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from typing import Final

from ccproxyd.config.load import ENV_FILE
from ccproxyd.control.client import Client, FailedError
from ccproxyd.ctl.commands import Commands
from ccproxyd.ctl.machine import Machine, this_machine
from ccproxyd.ctl.printing import address
from ccproxyd.ctl.service.manager import Manager, Service
from ccproxyd.ctl.serving import status_of
from ccproxyd.ctl.setup.executables import Executables, find_executables, hidden_from_system
from ccproxyd.ctl.setup.files import Outcome, put
from ccproxyd.ctl.setup.plan import packaged_unit, preparation_files, preparations, service_files
from ccproxyd.ctl.setup.report import Report, Step
from ccproxyd.ctl.setup.samples import has_keys, put_samples
from ccproxyd.ctl.setup.site import Site, UsageError, site_of
from ccproxyd.ctl.start import start_service
from ccproxyd.errors import EXIT_FAILED
from ccproxyd.paths import make_private

_PREPARING: Final = {
    "sysusers.d": ("systemd-sysusers",),
    "tmpfiles.d": ("systemd-tmpfiles", "--create"),
}


def install(args: Namespace, machine: Machine | None = None) -> int:
    machine = machine or this_machine()
    site = site_of(args, machine)
    _refuse_linger(args, site)
    _refuse_without_manager(args, site)
    report = Report(args.json)
    executables = _executables(site)
    if site.scope == "system":
        _prepare(site, report)
    samples = report.tell(put_samples(site.config_dir, force=args.force))
    if not site.has_manager:
        return _without_service(site, report)
    units = report.tell(_put_service(site, report, executables, force=args.force))
    return _hand_over(args, site, report, [*samples, *units])


def _refuse_linger(args: Namespace, site: Site) -> None:
    if args.linger and site.machine.macos:
        reason = "launchd ends what a user runs with the login session"
        raise UsageError(f"--linger is not supported here: {reason}; leave it out")
    if args.linger and site.scope == "system":
        raise UsageError("--linger is for a user's service: the system's needs no login")


def _refuse_without_manager(args: Namespace, site: Site) -> None:
    if not site.has_manager and (args.enable or args.linger or site.scope == "system"):
        raise FailedError(
            "cannot install the service: systemd does not run here; without it: "
            "ccproxyctl install, then ccproxyctl start --detach"
        )


def _executables(site: Site) -> Executables:
    found = find_executables()
    hidden = hidden_from_system(found) if site.scope == "system" else None
    if hidden:
        raise FailedError(
            f"cannot install for the system: {hidden} is not seen by the system's service, which "
            "has no home directories and a /tmp of its own; install ccproxyd in /opt, for example"
        )
    return found


def _prepare(site: Site, report: Report) -> None:
    """The user that the system's service runs as, and its config directory."""
    report.tell(put(wanted) for wanted in preparations(site.machine))
    for kind, path in preparation_files(site.machine):
        done = Commands(site.machine.environ).run([*_PREPARING[kind], str(path)])
        if done.code:
            raise FailedError(f"cannot prepare the system's service: {done.said}")


def _put_service(
    site: Site, report: Report, executables: Executables, *, force: bool
) -> Iterator[Outcome]:
    wanted = service_files(site, executables)
    if packaged := packaged_unit(site, executables):
        report.note(f"{packaged} of a package runs the same command, so it is used as it is")
        return
    for one in wanted:
        yield put(one, force=force)
    for directory in site.state if site.machine.macos else ():
        make_private(directory)  # launchd makes none for what goes to StandardErrorPath


def _without_service(site: Site, report: Report) -> int:
    report.note("systemd does not run here, so there is no service")
    start = Step("ccproxyctl start --detach", "run it in the background")
    report.finish(_UNCHANGED, [*_keys(site), start, _client(site)])
    return 0


def _hand_over(args: Namespace, site: Site, report: Report, changes: list[Outcome]) -> int:
    """What the service manager has to know, and to do."""
    manager = site.manager()
    _refresh(args, manager, report, changes)
    found = _show(args, manager)
    if args.linger and found and not found.linger:
        manager.linger()
        report.add(f"lingering is enabled for {site.machine.user}")
    is_degraded = args.enable and found and _enable(manager, found, report)
    steps = [*_keys(site), *_steps(site, args, found, changes), _client(site)]
    report.finish(_UNCHANGED, steps)
    return EXIT_FAILED if is_degraded else 0


def _refresh(args: Namespace, manager: Manager, report: Report, changes: list[Outcome]) -> None:
    """Without a login there may be no manager yet; it will read the new files when it starts."""
    try:
        if changes:
            manager.refresh()
    except FailedError as error:
        if args.enable or args.linger:
            raise
        report.note(str(error))


def _show(args: Namespace, manager: Manager) -> Service | None:
    try:
        return manager.show()
    except FailedError:
        if args.enable or args.linger:
            raise
        return None


def _enable(manager: Manager, found: Service, report: Report) -> bool:
    """Enable and start it; whether it then is degraded."""
    running = None if found.is_up else status_of(Client(manager.control_socket))
    if running:
        why = f"ccproxyd runs already (pid {running.pid}), started by hand"
        raise FailedError(f"cannot start {manager.unit}: {why}; first: ccproxyctl stop")
    if not found.enabled:
        manager.enable()
        report.add(f"enabled   {manager.unit}")
    if found.running_pid:
        return False
    status = start_service(manager)
    where = f", {status.state} on {address(status.listen.host, status.listen.port)}"
    report.add(f"started   {manager.unit}{where if status.listen.port else ''}")
    if status.state != "degraded":
        return False
    for warning in status.warnings:
        report.note(warning)
    return True


# What to do next

_UNCHANGED: Final = "nothing has changed"


def _keys(site: Site) -> Iterator[Step]:
    env = site.config_dir / ENV_FILE
    if not has_keys(env):
        yield Step(f"edit {env}", "put the providers' keys into it")


def _steps(
    site: Site, args: Namespace, found: Service | None, changes: list[Outcome]
) -> Iterator[Step]:
    if found and found.is_up:
        yield from _about_changes(site, changes)
    elif not args.enable:
        yield _start(site, found)
    if found and found.linger is False and not args.linger:
        yield Step("loginctl enable-linger", "keep it running while you are logged out")


def _start(site: Site, found: Service | None) -> Step:
    if site.machine.macos:
        return Step("ccproxyctl start", "start it now; it starts by itself with every login")
    if found and found.enabled:
        return Step("ccproxyctl start", "start it")
    user, when = ("--user ", "login") if site.scope == "user" else ("", "boot")
    return Step(f"systemctl {user}enable --now ccproxyd", f"start it, now and with every {when}")


def _about_changes(site: Site, changes: list[Outcome]) -> Iterator[Step]:
    """A daemon runs, and with what was there before."""
    names = {outcome.path.name for outcome in changes}
    if "ccproxyd.socket" in names:
        yield Step("ccproxyctl stop && ccproxyctl start", "use the changed service and port")
    elif changes and any(outcome.path.parent != site.config_dir for outcome in changes):
        yield Step("ccproxyctl restart", "use the changed service")
    elif changes:
        yield Step("ccproxyctl reload", "use the changed config")


def _client(site: Site) -> Step:
    sudo = "sudo " if site.scope == "system" else ""
    return Step(f'eval "$({sudo}ccproxyctl env)"', "in the shell of your client")
