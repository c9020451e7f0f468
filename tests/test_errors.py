import orjson
import pytest

from ccproxyd.errors import (
    AddressInUseError,
    CcproxydError,
    ConfigError,
    ProxyError,
    Unknown,
    UpstreamTimeout,
    ValidationError,
    did_you_mean,
    message_in,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CcproxydError("no"), 1),
        (AddressInUseError("taken"), 75),
        (ConfigError("ccproxy.yaml", "is empty"), 78),
    ],
)
def test_each_failure_of_the_daemon_has_an_exit_code(error: CcproxydError, code: int) -> None:
    assert error.exit_code == code


def test_a_config_error_names_the_field_the_reason_and_what_was_meant() -> None:
    error = ConfigError("ccproxy.yaml: ccproxy.prot", "unknown key", "port")
    assert str(error) == "ccproxy.yaml: ccproxy.prot: unknown key; did you mean 'port'?"
    assert (error.path, error.reason, error.hint) == (
        "ccproxy.yaml: ccproxy.prot",
        "unknown key",
        "port",
    )


def test_a_config_error_without_a_hint_asks_nothing() -> None:
    assert str(ConfigError("config.yaml", "is empty")) == "config.yaml: is empty"


@pytest.mark.parametrize(
    ("kind", "name", "code"),
    [
        (ProxyError, "ProxyError", 500),
        (ValidationError, "ValidationError", 400),
        (UpstreamTimeout, "UpstreamTimeout", 504),
        (Unknown, "Unknown", 500),
    ],
)
def test_each_failure_of_a_request_has_a_status_and_a_shape(
    kind: type[ProxyError], name: str, code: int
) -> None:
    assert kind("why").to_json() == {"error": {"type": name, "message": "why", "code": code}}


def test_one_failure_may_have_another_status_than_its_kind() -> None:
    assert ValidationError("too large", code=413).code == 413
    assert ValidationError("bad").code == 400


def test_the_two_families_never_meet() -> None:
    assert not issubclass(ProxyError, CcproxydError)
    assert not issubclass(CcproxydError, ProxyError)


@pytest.mark.parametrize(
    ("word", "meant"), [("prot", "port"), ("hosts", "host"), ("zebra", None), ("", None)]
)
def test_a_misspelt_word_is_recognised_if_one_is_near(word: str, meant: str | None) -> None:
    assert did_you_mean(word, ["host", "port"]) == meant


def test_a_key_of_any_type_may_be_misspelt() -> None:
    assert did_you_mean(4000, iter(["400"])) == "400"  # type: ignore[arg-type]


def test_a_message_is_not_looked_for_at_any_depth() -> None:
    body: list[object] = ["deep down"]
    for _ in range(5000):
        body = [body]
    assert message_in(body) is None


def test_a_message_with_half_a_character_can_be_told() -> None:
    assert orjson.dumps(ProxyError("no \ud800", 429).to_json()["error"]["message"]) == b'"no ?"'
