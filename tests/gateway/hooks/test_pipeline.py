import orjson
import pytest

from ccproxyd.config.entries import DEFAULT_HOOKS, parse_hooks
from ccproxyd.config.fields import Fields
from ccproxyd.config.hooks import load_hooks
from ccproxyd.config.importing import importing
from ccproxyd.errors import ProxyError, ValidationError
from ccproxyd.gateway.hooks import pipeline as module
from ccproxyd.gateway.hooks.pipeline import HOOK, Passage, Ways, compile_hooks
from ccproxyd.routing import (
    MatchModelRule,
    NoRouteError,
    Request,
    Router,
    RoutingTable,
    Rule,
    Target,
)
from tests.gateway.house import CANARY

pytestmark = pytest.mark.anyio

TABLE = RoutingTable(
    rules=(Rule("background", MatchModelRule("haiku"), "MatchModelRule"),),
    targets=(
        Target("default", ("anthropic/claude-sonnet-5",)),
        Target("background", ("anthropic/claude-haiku-4-5",)),
        Target("think", ("anthropic/claude-opus-4-8",)),
    ),
)
BODY = {"model": "claude-sonnet-5", "messages": [{"role": "user", "content": CANARY}]}
USUAL = ("rule_evaluator", "model_router")


class House:
    """Hooks as a config lists them, put to use on one request at a time."""

    def __init__(self, directory):
        self.directory = directory
        self.failures = []
        self.decided = []
        self.router = Router(TABLE)

    def compiled(self, *hooks, source=""):
        (self.directory / "own.py").write_text(source)
        entries = parse_hooks(Fields({"hooks": list(hooks)}, "ccproxy.yaml: ccproxy"), "hooks")
        with importing(self.directory):
            own = load_hooks(entries, self.directory.resolve())
        return compile_hooks(entries, own, self.directory, self.failed)

    def failed(self, path, error, place):
        self.failures.append((path, type(error).__name__, place))

    def settle(self, decision, request):
        return decision

    async def decide(self, request):
        self.decided.append(request.requested_model)
        return self.router.decide(request)

    def passage(self, body=BODY, **more):
        raw = orjson.dumps(body, option=orjson.OPT_INDENT_2)
        ways = Ways(
            decide=self.decide,
            redirect=lambda name, request: self.router.models.redirect(name, HOOK, request),
            settle=lambda decision, request: self.settle(decision, request),
            read=lambda raw: Request(orjson.loads(raw), raw=raw),
        )
        request = Request(body, headers={"user-agent": "cli", "x-claude-code-session-id": "s"})
        return Passage(request, raw, ways, request_id="r-1", **more)

    async def run(self, *hooks, source="", **more):
        """The passage when all is done, its decision in it."""
        passage = self.passage(**more)
        assert await self.compiled(*hooks, source=source).run(passage) is passage.decision
        return passage


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


# Without hooks of one's own


@pytest.mark.parametrize("hooks", [(), USUAL, USUAL[::-1], ("forward_oauth",), USUAL * 2])
async def test_a_route_is_decided_once_whatever_is_listed(house, hooks):
    passage = await house.run(*hooks, body={**BODY, "model": "claude-haiku-4-5"})
    assert passage.decision.label == "background"
    assert house.decided == ["claude-haiku-4-5"]


async def test_by_default_there_is_one_step_beside_the_rules_and_no_copy(house):
    pipeline = compile_hooks(DEFAULT_HOOKS, {}, house.directory, house.failed)
    assert (len(pipeline.steps), pipeline.last) == (1, ())
    passage = await house.run(*USUAL, "forward_oauth")
    assert passage._draft is None


async def test_what_only_tells_leaves_the_request_as_it_is(house):
    hooks = ("extract_session_id", "capture_headers", "request_analyzer", "response_enhancer")
    before = house.passage()
    passage = await house.run(*hooks, *hooks)
    assert (passage.raw, passage.request.body) == (before.raw, before.request.body)
    assert passage._draft is None
    assert passage.facts == {
        "headers": {"user-agent": "cli"},
        "message_count": 1,
        "has_tools": False,
        "stream": False,
        "token_count": None,
    }
    assert passage.headers == [
        ("x-ccproxy-model-name", "default"),
        ("x-ccproxy-original-model", "claude-sonnet-5"),
        ("x-ccproxy-routed-model", "anthropic/claude-sonnet-5"),
    ]


async def test_a_session_and_captured_headers_are_noted_for_litellm(house):
    passage = await house.run("extract_session_id", "capture_headers")
    assert passage.notes["session_id"] == "s"
    assert passage.notes["trace_metadata"]["header_user-agent"] == "cli"


# Hooks of one's own


async def test_they_run_in_the_lists_order_with_their_parameters(house):
    source = """
def first(data, user_api_key_dict, **kwargs):
    data["metadata"]["told"] = [kwargs]

async def second(data, user_api_key_dict, word):
    data["metadata"]["told"].append(word)
    return data
"""
    first = {"hook": "own.first", "params": [{"a": 1}, {"b": 2}]}
    second = {"hook": "own:second", "params": {"word": "x"}}
    passage = await house.run(first, *USUAL, second, source=source)
    assert passage.notes["told"] == [{"a": 1, "b": 2}, "x"]
    assert house.failures == []


async def test_one_that_only_looks_leaves_the_clients_own_bytes(house):
    source = "def look(data, user_api_key_dict): return data"
    passage = await house.run("own.look", *USUAL, source=source)
    assert passage.raw == house.passage().raw


CHANGE = "def change(data, user_api_key_dict, **changes): data.update(changes)"


def changing(**changes):
    return {"hook": "own.change", "params": changes}


async def test_what_it_changes_before_the_rules_they_see(house):
    passage = await house.run(changing(model="claude-haiku-4-5"), *USUAL, source=CHANGE)
    assert passage.decision.label == "background"
    assert orjson.loads(passage.raw)["model"] == passage.request.requested_model
    assert passage.request.requested_model == "claude-haiku-4-5"
    assert passage.original_model == "claude-sonnet-5"


async def test_a_model_that_it_asks_for_is_not_what_the_client_asked_for(house):
    hooks = (changing(model="think"), *USUAL)
    found = (await house.run(*hooks, source=CHANGE)).decision
    assert (found.label, found.rule) == ("think", "passthrough")
    assert (found.requested_model, found.kept) == ("claude-sonnet-5", False)


async def test_what_it_changes_after_them_goes_upstream_only(house):
    passage = await house.run(*USUAL, changing(temperature=0.5), source=CHANGE)
    assert passage.decision.label == "default"
    assert orjson.loads(passage.raw) == {**BODY, "temperature": 0.5}
    assert passage.request["temperature"] == 0.5


async def test_one_between_them_may_give_another_label(house):
    source = """
def relabel(data, user_api_key_dict):
    assert data["metadata"]["ccproxy_alias_model"] == data["model"] == "claude-sonnet-5"
    assert data["metadata"]["ccproxy_model_name"] == "default"
    data["metadata"]["ccproxy_model_name"] = "think"
"""
    passage = await house.run("rule_evaluator", "own.relabel", "model_router", source=source)
    assert (passage.decision.label, passage.decision.rule) == ("think", "hook")
    assert passage.decision.model == "anthropic/claude-opus-4-8"
    assert house.failures == []


async def test_one_after_them_sees_the_route_and_may_ask_for_another(house):
    source = """
def reroute(data, user_api_key_dict):
    metadata = data["metadata"]
    assert data["model"] == metadata["ccproxy_model_name"] == "default"
    assert metadata["ccproxy_litellm_model"] == "anthropic/claude-sonnet-5"
    assert metadata["ccproxy_is_passthrough"] is False
    data["model"] = "think"

def look(data, user_api_key_dict):
    assert data["model"] == data["metadata"]["ccproxy_model_name"] == "think"
"""
    hooks = (*USUAL, "own.reroute", "own.look", "response_enhancer")
    passage = await house.run(*hooks, source=source)
    assert house.failures == []
    assert passage.decision.label == "think"
    assert passage.decision.reason == "a hook asks for 'think'"
    assert passage.raw == house.passage().raw
    assert ("x-ccproxy-model-name", "think") in passage.headers


async def test_what_an_earlier_router_gave_does_not_undo_it(house):
    passage = await house.run(*USUAL, changing(model="think"), *USUAL, source=CHANGE)
    assert passage.decision.label == "think"


async def test_what_the_house_makes_of_the_route_in_the_end_is_what_is_told(house):
    def elsewhere(_decision, request):
        return house.router.models.redirect("background", "budget", request)

    house.settle = elsewhere
    passage = await house.run("response_enhancer", *USUAL)
    assert passage.decision.label == passage.draft.data["model"] == "background"
    assert ("x-ccproxy-model-name", "background") in passage.headers


async def test_a_model_that_nobody_serves_is_not_found(house):
    with pytest.raises(NoRouteError, match="no model_name 'nowhere'"):
        await house.run(*USUAL, changing(model="nowhere"), source=CHANGE)


async def test_a_hook_that_fails_costs_nothing_but_itself(house):
    source = f"""
def broken(data, user_api_key_dict):
    data["messages"].clear()
    data["metadata"]["half"] = "done"
    raise ValueError("{CANARY}")

def after(data, user_api_key_dict):
    data["metadata"]["seen"] = (len(data["messages"]), "half" in data["metadata"])
"""
    passage = await house.run("own.broken", "own.after", *USUAL, source=source)
    assert house.failures == [("ccproxy.hooks[0]", "ValueError", "own.py:5")]
    assert passage.notes["seen"] == (1, False)
    assert passage.raw == house.passage().raw


@pytest.mark.parametrize("returned", ["3", "[data]", "{**data, 'x': object()}"])
async def test_so_does_one_that_returns_what_is_no_request(house, returned):
    source = f"\n\ndef odd(data, user_api_key_dict):\n    return {returned}\n"
    passage = await house.run("own.odd", *USUAL, source=source)
    [(path, _, place)] = house.failures
    assert (path, place) == ("ccproxy.hooks[0]", "own.py:3")
    assert passage.raw == house.passage().raw


async def test_one_that_takes_too_long_is_passed_over_with_its_place(house, monkeypatch):
    monkeypatch.setattr(module, "Caller", lambda: module_caller(seconds=0.01))
    source = """
import asyncio
async def slow(data, user_api_key_dict):
    await asyncio.Event().wait()
"""
    await house.run("own.slow", *USUAL, source=source)
    assert house.failures == [("ccproxy.hooks[0]", "TimeoutError", "own.py:3")]


module_caller = module.Caller


@pytest.mark.parametrize("names", ["ccproxyd.errors", "ccproxy.errors", "ccproxy.hooks"])
async def test_one_that_raises_our_error_refuses_the_request(house, names):
    source = f"""
from {names} import ProxyError

def refuse(data, user_api_key_dict):
    raise ProxyError("no work on a Sunday", code=451)
"""
    with pytest.raises(ProxyError, match="Sunday") as refused:
        await house.run("own.refuse", *USUAL, source=source)
    assert refused.value.code == 451
    assert house.failures == []


async def test_the_fields_of_a_form_cannot_be_changed_but_it_can_be_routed(house):
    source = f"{CHANGE}\ndef look(data, key): assert data['n'] == '1'"
    hooks = (changing(n="1"), "own.look", *USUAL, changing(model="think"))
    passage = await house.run(*hooks, source=source, is_form=True)
    assert house.failures == []
    assert passage.decision.label == "think"
    assert passage.raw == house.passage().raw
    assert passage.request.body == BODY


async def test_a_body_that_cannot_be_written_again_is_refused(house):
    body: dict = {"model": "m"}
    inner = body
    for _ in range(300):
        inner["x"] = {}
        inner = inner["x"]
    passage = house.passage()
    passage.request = Request(body)
    source = "def look(data, user_api_key_dict): ..."
    with pytest.raises(ValidationError, match="nested too deeply"):
        await house.compiled("own.look", source=source).run(passage)


async def test_what_is_asked_for_in_the_end_is_told_to_whoever_looks_then(house):
    passage = await house.run(*USUAL)
    assert passage.draft.data["model"] == "default"
