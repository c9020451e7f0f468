"""Fixtures of the whole suite, and how Hypothesis is to look for its examples."""

import pytest
from hypothesis import HealthCheck, settings

# How fast examples come is the machine's business, and beside other tests they come slowly.
settings.register_profile(
    "suite", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
