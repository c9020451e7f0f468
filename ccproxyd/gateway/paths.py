"""Which paths of LiteLLM's are carried, and what each one means.

LiteLLM serves inference, an admin UI and the management of keys, teams and budgets from one app.
Only the first is for clients of this port. The table is LiteLLM's own list of inference routes
(`LiteLLMRoutes.llm_api_routes` of 1.106), written out since this process never imports LiteLLM; a
test compares the two. Left out as management are the routes that describe deployments
(`/model/info`, `/model_group/info`, `/utils/model_info`), that keep or judge telemetry
(`/v1/traces`, `/v1/logs`, `/lens`), and that hand out or look into tokens (`/token`,
`/introspect`).

A `{name}` stands for one segment, `{name:path}` and a final `*` for any number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from typing import Final

from attrs import frozen


class Carriage(Enum):
    """What the gateway does with a request to a path."""

    ROUTED = "routed"
    """It asks for a model: the router decides, LiteLLM answers."""
    CARRIED = "carried"
    """LiteLLM answers it as it is: it names a thing (a file, a batch), not a model."""
    ANSWERED = "answered"
    """The gateway answers it itself."""
    CLOSED = "closed"
    """Not for clients, unless `management_routes` opens it."""


class Dialect(Enum):
    """Whose error shape a client of this path expects."""

    ANTHROPIC = "anthropic"
    OPENAI = "openai"


_CHAT: Final = (
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/claude_code_gateway/v1/messages",
    "/claude_code_gateway/v1/messages/count_tokens",
    "/v1/chat/completions",
    "/chat/completions",
    "/cursor/chat/completions",
    "/engines/{model:path}/chat/completions",
    "/openai/deployments/{model:path}/chat/completions",
    "/v1/completions",
    "/completions",
    "/engines/{model:path}/completions",
    "/openai/deployments/{model:path}/completions",
    "/v1/responses",
    "/responses",
    "/openai/v1/responses",
)

_OTHER_MODEL_CALLS: Final = (
    "/v1/embeddings",
    "/embeddings",
    "/engines/{model:path}/embeddings",
    "/openai/deployments/{model:path}/embeddings",
    "/v1/images/generations",
    "/images/generations",
    "/v1/images/edits",
    "/images/edits",
    "/v1/audio/transcriptions",
    "/audio/transcriptions",
    "/v1/audio/speech",
    "/audio/speech",
    "/v1/moderations",
    "/moderations",
    "/v1/rerank",
    "/v2/rerank",
    "/rerank",
    "/v1/ocr",
    "/ocr",
    "/v1/videos",
    "/videos",
)

_THINGS: Final = (
    "/cursor/models",
    "/cursor/v1/models",
    "/v1/videos/{id}",
    "/videos/{id}",
    "/v1/videos/{id}/content",
    "/videos/{id}/content",
    "/v1/videos/{id}/remix",
    "/videos/{id}/remix",
    "/v1/batches",
    "/batches",
    "/v1/batches/{id}",
    "/batches/{id}",
    "/v1/batches/{id}/cancel",
    "/batches/{id}/cancel",
    "/v1/files",
    "/files",
    "/v1/files/{id}",
    "/files/{id}",
    "/v1/files/{id}/content",
    "/files/{id}/content",
    "/v1/fine_tuning/jobs",
    "/fine_tuning/jobs",
    "/v1/fine_tuning/jobs/{id}",
    "/fine_tuning/jobs/{id}",
    "/v1/fine_tuning/jobs/{id}/cancel",
    "/fine_tuning/jobs/{id}/cancel",
    "/v1/assistants",
    "/assistants",
    "/v1/assistants/{id}",
    "/assistants/{id}",
    "/v1/threads",
    "/threads",
    "/v1/threads/{id}",
    "/threads/{id}",
    "/v1/threads/{id}/messages",
    "/threads/{id}/messages",
    "/v1/threads/{id}/runs",
    "/threads/{id}/runs",
    "/utils/token_counter",
    "/utils/transform_request",
    "/v1/realtime",
    "/realtime",
    "/openai/v1/realtime",
    "/v1/realtime/client_secrets",
    "/realtime/client_secrets",
    "/openai/v1/realtime/client_secrets",
    "/v1/realtime/calls",
    "/realtime/calls",
    "/openai/v1/realtime/calls",
    "/v1/realtime/transcription_sessions",
    "/realtime/transcription_sessions",
    "/openai/v1/realtime/transcription_sessions",
    "/v1/responses/{id}",
    "/responses/{id}",
    "/openai/v1/responses/{id}",
    "/v1/responses/{id}/input_items",
    "/responses/{id}/input_items",
    "/openai/v1/responses/{id}/input_items",
    "/v1/responses/{id}/cancel",
    "/responses/{id}/cancel",
    "/openai/v1/responses/{id}/cancel",
    "/v1/responses/input_tokens",
    "/responses/input_tokens",
    "/openai/v1/responses/input_tokens",
    "/v1/vector_stores",
    "/vector_stores",
    "/v1/vector_stores/{id}",
    "/vector_stores/{id}",
    "/v1/vector_stores/{id}/search",
    "/vector_stores/{id}/search",
    "/v1/vector_stores/{id}/files",
    "/vector_stores/{id}/files",
    "/v1/vector_stores/{id}/files/{id}",
    "/vector_stores/{id}/files/{id}",
    "/v1/vector_stores/{id}/files/{id}/content",
    "/vector_stores/{id}/files/{id}/content",
    "/v1/vector_store/list",
    "/vector_store/list",
    "/v1/search",
    "/search",
    "/v1/search/{id}",
    "/search/{id}",
    "/v1/decisions",
    "/decisions",
    "/v1/systemone",
    "/systemone",
    "/v1/containers",
    "/containers",
    "/v1/containers/*",
    "/containers/*",
    "/v1/skills",
    "/v1/skills/{id}",
    "/claude-code/marketplace.json",
    "/claude-code/plugins",
    "/claude-code/plugins/{id}",
    "/v1beta/models/{name:path}:countTokens",
    "/v1beta/models/{name:path}:generateContent",
    "/v1beta/models/{name:path}:streamGenerateContent",
    "/models/{name:path}:countTokens",
    "/models/{name:path}:generateContent",
    "/models/{name:path}:streamGenerateContent",
    "/v1beta/interactions",
    "/interactions",
    "/v1beta/interactions/{id}",
    "/interactions/{id}",
    "/v1beta/interactions/{id}/cancel",
    "/interactions/{id}/cancel",
    "/v1beta/agents",
    "/v1beta/agents/{id}",
    "/v1beta/agents/{id}/versions",
    "/agents",
    "/a2a/{id}",
    "/a2a/{id}/message/send",
    "/v1/a2a/{id}/message/send",
    "/a2a/{id}/message/stream",
    "/a2a/{id}/.well-known/agent-card.json",
    "/guardrails/apply_guardrail",
    "/mcp",
    "/mcp/",
    "/mcp/*",
    "/mcp-rest/tools/list",
    "/mcp-rest/tools/call",
    "/v1/mcp/tools",
    "/v1/rag/ingest",
    "/rag/ingest",
    "/v1/rag/query",
    "/rag/query",
)

_PROVIDER_PREFIXES: Final = tuple(
    f"/{name}/*"
    for name in (
        "anthropic assemblyai azure azure_ai azure_speech bedrock bespoke cohere comprehendmedical "
        "cursor deepgram eu.assemblyai fal_ai gemini gigachat langfuse laya milvus mistral "
        "nvidia_nim openai openai_passthrough openrouter tinyfish transcribe typesafe vertex-ai "
        "vertex_ai vllm watsonx"
    ).split()
)

_SPENDING: Final = (
    "/v1/videos/{id}/remix",
    "/videos/{id}/remix",
    "/v1/batches",
    "/batches",
    "/v1/fine_tuning/jobs",
    "/fine_tuning/jobs",
    "/v1/threads/{id}/runs",
    "/threads/{id}/runs",
    "/v1/realtime/client_secrets",
    "/realtime/client_secrets",
    "/openai/v1/realtime/client_secrets",
    "/v1/realtime/calls",
    "/realtime/calls",
    "/openai/v1/realtime/calls",
    "/v1/realtime/transcription_sessions",
    "/realtime/transcription_sessions",
    "/openai/v1/realtime/transcription_sessions",
    "/v1beta/models/{name:path}:generateContent",
    "/v1beta/models/{name:path}:streamGenerateContent",
    "/models/{name:path}:generateContent",
    "/models/{name:path}:streamGenerateContent",
    "/v1beta/interactions",
    "/interactions",
    "/a2a/{id}",
    "/a2a/{id}/message/send",
    "/v1/a2a/{id}/message/send",
    "/a2a/{id}/message/stream",
    "/v1/rag/ingest",
    "/rag/ingest",
    "/v1/rag/query",
    "/rag/query",
)
"""Of the things, those where a POST has a model work, now or later."""

_NO_PROVIDERS: Final = frozenset({"/langfuse/*", "/milvus/*"})
"""They keep what they are told, and have no models."""

_FREE: Final = re.compile(
    r".*/(?:files|uploads?|vector_stores|assistants|containers|skills)(?:/.*)?"
    r"|.*/threads(?:/[^/]+(?:/messages(?:/.*)?)?)?"
    r"|.*/(?:cancel|models|health|count_tokens|input_tokens|tokenize|detokenize)"
    r"|.*:(?:countTokens|cancel)"
)
"""Below the providers' own paths, what has no model work."""

_ANSWERED: Final = (
    "/",
    "/health/liveliness",
    "/health/liveness",
    "/health/readiness",
    "/v1/models",
    "/models",
    "/v1/models/{name:path}",
)

_MODEL_IN_PATH: Final = re.compile(
    r"/(?:engines|openai/deployments)/(.+?)/(?:chat/completions|completions|embeddings)"
)
_MODELLESS_METHODS: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})


@frozen
class PathTable:
    """The carried paths, compiled; `extra` are the user's own pass-through endpoints.

    The expressions try a hundred alternatives one by one, so the paths of most requests are looked
    up in `usual` first, which are those of `routed` in which nothing varies.
    """

    usual: frozenset[str]
    routed: re.Pattern[str]
    carried: re.Pattern[str]
    answered: re.Pattern[str]
    spending: re.Pattern[str]
    relayed: re.Pattern[str]
    """The providers' own paths, and those of the user's pass-through endpoints."""
    management: bool

    @classmethod
    def build(cls, *, management: bool = False, extra: Iterable[str] = ()) -> PathTable:
        own = _with_subpaths(extra)
        carried = [*_THINGS, *_PROVIDER_PREFIXES, *own]
        routed = [*_CHAT, *_OTHER_MODEL_CALLS]
        return cls(
            usual=frozenset(path for path in routed if "{" not in path),
            routed=_compile(routed),
            carried=_compile(carried),
            answered=_compile(_ANSWERED),
            spending=_compile(_SPENDING),
            relayed=_compile([*sorted({*_PROVIDER_PREFIXES} - _NO_PROVIDERS), *own]),
            management=management,
        )

    def carriage(self, method: str, path: str) -> Carriage:
        """What to do with a request.

        >>> table = PathTable.build()
        >>> table.carriage("POST", "/v1/messages").value
        'routed'
        >>> table.carriage("GET", "/v1/files/file-1").value
        'carried'
        >>> table.carriage("POST", "/key/generate").value
        'closed'
        """
        if path in self.usual or self.routed.fullmatch(path):
            return Carriage.CARRIED if method in _MODELLESS_METHODS else Carriage.ROUTED
        if self.answered.fullmatch(path) and method in ("GET", "HEAD"):
            return Carriage.ANSWERED
        if self.management or self.carried.fullmatch(path):
            return Carriage.CARRIED
        return Carriage.CLOSED

    def spends(self, method: str, path: str) -> bool:
        """Whether a request that is carried as it is has a model work, which costs something.

        >>> table = PathTable.build()
        >>> table.spends("POST", "/anthropic/v1/messages"), table.spends("POST", "/v1/files")
        (True, False)
        """
        if method in _MODELLESS_METHODS:
            return False
        if self.spending.fullmatch(path):
            return True
        return bool(self.relayed.fullmatch(path)) and not _FREE.fullmatch(path)


def dialect_of(path: str, headers: dict[str, str]) -> Dialect:
    """Whose error shape to use: an Anthropic client says its version, else the path tells.

    >>> dialect_of("/v1/messages/count_tokens", {}).value
    'anthropic'
    >>> dialect_of("/v1/models", {"anthropic-version": "2023-06-01"}).value
    'anthropic'
    """
    if "/v1/messages" in path or path.startswith("/anthropic/") or "anthropic-version" in headers:
        return Dialect.ANTHROPIC
    return Dialect.OPENAI


def counts_tokens(path: str) -> bool:
    """LiteLLM runs no hook on these: the decision must be written into the body instead."""
    return path.endswith("/messages/count_tokens")


def model_in(path: str) -> str | None:
    """The model that a path of Azure's kind names; LiteLLM prefers it to the body's.

    >>> model_in("/openai/deployments/gpt-5/chat/completions")
    'gpt-5'
    """
    found = _MODEL_IN_PATH.fullmatch(path)
    return found.group(1) if found else None


def _with_subpaths(paths: Iterable[str]) -> list[str]:
    return [form for path in paths for form in (path, path.rstrip("/") + "/*")]


def _compile(templates: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(sorted({_expression(template) for template in templates})))


def _expression(template: str) -> str:
    pieces = re.split(r"(\{\w+(?::path)?\}|\*$)", template)
    return "".join(_piece(piece) for piece in pieces)


def _piece(piece: str) -> str:
    if piece == "*" or piece.endswith(":path}"):
        return ".+"
    return "[^/]+" if piece.startswith("{") else re.escape(piece)
