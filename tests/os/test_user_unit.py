"""The user's service under a real systemd, by an ordinary user, from `install` to `uninstall`.

The tests are one story in their order, so that few daemons have to start; a test that needs one
that runs asks for `running`, and finds it where the test before has left it.
"""

from __future__ import annotations

import socket
import subprocess
from typing import Any, Final

import httpx
import pytest

from tests.os.installation import PYTHON
from tests.os.machine import PATIENCE, USER_ID, Machine
from tests.os.service import ADDRESS, SOCKET, UNIT, Service
from tests.support.daemon import LABELS, Setup, anthropic_model
from tests.support.provider import RunningProvider

WRONG: Final = ("label: think", "lable: think")
ONE_MORE: Final = """\
model_list:
- model_name: fresh
  litellm_params: {{model: anthropic/mock-fresh, api_base: '{url}', api_key: sk-provider}}
"""
HOLDER: Final = f"""
import socket
listener = socket.create_server({ADDRESS})
print("listening", flush=True)
listener.accept()
"""


def models(url: str) -> list[dict[str, Any]]:
    kept = anthropic_model("kept", url, api_key="os.environ/KEPT_KEY")
    return [*(anthropic_model(label, url) for label in LABELS), kept]


@pytest.fixture(scope="module")
def service(machine: Machine, provider: RunningProvider) -> Service:
    service = Service.of_user(machine)
    service.ctl("install")
    setup = Setup(ours={"port": ADDRESS[1]}, models=models)
    setup.write(machine.path(service.config_dir), provider.url)
    service.shell.run("sh", "-c", "umask 077 && echo sk-kept >~/kept")
    # As it is, but sooner out of patience; who needs longer to stop has to ask for it.
    limits = ("WatchdogSec=3", "TimeoutAbortSec=1", "TimeoutStopSec=1")
    service.configure(UNIT, "[Service]", *limits, "LoadCredential=KEPT_KEY:%h/kept")
    return service


@pytest.fixture
def running(service: Service) -> Service:
    """One that is up."""
    service.forget_failures()
    service.systemctl("start", UNIT)
    return service


@pytest.fixture
def stopped(service: Service) -> Service:
    """One that is down, and its port closed."""
    service.systemctl("stop", SOCKET, UNIT)
    service.forget_failures()
    return service


def test_a_wrong_config_ends_it_and_is_not_tried_for_ever(stopped: Service) -> None:
    with stopped.edited("ccproxy.yaml", *WRONG):
        stopped.fails("start", UNIT)
        assert stopped.show("ExecMainStatus") == "78"
        assert stopped.show("SubState") == "failed"  # and not auto-restart
        assert "did you mean 'label'?" in stopped.journal()
        # Who waits at the port has systemd try again; that has an end, too.
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://{ADDRESS[0]}:{ADDRESS[1]}", timeout=PATIENCE)
        assert stopped.show("Result", SOCKET) == "service-start-limit-hit"


def test_a_port_that_is_taken_is_named_with_who_has_it(stopped: Service) -> None:
    command = [*stopped.shell.prefix, str(PYTHON), "-c", HOLDER]
    with subprocess.Popen(command, env={}, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"listening\n"
        stopped.fails("start", UNIT)
        stopped.systemctl("stop", UNIT)
        socket.create_connection(ADDRESS).close()
        assert holder.wait(PATIENCE) == 0
    assert stopped.show("ExecMainStatus") == "75"
    assert "has the port; stop it, or choose another" in stopped.journal()


def test_the_first_request_starts_the_daemon(stopped: Service) -> None:
    stopped.systemctl("start", SOCKET)
    assert stopped.show("ActiveState") == "inactive"
    stopped.answers()
    assert stopped.show("NRestarts") == "0"


def test_an_ordinary_user_enables_it_and_it_serves(service: Service) -> None:
    service.systemctl("enable", "--now", "ccproxyd")
    service.systemctl("is-enabled", UNIT, SOCKET)
    service.systemctl("is-active", UNIT, SOCKET)
    assert service.show("StatusText") == f"serving on {ADDRESS[0]}:{ADDRESS[1]}"
    assert {one.uids().effective for one in service.processes()} == {USER_ID}
    service.answers()


def test_a_providers_key_can_be_systemds_to_read(
    running: Service, provider: RunningProvider
) -> None:
    running.answers(model="kept")
    assert provider.requests[-1].headers["x-api-key"] == "sk-kept"


def test_a_reload_takes_the_edited_config(running: Service, provider: RunningProvider) -> None:
    one_more = ONE_MORE.format(url=provider.url)
    with running.edited("config.yaml", "model_list:\n", one_more):
        running.systemctl("reload", UNIT)
    running.answers(model="fresh")
    assert provider.requests[-1].model == "mock-fresh"


def test_a_reload_that_fails_says_so_and_changes_nothing(running: Service) -> None:
    pid = running.pid
    with running.edited("ccproxy.yaml", *WRONG):
        assert f"Job for {UNIT} failed" in running.fails("reload", UNIT)
    assert running.show("ReloadResult") == "exit-code"
    assert running.show("ActiveState") == "active"
    assert running.pid == pid
    assert "did you mean 'label'?" in running.journal()
    running.answers()


def test_the_journal_has_the_daemons_records(running: Service) -> None:
    running.answers()
    records = running.records()
    assert {"ready", "ccproxy_post_api_call"} <= {one["event"] for one in records}
    assert all({"time", "level", "event"} <= one.keys() for one in records)


@pytest.mark.parametrize("room", ["worker", "template"])
def test_what_is_killed_is_replaced_by_the_daemon(running: Service, room: str) -> None:
    pid, status = running.pid, running.status()
    victim = status["template"]["pid"] if room == "template" else status["workers"][0]["pid"]
    with running.ending(victim):
        running.kill("KILL", victim)
    running.answers()
    assert running.pid == pid
    assert running.show("NRestarts") == "0"


def test_a_request_outlives_a_killed_daemon(running: Service) -> None:
    """systemd has the port; the request waits there for the next daemon."""
    pid = running.pid
    with running.ending(pid):
        running.kill("KILL", pid)
    running.answers()
    assert running.pid not in (0, pid)


def test_a_daemon_that_hangs_is_replaced_by_systemd(running: Service) -> None:
    pid = running.pid
    with running.ending(pid):
        running.kill("STOP", pid)
        running.answers()  # which never needed the daemon
    running.answers()
    assert running.pid not in (0, pid)
    assert running.show("NRestarts") == "1"
    assert "Watchdog timeout" in running.journal()


def test_a_restart_under_load_refuses_nothing_and_cuts_nothing(running: Service) -> None:
    pid = running.pid
    with running.under_load() as load, running.streaming() as lines:
        running.systemctl("restart", UNIT)
        assert any("message_stop" in line for line in lines)
    assert set(load.outcomes) == {200}
    assert running.pid != pid


def test_uninstalled_it_leaves_no_process_no_port_and_no_unit(running: Service) -> None:
    family = running.processes()
    assert family
    running.unconfigure(UNIT)
    running.ctl("uninstall")
    assert not [one for one in family if one.is_running()]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(ADDRESS)
    assert {running.show("LoadState", unit) for unit in (UNIT, SOCKET)} == {"not-found"}
    assert list(running.machine.path(running.units).rglob("*ccproxyd*")) == []
    assert not running.machine.path(running.runtime).exists()
