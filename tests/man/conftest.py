"""The pages, read once."""

from __future__ import annotations

import pytest

from tests.man.mdoc import MAN, Page, read


@pytest.fixture(scope="session")
def ccproxyctl() -> Page:
    return read(MAN / "ccproxyctl.1")


@pytest.fixture(scope="session")
def ccproxy_yaml() -> Page:
    return read(MAN / "ccproxy.yaml.5")


@pytest.fixture(scope="session")
def clients() -> Page:
    return read(MAN / "ccproxyd-clients.7")


@pytest.fixture(scope="session")
def control() -> Page:
    return read(MAN / "ccproxyd-control.7")


@pytest.fixture(scope="session")
def log() -> Page:
    return read(MAN / "ccproxyd-log.7")


@pytest.fixture(scope="session")
def requests() -> Page:
    return read(MAN / "ccproxyd-requests.7")


@pytest.fixture(scope="session")
def ccproxyd() -> Page:
    return read(MAN / "ccproxyd.8")


@pytest.fixture(scope="session")
def pages(
    ccproxyctl: Page,
    ccproxy_yaml: Page,
    clients: Page,
    control: Page,
    log: Page,
    requests: Page,
    ccproxyd: Page,
) -> list[Page]:
    return [ccproxyctl, ccproxy_yaml, clients, control, log, requests, ccproxyd]
