"""The unit files by themselves: systemd's own judgement, and what they must agree with."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from ccproxyd.config.settings import Settings
from ccproxyd.daemon.house import FAREWELL_SECONDS
from ccproxyd.daemon.instance import BACKLOG
from ccproxyd.errors import EXIT_CONFIG
from ccproxyd.supervision.lifecycle import Limits

UNITS: Final = Path(__file__).parents[2] / "contrib" / "systemd"
KINDS: Final = ("user", "system")
EXPOSURE: Final = {"user": 6.5, "system": 1.5}
"""systemd-analyze security: 0 is safe, 10 is not."""

ANALYZE: Final = shutil.which("systemd-analyze") or ""

with_systemd = pytest.mark.skipif(not ANALYZE, reason="systemd-analyze is not installed")


def analyze(kind: str, runtime: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ANALYZE, f"--{kind}", *words],
        env={**os.environ, "XDG_RUNTIME_DIR": str(runtime), "SYSTEMD_COLORS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )


@with_systemd
@pytest.mark.parametrize("kind", KINDS)
def test_systemd_finds_nothing_to_say_about_them(kind: str, tmp_path: Path) -> None:
    """It exits with 0 whatever it finds, so that not a word may be said."""
    for unit in (UNITS / kind).glob("ccproxyd.*"):
        installed = re.sub("/usr/bin/ccproxyd|/usr/bin/ccproxyctl", "/bin/true", unit.read_text())
        (tmp_path / unit.name).write_text(installed)
    names = sorted(str(path) for path in tmp_path.iterdir())
    assert len(names) == 2
    done = analyze(kind, tmp_path, "verify", "--man=no", *names)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@with_systemd
@pytest.mark.parametrize("kind", KINDS)
def test_they_expose_no_more_than_they_must(kind: str, tmp_path: Path) -> None:
    limit = f"--threshold={round(EXPOSURE[kind] * 10)}"
    service = str(UNITS / kind / "ccproxyd.service")
    done = analyze(kind, tmp_path, "security", "--offline=true", "--no-pager", limit, service)
    assert done.returncode == 0, done.stdout + done.stderr


def directives(unit: str) -> dict[str, list[str]]:
    """What a unit file says, in any section, by its name."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / unit).read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith(("#", " ")):
            found.setdefault(name, []).append(value)
    return found


def test_both_sockets_are_the_same() -> None:
    assert directives("user/ccproxyd.socket") == directives("system/ccproxyd.socket")


OF_THE_SYSTEM: Final = {
    *("User", "Group", "Environment", "CapabilityBoundingSet"),
    *("ConfigurationDirectory", "ConfigurationDirectoryMode", "StateDirectory"),
    *("StateDirectoryMode", "RemoveIPC", "PrivateDevices", "PrivateMounts", "PrivateTmp"),
}


def test_the_services_differ_in_who_runs_them_and_how_confined() -> None:
    user, system = directives("user/ccproxyd.service"), directives("system/ccproxyd.service")
    assert {name for name in user.keys() | system.keys() if user.get(name) != system.get(name)} == {
        *OF_THE_SYSTEM,
        *("After", "WantedBy", "SystemCallFilter"),
        *(name for name in system if name.startswith("Protect")),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_service_has_the_time_that_the_daemon_may_take(kind: str) -> None:
    service, limits = directives(f"{kind}/ccproxyd.service"), Limits()
    [start], [stop] = service["TimeoutStartSec"], service["TimeoutStopSec"]
    assert int(start) > limits.start
    assert int(stop) > limits.stop + FAREWELL_SECONDS + limits.kill
    assert service["RestartPreventExitStatus"] == [str(EXIT_CONFIG)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_socket_is_the_port_that_the_daemon_would_open_itself(kind: str) -> None:
    port, defaults = directives(f"{kind}/ccproxyd.socket"), Settings.parse({})
    assert port["ListenStream"] == [f"{defaults.host}:{defaults.port}"]
    assert port["Backlog"] == [str(BACKLOG)]
    assert port["FileDescriptorName"] == ["http"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_program_is_named_as_installations_replace_it(kind: str) -> None:
    service = directives(f"{kind}/ccproxyd.service")
    assert service["ExecStart"] == ["/usr/bin/ccproxyd"]
    assert service["ExecReload"] == ["/usr/bin/ccproxyctl reload"]
