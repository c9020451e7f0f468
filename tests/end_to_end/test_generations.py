"""Several workers, several generations at once, and what a killed daemon leaves to the next."""

from __future__ import annotations

import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.daemon import Daemon, Setup, message_body, running_daemon, started
from tests.support.provider import RunningProvider


@pytest.fixture(scope="module")
def setup_of_module() -> Setup:
    return Setup(ours={"workers": {"count": 2, "max_generations": 2, "drain_seconds": 600}})


def rename_model(daemon: Daemon, number: int) -> None:
    """A change that LiteLLM sees."""
    daemon.edit("config.yaml", lambda text: text.replace("sk-provider", f"sk-provider{number}"))


def workers(daemon: Daemon, state: str = "ready") -> list[dict[str, Any]]:
    return [one for one in daemon.ask("status")["workers"] if one["state"] == state]


def settled(daemon: Daemon) -> int:
    """The generation in force, when the workers of those before it have gone."""
    status = daemon.ask("status")
    current: int = status["generation"]
    for number in {one["generation"] for one in status["workers"]} - {current}:
        for index in range(2):
            daemon.happened("process has gone", process=f"{number}.{index}")
    return current


def test_two_workers_share_the_requests(daemon: Daemon) -> None:
    assert len(workers(daemon)) == 2
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: daemon.message().status_code, range(24)))
    assert answers == [200] * 24


def test_workers_are_forked_from_one_template(daemon: Daemon) -> None:
    status = daemon.ask("status")
    template = psutil.Process(status["template"]["pid"])
    pids = {one["pid"] for one in status["workers"]}
    assert pids == {one.pid for one in template.children()}
    assert status["template"]["rss_bytes"] > 0


def test_a_generation_past_the_limit_is_refused_until_one_has_gone(
    daemon: Daemon,
) -> None:
    body = message_body("@@events=400;gap=0.05@@", stream=True)
    with daemon.client.stream("POST", "/v1/messages", json=body) as answer:
        lines = answer.iter_lines()  # kept: httpx closes a stream whose iterator is dropped
        next(lines)
        before = daemon.ask("status")["generation"]
        rename_model(daemon, 1)
        assert daemon.ask("reload")["generation"] == before + 1
        rename_model(daemon, 2)
        refused = daemon.ctl("reload", check=False)
        assert refused.returncode == 1
        assert "max_generations" in refused.stderr
        assert daemon.ask("status")["generation"] == before + 1
    daemon.happened("process has gone", process=f"{before}.0")
    daemon.happened("process has gone", process=f"{before}.1")
    assert daemon.ask("reload")["generation"] == before + 2


def test_two_reloads_at_once_follow_each_other(daemon: Daemon) -> None:
    before = settled(daemon)
    rename_model(daemon, 3)
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: daemon.ask("reload"), range(2)))
    assert sorted(one["changed"] for one in done) == ["nothing", "workers"]
    assert daemon.ask("status")["generation"] == before + 1


def test_workers_are_replaced_by_hand_without_a_lost_request(daemon: Daemon) -> None:
    settled(daemon)
    answers: list[int] = []
    over = threading.Event()

    def keep_asking() -> None:
        while not over.is_set():
            answers.append(daemon.message().status_code)

    asking = threading.Thread(target=keep_asking)
    asking.start()
    before = {one["pid"] for one in workers(daemon)}
    daemon.ask("restart", "--workers")
    after = {one["pid"] for one in workers(daemon)}
    over.set()
    asking.join()
    assert not before & after
    assert set(answers) == {200}


def test_a_template_that_dies_is_made_anew_while_its_workers_serve_on(daemon: Daemon) -> None:
    settled(daemon)
    serving = {one["pid"] for one in workers(daemon)}
    before = daemon.ask("status")["template"]["pid"]
    os.kill(before, signal.SIGKILL)
    assert daemon.message().status_code == 200
    daemon.happened("cannot keep the template running")
    assert {one["pid"] for one in workers(daemon)} == serving
    rename_model(daemon, 4)
    assert daemon.ask("reload")["changed"] == "workers"
    assert daemon.ask("status")["template"]["pid"] != before


def test_a_gateway_is_replaced_without_a_lost_request(daemon: Daemon) -> None:
    answers: list[int] = []
    over = threading.Event()

    def keep_asking() -> None:
        while not over.is_set():
            answers.append(daemon.message().status_code)

    asking = [threading.Thread(target=keep_asking) for _ in range(4)]
    for one in asking:
        one.start()
    before = daemon.ask("status")["gateway"]["pid"]
    for _ in range(3):
        daemon.ask("restart", "--gateway")
    assert daemon.ask("status")["gateway"]["pid"] != before
    over.set()
    for one in asking:
        one.join()
    assert set(answers) == {200}


def test_a_small_frame_does_not_wait_for_the_next(daemon: Daemon) -> None:
    """TCP_NODELAY holds on the connections that the gateway accepted."""
    with socket.create_connection(("127.0.0.1", daemon.port)) as client:
        client.sendall(b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        pid = daemon.ask("status")["gateway"]["pid"]
        assert _no_delay(pid, client.getsockname()[1])


def _no_delay(pid: int, peer_port: int) -> bool:
    """Read the option on a copy of the gateway's own descriptor (pidfd_getfd(2))."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(pid)
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            descriptor = libc.syscall(438, pidfd, int(entry.name), 0)
            if descriptor < 0:
                continue
            try:
                with socket.socket(fileno=descriptor) as copy:
                    if copy.family == socket.AF_INET and copy.getpeername()[1] == peer_port:
                        return bool(copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            except OSError:
                continue
    finally:
        os.close(pidfd)
    raise AssertionError("the gateway has no such connection")


def test_spawned_workers_serve_and_are_replaced_as_well(provider: RunningProvider) -> None:
    setup = Setup(ours={"workers": {"start_method": "spawn"}})
    with running_daemon(setup, provider.url) as daemon:
        assert daemon.ask("status")["template"] is None
        before = {one["pid"] for one in workers(daemon)}
        rename_model(daemon, 1)
        assert daemon.ask("reload")["changed"] == "workers"
        assert daemon.message().status_code == 200
        assert not before & {one["pid"] for one in workers(daemon)}


def test_a_killed_daemon_leaves_no_orphans_and_the_next_one_takes_over(
    provider: RunningProvider,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with running_daemon(Setup(ours={"port": port}), provider.url) as daemon:
        family = psutil.Process(daemon.process.pid).children(recursive=True)
        daemon.process.kill()
        daemon.process.wait()
        with started(daemon.root) as second:
            second.happened("ready")
            assert second.message().status_code == 200
            _, alive = psutil.wait_procs(family, timeout=60)
            assert alive == []
            assert second.message().status_code == 200
