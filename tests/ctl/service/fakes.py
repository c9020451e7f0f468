"""A machine below a directory, and service managers that only seem to be some.

`Answers` stands for the door to other programs. `FakeSystemd` and `FakeLaunchd` are executables in
a directory of their own, for what is tried out from the command line downwards: each notes how it
was called, and says and does what it was told to.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from attrs import define, field

from ccproxyd.control.client import FailedError
from ccproxyd.ctl.commands import Finished
from ccproxyd.ctl.machine import Machine

USER_UNIT = ".config/systemd/user/ccproxyd.service"
AGENT = "Library/LaunchAgents/org.ccproxyd.ccproxyd.plist"

UP = """\
Id=ccproxyd.service
LoadState=loaded
ActiveState=active
SubState=running
Result=success
UnitFileState=enabled
MainPID=4711
ExecMainStatus=0
"""
DOWN = """\
Id=ccproxyd.service
LoadState=loaded
ActiveState=inactive
SubState=dead
Result=success
UnitFileState=disabled
MainPID=0
ExecMainStatus=0
"""
FAILED = """\
Id=ccproxyd.service
LoadState=loaded
ActiveState=failed
SubState=failed
Result=exit-code
UnitFileState=enabled
MainPID=0
ExecMainStatus=78
"""
SOCKET_UP = """
Id=ccproxyd.socket
LoadState=loaded
ActiveState=active
UnitFileState=enabled
Listen=127.0.0.1:4000 (Stream)
"""
SOCKET_DOWN = """
Id=ccproxyd.socket
LoadState=loaded
ActiveState=inactive
UnitFileState=disabled
Listen=127.0.0.1:4000 (Stream)
"""
JOB_FAILED = "Job for ccproxyd.service failed because the control process exited with error code.\n"
AGENT_UP = "gui/501/org.ccproxyd.ccproxyd = {\n\tstate = running\n\tpid = 4711\n}\n"
AGENT_DOWN = "gui/501/org.ccproxyd.ccproxyd = {\n\tstate = not running\n\tlast exit code = 0\n}\n"


def machine_at(root: Path, *, user_id: int = 501, macos: bool = False) -> Machine:
    """One whose directories, programs and home are all below `root`."""
    home = root / "home"
    home.mkdir(exist_ok=True)
    environ = {
        "PATH": f"{root / 'bin'}:/usr/bin:/bin",
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(root / "run"),
    }
    return Machine(environ, home, user_id, "alice", macos=macos, root=root)


def write(file: Path, text: str = "") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


@define
class Answers:
    """Answers by the words that a command line contains, the first that fits; keeps what ran."""

    by_words: dict[str, Finished | Callable[[], Finished]] = field(factory=dict)
    ran: list[str] = field(factory=list)

    def run(self, words: Sequence[str]) -> Finished:
        line = shlex.join(words)
        self.ran.append(line)
        for known, answer in self.by_words.items():
            if known in line:
                return answer if isinstance(answer, Finished) else answer()
        return Finished(0)

    def lines(self, words: Sequence[str]) -> Iterator[str]:
        done = self.run(words)
        if done.code:
            raise FailedError("failed")
        yield from done.out.splitlines(keepends=True)


_PROGRAM = """\
#!/bin/sh
cd {state} || exit
name={name}
verb=
echo "$name $*" >> calls
for word in "$@"; do
    case $word in -*) ;; *) verb=$word; break ;; esac
done
if [ -e "fail-$verb" ]; then cat "fail-$verb" >&2; exit "$(cat "code-$verb")"; fi
if [ -e "after-$verb" ]; then cp "after-$verb" says-{shows}; fi
if [ -e "says-$verb" ]; then cat "says-$verb"; elif [ -e "says-$name" ]; then cat "says-$name"; fi
exit 0
"""


@define
class FakePrograms:
    """Executables in `root`/bin; the first word that is no option is the verb."""

    root: Path
    names: tuple[str, ...]
    shows: str
    """The verb that tells the state."""

    def __attrs_post_init__(self) -> None:
        self.state.mkdir()
        for name in self.names:
            program = write(
                self.root / "bin" / name,
                _PROGRAM.format(state=shlex.quote(str(self.state)), name=name, shows=self.shows),
            )
            program.chmod(0o755)

    @property
    def state(self) -> Path:
        return self.root / "state"

    def says(self, text: str, verb: str | None = None) -> None:
        """What a verb prints, or a program that has none."""
        write(self.state / f"says-{verb or self.shows}", text)

    def becomes(self, text: str, verb: str) -> None:
        """What the state is after a verb."""
        write(self.state / f"after-{verb}", text)

    def fails(self, verb: str, said: str, code: int = 1) -> None:
        write(self.state / f"fail-{verb}", said)
        write(self.state / f"code-{verb}", str(code))

    def calls(self) -> list[str]:
        """How each was called, without the questions."""
        file = self.state / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line for line in lines if f" {self.shows} " not in line]


def fake_systemd(root: Path, says: str = DOWN + SOCKET_DOWN) -> FakePrograms:
    names = ("systemctl", "loginctl", "journalctl", "systemd-sysusers", "systemd-tmpfiles")
    fake = FakePrograms(root, names, "show")
    fake.says(says)
    (root / "run" / "systemd" / "system").mkdir(parents=True)
    return fake


def fake_launchd(root: Path) -> FakePrograms:
    """An agent that is not loaded."""
    fake = FakePrograms(root, ("launchctl",), "print")
    fake.fails("print", "Could not find service", 113)
    return fake
