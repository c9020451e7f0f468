import contextlib
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from ccproxyd import __version__
from ccproxyd.control import client as client_module
from ccproxyd.control import verbs
from ccproxyd.control.client import (
    Client,
    FailedError,
    NotPermittedError,
    NotRunningError,
)
from ccproxyd.control.errors import ControlError
from ccproxyd.control.verbs import VERBS, Verb
from tests.control.fakes import FakeOperations, canned, http, running_in_thread


class Time:
    """A clock that only sleeping moves; it can do something at a given time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.naps: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.naps.append(seconds)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_verb_is_understood_by_both_ends(path: Path, verb: Verb) -> None:
    payload = {"body": {"model": "m"}} if verb.name == "explain" else None
    operations = FakeOperations()
    with running_in_thread(path, operations):
        answer = Client(path).call(verb.name, payload)
    expected = operations.answers.get(verb.name)
    assert answer == (json.loads(json.dumps(expected)) if expected else answer)
    assert [name for name, _ in operations.calls] == ([] if verb.name == "ping" else [verb.name])


def test_the_daemons_version_is_known_after_a_call(path: Path) -> None:
    client = Client(path)
    assert client.daemon_version is None
    with running_in_thread(path, FakeOperations()):
        client.call("status")
    assert client.daemon_version == __version__


def test_a_large_payload_goes_through(path: Path) -> None:
    operations = FakeOperations()
    body = {"text": "x" * 3_000_000}
    with running_in_thread(path, operations):
        Client(path).call("explain", {"body": body})
    assert operations.calls[0][1]["body"] == body


def test_text_goes_through_as_it_is_but_for_half_a_surrogate_pair(path: Path) -> None:
    operations = FakeOperations()
    with running_in_thread(path, operations):
        Client(path).call("explain", {"body": {"text": "\u4f60\ud83d", "whole": "\U0001f600"}})
    body = operations.calls[0][1]["body"]
    assert body == {"text": "\u4f60?", "whole": "\U0001f600"}


def test_a_refusal_is_read_even_when_the_payload_was_not_taken(path: Path) -> None:
    with (
        running_in_thread(path, FakeOperations()),
        pytest.raises(FailedError, match="cannot explain: more than 4194304 bytes") as caught,
    ):
        Client(path).call("explain", {"body": {"text": "x" * 9_000_000}})
    assert caught.value.error
    assert caught.value.error.code == 413


# Nobody there


def test_a_missing_socket_says_so_and_what_to_do(path: Path) -> None:
    with pytest.raises(NotRunningError) as caught:
        Client(path).call("stats")
    said = str(caught.value)
    assert said.startswith(f"cannot reach ccproxyd at {path}: no such file; is it running? start")
    assert said.endswith("start it with: ccproxyctl start")
    assert caught.value.exit_code == 7


def test_a_missing_directory_is_a_missing_socket(path: Path) -> None:
    path.write_text("")
    with pytest.raises(NotRunningError, match="no such file"):
        Client(path / "control.sock").call("stats")


def test_a_dead_socket_says_that_nobody_listens(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(NotRunningError, match="nobody listens"):
        Client(path).call("stats")


def test_a_path_that_is_too_long_is_a_failure(path: Path) -> None:
    with pytest.raises(FailedError, match="too long"):
        Client(path.with_name("x" * 200)).call("stats")


def test_a_socket_of_somebody_else_is_not_permitted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(NotPermittedError, match=r"denied; .* try it with sudo") as caught:
        Client(path).call("stats")
    assert caught.value.exit_code == 4


def test_the_first_socket_with_a_daemon_is_used(path: Path) -> None:
    client = Client(path.with_name("missing.sock"), path)
    with running_in_thread(path, FakeOperations()):
        client.call("status")
    assert client.path == path


def test_the_first_socket_is_named_when_no_daemon_is_found(path: Path) -> None:
    client = Client(path.with_name("first.sock"), path)
    with pytest.raises(NotRunningError, match=r"first\.sock"):
        client.call("status")
    assert client.path == path.with_name("first.sock")


def test_it_is_said_how_to_start_it(path: Path) -> None:
    with pytest.raises(NotRunningError, match=r"start it with: ccproxyctl start$"):
        Client(path).call("status")


# Waiting for it


def test_one_try_is_made_unless_asked_for_more(path: Path) -> None:
    time = Time()
    with pytest.raises(NotRunningError):
        Client(path, clock=time.clock, sleep=time.sleep).call("status")
    assert time.naps == []


def test_a_starting_daemon_is_waited_for_four_times_a_second(path: Path) -> None:
    time = Time()
    with pytest.raises(NotRunningError):
        Client(path, clock=time.clock, sleep=time.sleep).call("status", wait_seconds=1.0)
    assert time.naps == [0.25, 0.25, 0.25, 0.25]


def test_a_daemon_that_has_started_meanwhile_is_asked(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Path] = []

    def appear(found: Path, *_: Any) -> bytes:
        tried.append(found)
        if len(tried) < 3:
            raise NotRunningError("no such file")
        return http(b'{"state": "starting"}')

    monkeypatch.setattr(client_module, "_exchange", appear)
    time = Time()
    client = Client(path, clock=time.clock, sleep=time.sleep)
    assert client.call("status", wait_seconds=3.0) == {"state": "starting"}
    assert len(tried) == 3


# Failures


def test_the_daemons_reason_is_the_reason(path: Path) -> None:
    operations = FakeOperations(reload=ControlError("Busy", "one is under way", 409))
    with (
        running_in_thread(path, operations),
        pytest.raises(FailedError, match=r"^cannot reload: one is under way$") as caught,
    ):
        Client(path).call("reload")
    assert caught.value.error
    assert (caught.value.error.type, caught.value.exit_code) == ("Busy", 1)


def test_a_reason_that_is_a_sentence_already_is_not_repeated(path: Path) -> None:
    operations = FakeOperations(reload=ControlError("X", "cannot reload: the port differs", 409))
    with (
        running_in_thread(path, operations),
        pytest.raises(FailedError, match=r"^cannot reload: the port differs$"),
    ):
        Client(path).call("reload")


def test_a_daemon_that_refuses_us_is_not_permitted(path: Path) -> None:
    with (
        running_in_thread(path, FakeOperations(), owners=frozenset({54321})),
        pytest.raises(NotPermittedError, match="neither the owner nor root"),
    ):
        Client(path).call("status")


def test_a_daemon_that_does_not_know_the_verb_is_named_with_its_version(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = Verb("explode", "POST", "/v1/explode", "owner", "")
    monkeypatch.setitem(verbs._BY_NAME, "explode", newer)
    with (
        running_in_thread(path, FakeOperations()),
        pytest.raises(FailedError, match=f"ccproxyd {__version__} does not know the verb"),
    ):
        Client(path).call("explode")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "ended without an answer"),
        (b"220 mail.example ESMTP\r\n\r\n", "is not ccproxyd"),
        (b"HTTP/1.1 OK\r\n\r\n", "is not ccproxyd"),
        (http(b"{}", server="nginx"), "is not ccproxyd"),
        (http(b'{"state": "rea'), "was cut short"),
        (http(b"[]"), "was cut short"),
        (http(b"<html>", code=502), "status 502"),
    ],
)
def test_an_answer_that_makes_no_sense_is_a_failure(path: Path, answer: bytes, said: str) -> None:
    with canned(path, answer), pytest.raises(FailedError, match=said):
        Client(path).call("status")


def test_a_daemon_that_hangs_is_a_failure(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    impatient = Verb("status", "GET", "/v1/status", "owner", "", patience=0.05)
    monkeypatch.setitem(verbs._BY_NAME, "status", impatient)
    with canned(path, None), pytest.raises(FailedError, match=r"does not answer \(0.05 s\)"):
        Client(path).call("status")


def test_a_daemon_that_takes_no_connection_is_a_failure(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as waiting:
        listener.bind(str(path))
        listener.listen(0)
        with pytest.raises(BlockingIOError):
            fill(path, waiting)
        with pytest.raises(FailedError, match="takes no more connections"):
            Client(path).call("status")


def fill(path: Path, waiting: contextlib.ExitStack) -> None:
    while True:
        client = waiting.enter_context(socket.socket(socket.AF_UNIX))
        client.setblocking(False)
        client.connect(str(path))
