from pathlib import Path

import pytest
from attrs import evolve

from ccproxyd.ctl.machine import Machine
from ccproxyd.ctl.parser import parse
from ccproxyd.ctl.service.find import (
    config_dir_for,
    config_dir_of,
    find_unit,
    manager_of,
    own_directory,
    service_for,
    unit_files,
)
from ccproxyd.ctl.service.launchd import Launchd
from tests.ctl.service.fakes import AGENT, USER_UNIT, machine_at, write

SYSTEM_UNIT = "etc/systemd/system/ccproxyd.service"
PACKAGED = "usr/lib/systemd/user/ccproxyd.service"
ARGS = parse(["status"])


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return machine_at(tmp_path)


@pytest.fixture
def root(machine: Machine) -> Machine:
    return evolve(machine, user_id=0)


def users_unit(machine: Machine, text: str = "") -> Path:
    return write(machine.home / USER_UNIT, text)


def systems_unit(machine: Machine, text: str = "") -> Path:
    return write(machine.root / SYSTEM_UNIT, text)


def scope(machine: Machine) -> str | None:
    manager = service_for(ARGS, machine)
    return manager.scope if manager else None


# Which one


def test_without_a_unit_there_is_no_service(machine: Machine) -> None:
    assert scope(machine) is None


def test_a_user_means_their_own_service_before_the_systems(machine: Machine) -> None:
    systems_unit(machine)
    assert scope(machine) == "system"
    users_unit(machine)
    assert scope(machine) == "user"


def test_root_means_the_systems_service_before_their_own(root: Machine) -> None:
    users_unit(root)
    assert scope(root) == "user"
    systems_unit(root)
    assert scope(root) == "system"


def test_a_unit_of_ones_own_hides_that_of_a_package(machine: Machine) -> None:
    packaged = write(machine.root / PACKAGED)
    assert find_unit(machine) is not None
    own = users_unit(machine)
    assert list(unit_files("user", machine)) == [own, packaged]


def test_units_are_where_the_environment_says(machine: Machine, tmp_path: Path) -> None:
    elsewhere = evolve(machine, environ={"XDG_CONFIG_HOME": str(tmp_path / "xdg")})
    assert own_directory("user", elsewhere) == tmp_path / "xdg" / "systemd" / "user"


def test_a_directory_of_the_units_name_is_none(machine: Machine) -> None:
    (machine.home / USER_UNIT).mkdir(parents=True)
    assert find_unit(machine) is None


def test_on_macos_the_service_is_an_agent(tmp_path: Path) -> None:
    machine = machine_at(tmp_path, macos=True)
    users_unit(machine)
    assert find_unit(machine) is None
    write(machine.home / AGENT)
    assert isinstance(service_for(ARGS, machine), Launchd)


def test_systemctl_is_told_where_the_users_systemd_is(machine: Machine) -> None:
    untold = evolve(machine, environ={"PATH": "/bin"})
    manager = manager_of("user", untold)
    runtime = machine.root / "run" / "user" / "501"
    assert manager.commands.environ["XDG_RUNTIME_DIR"] == str(runtime)
    assert manager.control_socket == runtime / "ccproxyd" / "control.sock"


# Whether one is meant at all


@pytest.mark.parametrize("name", ["CCPROXYD_SOCKET", "RUNTIME_DIRECTORY"])
def test_an_environment_that_names_another_instance_means_that_one(
    machine: Machine, name: str
) -> None:
    users_unit(machine)
    environ = {**machine.environ, name: "/tmp/x"}
    assert service_for(ARGS, evolve(machine, environ=environ)) is None


def test_a_named_socket_means_what_listens_there(machine: Machine) -> None:
    users_unit(machine)
    assert service_for(parse(["status", "--socket", "/tmp/x"]), machine) is None


def test_another_config_directory_means_another_instance(machine: Machine) -> None:
    users_unit(machine)
    own = str(machine.home / ".ccproxy")
    assert service_for(parse(["status", "--config-dir", "/tmp/x"]), machine) is None
    assert service_for(parse(["status", "--config-dir", own]), machine) is not None
    for named, found in (("/tmp/x", False), (own, True)):
        environ = {**machine.environ, "CCPROXY_CONFIG_DIR": named}
        assert (service_for(ARGS, evolve(machine, environ=environ)) is not None) is found


# Its config directory


@pytest.mark.parametrize(
    ("line", "directory"),
    [
        ("Environment=CCPROXY_CONFIG_DIR=/etc/ccproxyd", "/etc/ccproxyd"),
        ('Environment="CCPROXY_CONFIG_DIR=/a b/50%%"', "/a b/50%"),
    ],
)
def test_a_unit_may_name_a_config_directory(machine: Machine, line: str, directory: str) -> None:
    users_unit(machine, f"[Service]\n{line}\nType=notify\n")
    unit = find_unit(machine)
    assert unit is not None
    assert config_dir_of(unit, machine) == Path(directory)
    assert service_for(parse(["status", "--config-dir", directory]), machine) is not None
    assert config_dir_for(ARGS, machine) == Path(directory)


def test_a_unit_that_names_none_has_the_usual_one(machine: Machine) -> None:
    users_unit(machine, "# Environment=CCPROXY_CONFIG_DIR=/etc/x\n")
    unit = find_unit(machine)
    assert unit is not None
    assert config_dir_of(unit, machine) == machine.home / ".ccproxy"


def test_an_agent_may_name_one_as_well(tmp_path: Path) -> None:
    machine = machine_at(tmp_path, macos=True)
    agent = "<key>CCPROXY_CONFIG_DIR</key>\n\t\t<string>/Users/a/c</string>"
    write(machine.home / AGENT, agent)
    unit = find_unit(machine)
    assert unit is not None
    assert config_dir_of(unit, machine) == Path("/Users/a/c")


def test_the_systems_config_is_meant_by_root_alone(machine: Machine, root: Machine) -> None:
    systems_unit(machine, "Environment=CCPROXY_CONFIG_DIR=/etc/ccproxyd\n")
    assert config_dir_for(ARGS, machine) == machine.home / ".ccproxy"
    assert config_dir_for(ARGS, root) == Path("/etc/ccproxyd")


def test_a_named_directory_is_the_one_that_is_meant(machine: Machine) -> None:
    users_unit(machine)
    assert config_dir_for(parse(["check", "--config-dir", "/tmp/x"]), machine) == Path("/tmp/x")
