from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.daemon import dolls
from tests.daemon.dolls import Street


@pytest.fixture
def street(monkeypatch: pytest.MonkeyPatch) -> Iterator[Street]:
    """A place for a doll's house."""
    dolls.install(monkeypatch)
    with dolls.street() as street:
        yield street
