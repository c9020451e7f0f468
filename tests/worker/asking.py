"""A question to the mock of a provider by LiteLLM's own functions, for the tests of its doors."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final

from tests.support.provider import MockProvider

CLAUDE: Final = "anthropic/m"
GPT: Final = "openai/m"
TEXT: Final = "text-completion-openai/m"

GEMINI: Final = "gemini/gemini-2.5-pro"
NOVA: Final = "bedrock/converse/amazon.nova-pro-v1:0"
COHERE: Final = "cohere_chat/command-r"
OLD_COHERE: Final = "cohere_chat/v1/command-r"

CLAUDE_AT_AMAZONS: Final = "bedrock/invoke/anthropic.claude-3-5-sonnet-20240620-v1:0"
LLAMA: Final = "bedrock/invoke/meta.llama3-70b-instruct-v1:0"
MISTRAL: Final = "bedrock/invoke/mistral.mistral-large-2402-v1:0"

_PATHS: Final = {
    CLAUDE: "",
    GEMINI: "/v1beta",
    COHERE: "/v2/chat",
    OLD_COHERE: "/v1/chat",
}
_AMAZONS: Final = {
    "aws_access_key_id": "none",
    "aws_secret_access_key": "none",
    "aws_region_name": "us-east-1",
}


def address(provider: MockProvider, model: str) -> dict[str, Any]:
    """Where the model is asked, and under which key."""
    if model.startswith("bedrock/"):
        return {"api_base": provider.url, "max_retries": 0, **_AMAZONS}
    base = provider.url + _PATHS.get(model, "/v1")
    return {"api_base": base, "max_retries": 0, "api_key": "none"}


async def streamed(
    litellm: ModuleType, provider: MockProvider, model: str, directive: str
) -> set[str] | Exception:
    """The reasons that a stream gives to be over, or the exception that it ends in."""
    said = f"hello @@{directive}@@"
    where = address(provider, model)
    try:
        if model == TEXT:
            answer = await litellm.atext_completion(model=model, prompt=said, stream=True, **where)
        else:
            turns = [{"role": "user", "content": said}]
            answer = await litellm.acompletion(model=model, messages=turns, stream=True, **where)
        return {chunk.choices[0].finish_reason async for chunk in answer if chunk.choices} - {None}
    except Exception as error:
        return error
