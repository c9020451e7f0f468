"""The scripts are tried in the shells themselves: what would they offer for these words?"""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ccproxyd.ctl import main
from ccproxyd.ctl.completion import DAEMON, Program, Value, Verb, Word, control, files, scripts
from ccproxyd.ctl.parser import COMMANDS
from ccproxyd.daemon.main import _parser

COMMITTED = Path(__file__).resolve().parents[2] / "contrib" / "completion"

Offer = Callable[..., list[str]]


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


def run(words: list[str], cwd: Path) -> str:
    environ = {"PATH": os.environ["PATH"], "HOME": str(cwd), "TERM": "dumb"}
    done = subprocess.run(
        words, cwd=cwd, env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    return done.stdout


# What they are made of


def test_the_committed_scripts_are_what_the_parser_gives() -> None:
    committed = {
        path.relative_to(COMMITTED).as_posix(): path.read_text("utf-8")
        for path in COMMITTED.rglob("*")
        if path.is_file()
    }
    assert committed == files(), "run: make completion"


def test_every_verb_is_there_with_its_summary() -> None:
    found = {verb.name: verb.summary for verb in control().verbs}
    assert found == {command.name: command.summary for command in COMMANDS}


def test_what_an_option_takes_is_known() -> None:
    verbs = {verb.name: verb for verb in control().verbs}
    options = {flag: word for word in verbs["explain"].options for flag in word.flags}
    assert options["--header"].repeats
    assert options["--model"].value is Value.TEXT
    assert options["--socket"].value is Value.FILE
    assert options["--config-dir"].value is Value.DIRECTORY
    assert [word.value for word in verbs["explain"].words] == [Value.FILE]
    assert [word.choices for word in verbs["completion"].words] == [("bash", "zsh", "fish")]


def test_the_daemon_s_options_are_those_of_its_parser() -> None:
    actions = _parser()._actions
    theirs = {tuple(one.option_strings): one.nargs != 0 for one in actions}
    assert {one.flags: one.value is not Value.NOTHING for one in DAEMON.options} == theirs


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_verb_prints_a_script_for_both_programs(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    printed = capsys.readouterr().out
    assert all(text in printed for text in scripts(shell).values())
    assert main(["completion", shell, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == scripts(shell)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_summary_may_hold_any_letter(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    odd = "it's [a] \\ $(echo no) `no`: 100 %"
    word = Word(("--odd",), odd, Value.CHOICE, "a:b", ("c", "d"))
    program = Program("ccproxyctl", (word,), (Verb("go", odd, (word,), ()),))
    monkeypatch.setattr("ccproxyd.ctl.completion.control", lambda: program)
    for name, text in scripts(shell).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert run([shell, "-n", name], tmp_path) == ""


# In the shells


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with something of everything in it, named like verbs to be in the way."""
    (tmp_path / "request one.json").write_text("{}", encoding="utf-8")
    (tmp_path / "reload").mkdir()
    return tmp_path


@pytest.fixture
def bash(place: Path) -> Offer:
    def offer(*words: str, program: str = "ccproxyctl") -> list[str]:
        script = (
            'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); "_$1"; '
            '((${#COMPREPLY[@]} == 0)) || printf "%s\\n" "${COMPREPLY[@]}"'
        )
        file = str(COMMITTED / "bash" / program)
        shell = ["bash", "--norc", "--noprofile", "-c", script, "bash", file, program, *words]
        return sorted(run(shell, place).splitlines())

    return offer


@pytest.fixture
def fish(place: Path) -> Offer:
    def offer(*words: str, program: str = "ccproxyctl") -> list[str]:
        file = COMMITTED / "fish" / f"{program}.fish"
        line = " ".join([program, *words])
        out = run(["fish", "--no-config", "-c", f"source {file}; complete -C '{line}'"], place)
        return sorted(one.partition("\t")[0] for one in out.splitlines())

    return offer


BOTH = [pytest.param("bash", marks=needs("bash")), pytest.param("fish", marks=needs("fish"))]


@pytest.fixture
def offer(request: pytest.FixtureRequest) -> Offer:
    found: Offer = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("offer", BOTH, indirect=True)
def test_the_first_word_is_a_verb(offer: Offer) -> None:
    assert offer("rel") == ["reload"]
    assert offer("st") == ["start", "stats", "status", "stop"]
    assert offer("") == sorted(command.name for command in COMMANDS)


@pytest.mark.parametrize("offer", BOTH, indirect=True)
def test_a_verb_is_found_behind_the_general_options(offer: Offer) -> None:
    assert offer("--json", "rel") == ["reload"]
    assert offer("--socket", "/status", "rel") == ["reload"]
    assert offer("--config-dir", "/etc", "restart", "w") == ["workers"]


@pytest.mark.parametrize("offer", BOTH, indirect=True)
def test_a_verb_has_its_own_options_and_the_general_ones(offer: Offer) -> None:
    assert "--no-wait" in offer("stop", "--")
    assert "--socket" in offer("stop", "--")
    assert "--no-wait" not in offer("reload", "--")


@pytest.mark.parametrize("offer", BOTH, indirect=True)
def test_choices_are_offered(offer: Offer) -> None:
    assert offer("stats", "--by", "") == ["label", "model", "rule"]
    assert offer("env", "--shell", "f") == ["fish"]
    assert offer("restart", "") == ["all", "gateway", "workers"]
    assert offer("completion", "z") == ["zsh"]


@pytest.mark.parametrize("offer", BOTH, indirect=True)
def test_a_value_that_is_not_known_is_not_guessed(offer: Offer) -> None:
    assert offer("explain", "--model", "re") == []
    assert offer("--wait", "re") == []
    assert offer("reload", "re") == []


@needs("bash")
def test_bash_offers_files_and_directories_where_they_are_wanted(bash: Offer) -> None:
    assert bash("explain", "re") == ["reload", "request one.json"]
    assert bash("--socket", "re") == ["reload", "request one.json"]
    assert bash("--config-dir", "re") == ["reload"]


@pytest.mark.parametrize("offer", BOTH, indirect=True)
def test_a_program_is_offered_for_a_command(offer: Offer) -> None:
    assert "env" in offer("run", "en")


@needs("bash")
def test_bash_takes_an_option_with_an_equals_sign_for_three_words(bash: Offer) -> None:
    assert bash("stats", "--by", "=") == ["label", "model", "rule"]
    assert bash("stats", "--by", "=", "m") == ["model"]
    assert bash("--config-dir", "=", "/etc", "restart", "w") == ["workers"]


@needs("fish")
def test_fish_offers_files_and_directories_where_they_are_wanted(fish: Offer) -> None:
    assert fish("explain", "re") == ["reload/", "request one.json"]
    assert fish("--config-dir", "re") == ["reload/"]
    assert fish("stats", "--by=m") == ["--by=model"]


@pytest.mark.parametrize("offer", BOTH, indirect=True)
def test_the_daemon_s_words_are_completed_too(offer: Offer) -> None:
    assert offer("--d", program="ccproxyd") == ["--debug", "--demo"]
    assert [one.rstrip("/") for one in offer("--config-dir", "rel", program="ccproxyd")] == [
        "reload"
    ]


class Terminal:
    """A zsh at a terminal, which is where it completes."""

    def __init__(self, cwd: Path) -> None:
        self.descriptor, terminal = pty.openpty()
        self.process = subprocess.Popen(
            [shutil.which("zsh") or "zsh", "-f", "-i", "+o", "prompt_sp"],
            cwd=cwd,
            env={"PATH": os.environ["PATH"], "HOME": str(cwd), "TERM": "dumb"},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)

    def type(self, keys: str) -> None:
        os.write(self.descriptor, keys.encode())

    def read_until(self, text: str) -> str:
        seen = ""
        while text not in seen:
            ready, _, _ = select.select([self.descriptor], [], [], 30)
            assert ready, f"zsh has gone silent; it said {seen!r}"
            seen += os.read(self.descriptor, 65536).decode(errors="replace")
        return seen

    def close(self) -> None:
        os.close(self.descriptor)
        self.process.wait(30)


@pytest.fixture
def zsh(place: Path) -> Offer:
    """What becomes of a line when the tabulator key is pressed at its end."""

    def complete(line: str, *, sourced: bool = False) -> list[str]:
        functions = COMMITTED / "zsh"
        setup = f"fpath=({functions} $fpath); autoload -Uz compinit; compinit -D -u"
        then = f"; source {functions / '_ccproxyctl'}" if sourced else ""
        terminal = Terminal(place)
        try:
            terminal.type(f"PS1=; {setup}{then}; print set-''up\n")
            terminal.read_until("set-up")
            # ^A and this word before it make the completed line the words of a print.
            terminal.type(f"{line}\t\x01print -r -- 'the ''line:' \n")
            said = terminal.read_until("the line: ")
            said += terminal.read_until("\n") if "\n" not in said.partition("the line: ")[2] else ""
        finally:
            terminal.close()
        return said.partition("the line: ")[2].splitlines()[0].split()

    return complete


@needs("zsh")
@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("ccproxyctl rel", "ccproxyctl reload"),
        ("ccproxyctl --socket /status rel", "ccproxyctl --socket /status reload"),
        ("ccproxyctl stop --no", "ccproxyctl stop --no-wait"),
        ("ccproxyctl stats --by m", "ccproxyctl stats --by model"),
        ("ccproxyctl stats --by=m", "ccproxyctl stats --by=model"),
        ("ccproxyctl restart w", "ccproxyctl restart workers"),
        ("ccproxyctl --config-dir re", "ccproxyctl --config-dir reload"),
        ("ccproxyctl explain req", "ccproxyctl explain request one.json"),
        ("ccproxyctl status --js", "ccproxyctl status --json"),
        ("ccproxyd --dem", "ccproxyd --demo"),
    ],
)
def test_zsh_completes(zsh: Offer, line: str, completed: str) -> None:
    assert " ".join(zsh(line)) == completed


@needs("zsh")
def test_zsh_takes_the_script_from_a_pipe_as_well(zsh: Offer) -> None:
    assert zsh("ccproxyctl rel", sourced=True) == ["ccproxyctl", "reload"]
