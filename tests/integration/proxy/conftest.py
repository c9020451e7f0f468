"""The package's daemon, and the matrix that was asked of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import httpx
import pytest
from attrs import frozen

from tests.integration.proxy.answers import AT_ONCE, PATIENCE, Answer, ask_all
from tests.integration.proxy.house import NEW_KEY, OLD_KEY, WRONG_KEY, setup
from tests.integration.proxy.rows import CANARY, Row, matrix
from tests.support.daemon import Daemon, running_daemon
from tests.support.provider import Recorded, RunningProvider, running_provider

KEYS: Final = {"valid": NEW_KEY, "wrong": WRONG_KEY, "revoked": OLD_KEY}


@pytest.fixture(scope="package")
def provider() -> Iterator[RunningProvider]:
    with running_provider() as running:
        yield running


@pytest.fixture(scope="package")
def daemon(provider: RunningProvider) -> Iterator[Daemon]:
    with running_daemon(setup(), provider.url) as running:
        replace_key(running)
        yield running


def replace_key(daemon: Daemon) -> None:
    """What was its key when it started is none any more."""
    assert _opens(daemon, OLD_KEY)
    daemon.edit("config.yaml", lambda text: text.replace(OLD_KEY, NEW_KEY))
    daemon.ctl("reload")


@pytest.fixture(scope="package")
def client(daemon: Daemon) -> Iterator[httpx.Client]:
    with client_of(daemon) as client:
        yield client


def client_of(daemon: Daemon) -> httpx.Client:
    """Without a key."""
    limits = httpx.Limits(max_connections=4 * AT_ONCE)
    url = f"http://127.0.0.1:{daemon.port}"
    return httpx.Client(base_url=url, timeout=PATIENCE, limits=limits)


@frozen
class Played:
    """The whole matrix: the answers, and what the provider was asked for them."""

    answers: Mapping[Row, Answer]
    requests: tuple[Recorded, ...]


@pytest.fixture(scope="package")
def played(daemon: Daemon, client: httpx.Client, provider: RunningProvider) -> Played:
    before = len(provider.requests)
    found = play(daemon, client)
    return Played(found, tuple(provider.requests[before:]))


def play(daemon: Daemon, client: httpx.Client) -> dict[Row, Answer]:
    """What hangs comes last, while the gateway's patience is short."""
    hanging = [row for row in matrix() if row.failure == "timeout"]
    others = [row for row in matrix() if row.failure != "timeout"]
    found = ask_all(client, others, KEYS)
    with impatient(daemon):
        return found | ask_all(client, hanging, KEYS)


@pytest.fixture(scope="package")
def answers(played: Played) -> Mapping[Row, Answer]:
    return played.answers


class impatient:  # noqa: N801 - it reads as a word of the sentence
    """A daemon that waits a second for an answer to begin, and as long for it to go on."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._usual = (daemon.config_dir / "ccproxy.yaml").read_text()

    def __enter__(self) -> None:
        self._put(f"{self._usual}  timeouts: {{first_byte: 1, idle: 1}}\n")

    def __exit__(self, *_: object) -> None:
        self._put(self._usual)

    def _put(self, text: str) -> None:
        self._daemon.edit("ccproxy.yaml", lambda _: text)
        self._daemon.ctl("reload")


def _opens(daemon: Daemon, key: str) -> bool:
    url = f"http://127.0.0.1:{daemon.port}/v1/models?canary={CANARY}-query"
    return httpx.get(url, headers={"x-api-key": key}).status_code == 200
