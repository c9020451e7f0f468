"""Whether a command is about a service, and about which one.

A service is what a unit file says, so the directories where units are looked for are looked
through, those of systemd.unit(5); systemctl is not asked, since `status` must be quick where there
is no service. An ordinary user means a unit of their own before the system's, root the other way
round.

No service is meant where the words or the environment name another instance: a socket, or a config
directory that is not the service's. Nor by what runs inside of one, as `ExecReload` does.
"""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

from ccproxyd.ctl.machine import Machine, this_machine
from ccproxyd.ctl.service.manager import Manager, Scope

UNIT: Final = "ccproxyd.service"
LABEL: Final = "org.ccproxyd.ccproxyd"
SYSTEM_CONFIG: Final = Path("/etc/ccproxyd")

ADMINISTRATORS: Final[dict[Scope, str]] = {
    "user": "/etc/systemd/user",
    "system": "/etc/systemd/system",
}
PACKAGES: Final[dict[Scope, tuple[str, ...]]] = {
    "user": ("/usr/local/lib/systemd/user", "/usr/lib/systemd/user", "/lib/systemd/user"),
    "system": ("/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"),
}

_CONFIG_DIR: Final = re.compile(r"^Environment=\"?CCPROXY_CONFIG_DIR=([^\"\n]+)", re.MULTILINE)
_AGENTS_CONFIG_DIR: Final = re.compile(r"<key>CCPROXY_CONFIG_DIR</key>\s*<string>([^<]+)")


@frozen
class UnitFile:
    """Where a service is described."""

    scope: Scope
    file: Path


def service_for(args: Namespace, machine: Machine | None = None) -> Manager | None:
    """The manager of the service that the command is about, if it is about one."""
    machine = machine or this_machine()
    if args.socket or machine.environ.keys() & {"CCPROXYD_SOCKET", "RUNTIME_DIRECTORY"}:
        return None
    unit = find_unit(machine)
    if unit is None or _names_another(args, machine, unit):
        return None
    return manager_of(unit.scope, machine)


def config_dir_for(args: Namespace, machine: Machine | None = None) -> Path:
    """The config directory that the command is about: the named one, the service's, or the user's.

    The system's is root's alone to ask about without naming it.
    """
    machine = machine or this_machine()
    usual = machine.directories(args).config
    unit = find_unit(machine)
    if unit is None or service_for(args, machine) is None:
        return usual
    is_own = unit.scope == "user" or machine.user_id == 0
    return config_dir_of(unit, machine) if is_own else usual


def manager_of(scope: Scope, machine: Machine) -> Manager:
    """A door to the manager; it knows of the service only once there is one."""
    if machine.macos:
        from ccproxyd.ctl.service.launchd import Launchd

        return Launchd(machine)
    from ccproxyd.ctl.service.systemd import systemd_of

    return systemd_of(scope, machine)


def find_unit(machine: Machine) -> UnitFile | None:
    if machine.macos:
        agent = agent_file(machine)
        return UnitFile("user", agent) if agent.is_file() else None
    scopes: tuple[Scope, ...] = ("user", "system") if machine.user_id else ("system", "user")
    found = (UnitFile(scope, file) for scope in scopes for file in unit_files(scope, machine))
    return next(found, None)


def unit_files(scope: Scope, machine: Machine, unit: str = UNIT) -> Iterator[Path]:
    """Those of one scope that are there, the one in force first."""
    directories = [own_directory(scope, machine), machine.at(ADMINISTRATORS[scope])]
    if scope == "user":
        directories.append(machine.home / ".local" / "share" / "systemd" / "user")
    directories += [machine.at(directory) for directory in PACKAGES[scope]]
    for directory in dict.fromkeys(directories):
        if (directory / unit).is_file():
            yield directory / unit


def own_directory(scope: Scope, machine: Machine) -> Path:
    """Where units are put that belong to no package."""
    if scope == "system":
        return machine.at(ADMINISTRATORS[scope])
    config = machine.environ.get("XDG_CONFIG_HOME")
    return (Path(config) if config else machine.home / ".config") / "systemd" / "user"


def agent_file(machine: Machine) -> Path:
    return machine.home / "Library" / "LaunchAgents" / f"{LABEL}.plist"


def config_dir_of(unit: UnitFile, machine: Machine) -> Path:
    """The directory that the unit names, else the one that its daemon takes by itself."""
    text = unit.file.read_text("utf-8", "replace")
    named = _CONFIG_DIR.search(text) or _AGENTS_CONFIG_DIR.search(text)
    return Path(named[1].replace("%%", "%")) if named else machine.home / ".ccproxy"


def _names_another(args: Namespace, machine: Machine, unit: UnitFile) -> bool:
    named = args.config_dir or machine.environ.get("CCPROXY_CONFIG_DIR")
    if not named:
        return False
    return Path(named).expanduser().absolute() != config_dir_of(unit, machine)
