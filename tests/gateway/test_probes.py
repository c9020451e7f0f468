import orjson
import pytest

from ccproxyd.errors import ProxyError
from ccproxyd.gateway.paths import Dialect
from ccproxyd.gateway.probes import list_models, sign_of_life
from ccproxyd.routing import RoutingTable, Target

TABLE = RoutingTable(targets=(Target("default"), Target("a/b"), Target("default")))


def listed(table, path, dialect):
    return orjson.loads(list_models(table, path, dialect).body)


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
        list_models(TABLE, "/models/b", Dialect.OPENAI)
    assert refused.value.code == 404
