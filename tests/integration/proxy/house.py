"""The config of the package's daemon: a label for everything, and some code that fails.

`small`, `large` and `tools` speak OpenAI's protocol, the others Anthropic's, so that both have the
direct lane. The last rules would send an embedding to any label that it wishes.
"""

from __future__ import annotations

from typing import Any, Final

from tests.integration.proxy.rows import (
    CANARY,
    LABELS,
    LARGE_TOKENS,
    PROTOCOL_OF_LABEL,
    TOOL,
)
from tests.support.daemon import Setup, anthropic_model

OLD_KEY: Final = f"sk-{CANARY}-old-key"
NEW_KEY: Final = f"sk-{CANARY}-new-key"
WRONG_KEY: Final = f"sk-{CANARY}-wrong-key"
PROVIDER_KEY: Final = f"sk-{CANARY}-provider-key"

CODE: Final = '''
"""A rule and a hook of the user's own, which fail with what they saw."""
from ccproxyd.errors import ProxyError
from ccproxyd.routing import ClassificationRule

class Broken(ClassificationRule):
    def evaluate(self, request, config):
        raise ValueError(f"{request.body} {request.headers}")

class Refusing(ClassificationRule):
    def evaluate(self, request, config):
        if request.headers.get("x-refuse") == "rule":
            raise ProxyError("no work on a Sunday", code=403)
        return False

def broken(data, user_api_key_dict, **kwargs):
    raise ValueError(str(data))

def refuse(data, user_api_key_dict, **kwargs):
    if "refused by a hook" in str(data):
        raise ProxyError("not today", code=429)

def check(data, user_api_key_dict, call_type):
    if "break the check" in str(data):
        raise ValueError(str(data))
    return True
'''

ABROAD: Final = "日本"

RULES: Final[tuple[dict[str, Any], ...]] = (
    {"label": "default", "rule": "my_code.Broken"},
    {"label": "default", "rule": "my_code.Refusing"},
    {"label": "small", "rule": "MatchModelRule", "params": [{"model_name": "haiku"}]},
    {"label": "large", "rule": "TokenCountRule", "params": [{"threshold": LARGE_TOKENS}]},
    {"label": "tools", "rule": "MatchToolRule", "params": [{"tool_name": TOOL}]},
    {"label": "think", "rule": "ThinkingRule"},
    *(
        {
            "label": label,
            "rule": "MatchHeaderRule",
            "params": [{"name": "x-wished-label", "value": label}],
        }
        for label in LABELS
    ),
)

OURS: Final[dict[str, Any]] = {
    "lanes": {"direct": "auto"},
    "fallbacks": {"fallback": ["default"]},
    "hooks": ["rule_evaluator", "model_router", "my_code.broken", "my_code.refuse"],
}

LITELLM: Final[dict[str, Any]] = {
    "general_settings": {"master_key": OLD_KEY},
    "litellm_settings": {"drop_params": True},
}


def openai_model(name: str, url: str, mode: str | None = None, **more: Any) -> dict[str, Any]:
    params = {
        "model": f"openai/mock-{name}",
        "api_base": f"{url}/v1",
        "api_key": PROVIDER_KEY,
        **more,
    }
    entry: dict[str, Any] = {"model_name": name, "litellm_params": params}
    return entry | ({"model_info": {"mode": mode}} if mode else {})


def models(url: str) -> list[dict[str, Any]]:
    return [
        *(_label(label, url) for label in LABELS),
        anthropic_model("claude-sonnet-4-5", url, model="anthropic/claude-sonnet-4-5"),
        openai_model("gpt-4o", url, model="openai/gpt-4o"),
        openai_model("instructed", url, model="openai/gpt-3.5-turbo-instruct"),
        openai_model("responder", url, model="openai/responses/gpt-4o"),
        openai_model("abroad", url),
        openai_model(ABROAD, url, model="openai/mock-far-away"),
        openai_model("embedder", url, "embedding"),
        openai_model("moderator", url, "moderation"),
        openai_model("painter", url, "image_generation"),
        openai_model("ear", url, "audio_transcription"),
        openai_model("mouth", url, "audio_speech"),
        openai_model(
            "ranker", url, "rerank", model="cohere/mock-ranker", api_base=f"{url}/v2/rerank"
        ),
        openai_model("reader", url, "ocr", model="mistral/mock-reader"),
        openai_model("filmer", url, "video_generation"),
        openai_model("talker", url, "realtime", api_base=url),
    ]


def setup() -> Setup:
    ours = OURS | {"fallbacks": {**OURS["fallbacks"], "abroad": [ABROAD]}}
    return Setup(rules=RULES, ours=ours, models=models, litellm=LITELLM, files={"my_code.py": CODE})


def _label(name: str, url: str) -> dict[str, Any]:
    if PROTOCOL_OF_LABEL[name] == "openai":
        return openai_model(name, url)
    return anthropic_model(name, url, api_key=PROVIDER_KEY)
