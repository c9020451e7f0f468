"""LiteLLM in the tests' own process, imported once and only for the tests that ask for it."""

import os
import warnings
from types import ModuleType

import pytest

from ccproxyd.worker import environment


@pytest.fixture(scope="session")
def doors() -> ModuleType:
    """`ccproxyd.worker.doors`, and with it LiteLLM."""
    environment.prepare(os.environ)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ccproxyd.worker import doors
    return doors


@pytest.fixture(scope="session")
def messages(doors: ModuleType) -> ModuleType:
    """`ccproxyd.worker.messages`."""
    from ccproxyd.worker import messages

    return messages


@pytest.fixture(scope="session")
def mended(doors: ModuleType) -> ModuleType:
    """`ccproxyd.worker.mended`."""
    from ccproxyd.worker import mended

    return mended


@pytest.fixture(scope="session")
def handlers(doors: ModuleType) -> ModuleType:
    """`ccproxyd.worker.handler`."""
    from ccproxyd.worker import handler

    return handler


@pytest.fixture(scope="session")
def outgoing(doors: ModuleType) -> ModuleType:
    """`ccproxyd.worker.outgoing`."""
    from ccproxyd.worker import outgoing

    return outgoing
