"""The decision in the header: whose it must be, and what must be in it."""

import base64

import orjson
import pytest

from ccproxyd.worker.verdict import Verdict, seal, unseal

VERDICT = Verdict("think", "r-1", "claude-opus-4-8")


def sealed(payload: bytes) -> str:
    return f"s3cret {base64.urlsafe_b64encode(payload).decode()}"


def test_what_was_sealed_comes_out():
    assert unseal(seal(VERDICT, "s3cret"), "s3cret") == VERDICT


def test_a_label_may_be_any_text():
    odd = Verdict("größe/ä*", "r-2")
    assert unseal(seal(odd, "s3cret"), "s3cret") == odd


def test_padding_may_be_missing():
    assert unseal(seal(VERDICT, "s3cret").rstrip("="), "s3cret") == VERDICT


def test_the_gateways_own_fields_do_no_harm():
    ours = {"label": "think", "request_id": "r-1", "requested_model": "claude-opus-4-8"}
    fields = {**ours, "kept": True, "later": 1}
    assert unseal(sealed(orjson.dumps(fields)), "s3cret") == VERDICT


def test_notes_and_a_key_come_along_and_are_not_shown():
    fields = {"label": "think", "request_id": "r-1", "metadata": {"a": 1}, "api_key": "sk-1"}
    found = unseal(sealed(orjson.dumps({**fields, "patience": 9})), "s3cret")
    assert (found.metadata, found.api_key, found.patience) == ({"a": 1}, "sk-1", 9)
    assert found.barred == frozenset()
    assert "sk-1" not in repr(found)


def test_it_says_which_labels_may_not_stand_in():
    fields = {"label": "think", "request_id": "r-1", "barred": ["default", "claude-*"]}
    found = unseal(sealed(orjson.dumps(fields)), "s3cret")
    assert found.barred == {"default", "claude-*"}


@pytest.mark.parametrize("secret", ["guessed", "s3cre", "s3crets", "é", ""])
def test_another_secret_decides_nothing(secret):
    assert unseal(seal(VERDICT, secret), "s3cret") is None


def test_a_worker_without_a_secret_takes_no_decision():
    assert unseal(seal(VERDICT, ""), "") is None


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"think"',
        b"{}",
        b'{"label": "think"}',
        b'{"label": 7, "request_id": "r"}',
        b'{"label": "", "request_id": "r"}',
        b'{"label": "think", "request_id": "r", "metadata": 3}',
    ],
)
def test_a_payload_that_is_no_decision_decides_nothing(payload):
    assert unseal(sealed(payload), "s3cret") is None


@pytest.mark.parametrize("value", ["", " ", "s3cret", "s3cret ", "s3cret !!!", "s3cret é", "x y z"])
def test_a_value_that_is_not_base64_decides_nothing(value):
    assert unseal(value, "s3cret") is None
