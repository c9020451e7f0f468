"""One machine, and a provider in its network, for each module: LiteLLM takes seconds to start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.os.installation import binds, put_programs
from tests.os.machine import CannotBootError, Machine, booted_machine
from tests.support.provider import RunningProvider, running_provider


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with ExitStack() as stack:
        try:
            booted = stack.enter_context(booted_machine(binds()))
        except CannotBootError as error:
            pytest.skip(f"cannot boot a machine with a systemd of its own: {error}")
        put_programs(booted)
        yield booted


@pytest.fixture(scope="module")
def provider(machine: Machine) -> Iterator[RunningProvider]:
    """In the machine's network, since this thread is when it starts."""
    with running_provider() as running:
        yield running
