from ccproxyd.gateway.report import CLIENT_GONE, Report
from ccproxyd.gateway.usage import Usage
from ccproxyd.routing import Decision

DECISION = Decision("think", "ThinkingRule", "anthropic/opus", "canary", "canary")
NAMES = {"request_id", "call_type", "label", "rule", "model"}
NUMBERS = {
    *("status", "failed", "resent", "input_tokens", "output_tokens", "cache_read_tokens"),
    *("latency_ms", "first_byte_ms", "cost_usd"),
}


def test_a_decision_is_told_by_its_names_alone():
    report = Report("r-1", call_type="anthropic_messages")
    report.decided(DECISION, report.started)
    message = report.decided_message()
    assert set(message) == {"kind", *NAMES, "routing_ms"}
    assert (message["label"], message["rule"], message["model"]) == (
        "think",
        "ThinkingRule",
        "anthropic/opus",
    )
    assert "canary" not in repr(message)


def test_a_finished_request_is_told_by_names_and_numbers():
    report = Report("r-1", usage=Usage(1, 2, 3))
    report.answering(200)
    message = report.finished_message()
    assert set(message) == {"kind", "lane", "fallback", *NAMES, *NUMBERS}
    assert not message["failed"]
    assert message["first_byte_ms"] <= message["latency_ms"]
    assert (message["input_tokens"], message["output_tokens"]) == (1, 2)


def test_what_hooks_have_to_say_of_it_goes_along():
    assert Report("r-1", facts={"message_count": 3}).finished_message()["facts"] == {
        "message_count": 3
    }


def test_a_request_without_an_answer_has_no_first_byte():
    message = Report("r-1", status=503).finished_message()
    assert message["first_byte_ms"] is None
    assert message["label"] is None


def test_an_error_a_cut_and_a_client_that_left_are_failures():
    assert Report("r", status=400).failed
    assert Report("r", status=200, cut=True).failed
    assert Report("r", status=CLIENT_GONE).failed
    assert not Report("r", status=200).failed
