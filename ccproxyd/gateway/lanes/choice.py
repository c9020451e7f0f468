"""Which lane a request takes: what its label allows (`config.lanes`), and what it says itself.

The direct lane is for a request that its provider understands as it is. One that speaks to LiteLLM
(a field or a header that only LiteLLM knows) goes to LiteLLM, and so does one whose model is
swapped for another of OpenAI's reasoning family, whose parameters are called differently.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from ccproxyd.config.lanes import DIRECT, LITELLM, Endpoint, Lane, bare_model
from ccproxyd.routing import Decision, Request

_PROTOCOLS: Final = {
    "/v1/messages": "anthropic",
    "/v1/messages/count_tokens": "anthropic",
    "/v1/chat/completions": "openai",
    "/chat/completions": "openai",
}
_LITELLM_FIELDS: Final = frozenset(
    "additional_drop_params allowed_openai_params api_base api_key api_version base_url cache "
    "caching content_policy_fallback_dict context_window_fallback_dict context_window_fallbacks "
    "custom_llm_provider deployment_id drop_params enable_json_schema_validation extra_body "
    "extra_headers fallbacks guardrail_config guardrails headers input_cost_per_token "
    "litellm_call_id litellm_metadata litellm_params litellm_session_id litellm_trace_id "
    "mock_response mock_timeout mock_tool_calls model_config model_info no-log num_retries "
    "output_cost_per_token policies prompt_id prompt_variables proxy_server_request "
    "region_name request_timeout secret_fields ssl_verify tags timeout user_config "
    "web_search_options".split()
)
"""The last one is OpenAI's, but LiteLLM alone can tell what it cost."""
_LITELLM_HEADER: Final = "x-litellm-"
_KEY_HEADER: Final = "x-litellm-api-key"
_REASONING: Final = re.compile(r"(o\d|gpt-5|codex)")


@frozen
class Choice:
    """A lane and why it is taken; `endpoint` is there for the direct one."""

    lane: str
    reason: str
    endpoint: Endpoint | None = None


def choose(lane: Lane, decision: Decision, request: Request, *, has_token: bool) -> Choice:
    """The lane of one request.

    Args:
        lane: that of the decision's label.
        has_token: the client's own subscription token may go along.
    """
    endpoint = lane.endpoint
    if endpoint is None:
        return Choice(LITELLM, lane.reason)
    if obstacle := _obstacle(endpoint, decision, request, has_token=has_token):
        return Choice(LITELLM, obstacle)
    return Choice(DIRECT, lane.reason, endpoint)


def _obstacle(
    endpoint: Endpoint, decision: Decision, request: Request, *, has_token: bool
) -> str | None:
    """Why this request needs LiteLLM, or None."""
    if (protocol := _PROTOCOLS.get(request.path)) is None:
        return f"LiteLLM serves {request.path}"
    if protocol != endpoint.protocol:
        return f"LiteLLM translates between {protocol} and {endpoint.protocol}"
    if named := _asks_litellm(request):
        return f"{named} is for LiteLLM"
    if endpoint.key is None and not has_token:
        return "no key is configured, and the client brings no token of its own"
    if _is_swapped_reasoner(endpoint, decision):
        return "LiteLLM adapts the parameters to the model"
    return None


def _asks_litellm(request: Request) -> str | None:
    if asked := _LITELLM_FIELDS.intersection(request.body):
        return f"the field {min(asked)}"
    named = [
        one for one in request.headers if one.startswith(_LITELLM_HEADER) and one != _KEY_HEADER
    ]
    return f"the header {min(named)}" if named else None


def _is_swapped_reasoner(endpoint: Endpoint, decision: Decision) -> bool:
    model = bare_model(decision.model)
    swapped = bare_model(decision.requested_model) != model
    return endpoint.protocol == "openai" and swapped and bool(_REASONING.match(model))
