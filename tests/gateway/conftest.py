"""Places for sockets and configs."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ccproxyd.config.fresh import LocalFinder
from tests.control.fakes import short_directory
from tests.gateway.house import write_config


@pytest.fixture
def sockets() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    return write_config(tmp_path)


@pytest.fixture(autouse=True)
def _same_modules_after() -> Iterator[None]:
    """A table's rules are imported into this interpreter; the next test must not find them."""
    modules, path = set(sys.modules), list(sys.meta_path)
    yield
    for name in set(sys.modules) - modules:
        if name.partition(".")[0] in ("ccproxy", "own_rules", "own_helper"):
            del sys.modules[name]
    sys.meta_path[:] = [finder for finder in path if not isinstance(finder, LocalFinder)]
