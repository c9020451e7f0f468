"""Fixtures of the whole suite, and how Hypothesis is to look for its examples."""

from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings

TOGETHER: Final = ("tests/integration/proxy/",)
"""Packages that share a daemon."""

# How fast examples come is the machine's business, and beside other tests they come slowly.
settings.register_profile(
    "suite", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile` a file is run by one process; so is such a package."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((one for one in TOGETHER if nodeid.startswith(one)), None) or str(
                super()._split_scope(nodeid)
            )

    return Scheduling(config, log)
