"""ccproxyd's programs in a machine, below `PREFIX`, where every user of it can read them.

They are this checkout's sources, laid out as the wheel does, and the packages and the interpreter
that run the tests, whatever private directory these come from. Units are not put here: they are
what `ccproxyctl install` makes of `contrib/systemd`.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Final

from tests.os.machine import Machine

PREFIX: Final = Path("/opt/ccproxyd")
CCPROXYCTL: Final = str(PREFIX / "bin" / "ccproxyctl")
_CHECKOUT: Final = Path(__file__).parents[2]
_VERSION: Final = f"python{sys.version_info.major}.{sys.version_info.minor}"
PYTHON: Final = PREFIX / "bin" / "python"
_PACKAGE: Final = PREFIX / "lib" / _VERSION / "site-packages" / "ccproxyd"
_SCRIPT: Final = f"""\
#!{PYTHON}
import sys
from ccproxyd.{{room}} import main
sys.exit(main())
"""


def binds() -> dict[Path, Path]:
    """What the machine needs of the host."""
    packages = {PREFIX / "packages": Path(sysconfig.get_path("purelib"))}
    return packages if _is_of_system() else {**packages, _home(): Path(sys.base_prefix)}


def _is_of_system() -> bool:
    """The interpreter is in /usr, which the machine has anyway."""
    return Path(sys.base_prefix).is_relative_to("/usr")


def _home() -> Path:
    """Where the machine has the interpreter."""
    return Path(sys.base_prefix) if _is_of_system() else PREFIX / "python"


def put_programs(machine: Machine) -> None:
    """A virtual environment, by hand, with ccproxyd in it."""
    for directory in (_PACKAGE, PYTHON.parent):
        machine.path(directory).mkdir(parents=True)
    machine.path(PYTHON).symlink_to(_home() / "bin" / _VERSION)
    machine.path(PREFIX / "pyvenv.cfg").write_text(f"home = {_home() / 'bin'}\n")
    machine.path(_PACKAGE.parent / "packages.pth").write_text(f"{PREFIX / 'packages'}\n")
    _put_package(machine)
    for program, room in (("ccproxyd", "daemon"), ("ccproxyctl", "ctl")):
        script = machine.path(PREFIX / "bin" / program)
        script.write_text(_SCRIPT.format(room=room))
        script.chmod(0o755)
    _find_libraries(machine)
    machine.root.run(str(PYTHON), "-m", "compileall", "-q", str(_PACKAGE))


def _put_package(machine: Machine) -> None:
    for source, target in (("ccproxyd", "."), ("etc", "etc"), ("contrib", "contrib")):
        shutil.copytree(
            _CHECKOUT / source,
            machine.path(_PACKAGE / target),
            ignore=shutil.ignore_patterns("__pycache__"),
            dirs_exist_ok=True,
        )


def _find_libraries(machine: Machine) -> None:
    """A shared libpython may have moved with its interpreter."""
    machine.path("/etc/ld.so.conf.d/0-ccproxyd.conf").write_text(f"{_home() / 'lib'}\n")
    machine.root.run("ldconfig")
