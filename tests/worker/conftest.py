"""LiteLLM in the tests' own process, imported once and only for the tests that ask for it."""

import os
import warnings
from collections.abc import AsyncIterator
from types import ModuleType

import httpx
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
def endings(doors: ModuleType) -> ModuleType:
    """`ccproxyd.worker.endings`."""
    from ccproxyd.worker import endings

    return endings


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


@pytest.fixture(scope="session")
def spending(doors: ModuleType) -> ModuleType:
    """`ccproxyd.worker.spending`."""
    from ccproxyd.worker import spending

    return spending


@pytest.fixture
async def litellm(doors: ModuleType, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ModuleType]:
    """With clients of its own for each test, whose loop they belong to."""
    litellm = doors.litellm
    anthropics = type(litellm.module_level_aclient)()
    cache = type(litellm.in_memory_llm_clients_cache)()
    monkeypatch.setattr(litellm, "in_memory_llm_clients_cache", cache)
    monkeypatch.setattr(litellm, "module_level_aclient", anthropics)
    async with httpx.AsyncClient() as session:
        monkeypatch.setattr(litellm, "aclient_session", session)
        yield litellm
    await litellm.close_litellm_async_clients()
    await anthropics.close()
