from pathlib import Path

import pytest

from ccproxyd.config.samples import services_directory
from ccproxyd.ctl.setup.executables import Executables
from ccproxyd.ctl.setup.units import listen_on, quote, render

MODULE = ("/opt/p y/bin/python", "-P", "-m", "ccproxyd")
SCRIPTS = Executables(("/opt/bin/ccproxyd",), ("/opt/bin/ccproxyctl",))
SYSTEMD = services_directory() / "systemd"


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("scope", ["user", "system"])
def test_what_is_shipped_gets_the_commands_of_this_installation(scope: str) -> None:
    text = (SYSTEMD / scope / "ccproxyd.service").read_text()
    rendered = lines(render(text, SCRIPTS))
    assert "ExecStart=/opt/bin/ccproxyd" in rendered
    assert "ExecReload=/opt/bin/ccproxyctl reload" in rendered
    assert not any("/usr/bin/" in line for line in rendered)


def test_a_command_may_be_several_words() -> None:
    executables = Executables(MODULE, (*MODULE[:3], "ccproxyd.ctl"))
    rendered = render("ExecReload=/usr/bin/ccproxyctl reload\n", executables)
    assert rendered == 'ExecReload="/opt/p y/bin/python" -P -m ccproxyd.ctl reload\n'


def test_nothing_else_is_changed() -> None:
    text = "Documentation=man:ccproxyd(8)\n# ExecStart=/usr/bin/ccproxyd\n"
    text += "ExecStart=/usr/bin/ccproxydx\n"
    assert render(text, SCRIPTS) == text


def test_another_config_directory_stands_in_the_unit() -> None:
    rendered = render("[Service]\nType=notify\n", SCRIPTS, Path("/a b/100%"))
    assert rendered == '[Service]\nEnvironment="CCPROXY_CONFIG_DIR=/a b/100%%"\nType=notify\n'


@pytest.mark.parametrize("scope", ["user", "system"])
def test_the_port_is_the_configs_and_the_comments_stay(scope: str) -> None:
    text = (SYSTEMD / scope / "ccproxyd.socket").read_text()
    rendered = listen_on(text, "[::1]:4001")
    assert "ListenStream=[::1]:4001" in lines(rendered)
    assert rendered == text.replace("\nListenStream=127.0.0.1:4000", "\nListenStream=[::1]:4001")


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("/opt/a-b_c.d/x@y", "/opt/a-b_c.d/x@y"),
        ("/a b", '"/a b"'),
        ("/a%b", '"/a%%b"'),
        ('/a"b', '"/a\\"b"'),
        ("/a\\b", '"/a\\\\b"'),
        ("/é", '"/é"'),
        ("", '""'),
    ],
)
def test_a_word_is_quoted_as_systemd_reads_it(word: str, quoted: str) -> None:
    assert quote(word) == quoted
