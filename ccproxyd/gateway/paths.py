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


class Work(Enum):
    """What a POST to a path that names a thing sets going."""

    NONE = "none"
    MODELS = "models"
    """A model works, now or later, which costs something."""


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

_THINGS: Final = {
    "/cursor/models": Work.NONE,
    "/cursor/v1/models": Work.NONE,
    "/v1/videos/{id}": Work.NONE,
    "/videos/{id}": Work.NONE,
    "/v1/videos/{id}/content": Work.NONE,
    "/videos/{id}/content": Work.NONE,
    "/v1/videos/{id}/remix": Work.MODELS,
    "/videos/{id}/remix": Work.MODELS,
    "/v1/batches": Work.MODELS,
    "/batches": Work.MODELS,
    "/v1/batches/{id}": Work.NONE,
    "/batches/{id}": Work.NONE,
    "/v1/batches/{id}/cancel": Work.NONE,
    "/batches/{id}/cancel": Work.NONE,
    "/v1/files": Work.NONE,
    "/files": Work.NONE,
    "/v1/files/{id}": Work.NONE,
    "/files/{id}": Work.NONE,
    "/v1/files/{id}/content": Work.NONE,
    "/files/{id}/content": Work.NONE,
    "/v1/fine_tuning/jobs": Work.MODELS,
    "/fine_tuning/jobs": Work.MODELS,
    "/v1/fine_tuning/jobs/{id}": Work.NONE,
    "/fine_tuning/jobs/{id}": Work.NONE,
    "/v1/fine_tuning/jobs/{id}/cancel": Work.NONE,
    "/fine_tuning/jobs/{id}/cancel": Work.NONE,
    "/v1/assistants": Work.NONE,
    "/assistants": Work.NONE,
    "/v1/assistants/{id}": Work.NONE,
    "/assistants/{id}": Work.NONE,
    "/v1/threads": Work.NONE,
    "/threads": Work.NONE,
    "/v1/threads/{id}": Work.NONE,
    "/threads/{id}": Work.NONE,
    "/v1/threads/{id}/messages": Work.NONE,
    "/threads/{id}/messages": Work.NONE,
    "/v1/threads/{id}/runs": Work.MODELS,
    "/threads/{id}/runs": Work.MODELS,
    "/utils/token_counter": Work.NONE,
    "/utils/transform_request": Work.NONE,
    "/v1/realtime": Work.NONE,
    "/realtime": Work.NONE,
    "/openai/v1/realtime": Work.NONE,
    "/v1/realtime/client_secrets": Work.MODELS,
    "/realtime/client_secrets": Work.MODELS,
    "/openai/v1/realtime/client_secrets": Work.MODELS,
    "/v1/realtime/calls": Work.MODELS,
    "/realtime/calls": Work.MODELS,
    "/openai/v1/realtime/calls": Work.MODELS,
    "/v1/realtime/transcription_sessions": Work.MODELS,
    "/realtime/transcription_sessions": Work.MODELS,
    "/openai/v1/realtime/transcription_sessions": Work.MODELS,
    "/v1/responses/{id}": Work.NONE,
    "/responses/{id}": Work.NONE,
    "/openai/v1/responses/{id}": Work.NONE,
    "/v1/responses/{id}/input_items": Work.NONE,
    "/responses/{id}/input_items": Work.NONE,
    "/openai/v1/responses/{id}/input_items": Work.NONE,
    "/v1/responses/{id}/cancel": Work.NONE,
    "/responses/{id}/cancel": Work.NONE,
    "/openai/v1/responses/{id}/cancel": Work.NONE,
    "/v1/responses/input_tokens": Work.NONE,
    "/responses/input_tokens": Work.NONE,
    "/openai/v1/responses/input_tokens": Work.NONE,
    "/v1/vector_stores": Work.NONE,
    "/vector_stores": Work.NONE,
    "/v1/vector_stores/{id}": Work.NONE,
    "/vector_stores/{id}": Work.NONE,
    "/v1/vector_stores/{id}/search": Work.NONE,
    "/vector_stores/{id}/search": Work.NONE,
    "/v1/vector_stores/{id}/files": Work.NONE,
    "/vector_stores/{id}/files": Work.NONE,
    "/v1/vector_stores/{id}/files/{id}": Work.NONE,
    "/vector_stores/{id}/files/{id}": Work.NONE,
    "/v1/vector_stores/{id}/files/{id}/content": Work.NONE,
    "/vector_stores/{id}/files/{id}/content": Work.NONE,
    "/v1/vector_store/list": Work.NONE,
    "/vector_store/list": Work.NONE,
    "/v1/search": Work.NONE,
    "/search": Work.NONE,
    "/v1/search/{id}": Work.NONE,
    "/search/{id}": Work.NONE,
    "/v1/decisions": Work.NONE,
    "/decisions": Work.NONE,
    "/v1/systemone": Work.NONE,
    "/systemone": Work.NONE,
    "/v1/containers": Work.NONE,
    "/containers": Work.NONE,
    "/v1/containers/*": Work.NONE,
    "/containers/*": Work.NONE,
    "/v1/skills": Work.NONE,
    "/v1/skills/{id}": Work.NONE,
    "/claude-code/marketplace.json": Work.NONE,
    "/claude-code/plugins": Work.NONE,
    "/claude-code/plugins/{id}": Work.NONE,
    "/v1beta/models/{name:path}:countTokens": Work.NONE,
    "/v1beta/models/{name:path}:generateContent": Work.MODELS,
    "/v1beta/models/{name:path}:streamGenerateContent": Work.MODELS,
    "/models/{name:path}:countTokens": Work.NONE,
    "/models/{name:path}:generateContent": Work.MODELS,
    "/models/{name:path}:streamGenerateContent": Work.MODELS,
    "/v1beta/interactions": Work.MODELS,
    "/interactions": Work.MODELS,
    "/v1beta/interactions/{id}": Work.NONE,
    "/interactions/{id}": Work.NONE,
    "/v1beta/interactions/{id}/cancel": Work.NONE,
    "/interactions/{id}/cancel": Work.NONE,
    "/v1beta/agents": Work.NONE,
    "/v1beta/agents/{id}": Work.NONE,
    "/v1beta/agents/{id}/versions": Work.NONE,
    "/agents": Work.NONE,
    "/a2a/{id}": Work.MODELS,
    "/a2a/{id}/message/send": Work.MODELS,
    "/v1/a2a/{id}/message/send": Work.MODELS,
    "/a2a/{id}/message/stream": Work.MODELS,
    "/a2a/{id}/.well-known/agent-card.json": Work.NONE,
    "/guardrails/apply_guardrail": Work.NONE,
    "/mcp": Work.NONE,
    "/mcp/": Work.NONE,
    "/mcp/*": Work.NONE,
    "/mcp-rest/tools/list": Work.NONE,
    "/mcp-rest/tools/call": Work.NONE,
    "/v1/mcp/tools": Work.NONE,
    "/v1/rag/ingest": Work.MODELS,
    "/rag/ingest": Work.MODELS,
    "/v1/rag/query": Work.MODELS,
    "/rag/query": Work.MODELS,
}
"""Each with what a POST has done."""

_PROVIDERS: Final = tuple(
    f"/{name}/*"
    for name in (
        "anthropic assemblyai azure azure_ai azure_speech bedrock bespoke cohere comprehendmedical "
        "cursor deepgram eu.assemblyai fal_ai gemini gigachat laya mistral nvidia_nim openai "
        "openai_passthrough openrouter tinyfish transcribe typesafe vertex-ai vertex_ai vllm "
        "watsonx"
    ).split()
)

_KEEPERS: Final = ("/langfuse/*", "/milvus/*")
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

_OTHER_NAMES: Final = {
    "/messages": "/v1/messages",
    "/messages/count_tokens": "/v1/messages/count_tokens",
}
"""LiteLLM answers everything else of its own without a version, too."""

_FILES: Final = re.compile(r"(?:/v1)?/files(?:/.*)?")

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
        carried = [*_THINGS, *_PROVIDERS, *_KEEPERS, *own]
        routed = [*_CHAT, *_OTHER_MODEL_CALLS]
        return cls(
            usual=frozenset(path for path in routed if "{" not in path),
            routed=_compile(routed),
            carried=_compile(carried),
            answered=_compile(_ANSWERED),
            spending=_compile(path for path, work in _THINGS.items() if work is Work.MODELS),
            relayed=_compile([*_PROVIDERS, *own]),
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


def usual_path(path: str) -> str:
    """The path at which everybody else has what is asked for here.

    Vercel's library, for one, takes the version of Anthropic's interface for a part of the address.

    >>> usual_path("/messages"), usual_path("/v1/responses")
    ('/v1/messages', '/v1/responses')
    """
    return _OTHER_NAMES.get(path, path)


def is_of_another_provider(path: str, dialect: Dialect) -> bool:
    """Whether an Anthropic client would get at files of OpenAI's: LiteLLM has no others there.

    Anthropic's are below the path that has its name.

    >>> is_of_another_provider("/v1/files/file-1", Dialect.ANTHROPIC)
    True
    >>> is_of_another_provider("/anthropic/v1/files/file-1", Dialect.ANTHROPIC)
    False
    """
    return dialect is Dialect.ANTHROPIC and bool(_FILES.fullmatch(path))


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
