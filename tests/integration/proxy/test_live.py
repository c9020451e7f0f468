"""`make live`, with the mock provider at the real ones' addresses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.integration.proxy.live import LIMIT, PROVIDERS, rows
from tests.support.provider import RunningProvider

LIVE = Path(__file__).with_name("live.py")
ROOT = LIVE.parents[3]


def live(environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    own = {name for one in PROVIDERS for name in (one.key, one.base, one.choice)}
    kept = {name: value for name, value in os.environ.items() if name not in own}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-cov", str(LIVE)],
        env=kept | environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_a_key_it_fails_and_says_which_there_may_be() -> None:
    done = live({})
    assert done.returncode == 1
    assert "none of ANTHROPIC_API_KEY, OPENAI_API_KEY, GEMINI_API_KEY is in" in done.stdout


def test_with_a_key_it_asks_for_every_row(provider: RunningProvider) -> None:
    before = len(provider.requests)
    done = live({"OPENAI_API_KEY": "sk-live", "OPENAI_BASE_URL": f"{provider.url}/v1"})
    assert done.returncode == 0, done.stdout
    asked = provider.requests[before:]
    [openai] = [one for one in PROVIDERS if one.name == "openai"]
    assert len(asked) == len(rows(openai)) >= 12
    assert {one.headers["authorization"] for one in asked} == {"Bearer sk-live"}
    assert {one.model for one in asked} == {
        "gpt-4o-mini",
        "gpt-5-mini",
        "text-embedding-3-small",
        "omni-moderation-latest",
    }


def test_a_server_of_ones_own_is_asked_for_its_own_models_and_for_nothing_else(
    provider: RunningProvider,
) -> None:
    before = len(provider.requests)
    done = live(
        {
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": f"{provider.url}/v1",
            "OPENAI_MODELS": "qwen3 think=qwen3-thinking embeddings=nomic",
        }
    )
    assert done.returncode == 0, done.stdout
    models = {one.model for one in provider.requests[before:]}
    assert models == {"qwen3", "qwen3-thinking", "nomic"}


def test_every_row_that_fails_is_told(provider: RunningProvider) -> None:
    done = live({"ANTHROPIC_API_KEY": "sk-live", "ANTHROPIC_BASE_URL": f"{provider.url}/nowhere"})
    assert done.returncode == 1
    [anthropic] = [one for one in PROVIDERS if one.name == "anthropic"]
    assert [row.name for row in rows(anthropic) if f"{row.name}: 404" not in done.stdout] == []


def test_what_is_asked_is_asked_as_its_provider_takes_it(provider: RunningProvider) -> None:
    before = len(provider.requests)
    keys = {"ANTHROPIC_API_KEY": "sk-live", "ANTHROPIC_BASE_URL": provider.url}
    assert live(keys).returncode == 0
    bodies = [one.fields for one in provider.requests[before:]]
    budgets = [
        (one["thinking"]["budget_tokens"], one["max_tokens"]) for one in bodies if "thinking" in one
    ]
    assert budgets
    assert all(budget < limit for budget, limit in budgets)
    assert {one["max_tokens"] for one in bodies if "thinking" not in one} == {LIMIT}


def test_a_provider_is_asked_on_both_lanes_where_it_has_both() -> None:
    lanes = {one.name: {row.lane for row in rows(one)} for one in PROVIDERS}
    both = {"direct", "litellm"}
    assert lanes == {"anthropic": both, "openai": both, "gemini": {"litellm"}}
