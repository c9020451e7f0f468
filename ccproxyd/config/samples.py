"""Where the sample configs are: in a wheel inside the package, in a checkout beside it."""

from __future__ import annotations

from pathlib import Path

from ccproxyd.errors import CcproxydError

_PACKAGE = Path(__file__).resolve().parent.parent


def samples_directory() -> Path:
    """The directory with `ccproxy.yaml`, `config.yaml`, `custom_rules.py` and `demo/`.

    Raises:
        CcproxydError: the installation is incomplete.
    """
    for directory in (_PACKAGE / "etc", _PACKAGE.parent / "etc"):
        if (directory / "ccproxy.yaml").is_file():
            return directory
    raise CcproxydError(f"cannot find the sample configs: {_PACKAGE / 'etc'} is missing; reinstall")
