from pathlib import Path

import pytest

from ccproxyd.ctl.commands import Finished
from ccproxyd.ctl.setup.executables import Executables, find_executables, hidden_from_system
from ccproxyd.errors import CcproxydError
from tests.ctl.service.fakes import Answers, write

SCRIPTS = Executables(("/opt/bin/ccproxyd",), ("/opt/bin/ccproxyctl",))


def scripts(directory: Path) -> Executables:
    for name in ("ccproxyd", "ccproxyctl"):
        write(directory / name, "#!/bin/sh\n").chmod(0o755)
    return Executables((str(directory / "ccproxyd"),), (str(directory / "ccproxyctl"),))


def found(tmp_path: Path, code: int = 1) -> Executables:
    return find_executables(
        Answers({"import ccproxyd": Finished(code)}),
        python=tmp_path / "venv" / "python",
        script=tmp_path / "bin" / "ccproxyctl",
    )


def test_the_scripts_beside_the_interpreter_go_first(tmp_path: Path) -> None:
    beside_the_command = scripts(tmp_path / "bin")
    assert found(tmp_path) == beside_the_command
    beside_the_interpreter = scripts(tmp_path / "venv")
    assert found(tmp_path) == beside_the_interpreter


def test_a_script_that_cannot_be_run_is_none(tmp_path: Path) -> None:
    scripts(tmp_path / "venv")
    (tmp_path / "venv" / "ccproxyd").chmod(0o644)
    with pytest.raises(CcproxydError):
        found(tmp_path)


def test_without_scripts_the_interpreter_runs_the_modules(tmp_path: Path) -> None:
    python = str(tmp_path / "venv" / "python")
    assert found(tmp_path, code=0) == Executables(
        (python, "-P", "-m", "ccproxyd"), (python, "-P", "-m", "ccproxyd.ctl")
    )


def test_what_only_the_shell_makes_run_is_no_installation(tmp_path: Path) -> None:
    with pytest.raises(CcproxydError, match=r"cannot find the command ccproxyd: .*install"):
        found(tmp_path, code=1)


@pytest.mark.parametrize(
    ("daemon", "python", "hidden"),
    [
        ("/opt/bin/ccproxyd", "/opt/bin/python", None),
        ("/home/a/bin/ccproxyd", "/opt/bin/python", "/home/a/bin/ccproxyd"),
        ("/opt/bin/ccproxyd", "/var/tmp/python", "/var/tmp/python"),
        ("/homes/bin/ccproxyd", "/opt/bin/python", None),
    ],
)
def test_the_systems_service_sees_no_home(daemon: str, python: str, hidden: str | None) -> None:
    seen = hidden_from_system(Executables((daemon,), ()), Path(python))
    assert (str(seen) if seen else None) == hidden


def test_an_interpreter_that_is_only_linked_to_is_found_out(tmp_path: Path) -> None:
    """The interpreter of a virtual environment is a link, often into somebody's home."""
    link = tmp_path / "python"
    link.symlink_to("/home/a/python")
    assert hidden_from_system(SCRIPTS, link) is not None
