import os
from pathlib import Path

import pytest

from ccproxyd.control.client import FailedError
from ccproxyd.ctl.commands import MISSING, Commands, Finished


def test_what_a_program_says_and_how_it_ends() -> None:
    done = Commands().run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert done == Finished(3, "out\n", "err\n")


def test_a_program_gets_the_environment_that_it_is_to_have() -> None:
    done = Commands({"PATH": os.environ["PATH"], "A": "1"}).run(["sh", "-c", "echo $A$HOME"])
    assert done.out == "1\n"


def test_a_program_that_is_not_there_is_no_crash() -> None:
    done = Commands().run(["no-such-program"])
    assert done.code == MISSING
    assert done.said == "cannot run no-such-program: No such file or directory"


@pytest.mark.parametrize(
    ("done", "said"),
    [
        (Finished(1, "out", "\n first \nsecond"), "first"),
        (Finished(1, "out\n"), "out"),
        (Finished(4), "exit status 4"),
    ],
)
def test_a_complaint_is_one_line(done: Finished, said: str) -> None:
    assert done.said == said


def test_lines_come_as_they_are_printed(tmp_path: Path) -> None:
    """The program goes on only once its first line was read."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    lines = Commands().lines(["sh", "-c", f"echo one; cat {gate} >&2; echo two"])
    assert next(lines) == "one\n"
    gate.write_text("")
    assert list(lines) == ["two\n"]


def test_a_program_that_nobody_listens_to_is_ended() -> None:
    lines = Commands().lines(["sh", "-c", "echo $$; exec sleep 600"])
    pid = int(next(lines))
    lines.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_program_that_fails_is_named() -> None:
    with pytest.raises(FailedError, match="sh failed: exit status 3"):
        list(Commands().lines(["sh", "-c", "exit 3"]))
    with pytest.raises(FailedError, match="cannot run no-such-program: No such file"):
        list(Commands().lines(["no-such-program"]))
