import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ccproxyd.ctl import main
from ccproxyd.ctl.explain import UsageError, read_request, request_of
from ccproxyd.ctl.parser import parse
from ccproxyd.errors import ProxyError
from tests.control.fakes import EXPLANATION, FakeOperations, running_in_thread

BODY = {"model": "opus", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
def body(home: Path) -> Path:
    file = home / "body.json"
    file.write_text(json.dumps(BODY))
    return file


def described(*words: str) -> dict[str, Any]:
    found = request_of(parse(["explain", *words]))
    return {"body": found.body, "headers": found.headers, "path": found.path}


# What is explained


def test_a_file_is_a_body(body: Path) -> None:
    assert described(str(body)) == {"body": BODY, "headers": {}, "path": "/v1/messages"}


def test_a_dash_is_stdin(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(BODY).encode())))
    assert described("-")["body"] == BODY


@pytest.mark.parametrize(
    "headers", [{"X-A": "1", "N": 2}, [["X-A", "1"], ["N", 2]]], ids=["object", "pairs"]
)
def test_a_captured_request_has_its_headers_and_path(home: Path, headers: Any) -> None:
    file = home / "captured.json"
    captured = {"method": "POST", "path": "/v1/messages?beta=true", "headers": headers}
    file.write_text(json.dumps({**captured, "body": BODY}))
    expected = {"body": BODY, "headers": {"X-A": "1", "N": "2"}, "path": "/v1/messages"}
    assert described(str(file)) == expected


def test_a_captured_request_may_be_its_body_alone(home: Path) -> None:
    file = home / "captured.json"
    file.write_text(json.dumps({"body": BODY}))
    assert described(str(file)) == {"body": BODY, "headers": {}, "path": "/v1/messages"}


def test_a_quick_request_is_made_of_a_model_and_a_prompt(home: Path) -> None:
    assert described("--model", "haiku", "--prompt", "hi")["body"] == {
        "model": "haiku",
        "messages": [{"role": "user", "content": "hi"}],
    }
    assert described("--model", "haiku")["body"]["messages"][0]["content"] == ""
    assert "model" not in described("--prompt", "hi")["body"]


def test_options_change_what_a_file_says(body: Path) -> None:
    found = described(str(body), "--model", "haiku", "--header", "X-A: 1", "--path", "/v1/x")
    assert found["body"] == {**BODY, "model": "haiku"}
    assert (found["headers"], found["path"]) == ({"X-A": "1"}, "/v1/x")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"a": ', "not JSON at line 1, column 7"),
        (b"[]", "a request is a JSON object"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"body": {}, "headers": 7}', "cannot read headers"),
        (b'{"body": {}, "headers": ["ab", "c"]}', "cannot read headers"),
    ],
)
def test_a_file_that_is_no_request_is_refused(home: Path, content: bytes, said: str) -> None:
    file = home / "bad.json"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=said):
        read_request(str(file))


def test_a_file_that_is_not_there_is_named(home: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*missing.json: No such file"):
        read_request(str(home / "missing.json"))


@pytest.mark.parametrize(
    ("words", "said"),
    [([], "no request to explain"), (["body.json", "--prompt", "x"], "leave out FILE")],
)
def test_arguments_that_describe_no_request_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        request_of(parse(["explain", *words]))


# What is printed


def test_it_prints_the_route_and_what_each_rule_measured(
    path: Path, body: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    operations = FakeOperations()
    with running_in_thread(path, operations):
        assert main(["explain", str(body)]) == 0
    assert operations.calls[0][1]["body"] == BODY
    assert capsys.readouterr().out.splitlines() == [
        "  label    think",
        "  model    anthropic/opus",
        "  rule     ThinkingRule",
        "  reason   rule 2 matched",
        "  lane     litellm",
        "  tokens   61,234",
        "  session  s-1",
        "RULE            LABEL        MATCHED  MEASURED",
        "TokenCountRule  token_count  no       61234 tokens <= 90000",
        "ThinkingRule    think        yes      effort xhigh",
    ]


def test_it_leaves_out_what_is_not_known(
    path: Path, body: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_in_thread(path, FakeOperations(explain={"label": "default"})):
        assert main(["explain", str(body)]) == 0
    assert capsys.readouterr().out == "  label   default\n  tokens  not counted\n"


def test_json_is_the_daemons_answer_as_it_is(
    path: Path, body: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_in_thread(path, FakeOperations()):
        assert main(["explain", "--json", str(body)]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(EXPLANATION.to_json()))


def test_a_request_that_goes_nowhere_exits_1(
    path: Path, body: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    operations = FakeOperations(explain=ProxyError("there is no model 'opus'", 404))
    with running_in_thread(path, operations):
        assert main(["explain", str(body)]) == 1
    assert capsys.readouterr().err == "ccproxyctl: cannot explain: there is no model 'opus'\n"
