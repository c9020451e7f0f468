from attrs import evolve

from ccproxyd.gateway.estimates import Shortfall
from ccproxyd.gateway.report import CLIENT_GONE, CUT, PASSED_ON, Report, about
from ccproxyd.gateway.usage import Usage
from ccproxyd.routing import Decision, Request
from ccproxyd.telemetry.records import session_mark

DECISION = Decision("think", "ThinkingRule", "anthropic/opus", "canary", "canary")
NAMES = {"request_id", "call_type", "lane", "label", "rule", "model", "kept"}
NUMBERS = {
    *(
        "status",
        "failed",
        "retries",
        "failed_fallbacks",
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
    ),
    *("latency_ms", "first_byte_ms", "cost_usd", "original_cost_usd"),
}
KEY = bytes(32)


def test_a_decision_is_told_by_its_names_alone():
    report = Report("r-1", call_type="anthropic_messages")
    report.decided(DECISION, report.started)
    message = report.decided_message("direct")
    assert set(message) == {"kind", *NAMES, "routing_ms"}
    assert (message["label"], message["rule"], message["model"]) == (
        "think",
        "ThinkingRule",
        "anthropic/opus",
    )
    assert "canary" not in repr(message)


def test_a_decision_is_told_with_the_lane_that_was_tried_first():
    report = Report("r-1", lane="litellm")
    assert report.decided_message("direct")["lane"] == "direct"
    assert report.finished_message()["lane"] == "litellm"


def test_an_estimate_is_told_to_be_one():
    report = Report("r-1")
    report.used(Usage(1, 2, 3))
    assert "is_estimate" not in report.finished_message()
    report.estimate = Shortfall(Request({}), 8)
    report.used(Usage(1, 2, 3))
    message = report.finished_message()
    assert (message["is_estimate"], message["output_tokens"]) == (True, 4)


def test_a_finished_request_is_told_by_names_and_numbers():
    report = Report("r-1", usage=Usage(1, 2, 3))
    report.answering(200)
    message = report.finished_message()
    assert set(message) == {"kind", "fallback", "fallback_model", "error", *NAMES, *NUMBERS}
    assert not message["failed"]
    assert message["first_byte_ms"] <= message["latency_ms"]
    assert (message["input_tokens"], message["output_tokens"]) == (1, 2)


def test_whoever_stood_in_is_told_with_its_model():
    report = Report("r-1", fallback="cheap", model_of={"cheap": "anthropic/haiku"}.get)
    message = report.finished_message()
    assert (message["fallback"], message["fallback_model"]) == ("cheap", "anthropic/haiku")
    assert Report("r-1", fallback="cheap").finished_message()["fallback_model"] is None


def test_a_client_that_leaves_has_cut_its_answer_unless_it_has_all_of_it():
    report = Report("r-1", told_all=True)
    report.answering(200)
    report.left_by_client("ClientGoneError")
    assert (report.failed, report.error) == (False, None)
    report = Report("r-1")
    report.left_by_client("ClientGoneError")
    assert (report.failed, report.status, report.error) == (True, CLIENT_GONE, "ClientGoneError")


def test_what_hooks_have_to_say_of_it_goes_along():
    assert Report("r-1", facts={"message_count": 3}).finished_message()["facts"] == {
        "message_count": 3
    }


def test_what_is_told_about_a_request_holds_nothing_of_it():
    body = {
        "model": "claude-opus-4-8",
        "stream": True,
        "messages": [{"role": "user", "content": "canary"}, "canary"],
        "tools": [{"name": "canary"}],
    }
    told = about(Request(body, headers={"x-claude-code-session-id": "canary"}), "asked-for", KEY)
    assert told == {
        "session": session_mark("canary", KEY),
        "original_model": "asked-for",
        "message_count": 2,
        "has_tools": True,
        "is_streaming": True,
    }
    assert "canary" not in repr(told)
    assert about(Request({}), "", KEY)["session"] is None


def test_whatever_was_tried_again_is_a_retry():
    report = Report("r", resent=1, retried=2, handed_over=True)
    assert report.finished_message()["retries"] == 4


def test_an_error_has_a_type_whatever_it_was():
    assert Report("r", status=200).finished_message()["error"] is None
    assert Report("r", status=529).finished_message()["error"] == PASSED_ON
    assert Report("r", status=200, cut=True).finished_message()["error"] == CUT
    assert Report("r", status=504, error="UpstreamTimeout").finished_message()["error"] == (
        "UpstreamTimeout"
    )


def test_what_the_model_that_was_asked_for_would_have_cost_is_told_unless_it_answered():
    def original(kept, fallback=None):
        decision = evolve(DECISION, kept=kept)
        report = Report("r", decision=decision, fallback=fallback, cost_as_asked=lambda _: 0.5)
        return report.finished_message()["original_cost_usd"]

    assert (original(kept=False), original(kept=True), original(True, "b")) == (0.5, None, 0.5)


def test_a_request_without_an_answer_has_no_first_byte():
    message = Report("r-1", status=503).finished_message()
    assert message["first_byte_ms"] is None
    assert message["label"] is None


def test_an_error_a_cut_and_a_client_that_left_are_failures():
    assert Report("r", status=400).failed
    assert Report("r", status=200, cut=True).failed
    assert Report("r", status=CLIENT_GONE).failed
    assert not Report("r", status=200).failed
