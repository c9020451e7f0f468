"""Which row a model's id finds, and what the table promises of itself."""

import pytest

from ccproxyd.routing.families import (
    FAMILIES,
    FEATURES,
    LEVELS,
    OTHER,
    context_window,
    family_of,
    is_same_model,
    takes_beta,
)

IDS = {
    "claude-fable-5": "claude-fable-5",
    "claude-mythos-5-1": "claude-mythos-5-1",
    "claude-opus-5-5": "claude-opus-5-5",
    "claude-sonnet-5": "claude-sonnet-5",
    "claude-sonnet-5[1m]": "claude-sonnet-5",
    "claude-haiku-5-5": "claude-haiku-5-5",
    "claude-opus-4-8": "claude-opus-4-8",
    "Claude-Opus-4-8[1M]": "claude-opus-4-8",
    "anthropic/claude-opus-4.7": "claude-opus-4-7",
    "claude-opus-4-6-20260205": "claude-opus-4-6",
    "us.anthropic.claude-opus-4-6-v1": "claude-opus-4-6",
    "claude-opus-4-5-20251101": "claude-opus-4-5",
    "claude-haiku-4-5-20251001": "claude-haiku-4-5",
    "vertex_ai/claude-haiku-4-5@20251001": "claude-haiku-4-5",
    "claude-opus-4-1-20250805": "claude-opus-4-1",
    "claude-opus-4-20250514": "claude-opus-4",
    "claude-opus-4-0": "claude-opus-4",
    "claude-sonnet-4@20250514": "claude-sonnet-4",
    "bedrock/us.anthropic.claude-sonnet-4-20250514-v1:0": "claude-sonnet-4",
    "claude-4-sonnet": "claude-sonnet-4",
    "claude-3-7-sonnet-20250219": "claude-3-7",
    "claude-3.5-haiku": "claude-3-5",
    "claude-3-5-sonnet-latest": "claude-3-5",
    "claude-3-opus-20240229": "claude-3",
    "claude-2.1": "claude-3",
    "claude-instant-1.2": "claude-3",
    "claude-opus-4-9": "newer",
    "claude-newcomer-7-20290101": "newer",
    "gpt-5": "other",
    "gemini/gemini-2.5-pro": "other",
    "my-claude-router-2": "other",
    "claude": "other",
    "think": "other",
    "": "other",
}


@pytest.mark.parametrize(("model", "name"), IDS.items())
def test_an_id_finds_its_row(model: str, name: str) -> None:
    assert family_of(model).name == name


def test_a_row_is_found_by_its_own_name() -> None:
    for family in FAMILIES:
        if family.name.startswith("claude"):
            assert family_of(family.name) is family


def test_the_table_speaks_of_known_features_and_levels_only() -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    assert {feature for family in FAMILIES for feature in family.takes} == set(FEATURES)
    for family in FAMILIES:
        assert set(family.efforts) <= set(LEVELS)


def test_what_thinks_at_all_times_thinks_adaptively() -> None:
    for family in FAMILIES:
        assert family.off or family.thinking in ("adaptive", "none")
        assert not (family.unasked and family.thinking != "adaptive")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("claude-haiku-4-5", "anthropic/claude-haiku-4-5-20251001", True),
        ("claude-opus-4-8[1m]", "claude-opus-4-8", True),
        ("claude-opus-4-8", "claude-opus-4-7", False),
        ("claude-sonnet-4-6", "claude-opus-4-6", False),
        ("claude-newcomer-7", "anthropic.claude-newcomer-7-20290101-v1:0", True),
        ("claude-newcomer-7", "claude-newcomer-8", False),
        ("my-router-auto", "anthropic/my-router-auto", True),
        ("my-router-auto", "glm-4.6", False),
    ],
)
def test_two_ids_are_one_model_or_two(one: str, other: str, same: bool) -> None:
    assert is_same_model(one, other) is same
    assert is_same_model(other, one) is same


@pytest.mark.parametrize(
    ("model", "window"),
    [
        ("claude-opus-4-8", 1_000_000),
        ("claude-haiku-4-5", 200_000),
        ("claude-haiku-4-5[1m]", 200_000),
        ("claude-sonnet-4-5-20250929", 200_000),
        ("claude-sonnet-4-5-20250929[1m]", 1_000_000),
        ("claude-newcomer-7", 200_000),
        ("gpt-5[1m]", None),
    ],
)
def test_the_window_is_the_models_or_the_longer_one_asked_for(
    model: str, window: int | None
) -> None:
    assert context_window(model) == window


OPUS = (
    "claude-code-20250219",
    "context-1m-2025-08-07",
    "interleaved-thinking-2025-05-14",
    "redact-thinking-2026-02-12",
    "thinking-token-count-2026-05-13",
    "context-management-2025-06-27",
    "prompt-caching-scope-2026-01-05",
    "mid-conversation-system-2026-04-07",
    "advanced-tool-use-2025-11-20",
    "effort-2025-11-24",
    "structured-outputs-2025-12-15",
    "extended-cache-ttl-2025-04-11",
    "oauth-2025-04-20",
)
"""What a recorded client sends to claude-opus-4-8, all sessions taken together."""

REFUSED = {
    "claude-fable-5": (),
    "claude-sonnet-5": (),
    "claude-opus-4-8": (),
    "claude-opus-4-7": ("mid-conversation-system",),
    "claude-opus-4-6": ("mid-conversation-system",),
    "claude-opus-4-5": ("context-1m", "mid-conversation-system"),
    "claude-sonnet-4-5": ("mid-conversation-system", "effort"),
    "claude-haiku-4-5": ("context-1m", "mid-conversation-system", "effort"),
    "claude-opus-4-1": ("context-1m", "mid-conversation-system", "advanced-tool-use", "effort"),
    "claude-sonnet-4": (
        "mid-conversation-system",
        "advanced-tool-use",
        "effort",
        "structured-outputs",
    ),
    "claude-3-7": (
        "context-1m",
        "interleaved-thinking",
        "redact-thinking",
        "thinking-token-count",
        "context-management",
        "mid-conversation-system",
        "advanced-tool-use",
        "effort",
        "structured-outputs",
    ),
    "other": ("mid-conversation-system",),
}


@pytest.mark.parametrize(("name", "refused"), REFUSED.items())
def test_a_family_refuses_betas_for_what_it_cannot_do(name: str, refused: tuple[str, ...]) -> None:
    family = family_of(name)
    kept = [beta for beta in OPUS if takes_beta(family, beta)]
    assert [beta for beta in OPUS if beta not in kept] == [
        beta for beta in OPUS if beta.startswith(refused)
    ]


def test_a_beta_that_nobody_has_heard_of_is_kept() -> None:
    for family in FAMILIES:
        assert takes_beta(family, "wonders-2031-01-01")
        assert takes_beta(family, "")


def test_what_is_not_anthropics_is_the_last_row() -> None:
    assert family_of("openai/gpt-5") is OTHER is FAMILIES[-1]
