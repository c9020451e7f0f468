import plistlib
from pathlib import Path

import pytest

from ccproxyd.control.client import FailedError
from ccproxyd.ctl.setup.executables import Executables
from ccproxyd.ctl.setup.marker import is_unedited
from ccproxyd.ctl.setup.plan import (
    listen_address,
    our_files,
    packaged_unit,
    preparations,
    service_files,
)
from ccproxyd.ctl.setup.site import Site
from ccproxyd.errors import ConfigError
from tests.ctl.service.fakes import AGENT, USER_UNIT, machine_at, write

SCRIPTS = Executables(("/opt/bin/ccproxyd",), ("/opt/bin/ccproxyctl",))
PACKAGED = "usr/lib/systemd/user/ccproxyd.service"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    machine = machine_at(tmp_path)
    write(machine.home / ".ccproxy" / "ccproxy.yaml", "ccproxy: {port: 4001}\n")
    return Site(machine, "user", machine.home / ".ccproxy")


def system(site: Site) -> Site:
    write(site.machine.root / "etc/ccproxyd/ccproxy.yaml", "ccproxy: {}\n")
    return Site(site.machine, "system", site.machine.root / "etc/ccproxyd")


# What is to be written


def test_a_user_gets_a_service_and_its_port(site: Site) -> None:
    service, port = service_files(site, SCRIPTS)
    assert service.path == site.machine.home / USER_UNIT
    assert "\nExecStart=/opt/bin/ccproxyd\n" in service.text
    assert "\nListenStream=127.0.0.1:4001\n" in port.text
    assert is_unedited(service.text)
    assert is_unedited(port.text)


def test_the_system_gets_its_own_and_what_they_need(site: Site) -> None:
    service, _ = service_files(system(site), SCRIPTS)
    assert service.path == site.machine.root / "etc/systemd/system/ccproxyd.service"
    assert "\nUser=ccproxyd\n" in service.text
    assert [
        one.path.relative_to(site.machine.root).as_posix() for one in preparations(site.machine)
    ] == [
        "etc/sysusers.d/ccproxyd.conf",
        "etc/tmpfiles.d/ccproxyd.conf",
    ]
    assert all(is_unedited(one.text) for one in preparations(site.machine))


def test_macos_gets_an_agent(tmp_path: Path) -> None:
    machine = machine_at(tmp_path, macos=True)
    [agent] = service_files(Site(machine, "user", Path("/a/config")), SCRIPTS)
    assert agent.path == machine.home / AGENT
    found = plistlib.loads(agent.text.encode())
    assert found["ProgramArguments"][0] == "/opt/bin/ccproxyd"
    assert found["EnvironmentVariables"]["CCPROXY_CONFIG_DIR"] == "/a/config"


# What is there already


def test_a_packages_unit_that_runs_the_same_is_used(site: Site) -> None:
    assert packaged_unit(site, SCRIPTS) is None
    packaged = write(site.machine.root / PACKAGED, "[Service]\nExecStart=/opt/bin/ccproxyd\n")
    assert packaged_unit(site, SCRIPTS) == packaged
    assert packaged_unit(site, Executables(("/other/ccproxyd",), ())) is None


def test_a_unit_in_front_of_the_packages_is_the_one_that_counts(site: Site) -> None:
    write(site.machine.root / PACKAGED, "[Service]\nExecStart=/opt/bin/ccproxyd\n")
    write(site.machine.home / USER_UNIT)
    assert packaged_unit(site, SCRIPTS) is None


def test_only_what_is_marked_is_ours(site: Site) -> None:
    service, port = service_files(site, SCRIPTS)
    write(service.path, service.text + "# edited\n")
    write(port.path, "[Socket]\n")
    assert list(our_files(site)) == [service.path]


def test_what_the_system_needs_is_ours_as_well(site: Site) -> None:
    for one in [*preparations(site.machine), *service_files(system(site), SCRIPTS)]:
        write(one.path, one.text)
    assert len(list(our_files(system(site)))) == 4
    assert list(our_files(site)) == []


# Where the port is


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ccproxy: {}", "127.0.0.1:4000"),
        ("ccproxy: {host: '::1', port: 7}", "[::1]:7"),
        ("ccproxy: {host: 0.0.0.0}", "0.0.0.0:4000"),
        ("ccproxy: {port: '${PORT}'}", "127.0.0.1:4005"),
        ("ccproxy: {port: '${OTHER}'}", "127.0.0.1:4006"),
        ("ccproxy: {host: localhost}", "127.0.0.1:4000"),
    ],
)
def test_the_port_is_where_the_config_says(tmp_path: Path, text: str, address: str) -> None:
    write(tmp_path / "ccproxy.yaml", text)
    write(tmp_path / "env", "PORT=4005\n")
    found = listen_address(tmp_path, {"OTHER": "4006", "PORT": "1"})
    assert found.replace("[::1]:4000", "127.0.0.1:4000") == address


def test_a_port_that_is_any_is_none_for_a_service(tmp_path: Path) -> None:
    write(tmp_path / "ccproxy.yaml", "ccproxy: {port: 0}")
    with pytest.raises(FailedError, match="a service needs a port of its own"):
        listen_address(tmp_path, {})


def test_a_host_that_is_not_there_is_named(tmp_path: Path) -> None:
    write(tmp_path / "ccproxy.yaml", "ccproxy: {host: no.such.host.invalid}")
    with pytest.raises(FailedError, match=r"ccproxy\.host: cannot find 'no\.such\.host\.invalid'"):
        listen_address(tmp_path, {})


def test_a_config_that_is_wrong_is_named_by_its_field(tmp_path: Path) -> None:
    write(tmp_path / "ccproxy.yaml", "ccproxy: {port: x}")
    with pytest.raises(ConfigError, match=r"ccproxy\.port"):
        listen_address(tmp_path, {})
