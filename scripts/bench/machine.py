"""What the figures were measured on: the machine, and the version of all that took part."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import psutil

from ccproxyd import __version__

_ROOT: Final = Path(__file__).parents[2]
_PACKAGES: Final = ("litellm", "uvicorn", "uvloop", "httptools", "aiohttp", "orjson", "tiktoken")


def facts(cache: Path) -> dict[str, Any]:
    """`cache` is where peers are installed."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {**versions(), **_peer_versions(cache)},
    }


def machine() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str | None]:
    return {
        "ccproxyd": f"{__version__} ({_commit()})",
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
        "node": _said("node", "--version"),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str:
    return _said("git", "describe", "--always", "--dirty") or "no commit"


def _said(*command: str) -> str | None:
    try:
        done = subprocess.run(
            command, cwd=_ROOT, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    """Linux names it in a file; elsewhere Python knows it as well as anybody."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _peer_versions(cache: Path) -> dict[str, str]:
    places = sorted(cache.iterdir()) if cache.is_dir() else []
    found = {place.name: _npm_version(place) or _wheel_version(place) for place in places}
    return {name: said for name, said in found.items() if said}


def _npm_version(place: Path) -> str | None:
    for manifest in place.glob(f"node_modules/@*/{place.name}/package.json"):
        return str(json.loads(manifest.read_text(encoding="utf-8"))["version"])
    return None


def _wheel_version(place: Path) -> str | None:
    package = place.name.replace("-", "_")
    for info in place.glob(f"lib/python*/site-packages/{package}-*.dist-info"):
        return info.name.removesuffix(".dist-info").rpartition("-")[2]
    return None
