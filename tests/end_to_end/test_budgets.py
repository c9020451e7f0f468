"""Money, from a provider's answer to a refusal, and over a restart."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import (
    Setup,
    anthropic_model,
    short_directory,
    started,
    without_litellm,
)
from tests.support.provider import RunningProvider, running_provider

SETUP = Setup(
    rules=[],
    ours={
        **without_litellm(),
        "budgets": {"per_label": {"default": {"daily_usd": 1}}, "on_exceeded": "reject"},
    },
    models=lambda url: [
        anthropic_model("default", url, input_cost_per_token=1.0),
        anthropic_model("other", url),
    ],
)


@pytest.fixture(scope="module")
def provider() -> Iterator[RunningProvider]:
    with running_provider() as provider:
        yield provider


@pytest.fixture
def root(provider: RunningProvider) -> Iterator[Path]:
    with short_directory() as root:
        SETUP.write(root / "config", provider.url)
        yield root


def test_what_is_spent_is_spent_after_a_restart_too(root: Path) -> None:
    with started(root) as daemon:
        daemon.happened("ready")
        assert daemon.message().status_code == 200
        alert = daemon.happened("ccproxy_budget_alert")
        assert (alert["label"], alert["limit_usd"]) == ("default", 1.0)
        assert (alert["model_name"], alert["routed_model"]) == ("default", "anthropic/mock-default")
        # What is on its way when a budget runs out still goes on.
        refused = next(one for one in iter(daemon.message, None) if one.status_code != 200)
        assert (refused.status_code, refused.headers["x-should-retry"]) == (403, "false")
        assert refused.json()["error"]["type"] == "permission_error"
        assert daemon.message(model="other").status_code == 200
        [standing] = daemon.ask("status")["budgets"]
        assert standing["level"] == "exceeded"
    with started(root) as again:
        again.happened("ready")
        assert again.message().status_code == 403
        assert "USD a day for default" in again.ctl("status").stdout
