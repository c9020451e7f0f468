from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from pathlib import Path
from typing import Any

import psutil
import pytest

from ccproxyd.daemon import instance
from ccproxyd.daemon.instance import bind_listener, client_keys, take_lock
from ccproxyd.errors import AddressInUseError, CcproxydError
from ccproxyd.paths import Directories


def test_the_lock_is_held_and_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = take_lock(path)
    assert path.read_text() == f"{os.getpid()}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not os.get_inheritable(lock)
    os.close(lock)


def test_a_second_daemon_is_refused_and_told_the_first(tmp_path: Path) -> None:
    lock = take_lock(tmp_path / "lock")
    with pytest.raises(AddressInUseError, match=rf"\(pid {os.getpid()}\); see: ccproxyctl status"):
        take_lock(tmp_path / "lock")
    os.close(lock)


def test_a_lock_that_says_nothing_is_held_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = take_lock(path)
    path.write_text("")
    with pytest.raises(AddressInUseError, match="is already running; see"):
        take_lock(path)
    os.close(lock)


def test_a_lock_whose_holder_is_gone_means_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("123456789 and a long line that was there before\n")
    os.close(take_lock(path))
    os.close(take_lock(path))
    assert path.read_text() == f"{os.getpid()}\n"


def test_a_lock_that_cannot_be_made_is_a_reason(tmp_path: Path) -> None:
    with pytest.raises(CcproxydError, match=r"cannot lock .*: No such file"):
        take_lock(tmp_path / "nowhere" / "lock")


def test_a_file_system_without_locks_is_not_taken_for_another_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(CcproxydError, match="No locks available") as caught:
        take_lock(tmp_path / "lock")
    assert caught.value.exit_code == 1


def test_a_full_disk_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(CcproxydError, match=r"cannot write .*/lock: No space left on device"):
        take_lock(tmp_path / "lock")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_the_port_is_bound_at_the_host(host: str) -> None:
    if host == "::1" and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    with bind_listener(host, 0) as listener:
        connection = socket.create_connection(listener.getsockname()[:2], timeout=10)
        connection.close()
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert not listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_a_busy_port_names_its_owner() -> None:
    with bind_listener("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressInUseError) as caught:
            bind_listener("127.0.0.1", port)
    name = psutil.Process().name()
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{port}: {name} (pid {os.getpid()}) has the port;"
        " stop it, or choose another port: ccproxy.port, or ccproxyd --port"
    )


def refused(monkeypatch: pytest.MonkeyPatch, **fakes: Any) -> str:
    """What a busy port says when psutil sees that much."""
    for name, fake in fakes.items():
        monkeypatch.setattr(psutil, name, fake)
    with bind_listener("127.0.0.1", 0) as taken:
        with pytest.raises(AddressInUseError) as caught:
            bind_listener("127.0.0.1", taken.getsockname()[1])
        return str(caught.value)


def test_a_busy_port_whose_owner_may_not_be_seen_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(kind: str) -> list[Any]:
        raise psutil.AccessDenied

    assert "the port is in use" in refused(monkeypatch, net_connections=denied)
    assert "the port is in use" in refused(monkeypatch, net_connections=lambda kind: [])


def test_a_busy_port_whose_owner_has_just_gone_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    def name(_: psutil.Process) -> str:
        raise psutil.NoSuchProcess(1)

    monkeypatch.setattr(psutil.Process, "name", name)
    assert f"pid {os.getpid()} has the port" in refused(monkeypatch)


def test_the_gateway_of_a_daemon_that_was_killed_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = bind_listener("127.0.0.1", 0)
    port = taken.getsockname()[1]
    monkeypatch.setattr(instance, "_is_our_orphan", lambda process: process.pid == os.getpid())
    monkeypatch.setattr(instance.time, "sleep", lambda seconds: taken.close())
    with bind_listener("127.0.0.1", port) as listener:
        assert listener.getsockname()[1] == port


def test_an_orphan_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(instance, "ORPHAN_SECONDS", -1.0)
    monkeypatch.setattr(instance, "_is_our_orphan", lambda process: True)
    monkeypatch.setattr(instance.time, "sleep", slept.append)
    assert "has the port" in refused(monkeypatch)
    assert slept == []


class Somebody:
    """A process as far as it matters here."""

    def __init__(self, *words: str, parent: Somebody | None = None, gone: bool = False) -> None:
        self.words = list(words)
        self._parent = parent
        self._gone = gone

    def cmdline(self) -> list[str]:
        if self._gone:
            raise psutil.NoSuchProcess(1)
        return self.words

    def parent(self) -> Somebody | None:
        return self._parent


GATEWAY = ("python", "-m", "ccproxyd.gateway", "--listener", "3")
DAEMON = Somebody("/usr/bin/ccproxyd", "--port", "4000")


@pytest.mark.parametrize(
    ("process", "orphan"),
    [
        (Somebody(*GATEWAY), True),
        (Somebody(*GATEWAY, parent=Somebody("/sbin/init")), True),
        (Somebody(*GATEWAY, parent=DAEMON), False),
        (Somebody("python", "-m", "http.server"), False),
        (Somebody(*GATEWAY, gone=True), False),
    ],
)
def test_an_orphan_is_a_gateway_without_a_daemon(process: Any, orphan: bool) -> None:
    assert instance._is_our_orphan(process) is orphan


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid", "a..b", "x" * 70 + ".example"])
def test_a_host_that_is_not_here_is_a_reason(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if host == "nowhere.invalid":
        monkeypatch.setattr(socket, "getaddrinfo", _no_such_name)
    with pytest.raises(CcproxydError, match=f"cannot listen on {host}") as caught:
        bind_listener(host, 0)
    assert not isinstance(caught.value, AddressInUseError)


def _no_such_name(*_: object, **__: object) -> None:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_an_ipv6_address_is_told_from_its_port(monkeypatch: pytest.MonkeyPatch) -> None:
    denied = OSError(errno.EACCES, "Permission denied")
    told = instance._cannot_bind("::1", 80, denied)
    assert str(told) == "cannot listen on [::1]:80: Permission denied"


@pytest.fixture
def directories(tmp_path: Path) -> Directories:
    return Directories(tmp_path / "c", tmp_path / "r", tmp_path / "s", tmp_path / "l")


def test_a_key_that_the_config_names_goes_first(directories: Directories) -> None:
    environ = {"LITELLM_MASTER_KEY": "sk-environment"}
    assert client_keys(directories, environ, "sk-config") == ["sk-config"]
    assert client_keys(directories, environ, None) == ["sk-environment"]
    assert not directories.state.exists()


def test_a_key_is_made_once_and_kept_for_the_owner_alone(directories: Directories) -> None:
    [key] = client_keys(directories, {}, None)
    assert key.startswith("sk-ccproxy-")
    assert len(key) > 40
    assert client_keys(directories, {"LITELLM_MASTER_KEY": ""}, None) == [key]
    assert stat.S_IMODE(directories.client_key.stat().st_mode) == 0o600
    assert stat.S_IMODE(directories.state.stat().st_mode) == 0o700
    assert [file.name for file in directories.state.iterdir()] == ["key"]


def test_a_key_of_the_users_own_is_kept(directories: Directories) -> None:
    directories.state.mkdir(mode=0o700)
    directories.client_key.write_text("  sk-mine \n")
    assert client_keys(directories, {}, None) == ["sk-mine"]


def test_a_file_without_a_key_gets_one(directories: Directories) -> None:
    directories.state.mkdir(mode=0o700)
    directories.client_key.write_text("\n")
    [key] = client_keys(directories, {}, None)
    assert directories.client_key.read_text() == key + "\n"


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_key_that_cannot_be_read_is_a_reason(
    directories: Directories, content: bytes | None
) -> None:
    directories.state.mkdir(mode=0o700)
    if content is None:
        directories.client_key.mkdir()
    else:
        directories.client_key.write_bytes(content)
    with pytest.raises(CcproxydError, match=r"cannot keep the clients' key in .*key: "):
        client_keys(directories, {}, None)


def test_a_state_directory_that_cannot_be_made_is_a_reason(directories: Directories) -> None:
    directories.state.write_text("in the way")
    with pytest.raises(CcproxydError, match=r"cannot use|cannot keep"):
        client_keys(directories, {}, None)
