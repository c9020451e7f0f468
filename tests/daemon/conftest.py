from __future__ import annotations

from collections.abc import Iterator

import pytest

from ccproxyd.supervision import backoff
from tests.daemon import dolls
from tests.daemon.dolls import Street


@pytest.fixture
def street(monkeypatch: pytest.MonkeyPatch) -> Iterator[Street]:
    """A place for a doll's house."""
    dolls.install(monkeypatch)
    with dolls.street() as street:
        yield street


@pytest.fixture
def _no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who dies is started again at once."""
    monkeypatch.setattr(backoff, "FIRST_SECONDS", 0.001)
