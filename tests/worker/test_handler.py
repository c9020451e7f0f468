"""The callback, on the dicts that LiteLLM hands to it."""

import copy
import inspect
import json
from itertools import product
from types import SimpleNamespace

import aiohttp
import httpx
import pytest

from ccproxyd.errors import ValidationError
from ccproxyd.worker import underway, verdict
from ccproxyd.worker.failures import CUT, OURS
from ccproxyd.worker.underway import Slot
from ccproxyd.worker.verdict import Verdict

pytestmark = pytest.mark.anyio

VERDICT = Verdict("think", "r-1")
LIKE_A_CLIENT = {"ccproxy_request_id": "forged", "ccproxy_label": "think"}


class Decided:
    """A policy that has made up its mind, and counts how often it is asked."""

    def __init__(self, found=VERDICT):
        self.found = found
        self.asked = 0

    async def decide(self, data):
        self.asked += 1
        return self.found


@pytest.fixture
def make(handlers):
    """A handler with a policy, and what it reports."""

    def make(policy=None, report=None):
        return handlers.CCProxyHandler(policy or Decided(), report)

    return make


async def call(handler, data, call_type="acompletion"):
    return await handler.async_pre_call_hook(
        user_api_key_dict=None, cache=None, data=data, call_type=call_type
    )


async def log(handler, metadata, *, name="metadata", end="success", **kwargs):
    event = {
        "litellm_params": {name: metadata},
        "standard_logging_object": {"prompt_tokens": 10, "completion_tokens": 5},
        "response_cost": 0.25,
        **kwargs,
    }
    heard = getattr(handler, f"async_log_{end}_event")
    await heard(kwargs=event, response_obj=None, start_time=None, end_time=None)


# -- the model


async def test_a_verdict_sets_the_model_for_every_kind_of_call(make):
    for call_type in ("anthropic_messages", "acompletion", "aembedding", "aresponses", "rerank"):
        assert (await call(make(), {"model": "asked"}, call_type))["model"] == "think"


@pytest.mark.parametrize(
    ("fields", "call_type", "wants"),
    [
        ({"response_format": "srt"}, "transcription", (True, False)),
        ({"stream": "true"}, "transcription", (False, True)),
        ({"response_format": "verbose_json", "stream": "false"}, "transcription", (False, False)),
        ({"response_format": "text"}, "aspeech", (False, False)),
    ],
)
async def test_a_transcription_may_be_wanted_as_it_is_read(make, fields, call_type, wants):
    slot = Slot()
    token = underway.current.set(slot)
    try:
        await call(make(), {"model": "asked", **fields}, call_type)
    finally:
        underway.current.reset(token)
    assert (slot.wants_text, slot.wants_events) == wants


@pytest.mark.parametrize("field", ["tools", "messages"])
@pytest.mark.parametrize("said", ["x", ["x"], {"name": "x"}, [{"name": "x"}, None], 1])
async def test_what_is_no_list_of_objects_is_refused_before_litellm_looks_into_it(
    make, field, said
):
    for call_type in ("anthropic_messages", "acompletion", "aresponses"):
        with pytest.raises(ValidationError, match=f"'{field}' must be a list of objects"):
            await call(make(), {"model": "asked", field: said}, call_type)


async def test_a_message_needs_a_turn(make):
    with pytest.raises(ValidationError, match="'messages' must have one at least"):
        await call(make(), {"model": "asked", "messages": []}, "anthropic_messages")
    assert (await call(make(), {"model": "asked", "messages": []}))["model"] == "think"


@pytest.mark.parametrize("tools", [None, [], [{"name": "x"}]])
async def test_tools_that_are_some_are_not(make, tools):
    assert (await call(make(), {"model": "asked", "tools": tools}))["model"] == "think"


async def test_a_call_without_a_verdict_keeps_its_model(make):
    data = await call(make(Decided(None)), {"model": "asked", "metadata": {}})
    assert data == {"model": "asked", "metadata": {}}


async def test_the_body_of_a_relayed_call_is_the_providers_and_is_left_alone(make):
    body = {"model": "asked", "metadata": {"user_id": "u"}}
    relayed = await call(make(), copy.deepcopy(body), "pass_through_endpoint")
    assert relayed == body


async def test_the_gateways_policy_is_what_came_with_the_request(handlers):
    token = verdict.current.set(VERDICT)
    try:
        assert await handlers.GatewayPolicy().decide({}) == VERDICT
    finally:
        verdict.current.reset(token)
    assert await handlers.GatewayPolicy().decide({}) is None


async def test_a_second_application_changes_nothing_and_asks_nobody(make):
    second = Decided(Verdict("other", "r-2"))
    data = await call(make(), {"model": "asked"})
    once = copy.deepcopy(data)
    assert await call(make(second), data) == once
    assert second.asked == 0


async def test_a_client_cannot_pretend_that_a_verdict_was_applied(make):
    data = await call(make(), {"model": "asked", "metadata": dict(LIKE_A_CLIENT)})
    assert data["model"] == "think"
    assert data["metadata"]["ccproxy_request_id"] == "r-1"


async def test_what_hooks_have_noted_is_in_the_metadata_and_undoes_no_mark(make):
    found = Verdict("think", "r-1", metadata={"session_id": "s", "ccproxy_label": "other"})
    data = await call(make(Decided(found)), {"model": "asked"})
    assert data["metadata"]["session_id"] == "s"
    assert data["metadata"]["ccproxy_label"] == "think"
    assert "api_key" not in data


async def test_a_clients_own_key_waits_for_the_deployment(make):
    found = Verdict("think", "r-1", api_key="sk-ant-api03-x")
    assert "sk-ant" not in repr(await call(make(Decided(found)), {"model": "asked"}))


async def test_it_says_which_verdict_it_applied_last(make):
    handler = make()
    assert handler.applied == ""
    await call(handler, {"model": "asked"})
    assert handler.applied == "r-1"


# -- headers


def header_places(data):
    received = data["proxy_server_request"]
    return {
        "headers": data["headers"],
        "extra_headers": data["extra_headers"],
        "received": received["headers"],
        "raw": data["secret_fields"].raw_headers,
        "metadata": data["metadata"]["headers"],
        "requester": data["metadata"]["requester_metadata"]["headers"],
        "litellm": data["litellm_metadata"]["headers"],
        "body": received["body"]["metadata"]["requester_metadata"]["headers"],
        "provider": data["provider_specific_header"][0]["extra_headers"],
    }


def full_of_headers():
    def headers():
        return {"x-ccproxy-decision": "s x", "X-CCProxy-Label": "think", "x-app": "cli"}

    return {
        "model": "asked",
        "headers": headers(),
        "extra_headers": headers(),
        "secret_fields": SimpleNamespace(raw_headers=headers()),
        "metadata": {"headers": headers(), "requester_metadata": {"headers": headers()}},
        "litellm_metadata": {"headers": headers()},
        "provider_specific_header": [{"extra_headers": headers()}, None],
        "proxy_server_request": {
            "headers": headers(),
            "body": {"metadata": {"requester_metadata": {"headers": headers()}}},
        },
    }


async def test_our_headers_go_from_every_place_and_no_others(make):
    data = await call(make(), full_of_headers())
    assert header_places(data) == {place: {"x-app": "cli"} for place in header_places(data)}


async def test_they_go_from_a_call_without_a_verdict_as_well(make):
    data = await call(make(Decided(None)), full_of_headers())
    assert "ccproxy" not in str(header_places(data)).lower()


@pytest.mark.parametrize(
    "data",
    [
        {"headers": None, "metadata": None, "proxy_server_request": None},
        {"metadata": "text", "secret_fields": {"raw_headers": {"x-ccproxy-label": "x"}}},
        {"provider_specific_header": {"extra_headers": {"x-ccproxy-label": "x"}}},
    ],
)
async def test_places_of_another_shape_do_no_harm(make, data):
    assert "x-ccproxy" not in str(await call(make(), {"model": "asked", **data}))


# -- the price


async def test_a_price_is_reported_with_the_requests_id(make, handlers):
    prices = []
    handler = make(report=prices.append)
    data = await call(handler, {"model": "asked"})
    await log(handler, data["metadata"])
    assert prices == [handlers.Price("r-1", 0.25, 10, 5)]


async def test_what_a_stream_had_said_before_it_broke_has_a_price(make, handlers, doors):
    prices = []
    handler = make(report=prices.append)
    data = await call(handler, {"model": "asked"})
    await log(handler, data["metadata"], end="failure", **{doors.PARTIAL: object()})
    assert prices == [handlers.Price("r-1", 0.25, 10, 5)]


@pytest.mark.parametrize(("partial", "tokens"), [(False, 5), (True, 0)])
async def test_a_failure_without_a_word_has_none(make, doors, partial, tokens):
    prices = []
    handler = make(report=prices.append)
    data = await call(handler, {"model": "asked"})
    counted = {doors.PARTIAL: object()} if partial else {}
    told = {"prompt_tokens": 10, "completion_tokens": tokens}
    await log(handler, data["metadata"], end="failure", standard_logging_object=told, **counted)
    assert prices == []


async def test_the_id_comes_back_where_litellm_keeps_its_own_metadata(make):
    prices = []
    handler = make(report=prices.append)
    data = await call(handler, {"model": "asked", "litellm_metadata": {}, "metadata": {"user": 1}})
    assert data["metadata"] == {"user": 1}
    await log(handler, data["litellm_metadata"], name="litellm_metadata")
    assert [price.request_id for price in prices] == ["r-1"]


async def test_an_unknown_price_is_no_cost(make):
    prices = []
    handler = make(report=prices.append)
    data = await call(handler, {"model": "asked"})
    await log(handler, data["metadata"], response_cost=None, standard_logging_object=None)
    assert (prices[0].cost_usd, prices[0].input_tokens, prices[0].output_tokens) == (None, 0, 0)


@pytest.mark.parametrize("metadata", [None, {}, LIKE_A_CLIENT])
async def test_what_has_no_verdict_has_no_price(make, metadata):
    prices = []
    await log(make(report=prices.append), metadata)
    assert prices == []


async def test_a_handler_that_reports_to_nobody_stays_silent(make):
    handler = make()
    data = await call(handler, {"model": "asked"})
    await log(handler, data["metadata"])


async def test_what_it_leaves_in_the_metadata_can_be_written_as_json(make, doors):
    data = await call(make(), {"model": "asked"})
    assert json.loads(json.dumps(data["metadata"])) == {
        "ccproxy_request_id": "r-1",
        "ccproxy_label": "think",
        "ccproxy_requested_model": "asked",
        **doors.TRUE_MODEL,
    }


async def test_the_providers_headers_go_along_with_a_message_that_is_no_stream(make):
    logged = {
        "response_headers": {"Request-Id": "req_1", "anthropic-ratelimit-x": "2", "date": "d"}
    }
    asked = {
        "data": {"litellm_logging_obj": SimpleNamespace(model_call_details=logged)},
        "user_api_key_dict": None,
    }
    hook = make().async_post_call_response_headers_hook
    assert await hook(**asked, response={"type": "message"}) == {
        "llm_provider-request-id": "req_1",
        "llm_provider-anthropic-ratelimit-x": "2",
    }
    assert await hook(**asked, response=SimpleNamespace()) is None
    assert await hook(data={}, user_api_key_dict=None, response={}) == {}


async def test_a_failure_is_kept_for_the_request_that_it_ended(make):
    slot = Slot()
    token = underway.current.set(slot)
    try:
        await make().async_post_call_failure_hook(
            request_data={},
            original_exception=httpx.ReadError("private"),
            user_api_key_dict=None,
            traceback_str="private",
        )
    finally:
        underway.current.reset(token)
    assert slot.failure.status == 502


@pytest.mark.parametrize(("asked", "source"), [({"stream": True}, CUT), ({}, OURS)])
async def test_a_stream_that_was_asked_for_can_be_cut(make, asked, source):
    slot, error = Slot(), httpx.ReadError("private")
    error.__cause__ = aiohttp.ClientPayloadError("private")
    token = underway.current.set(slot)
    try:
        await make().async_post_call_failure_hook(
            request_data=asked, original_exception=error, user_api_key_dict=None
        )
    finally:
        underway.current.reset(token)
    assert slot.failure.source == source


async def test_a_fallback_that_failed_is_counted_and_one_that_was_barred_is_not(make):
    slot, verdicts = Slot(), (None, Verdict("cheap", "r-1", barred=frozenset({"spent"})))
    token = underway.current.set(slot)
    try:
        for found, asked in product(verdicts, ("think", "spent")):
            await left_with(make(), found, asked)
    finally:
        underway.current.reset(token)
    assert slot.failed_fallbacks == 3


async def left_with(handler, found, asked):
    token = verdict.current.set(found)
    try:
        await handler.log_failure_fallback_event("first", {"model": asked}, ValueError())
    finally:
        verdict.current.reset(token)


# -- the deployment


async def deployed(handler, data, call_type="anthropic_messages", **more):
    chosen = {"model": "anthropic/claude-haiku-4-5", "custom_llm_provider": "anthropic", **more}
    return await handler.async_pre_call_deployment_hook(
        kwargs={**data, **chosen}, call_type=call_type
    )


def adaptive(**more):
    thinking = {"type": "adaptive"}
    return {"model": "asked", "messages": [], "max_tokens": 9000, "thinking": thinking, **more}


async def test_a_request_is_made_fit_for_the_deployment_that_was_chosen(make):
    found = Verdict("think", "r-1", "claude-opus-4-8")
    data = await call(make(Decided(found)), adaptive(litellm_metadata={}))
    assert (await deployed(make(), data))["thinking"]["type"] == "enabled"
    assert (await deployed(make(), data, "acompletion"))["thinking"]["type"] == "adaptive"


async def test_what_the_client_asked_for_is_known_without_a_verdict_that_says_it(make):
    asked = adaptive(model="claude-haiku-4-5")
    data = await call(make(), asked)
    assert (await deployed(make(), data))["thinking"] == {"type": "adaptive"}


@pytest.mark.parametrize("metadata", [{}, {"ccproxy_requested_model": "claude-opus-4-8"}])
async def test_a_call_that_is_none_of_ours_is_left_alone(make, metadata):
    assert await deployed(make(), adaptive(metadata=metadata)) is None


async def test_a_clients_own_key_goes_to_the_deployment_that_may_have_it(make):
    found = Verdict("think", "r-1", api_key="sk-ant-api03-x")
    data = await call(make(Decided(found)), adaptive())
    token = verdict.current.set(found)
    try:
        assert (await deployed(make(), data))["api_key"] == "sk-ant-api03-x"
        elsewhere = await deployed(make(), data, api_base="https://elsewhere.example")
        assert elsewhere["api_key"] == "none"
    finally:
        verdict.current.reset(token)


async def left_of(handler, group, barred, names=("think", "claude-*"), **call):
    """The names of the deployments that may be tried."""
    deployments = [{"model_name": name} for name in names]
    token = verdict.current.set(Verdict("cheap", "r-1", barred=frozenset(barred)))
    try:
        left = await handler.async_filter_deployments(group, deployments, None, call)
    finally:
        verdict.current.reset(token)
    return [one["model_name"] for one in left]


async def test_a_label_that_has_spent_its_budget_stands_in_for_none(make):
    assert await left_of(make(), "think", {"think"}) == []
    assert await left_of(make(), "claude-opus-4-8", {"claude-*"}) == ["think"]
    assert await left_of(make(), "think", {"default"}) == ["think", "claude-*"]
    assert await left_of(make(), "think", ()) == ["think", "claude-*"]


@pytest.mark.parametrize("section", ["metadata", "litellm_metadata"])
async def test_nor_does_an_alias_whose_own_budget_it_is(make, section):
    """LiteLLM has its target's name by then."""
    for group, left in (
        ("deep", []),
        ("other", ["think", "claude-*"]),
        (None, ["think", "claude-*"]),
    ):
        call = {section: {"model_group": group}}
        assert await left_of(make(), "think", {"deep"}, **call) == left


async def test_without_a_gateway_every_deployment_may_be_tried(make):
    found = await make().async_filter_deployments("think", [{"model_name": "think"}], None)
    assert found == [{"model_name": "think"}]


# -- what LiteLLM demands of a callback


@pytest.mark.parametrize(
    "name",
    [
        "async_pre_call_hook",
        "async_filter_deployments",
        "async_pre_call_deployment_hook",
        "async_log_success_event",
        "async_log_failure_event",
        "log_failure_fallback_event",
        "async_post_call_failure_hook",
        "async_post_call_response_headers_hook",
    ],
)
def test_the_hooks_parameters_have_litellms_names(handlers, doors, name):
    ours = inspect.signature(getattr(handlers.CCProxyHandler, name))
    theirs = inspect.signature(getattr(doors.CustomLogger, name))
    assert list(ours.parameters) == list(theirs.parameters)


def test_the_hook_is_defined_on_the_class_itself(handlers):
    assert "async_pre_call_hook" in vars(handlers.CCProxyHandler)


def test_a_subclass_has_it_as_well(handlers):
    class Users(handlers.CCProxyHandler):
        """As a user would write it, who adds some other hook."""

    assert "async_pre_call_hook" in vars(Users)


def test_a_subclass_may_have_its_own(handlers):
    class Users(handlers.CCProxyHandler):
        async def async_pre_call_hook(self, user_api_key_dict, cache, data, call_type):
            return data

    assert Users.async_pre_call_hook is not handlers.CCProxyHandler.async_pre_call_hook


# -- the instance of this process


def test_a_plain_second_handler_is_a_duplicate_and_a_subclass_is_not(handlers, make):
    class Users(handlers.CCProxyHandler):
        """It may do more."""

    ours = make()
    is_duplicate = handlers.is_duplicate_of(ours)
    callbacks = [ours, make(), Users(Decided()), "langfuse", lambda: None]
    assert [is_duplicate(one) for one in callbacks] == [False, True, False, False, False]


def test_a_handler_made_without_a_policy_takes_that_of_the_process(handlers, make, monkeypatch):
    installed = make()
    monkeypatch.setitem(vars(handlers), "proxy_handler_instance", installed)
    assert handlers.CCProxyHandler().policy is installed.policy


def test_a_module_attribute_that_is_none_of_ours_is_an_error(handlers):
    with pytest.raises(AttributeError, match="no attribute 'handler_instance'"):
        handlers.handler_instance  # noqa: B018
