from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ccproxyd.errors import CcproxydError
from ccproxyd.paths import Directories, control_sockets, find_directories, make_private

HOME = Path("/home/a")
LIBRARY = HOME / "Library"


def found(environ: Mapping[str, str] | None = None, **how: Any) -> Directories:
    return find_directories(environ or {}, **{"home": HOME, "user_id": 7, **how})


def places(directories: Directories) -> tuple[str, ...]:
    every = (directories.config, directories.runtime, directories.state, directories.logs)
    return tuple(str(place) for place in every)


def test_a_user_on_linux() -> None:
    assert places(found({"XDG_RUNTIME_DIR": "/run/user/7"})) == (
        "/home/a/.ccproxy",
        "/run/user/7/ccproxyd",
        "/home/a/.local/state/ccproxyd",
        "/home/a/.local/state/ccproxyd/log",
    )


def test_a_user_on_linux_without_a_runtime_directory() -> None:
    assert str(found().runtime) == "/home/a/.local/state/ccproxyd/run"


def test_a_user_with_directories_of_their_own_choice() -> None:
    environ = {
        "XDG_RUNTIME_DIR": "/r",
        "XDG_STATE_HOME": "/s",
        "CCPROXY_CONFIG_DIR": "/c",
    }
    assert places(found(environ)) == ("/c", "/r/ccproxyd", "/s/ccproxyd", "/s/ccproxyd/log")


def test_a_user_on_macos() -> None:
    assert places(found(macos=True)) == (
        "/home/a/.ccproxy",
        str(LIBRARY / "Application Support/ccproxyd/run"),
        str(LIBRARY / "Application Support/ccproxyd"),
        str(LIBRARY / "Logs/ccproxyd"),
    )


def test_a_service_of_systemd() -> None:
    environ = {
        "RUNTIME_DIRECTORY": "/run/ccproxyd",
        "STATE_DIRECTORY": "/var/lib/ccproxyd:/var/lib/more",
        "LOGS_DIRECTORY": "/var/log/ccproxyd",
        "XDG_RUNTIME_DIR": "/run/user/7",
        "XDG_STATE_HOME": "/s",
    }
    assert places(found(environ, config=Path("/etc/ccproxyd"))) == (
        "/etc/ccproxyd",
        "/run/ccproxyd",
        "/var/lib/ccproxyd",
        "/var/log/ccproxyd",
    )


def test_an_argument_goes_before_the_environment() -> None:
    assert found({"CCPROXY_CONFIG_DIR": "/c"}, config=Path("/d")).config == Path("/d")


def test_a_tilde_in_the_environment_is_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/b")
    assert found({"CCPROXY_CONFIG_DIR": "~/proxy"}).config == Path("/home/b/proxy")


def test_root_has_the_systems_runtime_directory() -> None:
    assert found(user_id=0).runtime == Path("/run/ccproxyd")


def test_root_with_directories_of_its_own_does_not_touch_the_systems() -> None:
    assert found({"XDG_STATE_HOME": "/s"}, user_id=0).runtime == Path("/s/ccproxyd/run")


def test_root_on_macos_has_no_run() -> None:
    home = Path("/var/root")
    expected = home / "Library/Application Support/ccproxyd/run"
    assert found(home=home, user_id=0, macos=True).runtime == expected


def test_an_empty_variable_is_none() -> None:
    empty = {"XDG_RUNTIME_DIR": "", "RUNTIME_DIRECTORY": "", "CCPROXY_CONFIG_DIR": ""}
    assert places(found(empty)) == places(found())


def test_a_deep_home_leaves_room_for_a_sockets_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/tmp")
    deep = Path("/home") / ("ü" * 40)
    runtime = found(home=deep).runtime
    assert runtime == Path("/tmp/ccproxyd-7")
    assert len(os.fsencode(runtime / "worker-1000.10.sock")) < 100


def test_the_files_of_an_instance() -> None:
    directories = Directories(Path("/c"), Path("/r"), Path("/s"), Path("/l"))
    assert directories.control_socket == Path("/r/control.sock")
    assert directories.lock == Path("/r/lock")
    assert directories.client_key == Path("/s/key")


def test_a_client_looks_for_the_users_daemon_first_and_then_for_the_systems() -> None:
    environ = {"XDG_RUNTIME_DIR": "/run/user/7"}
    assert control_sockets(environ, home=HOME, user_id=7) == [
        Path("/run/user/7/ccproxyd/control.sock"),
        Path("/run/ccproxyd/control.sock"),
    ]


def test_a_client_that_was_told_looks_nowhere_else() -> None:
    assert control_sockets({"CCPROXYD_SOCKET": "/x"}, home=HOME, user_id=7) == [Path("/x")]


def mode(directory: Path) -> int:
    return stat.S_IMODE(directory.stat().st_mode)


def test_a_private_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    made = make_private(tmp_path / "a" / "b")
    assert mode(made) == 0o700
    assert make_private(made) == made


def test_a_directory_that_others_can_read_becomes_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert mode(make_private(tmp_path)) == 0o700


def test_a_directory_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(CcproxydError, match="not a directory of our own"):
        make_private(tmp_path)
    assert mode(tmp_path) == 0o755


def test_a_link_is_refused_wherever_it_leads(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o755)
    link = tmp_path / "link"
    link.symlink_to(target)
    with pytest.raises(CcproxydError, match="not a directory of our own"):
        make_private(link)
    assert mode(target) == 0o755


@pytest.mark.parametrize("inside", ["", "below"])
def test_a_file_in_the_way_is_a_reason(tmp_path: Path, inside: str) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(CcproxydError, match=r"cannot use .*: (File exists|Not a directory)"):
        make_private(file / inside)
