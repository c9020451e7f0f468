import json
import os
import subprocess
import sys

import pytest

from ccproxyd.gateway import paths
from ccproxyd.gateway.paths import (
    Carriage,
    Dialect,
    PathTable,
    counts_tokens,
    dialect_of,
    is_of_another_provider,
    model_in,
    usual_path,
)

TABLE = PathTable.build()

ASK_LITELLM = """
import json
from litellm.proxy._types import LiteLLMRoutes
print(json.dumps(list(LiteLLMRoutes.llm_api_routes.value)))
"""

MANAGEMENT = (
    *("/model/info", "/v1/model/info", "/model_group/info", "/utils/model_info"),
    *("/v1/traces", "/v1/logs", "/lens", "/token", "/introspect"),
)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/messages",
        "/v1/chat/completions",
        "/openai/deployments/gpt-5/chat/completions",
        "/openai/deployments/anthropic/claude/chat/completions",
        "/v1/responses",
        "/v1/embeddings",
    ],
)
def test_a_call_of_a_model_is_routed(path):
    assert TABLE.carriage("POST", path) is Carriage.ROUTED


@pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD"])
def test_a_call_that_asks_for_no_model_is_carried(method):
    assert TABLE.carriage(method, "/v1/responses") is Carriage.CARRIED


@pytest.mark.parametrize(
    "path",
    ["/v1/files/file-1", "/v1/responses/r-1", "/anthropic/v1/messages", "/mcp/", "/mcp/tools/call"],
)
def test_what_names_a_thing_is_carried(path):
    assert TABLE.carriage("POST", path) is Carriage.CARRIED


@pytest.mark.parametrize("path", ["/", "/health/readiness", "/v1/models", "/v1/models/a/b"])
def test_probes_and_models_are_answered_here(path):
    assert TABLE.carriage("GET", path) is Carriage.ANSWERED
    assert TABLE.carriage("POST", path) is Carriage.CLOSED


@pytest.mark.parametrize(
    "path",
    [
        *("/key/generate", "/config/update", "/ui", "/health", "/anything", "/v1/messages/"),
        *("//v1/messages", "/V1/messages", "/v1/files/a/b/c", "/v1/messages\n", *MANAGEMENT),
    ],
)
def test_all_else_is_closed_until_management_is_opened(path):
    assert TABLE.carriage("POST", path) is Carriage.CLOSED
    assert PathTable.build(management=True).carriage("POST", path) is Carriage.CARRIED


def test_the_users_own_endpoints_are_carried_with_what_is_below_them():
    table = PathTable.build(extra=["/v1/my.rerank", "/own/"])
    for path in ("/v1/my.rerank", "/v1/my.rerank/below", "/own/", "/own/below"):
        assert table.carriage("POST", path) is Carriage.CARRIED
    for path in ("/v1/my-rerank", "/v1/my.reranker", "/own"):
        assert table.carriage("POST", path) is Carriage.CLOSED


@pytest.mark.parametrize(
    "path",
    [
        "/anthropic/v1/messages",
        "/openai/chat/completions",
        "/openai/v1/responses",
        "/openai/v1/threads/t-1/runs",
        "/openai/v1/batches",
        "/gemini/v1beta/models/gemini-2.5-pro:generateContent",
        "/vertex_ai/v1/projects/p/locations/l/publishers/google/models/g:streamGenerateContent",
        "/bedrock/model/anthropic.claude/invoke",
        "/v1beta/models/gemini-2.5-pro:streamGenerateContent",
        "/v1/batches",
        "/threads/t-1/runs",
        "/v1/realtime/client_secrets",
        "/own/rerank",
    ],
)
def test_a_call_of_a_model_that_is_carried_as_it_is_spends(path):
    table = PathTable.build(management=True, extra=["/own"])
    assert table.spends("POST", path)
    assert not table.spends("GET", path)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/files",
        "/v1/batches/b-1/cancel",
        "/v1/responses/input_tokens",
        "/v1/responses/r-1/cancel",
        "/v1/vector_stores",
        "/threads/t-1/messages",
        "/utils/token_counter",
        "/v1beta/models/g:countTokens",
        "/mcp/tools/call",
        "/anthropic/v1/messages/count_tokens",
        "/anthropic/v1/files",
        "/openai/v1/models",
        "/openai/v1/batches/b-1/cancel",
        "/openai/v1/threads",
        "/openai/v1/threads/t-1/messages",
        "/gemini/v1beta/models/g:countTokens",
        "/gemini/upload/v1beta/files",
        "/vllm/health",
        "/langfuse/api/public/ingestion",
        "/key/generate",
    ],
)
def test_what_has_no_model_work_spends_nothing(path):
    assert not PathTable.build(management=True).spends("POST", path)


def test_a_path_costs_the_same_with_its_version_and_without():
    """LiteLLM has most paths twice or three times, and one could be marked alone."""
    marks: dict[str, set[paths.Work]] = {}
    for path, work in paths._THINGS.items():
        bare = path.removeprefix("/openai").removeprefix("/v1beta").removeprefix("/v1")
        marks.setdefault(bare, set()).add(work)
    assert len(marks) < len(paths._THINGS)
    assert {path for path, found in marks.items() if len(found) > 1} == set()


def test_litellms_inference_routes_are_all_open():
    """In a process of its own: LiteLLM takes seconds and must not be in this one."""
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    found = subprocess.run(
        [sys.executable, "-c", ASK_LITELLM],
        env={
            **environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "LITELLM_LOCAL_MODEL_COST_MAP": "1",
        },
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    routes = json.loads(found.stdout)
    assert len(routes) > 150
    assert [route for route in routes if is_closed(route) and not is_left_out(route, routes)] == []


def is_closed(route):
    path = route.partition("?")[0].replace("*", "x")
    return all(TABLE.carriage(method, path) is Carriage.CLOSED for method in ("GET", "POST"))


def is_left_out(route, routes):
    """Management, or a provider's prefix, which only opens what is below it."""
    return f"{route}/*" in routes or any(
        route == path or route.startswith(f"{path}/") for path in MANAGEMENT
    )


def test_what_is_left_out_of_litellms_routes_is_named():
    for path in MANAGEMENT:
        assert path.removeprefix("/v1/model").split("/")[-1] in (paths.__doc__ or "")


def test_an_anthropic_client_is_known_by_its_path_or_its_version():
    assert dialect_of("/v1/messages", {}) is Dialect.ANTHROPIC
    assert dialect_of("/claude_code_gateway/v1/messages", {}) is Dialect.ANTHROPIC
    assert dialect_of("/anthropic/v1/files", {}) is Dialect.ANTHROPIC
    assert dialect_of("/unknown", {"anthropic-version": "2023-06-01"}) is Dialect.ANTHROPIC
    assert dialect_of("/v1/chat/completions", {}) is Dialect.OPENAI


def test_counting_is_known_by_its_path():
    assert counts_tokens("/v1/messages/count_tokens")
    assert not counts_tokens("/v1/messages")


def test_azures_paths_name_the_model():
    assert model_in("/engines/gpt-5/completions") == "gpt-5"
    assert model_in("/openai/deployments/openai/gpt-5/embeddings") == "openai/gpt-5"
    assert model_in("/openai/deployments/gpt-5/chat/completions") == "gpt-5"
    assert model_in("/v1/chat/completions") is None


def test_a_message_may_be_asked_for_without_a_version():
    assert usual_path("/messages") == "/v1/messages"
    assert usual_path("/messages/count_tokens") == "/v1/messages/count_tokens"
    assert usual_path("/messages/batches") == "/messages/batches"


@pytest.mark.parametrize("path", ["/files", "/v1/files", "/v1/files/f-1"])
def test_the_files_of_one_provider_are_not_those_of_the_other(path):
    assert is_of_another_provider(path, Dialect.ANTHROPIC)
    assert not is_of_another_provider(path, Dialect.OPENAI)
    assert not is_of_another_provider("/v1/models", Dialect.ANTHROPIC)
    assert not is_of_another_provider(f"/anthropic{path}", Dialect.ANTHROPIC)
