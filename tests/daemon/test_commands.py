import sys

import pytest

from ccproxyd.daemon.commands import (
    child_environment,
    demo_command,
    gateway_command,
    template_command,
    worker_command,
)
from ccproxyd.notify import SERVICE_VARIABLES
from ccproxyd.supervision.process import Command


def test_a_child_inherits_the_environment_and_what_the_env_file_adds() -> None:
    environ = child_environment({"HOME": "/h", "KEY": "old"}, {"KEY": "new", "MORE": "m"})
    assert environ == {"HOME": "/h", "KEY": "new", "MORE": "m", "PYTHONUNBUFFERED": "1"}


@pytest.mark.parametrize("name", SERVICE_VARIABLES)
def test_a_child_does_not_speak_for_the_daemon(name: str) -> None:
    assert child_environment({name: "x"}) == {"PYTHONUNBUFFERED": "1"}


def module_of(command: Command) -> list[str]:
    """The words behind the interpreter and its options."""
    assert command.words[0] == sys.executable
    return list(command.words[command.words.index("-m") + 1 :])


@pytest.mark.parametrize(
    ("command", "words", "inherited"),
    [
        (gateway_command({}, 7), ["ccproxyd.gateway", "--listener", "7"], [7]),
        (worker_command({}), ["ccproxyd.worker"], []),
        (template_command({}), ["ccproxyd.worker", "--template"], []),
        (demo_command({}, 8), ["ccproxyd.demo", "--listener", "8"], [8]),
    ],
    ids=["gateway", "worker", "template", "demo"],
)
def test_each_process_is_a_module_and_gets_what_it_needs(
    command: Command, words: list[str], inherited: list[int]
) -> None:
    assert module_of(command) == words
    assert list(command.inherited) == inherited


def test_the_environment_goes_along() -> None:
    environ = {"A": "b"}
    for command in (gateway_command(environ, 7), worker_command(environ), demo_command(environ, 7)):
        assert command.environ == environ


def test_no_module_of_the_working_directory_shadows_ours() -> None:
    assert "-P" in worker_command({}).words
