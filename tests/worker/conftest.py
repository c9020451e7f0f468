"""LiteLLM in the tests' own process, imported once and only for the tests that ask for it."""

import os
import warnings
from collections.abc import AsyncIterator
from importlib import import_module
from types import ModuleType
from typing import Any

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


def _room(name: str) -> Any:
    """A fixture that gives a module beside `doors`."""

    @pytest.fixture(scope="session")
    def imported(doors: ModuleType) -> ModuleType:
        return import_module(f"ccproxyd.worker.{name}")

    return imported


messages = _room("messages")
endings = _room("endings")
mended = _room("mended")
handlers = _room("handler")
outgoing = _room("outgoing")
spending = _room("spending")


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
