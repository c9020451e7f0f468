"""Where an installation is, and for whom: one user's, or the system's."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import ClassVar, Final

from attrs import frozen

from ccproxyd.control.client import FailedError, NotPermittedError
from ccproxyd.ctl.machine import Machine
from ccproxyd.ctl.service.find import config_dir_of, find_unit, manager_of
from ccproxyd.ctl.service.manager import Manager, Scope
from ccproxyd.errors import EXIT_USAGE, CcproxydError

_SYSTEM_CONFIG: Final = "/etc/ccproxyd"
_SYSTEM_STATE: Final = "/var/lib/ccproxyd"
_SYSTEMD_RUNS: Final = "/run/systemd/system"  # sd_booted(3)


class UsageError(CcproxydError):
    """Options that make no sense together, or not on this machine."""

    exit_code: ClassVar[int] = EXIT_USAGE


@frozen
class Site:
    machine: Machine
    scope: Scope
    config_dir: Path
    state: tuple[Path, ...] = ()
    """What the daemon keeps: its key, its statistics, its own log."""

    @property
    def named_config(self) -> Path | None:
        """A config directory that the service must be told of; the usual one it finds itself."""
        is_usual = self.scope == "system" or self.config_dir == self.machine.home / ".ccproxy"
        return None if is_usual else self.config_dir

    @property
    def has_manager(self) -> bool:
        return self.machine.macos or self.machine.at(_SYSTEMD_RUNS).is_dir()

    def manager(self) -> Manager:
        return manager_of(self.scope, self.machine)


def site_of(args: Namespace, machine: Machine) -> Site:
    """The site that the command is about.

    Raises:
        UsageError: an option is not for this machine, or not for this scope.
        NotPermittedError, FailedError: it is not this user's.
    """
    if args.system:
        return _system_site(args, machine)
    if machine.home.exists() and machine.home.stat().st_uid != machine.user_id:
        whose = f"{machine.home} is not the home of {machine.user}"
        raise FailedError(f"cannot {args.verb}: {whose}; set HOME, or: sudo -H, or --system")
    found = machine.directories(args)
    state = dict.fromkeys([found.state, found.logs])
    return Site(machine, "user", _users_config(args, machine).absolute(), tuple(state))


def _users_config(args: Namespace, machine: Machine) -> Path:
    """The named one; else the one that a service is told of that is there already."""
    unit = find_unit(machine)
    is_named = args.config_dir or machine.environ.get("CCPROXY_CONFIG_DIR")
    if is_named or unit is None or unit.scope == "system":
        return machine.directories(args).config
    return config_dir_of(unit, machine)


def _system_site(args: Namespace, machine: Machine) -> Site:
    if machine.macos:
        reason = "on macOS ccproxyd runs as an agent of its user's login session"
        raise UsageError(f"--system is not supported here: {reason}; leave it out")
    if args.config_dir:
        raise UsageError(f"--config-dir: the system's service has its config in {_SYSTEM_CONFIG}")
    if machine.user_id:
        command = f"sudo ccproxyctl {args.verb} --system"
        raise NotPermittedError(f"cannot {args.verb} for the system: only root may; try: {command}")
    state = (machine.at(_SYSTEM_STATE),)
    return Site(machine, "system", machine.at(_SYSTEM_CONFIG), state)
