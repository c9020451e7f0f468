from pathlib import Path
from typing import Any

import pytest

from ccproxyd.control.verbs import VERBS
from ccproxyd.ctl.parser import COMMANDS, parse

VERSIONLESS = {"ping"}
REQUIRED = {"completion": ["bash"]}


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as caught:
        parse(words)
    assert caught.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "name", "value"),
    [
        (["--socket", "/run/x.sock"], "socket", Path("/run/x.sock")),
        (["--config-dir", "/etc/x"], "config_dir", Path("/etc/x")),
        (["--json"], "json", True),
        (["--wait", "2.5"], "wait", 2.5),
    ],
)
@pytest.mark.parametrize("verb", [command.name for command in COMMANDS])
def test_a_general_option_works_before_and_after_the_verb(
    verb: str, option: list[str], name: str, value: Any
) -> None:
    words = [verb, *REQUIRED.get(verb, ())]
    before, after = parse([*option, *words]), parse([*words, *option])
    assert getattr(before, name) == getattr(after, name) == value
    assert before.verb == after.verb == verb


def test_a_general_option_has_a_default() -> None:
    args = parse(["status"])
    assert (args.socket, args.config_dir, args.json, args.wait) == (None, None, False, 0.0)


def test_the_option_that_was_given_last_wins() -> None:
    args = parse(["--socket", "/a", "status", "--socket", "/b"])
    assert args.socket == Path("/b")


def test_every_verb_of_the_daemon_is_a_word_of_the_command_line() -> None:
    assert {verb.name for verb in VERBS} - VERSIONLESS <= {command.name for command in COMMANDS}


def test_a_misspelt_verb_is_told_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown verb 'reolad'; did you mean 'reload'?" in refused(capsys, "reolad")


def test_a_misspelt_option_is_told_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "explain", "--promt", "x")
    assert said.startswith("ccproxyctl: unknown argument '--promt'; did you mean '--prompt'?")
    assert "see ccproxyctl explain -h" in said


def test_a_misspelt_choice_is_told_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "stats", "--by", "modle")
    assert "unknown choice 'modle'; did you mean 'model'?" in said


def test_an_option_is_not_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--js" in refused(capsys, "status", "--js")


def test_a_verb_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    assert "VERB" in refused(capsys)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["restart"], None),
        (["restart", "all"], "all"),
        (["restart", "workers"], "workers"),
        (["restart", "--workers"], "workers"),
        (["restart", "--gateway"], "gateway"),
        (["restart", "--all"], "all"),
    ],
)
def test_what_is_restarted_is_a_word_or_an_option(words: list[str], what: str | None) -> None:
    args = parse(words)
    assert (args.word or args.option) == what


def test_two_things_to_restart_are_one_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    assert "not allowed with" in refused(capsys, "restart", "--workers", "--gateway")


def test_headers_are_pairs() -> None:
    args = parse(["explain", "--header", "X-A: 1:2", "--header", "b:"])
    assert args.headers == [("X-A", "1:2"), ("b", "")]


@pytest.mark.parametrize("word", ["X-A", ": 1", ""])
def test_a_header_without_a_name_or_a_colon_is_refused(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "not NAME:VALUE" in refused(capsys, "explain", "--header", word)


@pytest.mark.parametrize("word", ["-1", "inf", "nan", "soon"])
def test_a_time_to_wait_is_a_number_of_seconds(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--wait" in refused(capsys, f"--wait={word}", "status")


def test_the_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["-h"])
    said = capsys.readouterr().out
    assert caught.value.code == 0
    assert all(command.summary[:40] in said for command in COMMANDS)
    assert "exit codes" in said


def test_the_help_of_a_verb_lists_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["explain", "-h"])
    said = capsys.readouterr().out
    assert "--prompt" in said
    assert "--socket" in said
