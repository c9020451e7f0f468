"""The system's service under a real systemd, from `install` to `uninstall`, and its confinement.

The tests are one story in their order, so that few daemons have to start.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from tests.os.installation import CCPROXYCTL, PYTHON
from tests.os.machine import Machine
from tests.os.service import ADDRESS, SOCKET, UNIT, Service
from tests.support.daemon import LABELS, RULES, Setup, anthropic_model
from tests.support.provider import RunningProvider

WRONG: Final = ("label: think", "lable: think")
PROBE: Final = Path(__file__).with_name("probe.py")
CONFINED: Final = {
    "change a directory that is open to all": "EROFS",
    "change the config": "EACCES",
    "see a home directory": "EACCES",
    "see others' temporary files": "ENOENT",
    "see others' devices": "ENOENT",
    "see others' processes": "ENOENT",
    "be another kind of machine": "EPERM",
    "make a set-user-id program": "EPERM",
    "give a file away": "EPERM",
    "change its priority": "EPERM",
    "talk to a network card": "EAFNOSUPPORT",
    "be root in a namespace": "EPERM",
    "make a ring of system calls": "EPERM",
    "keep a file of its own": "allowed",
    "ask the kernel for addresses": "allowed",
}
BY_THE_KERNEL: Final = {"be root in a namespace", "make a ring of system calls"}
"""What some kernels forbid everybody."""


def models(url: str) -> list[dict[str, Any]]:
    return [
        *(anthropic_model(label, url) for label in LABELS),
        anthropic_model("by_file", url, api_key="os.environ/KEY_OF_FILE"),
        anthropic_model("by_credential", url, api_key="os.environ/KEY_OF_CREDENTIAL"),
    ]


@pytest.fixture(scope="module")
def service(machine: Machine, provider: RunningProvider) -> Service:
    service = Service.of_system(machine)
    service.ctl("install", "--system")
    Setup(
        ours={"port": ADDRESS[1]},
        rules=[{"label": "default", "rule": "probe.Probe"}, *RULES],
        models=models,
        files={"probe.py": PROBE.read_text()},
    ).write(machine.path(service.config_dir), provider.url)
    machine.path("/etc/ccproxyd/env").write_text("KEY_OF_FILE=sk-by_file\n")
    machine.path("/etc/credential").write_text("sk-by_credential\n")
    machine.path("/etc/credential").chmod(0o600)
    credential = "LoadCredential=KEY_OF_CREDENTIAL:/etc/credential"
    limits = ("WatchdogSec=3", "TimeoutAbortSec=1", "TimeoutStopSec=1")
    service.configure(UNIT, "[Service]", *limits, credential)
    service.systemctl("enable", "--now", "ccproxyd")
    return service


@pytest.fixture
def running(service: Service) -> Service:
    """One that is up."""
    service.forget_failures()
    service.systemctl("start", UNIT)
    return service


def test_it_serves_as_a_user_of_its_own(service: Service, machine: Machine) -> None:
    service.systemctl("is-enabled", UNIT, SOCKET)
    user = int(machine.root.output("id", "-u", "ccproxyd"))
    assert {one.uids().effective for one in service.processes()} == {user}
    service.answers()
    assert service.status()["warnings"] == []


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        ("/etc/ccproxyd", "750 root:ccproxyd"),
        ("/etc/ccproxyd/env", "640 root:ccproxyd"),
        ("/run/ccproxyd", "700 ccproxyd:ccproxyd"),
        ("/run/ccproxyd/control.sock", "600 ccproxyd:ccproxyd"),
        ("/var/lib/ccproxyd", "700 ccproxyd:ccproxyd"),
        ("/var/lib/ccproxyd/key", "600 ccproxyd:ccproxyd"),
    ],
)
def test_its_files_are_nobody_elses(running: Service, path: str, mode: str) -> None:
    assert running.shell.output("stat", "--format=%a %U:%G", path) == mode


def test_an_ordinary_user_cannot_ask_it(running: Service, machine: Machine) -> None:
    done = machine.user.run(CCPROXYCTL, "status", check=False)
    assert done.returncode == 4
    assert "only the daemon's own user and root may" in done.stderr


def test_every_process_is_confined(running: Service) -> None:
    processes = running.processes()
    assert len(processes) >= 4  # the daemon, a gateway, a template, a worker
    for process in processes:
        facts = facts_of(process)
        assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")
        assert {int(facts[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}


def facts_of(process: psutil.Process) -> dict[str, str]:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    pairs = (line.partition(":") for line in lines)
    return {name: value.strip() for name, _, value in pairs}


def test_a_rule_can_do_no_harm(running: Service, machine: Machine) -> None:
    """Each of these a process of the same user could do, but for the service it is in."""
    machine.path("/srv/open").mkdir(mode=0o777)
    machine.path("/srv/open").chmod(0o777)
    machine.path("/home/tester").chmod(0o755)
    for place in ("/home/tester/open", "/tmp/open", "/dev/open"):
        machine.path(place).touch()
    running.answers(probe=True)
    confined = json.loads(machine.path(running.state / "probe.json").read_text())
    assert confined == CONFINED
    command = [str(PYTHON), "/etc/ccproxyd/probe.py", "/var/lib/ccproxyd"]
    free = json.loads(machine.root.output("runuser", "--user=ccproxyd", "--", *command))
    refused = {name for name, outcome in free.items() if outcome != "allowed"}
    assert refused - BY_THE_KERNEL == {"change the config", "talk to a network card"}


@pytest.mark.parametrize("kept", ["by_file", "by_credential"])
def test_a_providers_key_is_read_from_where_it_is_kept(
    running: Service, provider: RunningProvider, kept: str
) -> None:
    running.answers(model=kept)
    assert provider.requests[-1].headers["x-api-key"] == f"sk-{kept}"


@pytest.mark.parametrize(
    ("name", "old", "new"), [("ccproxy.yaml", *WRONG), ("env", "KEY_OF_FILE=", "KEY OF FILE=")]
)
def test_a_reload_reads_all_and_changes_nothing_if_it_fails(
    running: Service, name: str, old: str, new: str
) -> None:
    pid = running.pid
    with running.edited(name, old, new):
        assert f"Job for {UNIT} failed" in running.fails("reload", UNIT)
    assert (running.show("ActiveState"), running.pid) == ("active", pid)
    assert running.status()["last_reload"]["error"]["path"].startswith(name)
    running.answers()


def test_a_request_outlives_a_killed_daemon(running: Service) -> None:
    """systemd has the port; the request waits there for the next daemon."""
    pid = running.pid
    with running.ending(pid):
        running.kill("KILL", pid)
    running.answers()
    assert running.pid not in (0, pid)
    assert running.show("NRestarts") == "1"


@pytest.mark.parametrize("room", ["worker", "template"])
def test_what_is_killed_is_replaced_by_the_daemon(running: Service, room: str) -> None:
    pid, status = running.pid, running.status()
    victim = status["template"]["pid"] if room == "template" else status["workers"][0]["pid"]
    with running.ending(victim):
        running.kill("KILL", victim)
    running.answers()
    assert running.pid == pid


def test_a_daemon_that_hangs_is_replaced_by_systemd(running: Service) -> None:
    pid = running.pid
    with running.ending(pid):
        running.kill("STOP", pid)
        running.answers()  # which never needed the daemon
    running.answers()
    assert running.pid not in (0, pid)
    assert "Watchdog timeout" in running.journal()


def test_a_restart_under_load_refuses_nothing_and_cuts_nothing(running: Service) -> None:
    pid = running.pid
    with running.under_load() as load, running.streaming() as lines:
        running.systemctl("restart", UNIT)
        assert any("message_stop" in line for line in lines)
    assert set(load.outcomes) == {200}
    assert running.pid != pid


def test_the_journal_has_the_daemons_records(running: Service) -> None:
    running.answers()
    assert {"ready", "ccproxy_post_api_call"} <= {one["event"] for one in running.records()}


def test_a_wrong_config_ends_it_and_is_not_tried_again(running: Service) -> None:
    running.systemctl("stop", SOCKET, UNIT)
    with running.edited("ccproxy.yaml", *WRONG):
        running.fails("start", UNIT)
    assert running.show("ExecMainStatus") == "78"
    assert running.show("SubState") == "failed"  # and not auto-restart
    running.systemctl("stop", SOCKET)


def test_uninstalled_it_leaves_no_process_no_port_and_no_unit(
    service: Service, machine: Machine
) -> None:
    service.systemctl("start", SOCKET)
    service.unconfigure(UNIT)
    service.ctl("uninstall", "--system")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(ADDRESS)
    assert {service.show("LoadState", unit) for unit in (UNIT, SOCKET)} == {"not-found"}
    assert not service.machine.path(service.runtime).exists()
    for directory in ("systemd/system", "sysusers.d", "tmpfiles.d"):
        assert list(machine.path(Path("/etc") / directory).rglob("*ccproxyd*")) == []
