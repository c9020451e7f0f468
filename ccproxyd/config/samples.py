"""Where the files are that come with ccproxyd: in a wheel inside the package, in a checkout beside
it."""

from __future__ import annotations

from pathlib import Path

from ccproxyd.errors import CcproxydError

_PACKAGE = Path(__file__).resolve().parent.parent


def samples_directory() -> Path:
    """The directory with `ccproxy.yaml`, `config.yaml`, `custom_rules.py` and `demo/`.

    Raises:
        CcproxydError: the installation is incomplete.
    """
    return _directory("etc", "ccproxy.yaml", "the sample configs")


def services_directory() -> Path:
    """The directory with `systemd/` and `launchd/`.

    Raises:
        CcproxydError: the installation is incomplete.
    """
    return _directory("contrib", "systemd/user/ccproxyd.service", "the services")


def _directory(name: str, known_by: str, what: str) -> Path:
    for directory in (_PACKAGE / name, _PACKAGE.parent / name):
        if (directory / known_by).is_file():
            return directory
    raise CcproxydError(f"cannot find {what}: {_PACKAGE / name} is missing; reinstall")
