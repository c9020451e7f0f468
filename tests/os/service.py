"""The service as those have it who use it: systemctl, journalctl, ccproxyctl, and requests."""

from __future__ import annotations

import json
import os
import select
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
from attrs import define, field, frozen

from tests.os.installation import CCPROXYCTL
from tests.os.machine import PATIENCE, USER, USER_ID, Machine, Shell
from tests.support.daemon import message_body

ADDRESS: Final = ("127.0.0.1", 4000)
UNIT: Final = "ccproxyd.service"
SOCKET: Final = "ccproxyd.socket"
_SHOWN: Final = 8000
_CLIENTS: Final = 8
_PAUSE_SECONDS: Final = 0.25


@frozen
class Service:
    """The service of the machine's user, or of its system."""

    machine: Machine
    shell: Shell
    options: tuple[str, ...]
    units: Path
    config_dir: Path
    runtime: Path
    state: Path

    @classmethod
    def of_user(cls, machine: Machine) -> Service:
        home = Path("/home") / USER
        return cls(
            machine,
            machine.user,
            ("--user",),
            units=home / ".config/systemd/user",
            config_dir=home / ".ccproxy",
            runtime=Path(f"/run/user/{USER_ID}/ccproxyd"),
            state=home / ".local/state/ccproxyd",
        )

    @classmethod
    def of_system(cls, machine: Machine) -> Service:
        return cls(
            machine,
            machine.root,
            (),
            units=Path("/etc/systemd/system"),
            config_dir=Path("/etc/ccproxyd"),
            runtime=Path("/run/ccproxyd"),
            state=Path("/var/lib/ccproxyd"),
        )

    # What is said to it

    def systemctl(self, *words: str) -> None:
        done = self.shell.run("systemctl", *self.options, *words, check=False)
        assert done.returncode == 0, f"{words}: {done.stderr}{self.journal()[-_SHOWN:]}"

    def fails(self, *words: str) -> str:
        """What systemctl says when it cannot do this."""
        done = self.shell.run("systemctl", *self.options, *words, check=False)
        assert done.returncode != 0, f"{words} worked"
        return done.stderr

    def forget_failures(self) -> None:
        """What was started or failed before is none of a test's business."""
        self.shell.run("systemctl", *self.options, "reset-failed", UNIT, SOCKET, check=False)

    def ctl(self, *words: str) -> str:
        return self.shell.run(CCPROXYCTL, *words).stdout

    def configure(self, unit: str, *lines: str) -> None:
        """A drop-in, as `systemctl edit` writes it."""
        directory = self.machine.path(self.units / f"{unit}.d")
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "test.conf").write_text("\n".join(lines) + "\n")
        self.systemctl("daemon-reload")

    def unconfigure(self, unit: str) -> None:
        shutil.rmtree(self.machine.path(self.units / f"{unit}.d"))

    @contextmanager
    def edited(self, name: str, old: str, new: str) -> Iterator[None]:
        """A file of the config with something else in it, for a while."""
        file = self.machine.path(self.config_dir / name)
        before = file.read_text()
        assert old in before
        file.write_text(before.replace(old, new))
        try:
            yield
        finally:
            file.write_text(before)

    # How it is

    def show(self, name: str, unit: str = UNIT) -> str:
        """One of the properties that systemd has of a unit."""
        return self.shell.output("systemctl", *self.options, "show", "--value", "-p", name, unit)

    @property
    def pid(self) -> int:
        """The daemon's, as the machine numbers it."""
        return int(self.show("MainPID"))

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ctl("--json", "status"))
        return found

    def journal(self) -> str:
        return self.shell.output(
            "journalctl", *self.options, f"--unit={UNIT}", "--quiet", "--no-pager", "--output=cat"
        )

    def records(self) -> list[dict[str, Any]]:
        """What the daemon itself has logged."""
        return [json.loads(line) for line in self.journal().splitlines() if line.startswith("{")]

    def processes(self) -> list[psutil.Process]:
        """Everything that runs in it, as the host sees it."""
        group = Path(f"/sys/fs/cgroup{self.show('ControlGroup')}") / "cgroup.procs"
        return [psutil.Process(int(pid)) for pid in self.machine.path(group).read_text().split()]

    def kill(self, signal: str, pid: int) -> None:
        self.shell.run("kill", f"-{signal}", str(pid))

    @contextmanager
    def ending(self, pid: int) -> Iterator[None]:
        """Do something that ends a process, and wait until it has."""
        [found] = [one.pid for one in self.processes() if _number_inside(one) == pid]
        descriptor = os.pidfd_open(found)
        try:
            yield
            assert select.select([descriptor], [], [], PATIENCE)[0], f"{pid} goes on"
        finally:
            os.close(descriptor)

    # What it is for

    @property
    def key(self) -> str:
        return self.machine.path(self.state / "key").read_text().strip()

    def client(self) -> httpx.Client:
        """Each request of it makes a connection of its own."""
        return httpx.Client(
            base_url=f"http://{ADDRESS[0]}:{ADDRESS[1]}",
            headers={"x-api-key": self.key, "connection": "close"},
            timeout=2 * PATIENCE,
        )

    def answers(self, *, probe: bool = False, **more: Any) -> httpx.Response:
        """What it answers to a request; `more` is in its body, and `probe` a header."""
        headers = {"x-probe": "1"} if probe else {}
        with self.client() as client:
            answer = client.post("/v1/messages", json=message_body(**more), headers=headers)
        assert answer.status_code == 200, answer.text
        return answer

    @contextmanager
    def streaming(self) -> Iterator[Iterator[str]]:
        """The lines of an answer that has begun and will take a while."""
        body = message_body("@@events=20;gap=0.1@@", stream=True)
        with self.client() as client, client.stream("POST", "/v1/messages", json=body) as answer:
            lines = answer.iter_lines()
            next(lines)
            yield lines

    @contextmanager
    def under_load(self) -> Iterator[Load]:
        """Clients that ask again and again, and note what comes of it."""
        load = Load(self)
        threads = [threading.Thread(target=load.ask) for _ in range(_CLIENTS)]
        for thread in threads:
            thread.start()
        assert load.answered.wait(PATIENCE), load.outcomes
        try:
            yield load
        finally:
            load.over.set()
            for thread in threads:
                thread.join()


@define
class Load:
    service: Service
    outcomes: list[int | str] = field(factory=list)
    answered: threading.Event = field(factory=threading.Event)
    over: threading.Event = field(factory=threading.Event)

    def ask(self) -> None:
        with self.service.client() as client:
            while not self.over.wait(_PAUSE_SECONDS):
                self.outcomes.append(_outcome(client))
                self.answered.set()


def _outcome(client: httpx.Client) -> int | str:
    try:
        return client.post("/v1/messages", json=message_body()).status_code
    except httpx.HTTPError as error:
        return repr(error)


def _number_inside(process: psutil.Process) -> int:
    """What a process is called in its own PID namespace: the last number of proc(5)'s NSpid."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    [numbers] = [line.split()[1:] for line in lines if line.startswith("NSpid:")]
    return int(numbers[-1])
