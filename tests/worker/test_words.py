"""What is left of LiteLLM's words, when what it has put around them is away."""

import pytest

from ccproxyd.worker.words import plain

ADVICE = "\n\nLiteLLM: model group 'think' failed with the error above. No fallback was attempted."
QUOTED = '{"error": {"message": "slow down", "type": "x"}}'


@pytest.mark.parametrize(
    "text",
    [
        "slow down",
        f"slow down{ADVICE}",
        "litellm.APIConnectionError: slow down\nTraceback (most recent call last):\n  File",
        f"litellm.RateLimitError: RateLimitError: OpenAIException - slow down{ADVICE}",
        f"litellm.RateLimitError: AnthropicException - {QUOTED}{ADVICE}",
        f"litellm.RateLimitError: AnthropicException - b'{QUOTED}'",
        "litellm.APIError: AnthropicException - {'type': 'x', 'message': 'slow down'}",
        f"litellm.APIError: MistralException - (429, '{QUOTED}')",
        f"(429, '{QUOTED}')",
        "litellm.MidStreamFallbackError: litellm.APIConnectionError: APIConnectionError: "
        "Text-completion-openaiException - slow down Original exception: APIConnectionError: "
        "litellm.APIConnectionError: Text-completion-openaiException - slow down",
        "litellm.InternalServerError: AnthropicException - slow down. Handle with "
        "`litellm.InternalServerError`.",
        "litellm.ContextWindowExceededError: litellm.BadRequestError: AnthropicError - slow down\n"
        "model=think. context_window_fallbacks=None. fallbacks=None.\n\nSet 'context_window_fall",
        f"Invalid request format: litellm.APIConnectionError: OpenAIException - slow down{ADVICE}",
    ],
)
def test_only_the_providers_words_are_left(text):
    assert plain(text) == "slow down"


@pytest.mark.parametrize("text", ["b'not bytes", "b'a' + b'b'", "(429, 'no", "{'not an object"])
def test_what_only_looks_printed_is_text(text):
    assert plain(f"litellm.APIError: {text}") == text
