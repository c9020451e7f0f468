"""A place for sockets."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.control.fakes import short_directory


@pytest.fixture
def path() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory / "control.sock"
