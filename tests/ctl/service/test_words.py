import pytest
from attrs import evolve

from ccproxyd.control.status import Listen, Status
from ccproxyd.ctl.service.manager import Service, Socket
from ccproxyd.ctl.service.words import heading, next_command, rows

PORT = Socket("ccproxyd.socket", active=True, enabled=True, listens=("127.0.0.1:4000",))
UP = Service("systemd", "ccproxyd.service", "user", "active", enabled=True, linger=True, pid=7)
DOWN = evolve(UP, active="inactive", pid=0)
FAILED = evolve(DOWN, active="failed", failure="exit status 78, the config is wrong")
RUNNING = Status(state="ready", pid=7, listen=Listen("127.0.0.1", 4000))
WAITING = Status(state="degraded", pid=7)


def told(service: Service, running: Status | None = None) -> dict[str, str]:
    return dict(rows(service, running))


@pytest.mark.parametrize(
    ("service", "said"),
    [
        (UP, "ccproxyd.service (user), active, enabled, lingers"),
        (
            evolve(UP, linger=False),
            "ccproxyd.service (user), active, enabled, "
            "ends at logout (loginctl enable-linger keeps it)",
        ),
        (evolve(UP, scope="system", linger=None), "ccproxyd.service (system), active, enabled"),
        (evolve(UP, enabled=False), "ccproxyd.service (user), active, not enabled, lingers"),
        (
            evolve(UP, enabled=False, socket=PORT),
            "ccproxyd.service (user), active, enabled by its port, lingers",
        ),
    ],
)
def test_a_service_is_one_line(service: Service, said: str) -> None:
    assert told(service, RUNNING)["service"] == said


def test_a_failure_is_told_with_the_state() -> None:
    assert "failed (exit status 78, the config is wrong)" in told(FAILED)["service"]


def test_a_daemon_that_was_started_beside_its_service_is_told_apart() -> None:
    assert told(DOWN, RUNNING)["service"].endswith("and not what runs: that was started by hand")


@pytest.mark.parametrize(
    ("service", "running", "said"),
    [
        (evolve(UP, socket=PORT), RUNNING, "127.0.0.1:4000, held by ccproxyd.socket"),
        (
            evolve(DOWN, socket=PORT),
            None,
            "127.0.0.1:4000, held by ccproxyd.socket: the first request starts it",
        ),
        (
            evolve(FAILED, socket=PORT),
            None,
            "127.0.0.1:4000, held by ccproxyd.socket: a request starts it again",
        ),
        (evolve(DOWN, socket=evolve(PORT, active=False)), None, "closed"),
        (evolve(UP, socket=evolve(PORT, active=False)), RUNNING, "opened by the daemon itself"),
        (evolve(DOWN, socket=evolve(PORT, active=False)), WAITING, "closed"),
    ],
)
def test_who_holds_the_port_is_told(service: Service, running: Status | None, said: str) -> None:
    assert told(service, running)["port"] == said


def test_a_service_without_a_socket_has_no_line_about_one() -> None:
    assert "port" not in told(UP, RUNNING)


@pytest.mark.parametrize(
    ("service", "said", "command"),
    [
        (DOWN, "ccproxyd is not running", "ccproxyctl start"),
        (FAILED, "ccproxyd has failed", "ccproxyctl check, then ccproxyctl start"),
        (
            evolve(FAILED, failure="killed by SIGKILL"),
            "ccproxyd has failed",
            "ccproxyctl logs, then ccproxyctl start",
        ),
        (evolve(DOWN, active="activating"), "ccproxyd is starting", "ccproxyctl logs -f"),
        (
            evolve(FAILED, active="activating"),
            "ccproxyd has failed, and is started again",
            "ccproxyctl logs -f",
        ),
    ],
)
def test_what_does_not_answer_is_told_with_the_next_command(
    service: Service, said: str, command: str
) -> None:
    assert (heading(service), next_command(service)) == (said, command)
