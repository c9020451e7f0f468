import os
from pathlib import Path

import pytest
from attrs import evolve

from ccproxyd.control.client import FailedError, NotPermittedError
from ccproxyd.ctl.machine import Machine
from ccproxyd.ctl.parser import parse
from ccproxyd.ctl.setup.site import UsageError, site_of
from tests.ctl.service.fakes import USER_UNIT, machine_at, write


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return machine_at(tmp_path, user_id=os.getuid())


def test_a_user_has_the_usual_directories(machine: Machine) -> None:
    site = site_of(parse(["install"]), machine)
    assert (site.scope, site.config_dir) == ("user", machine.home / ".ccproxy")
    assert site.named_config is None
    assert machine.home / ".local/state/ccproxyd" in site.state


def test_a_named_config_is_one_that_the_service_must_be_told_of(machine: Machine) -> None:
    site = site_of(parse(["install", "--config-dir", "/tmp/x"]), machine)
    assert site.config_dir == site.named_config == Path("/tmp/x")
    environ = {**machine.environ, "CCPROXY_CONFIG_DIR": "/tmp/y"}
    assert site_of(parse(["install"]), evolve(machine, environ=environ)).named_config == Path(
        "/tmp/y"
    )


def test_a_service_that_was_told_of_one_keeps_it(machine: Machine) -> None:
    write(machine.home / USER_UNIT, "[Service]\nEnvironment=CCPROXY_CONFIG_DIR=/tmp/x\n")
    assert site_of(parse(["uninstall"]), machine).config_dir == Path("/tmp/x")
    usual = str(machine.home / ".ccproxy")
    assert site_of(parse(["install", "--config-dir", usual]), machine).named_config is None


def test_a_home_of_somebody_else_is_not_written_to(machine: Machine) -> None:
    """As root after sudo, which may leave HOME as it was."""
    with pytest.raises(FailedError, match="is not the home of alice"):
        site_of(parse(["install"]), evolve(machine, user_id=machine.user_id + 1))


def test_the_system_is_roots(machine: Machine) -> None:
    with pytest.raises(NotPermittedError, match="try: sudo ccproxyctl uninstall --system"):
        site_of(parse(["uninstall", "--system"]), evolve(machine, user_id=501))
    site = site_of(parse(["install", "--system"]), evolve(machine, user_id=0))
    assert (site.scope, site.named_config) == ("system", None)
    assert site.config_dir == machine.root / "etc/ccproxyd"
    assert site.state == (machine.root / "var/lib/ccproxyd",)


def test_the_system_has_one_config(machine: Machine) -> None:
    words = ["install", "--system", "--config-dir", "/tmp/x"]
    with pytest.raises(UsageError, match="/etc/ccproxyd"):
        site_of(parse(words), evolve(machine, user_id=0))


def test_macos_has_no_service_of_the_system(machine: Machine) -> None:
    with pytest.raises(UsageError, match="--system is not supported here"):
        site_of(parse(["install", "--system"]), evolve(machine, macos=True, user_id=0))


def test_there_is_a_manager_where_systemd_runs(machine: Machine) -> None:
    args = parse(["install"])
    assert not site_of(args, machine).has_manager
    (machine.root / "run/systemd/system").mkdir(parents=True)
    assert site_of(args, machine).has_manager
    assert site_of(args, evolve(machine, macos=True, root=Path("/nowhere"))).has_manager
