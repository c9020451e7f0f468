"""The words of the command line.

The general options work before and after the verb: each parser has them, none of them has a
default, and so the one that was given last wins.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from attrs import frozen

from ccproxyd import __version__
from ccproxyd.control.verbs import RESTARTABLE, find_verb
from ccproxyd.errors import did_you_mean

SHELLS: Final = ("sh", "fish", "powershell")
COMPLETED_SHELLS: Final = ("bash", "zsh", "fish")
GROUPS: Final = ("label", "model", "rule")

_DESCRIPTION: Final = "Control the ccproxyd daemon."
_EPILOG: Final = """\
exit codes: status 0 running, 3 not running, 4 cannot tell; others 0 done, 1 failed,
2 usage, 4 not permitted, 7 not running. See ccproxyctl(1)."""


class Parser(argparse.ArgumentParser):
    """argparse, with one-line errors that say what was meant."""

    def __init__(self, **kwargs: Any) -> None:
        layout = argparse.RawDescriptionHelpFormatter
        super().__init__(formatter_class=layout, allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"ccproxyctl: {message}; see {self.prog} -h\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = [str(choice) for choice in action.choices or ()]
        if choices and value not in choices:
            kind = "verb" if action.dest == "verb" else "choice"
            raise argparse.ArgumentError(None, f"unknown {kind} {value!r}{_near(value, choices)}")

    def refuse_unknown(self, words: Sequence[str], known: Sequence[str]) -> None:
        if words:
            self.error(f"unknown argument {words[0]!r}{_near(words[0], known)}")

    def options(self) -> list[str]:
        return list(self._option_string_actions)

    def actions(self) -> list[argparse.Action]:
        """Its options and words, as they were added."""
        return list(self._actions)


@frozen
class Command:
    """A verb of the command line: the function of its name in `module` runs it."""

    name: str
    module: str
    summary: str
    add_arguments: Callable[[Parser], None] | None = None


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments: `verb`, `module`, the general options, and those of the verb.

    Raises:
        SystemExit: 2 for words that make no sense; 0 after `-h` or `--version`.
    """
    parser, parsers = _build(argv)
    defaults = argparse.Namespace(socket=None, config_dir=None, json=False, wait=0.0)
    args, unknown = parser.parse_known_args(argv, defaults)
    chosen = parsers[args.verb]
    chosen.refuse_unknown(unknown, chosen.options())
    return args


def all_parsers() -> tuple[Parser, dict[str, Parser]]:
    """The program's parser and each verb's, complete, for whoever describes the command line."""
    return _build([command.name for command in COMMANDS])


def _build(argv: Sequence[str]) -> tuple[Parser, dict[str, Parser]]:
    parser = Parser(prog="ccproxyctl", description=_DESCRIPTION, epilog=_EPILOG)
    _add_general(parser)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs", required=True)
    return parser, {command.name: _add_command(verbs, command, argv) for command in COMMANDS}


def _add_command(verbs: Any, command: Command, argv: Sequence[str]) -> Parser:
    """A verb that none of the words names needs no options; to build them all takes too long."""
    parser: Parser = verbs.add_parser(
        command.name, help=command.summary, description=_sentence(command.summary)
    )
    parser.set_defaults(module=command.module)
    if command.name in argv:
        if command.add_arguments:
            command.add_arguments(parser)
        _add_general(parser)
    return parser


def _add_general(parser: Parser) -> None:
    group = parser.add_argument_group("general options")
    add = group.add_argument
    nothing = argparse.SUPPRESS
    add("--json", action="store_true", default=nothing, help="print JSON")
    add("--socket", type=Path, metavar="PATH", default=nothing, help="the daemon's control socket")
    add("--config-dir", type=Path, metavar="DIR", default=nothing, help="where the config is")
    add(
        "--wait",
        type=_seconds,
        metavar="SECONDS",
        default=nothing,
        help="how long to try to reach a daemon that is starting (default: 0)",
    )
    add("--version", action="version", version=f"ccproxyctl {__version__}", default=nothing)


def _stats(parser: Parser) -> None:
    parser.add_argument("--by", choices=GROUPS, default="label", help="(default: label)")


def _restart(parser: Parser) -> None:
    """A word or an option: two destinations, since a word that is missing sets its own to None."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("word", nargs="?", choices=RESTARTABLE, help="(default: all)")
    for part in RESTARTABLE:
        what.add_argument(f"--{part}", dest="option", action="store_const", const=part)


def _start(parser: Parser) -> None:
    parser.add_argument(
        "--detach",
        action="store_true",
        help="without a service: run it in the background, with a log of its own",
    )


def _stop(parser: Parser) -> None:
    parser.add_argument("--no-wait", action="store_true", help="do not wait until it is gone")


def _explain(parser: Parser) -> None:
    add = parser.add_argument
    add(
        "file",
        nargs="?",
        metavar="FILE",
        help="a request's body, or a captured request; - is stdin",
    )
    add("--model", help="the model that is asked for")
    add("--prompt", help="what the user says, instead of FILE")
    add("--path", help="the request's path (default: /v1/messages)")
    add(
        "--header",
        action="append",
        type=_header,
        default=[],
        metavar="NAME:VALUE",
        dest="headers",
        help="may be given several times",
    )


def _env(parser: Parser) -> None:
    parser.add_argument("--shell", choices=SHELLS, default="sh", help="(default: sh)")
    _oauth(parser)


def _run(parser: Parser) -> None:
    """All that follows the command is the command's own, whatever it looks like."""
    _oauth(parser)
    parser.add_argument(
        "command",
        nargs=argparse.REMAINDER,
        metavar="COMMAND",
        help="with its own words, such as: claude --continue",
    )


def _oauth(parser: Parser) -> None:
    parser.add_argument(
        "--oauth",
        action="store_true",
        help="the client stays logged in to its own subscription, which pays",
    )


def _logs(parser: Parser) -> None:
    add = parser.add_argument
    add("-f", "--follow", action="store_true", help="go on with what is logged from now on")
    add(
        "-n",
        "--lines",
        type=_count,
        metavar="COUNT",
        default=50,
        help="how many of the last lines (default: 50)",
    )


def _install(parser: Parser) -> None:
    add = parser.add_argument
    add("--force", action="store_true", help="overwrite edited files; each is kept as a backup")
    add("--system", action="store_true", help="for the whole system, with /etc/ccproxyd; as root")
    add("--enable", action="store_true", help="start it now and with every login or boot")
    add("--linger", action="store_true", help="keep it running while its user is logged out")


def _uninstall(parser: Parser) -> None:
    add = parser.add_argument
    add("--system", action="store_true", help="the service of the whole system; as root")
    add("--purge", action="store_true", help="edited config, keys and statistics as well")


def _completion(parser: Parser) -> None:
    parser.add_argument("shell", choices=COMPLETED_SHELLS, help="the shell to complete words in")


def _count(word: str) -> int:
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"not a number of lines: {word!r}")
    return int(word)


def _seconds(word: str) -> float:
    seconds = float(word)
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"not a number of seconds: {word!r}")
    return seconds


def _header(word: str) -> tuple[str, str]:
    name, colon, value = word.partition(":")
    if not colon or not name.strip():
        raise argparse.ArgumentTypeError(f"not NAME:VALUE: {word!r}")
    return name.strip(), value.strip()


def _near(word: object, known: Sequence[str]) -> str:
    near = did_you_mean(str(word), known)
    return f"; did you mean {near!r}?" if near else ""


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."


def _summary(verb: str) -> str:
    return find_verb(verb).summary


COMMANDS: Final = (
    Command("status", "status", _summary("status")),
    Command("stats", "stats", _summary("stats"), _stats),
    Command("routes", "routes", _summary("routes")),
    Command("explain", "explain", _summary("explain"), _explain),
    Command("reload", "lifecycle", _summary("reload")),
    Command("restart", "lifecycle", _summary("restart"), _restart),
    Command("start", "start", "start the service, or the daemon in the foreground", _start),
    Command("stop", "lifecycle", _summary("stop"), _stop),
    Command("logs", "logs", "show what the daemon has logged", _logs),
    Command("check", "check", "say whether the config is good, without a daemon"),
    Command("env", "env", "print what a client needs to use the daemon", _env),
    Command("run", "run", "run a client that uses the daemon, which is started if need be", _run),
    Command("install", "install", "write the config samples and the service", _install),
    Command("uninstall", "uninstall", "remove the service, and what was never edited", _uninstall),
    Command("completion", "completion", "print the completion script of a shell", _completion),
)
