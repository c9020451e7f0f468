import datetime

import orjson
import pytest

from ccproxyd.errors import ProxyError
from ccproxyd.gateway.paths import Dialect
from ccproxyd.gateway.probes import list_models, sign_of_life
from ccproxyd.routing import RoutingTable, Target

TABLE = RoutingTable(targets=(Target("default"), Target("a/b"), Target("default")))


def listed(table, path, dialect, query=""):
    return orjson.loads(list_models(table, path, query, dialect).body)


LETTERS = RoutingTable(targets=tuple(Target(name) for name in "abcdefg"))


def page(query):
    """The ids of a page, and whether there are more in its direction."""
    found = listed(LETTERS, "/v1/models", Dialect.ANTHROPIC, query)
    ids = "".join(model["id"] for model in found["data"])
    assert (found["first_id"], found["last_id"]) == (ids[:1] or None, ids[-1:] or None)
    return ids, found["has_more"]


@pytest.mark.parametrize("path", ["/", "/health/liveliness", "/health/liveness"])
def test_it_lives_while_no_worker_does(path):
    assert sign_of_life(path, ready=False).status == 200


def test_it_is_ready_when_a_worker_is():
    assert sign_of_life("/health/readiness", ready=True).status == 200
    assert sign_of_life("/health/readiness", ready=False).status == 503


def test_models_are_listed_once_in_openais_shape():
    found = listed(TABLE, "/v1/models", Dialect.OPENAI)
    assert found["object"] == "list"
    assert [model["id"] for model in found["data"]] == ["default", "a/b"]


def test_models_are_listed_in_anthropics_shape_with_their_ends():
    found = listed(TABLE, "/v1/models", Dialect.ANTHROPIC)
    assert [model["type"] for model in found["data"]] == ["model", "model"]
    assert (found["first_id"], found["last_id"], found["has_more"]) == ("default", "a/b", False)


def test_no_models_are_a_list_without_ends():
    found = listed(RoutingTable(), "/v1/models", Dialect.ANTHROPIC)
    assert (found["data"], found["first_id"], found["last_id"]) == ([], None, None)


def test_one_model_is_told_by_its_name_though_it_holds_a_slash():
    assert listed(TABLE, "/v1/models/a/b", Dialect.OPENAI)["id"] == "a/b"


def test_a_model_that_is_not_there_is_not_found():
    with pytest.raises(ProxyError) as refused:
        list_models(TABLE, "/models/b", "", Dialect.OPENAI)
    assert refused.value.code == 404


def test_a_model_has_the_fields_that_anthropics_library_reads():
    [model] = listed(RoutingTable(targets=(Target("think"),)), "/v1/models", Dialect.ANTHROPIC)[
        "data"
    ]
    assert model.keys() == {"type", "id", "display_name", "created_at"}
    assert (model["type"], model["id"], model["display_name"]) == ("model", "think", "think")
    assert datetime.datetime.fromisoformat(model["created_at"]).tzinfo is not None
    one = listed(RoutingTable(targets=(Target("think"),)), "/v1/models/think", Dialect.ANTHROPIC)
    assert one == model


@pytest.mark.parametrize(
    ("query", "ids", "more"),
    [
        ("", "abcdefg", False),
        ("limit=1000", "abcdefg", False),
        ("limit=3", "abc", True),
        ("limit=3&after_id=c", "def", True),
        ("limit=3&after_id=f", "g", False),
        ("limit=3&after_id=d", "efg", False),
        ("after_id=g", "", False),
        ("limit=2&before_id=d", "bc", True),
        ("limit=9&before_id=d", "abc", False),
        ("before_id=a", "", False),
        ("beta=true", "abcdefg", False),
    ],
)
def test_models_come_in_pages(query, ids, more):
    assert page(query) == (ids, more)


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=x", "limit=-1", "limit=%C2%B2", "after_id=z", "before_id=z"],
)
def test_a_page_that_cannot_be_is_refused(query):
    with pytest.raises(ProxyError) as refused:
        page(query)
    assert refused.value.code == 400


def test_pages_are_anthropics_alone():
    found = listed(LETTERS, "/v1/models", Dialect.OPENAI, "limit=2")
    assert len(found["data"]) == 7


def test_a_wildcard_is_no_model_but_what_it_serves_is():
    table = RoutingTable(targets=(Target("claude-*"), Target("think")))
    found = listed(table, "/v1/models", Dialect.ANTHROPIC)
    assert [model["id"] for model in found["data"]] == ["think"]
    for name in ("claude-opus-4-8", "claude-opus-4-8[1m]", "think"):
        assert listed(table, f"/v1/models/{name}", Dialect.ANTHROPIC)["id"] == name
    with pytest.raises(ProxyError):
        listed(table, "/v1/models/claude-*", Dialect.ANTHROPIC)


def test_to_claude_code_every_label_is_called_after_claude():
    names = ("default", "claude-opus-4-8", "a/b", "Anthropic/x", "claude-*")
    table = RoutingTable(targets=tuple(map(Target, names)))
    reply = list_models(table, "/v1/models", "limit=1000", Dialect.ANTHROPIC, "claude-code/2.1.197")
    found = orjson.loads(reply.body)["data"]
    assert [(model["id"], model["display_name"]) for model in found] == [
        ("claude/default", "default"),
        ("claude-opus-4-8", "claude-opus-4-8"),
        ("claude/a/b", "a/b"),
        ("Anthropic/x", "Anthropic/x"),
    ]
    for model in found:
        one = listed(table, f"/v1/models/{model['id']}", Dialect.ANTHROPIC)
        assert one["id"] == model["id"]
