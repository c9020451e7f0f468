"""One provider and one daemon for each module: LiteLLM takes seconds to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.daemon import Daemon, Setup, running_daemon
from tests.support.provider import RunningProvider, running_provider


@pytest.fixture(scope="module")
def provider() -> Iterator[RunningProvider]:
    with running_provider() as running:
        yield running


@pytest.fixture(scope="module")
def setup_of_module() -> Setup:
    """What the module's daemon runs on; a module overrides it."""
    return Setup()


@pytest.fixture(scope="module")
def daemon(provider: RunningProvider, setup_of_module: Setup) -> Iterator[Daemon]:
    with running_daemon(setup_of_module, provider.url) as running:
        yield running
