"""Install ccproxyd below a prefix, for packages and for administrators (`make install`).

    make install DESTDIR=build/root PREFIX=/usr PYTHON=/usr/bin/python3

A package's build has no network and no virtual environment, so the wheel is built by the hatchling
that is there and unpacked by the PyPA's `installer`. The wheel has the modules, the programs, man
pages and completions; systemd's units and the documentation come from the checkout.

All of it is put together in a directory of its own first, so that what `make uninstall` removes is
what `make install` would write. Files are as reproducible as `SOURCE_DATE_EPOCH` has them: no time
of today, no name of the place where they were built.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).resolve().parent.parent
CONTRIB: Final = CHECKOUT / "contrib"

UNITS: Final = {
    "systemd/user/*.*": "lib/systemd/user",
    "systemd/system/*.*": "lib/systemd/system",
    "systemd/system/preset/*.preset": "lib/systemd/system-preset",
    "systemd/system/sysusers.d/*.conf": "lib/sysusers.d",
    "systemd/system/tmpfiles.d/*.conf": "lib/tmpfiles.d",
}
DOCUMENTS: Final = ("README.md", "CHANGELOG.md", "LICENSE")
EXAMPLES: Final = ("ccproxy.yaml", "config.yaml", "custom_rules.py")

_ASK: Final = """
import json, sys, sysconfig
usual = sysconfig.get_path("purelib", "posix_prefix", vars={"base": sys.argv[1]})
print(json.dumps({"searched": sys.path, "usual": usual}))
"""


class CannotInstallError(Exception):
    """Its text says why, and what to do."""


def main() -> int:
    arguments = _parser().parse_args()
    os.umask(0o022)
    target = Path(arguments.destdir or "/").absolute()
    with tempfile.TemporaryDirectory(prefix="ccproxyd-install-") as directory:
        stage = Path(directory) / "root"
        try:
            put_together(stage, arguments.prefix, arguments.sysconfdir, arguments.python)
            (_remove if arguments.uninstall else _copy)(stage, target)
        except (CannotInstallError, OSError, subprocess.CalledProcessError) as error:
            print(f"install: {error}", file=sys.stderr)
            return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Install ccproxyd below a prefix.")
    add = parser.add_argument
    add("--destdir", default="", help="a directory to take for the root of the file system")
    add("--prefix", type=_absolute, default="/usr/local")
    add("--sysconfdir", type=_absolute, default="/etc")
    add("--python", type=_program, default=sys.executable, help="the one that will run ccproxyd")
    add("--uninstall", action="store_true", help="remove what would be installed")
    return parser


def _absolute(word: str) -> str:
    if not word.startswith("/"):
        raise argparse.ArgumentTypeError(f"must be an absolute path, not {word!r}")
    return word.rstrip("/") or "/"


def _program(word: str) -> str:
    """As it is called: the python of a virtual environment is a link that must not be followed."""
    found = shutil.which(word)
    if found is None:
        raise argparse.ArgumentTypeError(f"there is no program {word!r}")
    return os.path.abspath(found)  # noqa: PTH100 - it follows no link


# Everything, in a directory of its own


def put_together(stage: Path, prefix: str, sysconfdir: str, python: str) -> None:
    packages = packages_directory(python, prefix)
    _unpack(_wheel(stage.parent), stage, prefix, packages, python)
    for source, place in _extras(stage / prefix.lstrip("/")):
        place.parent.mkdir(parents=True, exist_ok=True)
        text = source.read_text("utf-8")
        place.write_text(_fitted(text, prefix, sysconfdir) if _is_unit(source) else text, "utf-8")
    _set_times(stage)
    _compile(python, stage, packages)
    _set_times(stage)


def packages_directory(python: str, prefix: str) -> str:
    """Where this interpreter looks for packages below the prefix.

    Debian's has names of its own for it, so it is asked what it searches; one that searches nothing
    there gets what is usual.
    """
    words = [python, "-I", "-c", _ASK, prefix]
    told = json.loads(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout)
    library = f"{prefix.rstrip('/')}/lib/"
    fitting = (
        directory
        for directory in told["searched"]
        if directory.startswith(library) and directory.endswith(("site-packages", "dist-packages"))
    )
    return str(next(fitting, told["usual"]))


def _wheel(directory: Path) -> Path:
    try:
        from hatchling.build import build_wheel
    except ImportError:
        raise _without("hatchling") from None
    os.chdir(CHECKOUT)
    return directory / build_wheel(str(directory))


def _unpack(wheel: Path, stage: Path, prefix: str, packages: str, python: str) -> None:
    try:
        from installer import install
        from installer.destinations import SchemeDictionaryDestination
        from installer.sources import WheelFile
    except ImportError:
        raise _without("installer") from None
    scheme = {
        "purelib": packages,
        "platlib": packages,
        "scripts": f"{prefix}/bin",
        "data": prefix,
        "headers": f"{prefix}/include",
    }
    destination = SchemeDictionaryDestination(scheme, python, "posix", destdir=str(stage))
    with WheelFile.open(wheel) as source:
        install(source, destination, additional_metadata={"INSTALLER": b"ccproxyd's make install"})


def _without(package: str) -> CannotInstallError:
    return CannotInstallError(
        f"cannot build: {sys.executable} has no {package} (Debian: python3-{package}); "
        "or name one that has: make install BUILD_PYTHON=.venv/bin/python"
    )


def _extras(prefix: Path) -> Iterator[tuple[Path, Path]]:
    """What the wheel does not have, and where it goes."""
    for pattern, directory in UNITS.items():
        for unit in sorted(filter(Path.is_file, CONTRIB.glob(pattern))):
            yield unit, prefix / directory / unit.name
    documents = prefix / "share" / "doc" / "ccproxyd"
    for name in DOCUMENTS:
        yield CHECKOUT / name, documents / name
    for name in EXAMPLES:
        yield CHECKOUT / "etc" / name, documents / "examples" / name


def _is_unit(source: Path) -> bool:
    return source.is_relative_to(CONTRIB)


def _fitted(text: str, prefix: str, sysconfdir: str) -> str:
    """A unit names its programs and its config by their whole paths."""
    programs = text.replace("/usr/bin/ccproxy", f"{prefix}/bin/ccproxy")
    return programs.replace("/etc/ccproxyd", f"{sysconfdir}/ccproxyd")


def _compile(python: str, stage: Path, packages: str) -> None:
    """The service may not write it, and a start without it takes more than twice as long.

    Source and bytecode agree by the source's time, which stays as it is from here on.
    """
    directory = stage / packages.lstrip("/")
    words = [python, "-I", "-m", "compileall", "-q", "--invalidation-mode", "timestamp"]
    subprocess.run([*words, "-s", stage, "-p", "/", directory], check=True)


def _set_times(stage: Path) -> None:
    if "SOURCE_DATE_EPOCH" in os.environ:
        seconds = int(os.environ["SOURCE_DATE_EPOCH"])
        for file in _files(stage):
            os.utime(file, (seconds, seconds))


# From there to the target, or out of it


def _files(directory: Path) -> Iterator[Path]:
    return (file for file in sorted(directory.rglob("*")) if file.is_file())


def _copy(stage: Path, target: Path) -> None:
    for file in _files(stage):
        place = target / file.relative_to(stage)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)  # a program that runs cannot be written
        shutil.copy2(file, place)


def _remove(stage: Path, target: Path) -> None:
    ours = set()
    for file in _files(stage):
        relative = file.relative_to(stage)
        (target / relative).unlink(missing_ok=True)
        ours.update(parent for parent in relative.parents if "ccproxyd" in str(parent))
    for directory in sorted(ours, key=lambda one: -len(one.parts)):
        _remove_empty(target / directory)


def _remove_empty(directory: Path) -> None:
    """What others put there stays, and so do the directories of the system."""
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()


if __name__ == "__main__":
    sys.exit(main())
