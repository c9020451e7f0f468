"""What belongs to an installation: the files of one user's service, or of the system's.

A unit that a package brought and that runs the same command is used as it is. Another of the same
name in front of it would hide it, and outlive the package.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from ccproxyd.config.documents import parse_document
from ccproxyd.config.environment import expand
from ccproxyd.config.load import ENV_FILE, read_env_file
from ccproxyd.config.samples import services_directory
from ccproxyd.config.settings import FILE, Settings
from ccproxyd.control.client import FailedError
from ccproxyd.ctl.machine import Machine
from ccproxyd.ctl.printing import address
from ccproxyd.ctl.service.find import LABEL, agent_file, own_directory, unit_files
from ccproxyd.ctl.setup import agent, units
from ccproxyd.ctl.setup.executables import Executables
from ccproxyd.ctl.setup.files import Wanted, read
from ccproxyd.ctl.setup.marker import is_ours, mark
from ccproxyd.ctl.setup.site import Site

UNITS: Final = ("ccproxyd.service", "ccproxyd.socket")
PREPARATIONS: Final = ("sysusers.d", "tmpfiles.d")
"""What the system's service needs before it: its user, and its config directory."""


def service_files(site: Site, executables: Executables) -> list[Wanted]:
    """The unit files, or the agent, as they should be."""
    if site.machine.macos:
        text = _shipped(f"launchd/{LABEL}.plist")
        rendered = agent.render(text, executables, site.machine.home, site.named_config)
        marked = mark(rendered, "<!--", " -->", after=agent.HEAD)
        return [Wanted(agent_file(site.machine), marked)]
    service = _shipped(f"systemd/{site.scope}/{UNITS[0]}")
    port = _shipped(f"systemd/{site.scope}/{UNITS[1]}")
    texts = (
        units.render(service, executables, site.named_config),
        units.listen_on(port, listen_address(site.config_dir, site.machine.environ)),
    )
    directory = own_directory(site.scope, site.machine)
    return [
        Wanted(directory / name, mark(text, "#")) for name, text in zip(UNITS, texts, strict=True)
    ]


def preparations(machine: Machine) -> list[Wanted]:
    return [
        Wanted(path, mark(_shipped(f"systemd/system/{kind}/ccproxyd.conf"), "#"))
        for kind, path in preparation_files(machine)
    ]


def preparation_files(machine: Machine) -> Iterator[tuple[str, Path]]:
    for kind in PREPARATIONS:
        yield kind, machine.at(f"/etc/{kind}/ccproxyd.conf")


def packaged_unit(site: Site, executables: Executables) -> Path | None:
    """The unit of a package that runs the same command, unless somebody has put one before it."""
    if site.machine.macos:
        return None
    first = next(unit_files(site.scope, site.machine), None)
    if first is None or first.parent == own_directory(site.scope, site.machine):
        return None
    command = " ".join(units.quote(word) for word in executables.daemon)
    return first if f"ExecStart={command}\n" in (read(first) or "") else None


def our_files(site: Site) -> Iterator[Path]:
    """What an `install` has written outside the config directory, edited or not."""
    if site.machine.macos:
        candidates = [agent_file(site.machine)]
    else:
        candidates = [own_directory(site.scope, site.machine) / unit for unit in UNITS]
    if site.scope == "system":
        candidates += [path for _, path in preparation_files(site.machine)]
    for path in candidates:
        if is_ours(read(path) or ""):
            yield path


def listen_address(config_dir: Path, environ: Mapping[str, str]) -> str:
    """Where ccproxy.yaml wants the port, as systemd.socket(5) writes it: with a number for a host.

    Raises:
        ConfigError: the file is wrong.
        FailedError: there is no such address, or the port is to be any that is free.
    """
    file, env = config_dir / FILE, config_dir / ENV_FILE
    added = read_env_file(env) if env.exists() else {}
    document = parse_document(file.read_bytes(), FILE)
    settings = Settings.parse(expand(document, {**environ, **added}, FILE))
    if not settings.port:
        raise FailedError(f"{FILE}: ccproxy.port: a service needs a port of its own, not 0")
    return address(_number_of(settings.host), settings.port)


def _number_of(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        reason = f"{FILE}: ccproxy.host: cannot find {host!r}: {error.strerror}"
        raise FailedError(reason) from None
    return str(found[0][4][0])


def _shipped(name: str) -> str:
    return (services_directory() / name).read_text("utf-8")
