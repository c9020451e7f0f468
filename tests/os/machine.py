"""A throw-away machine with a real systemd: booted in half a second, gone without a trace.

    with booted_machine({Path("/opt/checkout"): Path("/some/checkout")}) as machine:
        machine.run("systemctl", "start", "some.service")
        machine.user.run("systemctl", "--user", "start", "some.service")

It is made of namespaces, as a container is; `boot.sh` builds its root and says what it sees of the
host. Its network is loopback alone. The test's own thread is moved into that network for as long as
the machine runs, so that a client, or a provider, that a test starts is in the machine's network
while its code stays here; other threads stay where they are.

It needs root, and of Debian's packages `systemd dbus dbus-user-session libpam-systemd util-linux
mount passwd`; where these are missing, or a sandbox forbids namespaces, `CannotBootError` says so.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import psutil
from attrs import frozen

PATIENCE: Final = 60.0
USER: Final = "tester"
USER_ID: Final = 4711
_BOOT: Final = Path(__file__).with_name("boot.sh")
_TOOLS: Final = (
    *("bash", "dbus-daemon", "journalctl", "mount", "nsenter", "pivot_root", "runuser", "setpriv"),
    *("systemctl", "unshare", "useradd"),
)
_NAMESPACES: Final = ("--pid", "--mount", "--cgroup", "--ipc", "--uts", "--net")
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CLONE_NEWNET: Final = 0x40000000


class CannotBootError(Exception):
    """There can be no such machine here; the text says why."""


@frozen
class Shell:
    """Runs commands in the machine, as one of its users."""

    prefix: tuple[str, ...]

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The ended command, with what it printed; unless `check`, whatever its exit status."""
        done = subprocess.run(
            [*self.prefix, *words],
            env={},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=4 * PATIENCE,  # systemd's own limits come first
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def output(self, *words: str) -> str:
        return self.run(*words).stdout.strip()


@frozen
class Machine:
    """A booted machine: its init, as the host numbers it, and a shell for root and for a user."""

    init: int
    root: Shell
    user: Shell

    @classmethod
    def of(cls, init: int) -> Self:
        enter = ("nsenter", f"--target={init}", "--all", "--", "env", "-i", "LANG=C.UTF-8")
        user = (
            *(*enter, f"PATH={_PATH}", "runuser", f"--user={USER}", "--", "env"),
            *(f"HOME=/home/{USER}", f"USER={USER}", f"LOGNAME={USER}", "SHELL=/bin/bash"),
            f"XDG_RUNTIME_DIR=/run/user/{USER_ID}",
        )
        return cls(init, Shell((*enter, f"PATH={_PATH}", "HOME=/root")), Shell(user))

    def path(self, inside: Path | str) -> Path:
        """Where the host sees a file of the machine's, links in it not followed."""
        return Path(f"/proc/{self.init}/root{inside}")


@contextmanager
def booted_machine(binds: Mapping[Path, Path]) -> Iterator[Machine]:
    """A machine that is up, and this thread in its network.

    Args:
        binds: directories of the machine, and what the host has in their place; read-only.

    Raises:
        CannotBootError: not here.
    """
    _check_host()
    with (
        _cgroup() as cgroup,
        tempfile.TemporaryDirectory(prefix="ccp-os-") as scratch,
        _booting(Path(scratch), cgroup, binds) as init,
        _network_of(init),
    ):
        machine = Machine.of(init)
        machine.root.run("systemctl", "start", f"user@{USER_ID}.service")
        yield machine


def _check_host() -> None:
    if os.geteuid() != 0:
        raise CannotBootError("only root can boot a systemd of its own")
    if missing := [tool for tool in _TOOLS if not shutil.which(tool, path=_PATH)]:
        raise CannotBootError(f"not installed: {', '.join(missing)}")


@contextmanager
def _cgroup() -> Iterator[Path]:
    """A cgroup of our own for all of the machine."""
    path = _own_cgroup() / f"ccproxyd-tests-{os.getpid()}"
    try:
        path.mkdir()
    except OSError as error:
        raise CannotBootError(f"cannot make {path}: {error.strerror}") from None
    try:
        yield path
    finally:
        for directory, _, _ in os.walk(path, topdown=False):
            Path(directory).rmdir()


def _own_cgroup() -> Path:
    """Where this process is in the cgroup v2 hierarchy, which may be mounted beside v1."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    points = [point for _, point, kind, *_ in mounts if kind == "cgroup2"]
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    own = [line.removeprefix("0::") for line in lines if line.startswith("0::")]
    if not points or not own:
        raise CannotBootError("there is no cgroup v2 here")
    return Path(points[0] + own[0])


@contextmanager
def _booting(scratch: Path, cgroup: Path, binds: Mapping[Path, Path]) -> Iterator[int]:
    """The machine's init once systemd is up; killing it ends every process in there."""
    (scratch / "root").mkdir()
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready,
        (scratch / "log").open("w+") as log,
    ):
        ready.bind(str(scratch / "ready"))
        process = subprocess.Popen(
            _command(scratch, cgroup, binds),
            env={"PATH": _PATH, "READY_SOCKET": str(scratch / "ready")},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            _await_ready(ready, process, log.name)
            ready.close()  # systemd reports more, and would wait for somebody to read it
            [init] = psutil.Process(process.pid).children()
            yield init.pid
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """With its init every process of the machine ends, and unshare after all of them."""
    inits = psutil.Process(process.pid).children()
    for pid in [one.pid for one in inits] or [process.pid]:
        os.kill(pid, signal.SIGKILL)
    process.wait(PATIENCE)


def _command(scratch: Path, cgroup: Path, binds: Mapping[Path, Path]) -> list[str]:
    return [
        *("setpriv", "--pdeathsig=KILL"),  # the machine must not outlive whoever started it
        *("sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(cgroup)),
        *("unshare", "--fork", "--kill-child=KILL", "--propagation=private", *_NAMESPACES),
        *(str(_BOOT), str(scratch / "root")),
        *(f"{target}:{source}" for target, source in binds.items()),
    ]


def _await_ready(ready: socket.socket, process: subprocess.Popen[bytes], log: str) -> None:
    """Wait for systemd's word, or for its end."""
    ended = os.pidfd_open(process.pid)
    try:
        while ready.fileno() in select.select([ready.fileno(), ended], [], [], PATIENCE)[0]:
            if b"READY=1" in ready.recv(4096).splitlines():
                return
    finally:
        os.close(ended)
    raise CannotBootError(Path(log).read_text().strip() or "systemd did not come up")


@contextmanager
def _network_of(init: int) -> Iterator[None]:
    with (
        Path("/proc/thread-self/ns/net").open() as home,
        Path(f"/proc/{init}/ns/net").open() as there,
    ):
        _enter_network(there.fileno())
        try:
            yield
        finally:
            _enter_network(home.fileno())


def _enter_network(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise CannotBootError(f"cannot enter a network: {os.strerror(ctypes.get_errno())}")
