"""What dies is replaced, and the next request is answered; what is stopped leaves nothing."""

from __future__ import annotations

import signal
import threading
from http.client import HTTPConnection

import orjson
import pytest

from tests.support.daemon import Daemon, Setup, message_body, running_daemon, without_litellm
from tests.support.provider import RunningProvider, running_provider


@pytest.mark.parametrize("room", ["gateway", "worker"])
def test_the_request_after_a_kill_is_answered(daemon: Daemon, room: str) -> None:
    before = daemon.children()
    before[room].kill()
    before[room].wait()
    answer = daemon.message()
    assert answer.status_code == 200, answer.text
    after = daemon.children()
    assert after[room] != before[room]
    other = "worker" if room == "gateway" else "gateway"
    assert after[other] == before[other]
    assert daemon.ask("status")["restarts_total"] >= 1


def test_a_request_that_a_dying_worker_held_is_answered_by_the_next(
    daemon: Daemon, provider: RunningProvider
) -> None:
    answered = []
    asking = threading.Thread(
        target=lambda: answered.append(daemon.message("@@hold=0;events=3@@").status_code)
    )
    asking.start()
    provider.holding(1)
    daemon.children()["worker"].kill()
    daemon.happened("a worker died before it answered; the request is sent again")
    provider.release()
    asking.join()
    assert answered == [200]


def test_a_stopped_daemon_lets_a_stream_end(provider: RunningProvider) -> None:
    """Its own daemon: the module's goes on."""
    seen: list[str] = []
    begun = threading.Event()
    with running_daemon(Setup(ours={"workers": {"stop_seconds": 20}}), provider.url) as daemon:
        family = list(daemon.children().values())

        def stream() -> None:
            body = message_body("@@events=40;gap=0.05@@", stream=True)
            with daemon.client.stream("POST", "/v1/messages", json=body) as answer:
                for line in answer.iter_lines():
                    seen.append(line)
                    begun.set()

        streaming = threading.Thread(target=stream)
        streaming.start()
        begun.wait(60)
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(60) == 0
        streaming.join(60)
        assert any("message_stop" in line for line in seen)
        assert not daemon.socket.exists()
        assert list((daemon.root / "run").glob("worker-*")) == []
        assert not [one for one in family if one.is_running()]


def test_a_stop_does_not_wait_for_a_call_whose_client_has_gone() -> None:
    """LiteLLM would count to the end; the daemon has longer for a stop than the test has.

    The module's provider holds nothing any more.
    """
    with (
        running_provider() as provider,
        running_daemon(Setup(ours={"workers": {"stop_seconds": 600}}), provider.url) as daemon,
    ):
        gone = HTTPConnection("127.0.0.1", daemon.port)
        body = orjson.dumps(message_body("@@hold=0@@"))
        gone.request("POST", "/v1/messages/count_tokens", body, {"x-api-key": daemon.key})
        provider.holding(1)
        gone.close()
        assert daemon.stop() == 0
        assert provider.requests[-1].outcome == "abandoned"


def test_the_stop_verb_answers_and_then_all_is_gone(provider: RunningProvider) -> None:
    with running_daemon(Setup(ours=without_litellm()), provider.url) as daemon:
        family = list(daemon.children().values())
        assert "stopped" in daemon.ctl("stop").stdout
        assert daemon.process.wait(60) == 0
        assert not [one for one in family if one.is_running()]
        after = daemon.ctl("status", check=False)
        assert after.returncode == 3
