from __future__ import annotations

import pytest

from ccproxyd.daemon.address import agree, hosts_agree, how_to_move, of_its_clients, shown

ANYWHERE = "0.0.0.0"  # noqa: S104


@pytest.mark.parametrize(
    ("asked", "bound", "agrees"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "::ffff:127.0.0.1", True),
        ("::1", "0:0:0:0:0:0:0:1", True),
        ("localhost", "127.0.0.1", True),
        ("LocalHost", "::1", True),
        ("localhost", ANYWHERE, False),
        ("localhost", "192.0.2.1", False),
        ("127.0.0.1", "::1", False),
        ("127.0.0.1", ANYWHERE, False),
        (ANYWHERE, "::", True),
        ("::", ANYWHERE, True),
        (ANYWHERE, "127.0.0.1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("a-name-that-only-a-resolver-knows", "192.0.2.1", True),
    ],
)
def test_hosts_agree_as_far_as_can_be_told(asked: str, bound: str, agrees: bool) -> None:
    assert hosts_agree(asked, bound) is agrees
    assert agree((asked, 4000), (bound, 4000)) is agrees


@pytest.mark.parametrize(("asked", "agrees"), [(4000, True), (0, True), (4001, False)])
def test_port_0_is_any_port(asked: int, agrees: bool) -> None:
    assert agree(("localhost", asked), ("127.0.0.1", 4000)) is agrees


def test_an_ipv6_address_is_told_from_its_port() -> None:
    assert shown(("::1", 4000)) == "[::1]:4000"


def test_a_users_unit_is_changed_by_the_user() -> None:
    told = how_to_move(("127.0.0.1", 4000), {"MANAGERPID": "1234"})
    assert "ccproxyd.socket of the service manager holds 127.0.0.1:4000" in told
    assert "`systemctl --user edit ccproxyd.socket`" in told
    assert "`ccproxyctl install`" in told
    assert "`systemctl --user restart ccproxyd`" in told


def test_the_systems_unit_is_changed_for_the_system() -> None:
    told = how_to_move(("127.0.0.1", 4000), {})
    assert "--user" not in told
    assert "`systemctl edit ccproxyd.socket`" in told
    assert "`ccproxyctl install --system`" in told


SHELL = {
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:4000",
    "ANTHROPIC_AUTH_TOKEN": "sk-ccproxy-1",
    "ANTHROPIC_API_KEY": "sk-ant-1",
    "OPENAI_BASE_URL": "http://127.0.0.1:4000/v1",
    "OPENAI_API_BASE": "http://127.0.0.1:4000/v1",
    "OPENAI_API_KEY": "sk-ccproxy-1",
    "PATH": "/bin",
}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LocalHost", ANYWHERE, "::"])
def test_what_a_clients_shell_has_of_the_daemon_is_the_daemons_own(host: str) -> None:
    assert of_its_clients(SHELL, (host, 4000)) == (
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_BASE_URL",
        "OPENAI_API_BASE",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
    )


@pytest.mark.parametrize("listens", [("127.0.0.1", 4001), ("192.0.2.1", 4000), ("a-name", 4000)])
def test_the_address_of_another_server_is_a_providers(listens: tuple[str, int]) -> None:
    assert of_its_clients(SHELL, listens) == ()


@pytest.mark.parametrize(
    "url", ["", "http://", "http://127.0.0.1", "http://127.0.0.1:x", "http://[", "4000"]
)
def test_what_is_no_address_of_a_port_is_left_alone(url: str) -> None:
    assert of_its_clients({"ANTHROPIC_BASE_URL": url}, ("127.0.0.1", 4000)) == ()


def test_the_key_goes_with_its_address_alone() -> None:
    anthropic = {**SHELL, "OPENAI_BASE_URL": "http://lan:1/v1", "OPENAI_API_BASE": ""}
    found = of_its_clients(anthropic, ("127.0.0.1", 4000))
    assert found == ("ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL")
    assert of_its_clients({"OPENAI_BASE_URL": "http://a-name:4000/v1"}, ("a-name", 4000)) == (
        "OPENAI_BASE_URL",
    )
