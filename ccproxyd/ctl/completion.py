"""completion: the scripts by which bash, zsh and fish complete our words.

They are made of the parser itself, so they know what it knows: verbs and options with a summary
each, the words that an option may take, and where a file or a directory is wanted. `files` gives
them as contrib/completion/ holds them for packages (`make completion` writes it), and the verb
prints them for a shell that has no package.

    source <(ccproxyctl completion bash)            # in ~/.bashrc; zsh likewise, after compinit
    ccproxyctl completion fish | source             # in config.fish

The daemon's few options stand in a table here, since one root of the house does not import another;
a test holds it against the daemon's parser.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Final

from attrs import frozen

from ccproxyd.ctl.parser import COMMANDS, Parser, all_parsers
from ccproxyd.ctl.printing import print_json


class Value(Enum):
    """What follows an option, or stands as a word of its own."""

    NOTHING = "nothing"
    TEXT = "text"
    """Anything: there is nothing to offer."""
    CHOICE = "choice"
    FILE = "file"
    DIRECTORY = "directory"
    COMMAND = "command"
    """A program on the PATH."""


@frozen
class Word:
    """An option by its spellings, or, without any, a word that the verb takes."""

    flags: tuple[str, ...]
    summary: str
    value: Value = Value.NOTHING
    name: str = ""
    """What the value is called."""
    choices: tuple[str, ...] = ()
    repeats: bool = False


@frozen
class Verb:
    name: str
    summary: str
    options: tuple[Word, ...]
    words: tuple[Word, ...]


@frozen
class Program:
    name: str
    options: tuple[Word, ...]
    verbs: tuple[Verb, ...] = ()


DAEMON: Final = Program(
    "ccproxyd",
    (
        Word(("-h", "--help"), "show the options"),
        Word(("--config-dir",), "where the config is", Value.DIRECTORY, "dir"),
        Word(("--demo",), "try it with an offline provider, without keys"),
        Word(("--host",), "listen here instead of at ccproxy.host", Value.TEXT, "host"),
        Word(("--port",), "listen here instead of at ccproxy.port", Value.TEXT, "port"),
        Word(("--debug",), "log more"),
        Word(("--log-file",), "log to this file, which is capped", Value.FILE, "path"),
        Word(("--wait-for-config",), "with a wrong config, wait for a good one"),
        Word(("--version",), "show the version"),
    ),
)


def completion(args: argparse.Namespace) -> int:
    made = scripts(args.shell)
    if args.json:
        print_json(made)
    else:
        print("\n".join(made.values()), end="")
    return 0


def files() -> dict[str, str]:
    """Every script by its place below contrib/completion/."""
    return {f"{shell}/{name}": text for shell in _WRITERS for name, text in scripts(shell).items()}


def scripts(shell: str) -> dict[str, str]:
    """The scripts of one shell by their names, which are those that the shell looks for."""
    return dict(_WRITERS[shell](control(), DAEMON))


def control() -> Program:
    """ccproxyctl, as its parser has it."""
    parser, parsers = all_parsers()
    verbs = (_verb(command.name, command.summary, parsers[command.name]) for command in COMMANDS)
    options = (word for word in map(_word, _told(parser)) if word.flags)
    return Program("ccproxyctl", tuple(options), tuple(verbs))


def _verb(name: str, summary: str, parser: Parser) -> Verb:
    words = [_word(action) for action in _told(parser)]
    return Verb(
        name,
        summary,
        tuple(word for word in words if word.flags),
        tuple(word for word in words if not word.flags),
    )


def _told(parser: Parser) -> Iterator[argparse.Action]:
    return (action for action in parser.actions() if action.help is not argparse.SUPPRESS)


def _word(action: argparse.Action) -> Word:
    return Word(
        flags=tuple(action.option_strings),
        summary=action.help or "",
        value=_value_of(action),
        name=str(action.metavar or action.dest).lower(),
        choices=tuple(str(choice) for choice in action.choices or ()),
        repeats=isinstance(action.default, list),
    )


_BY_METAVAR: Final = {
    "DIR": Value.DIRECTORY,
    "PATH": Value.FILE,
    "FILE": Value.FILE,
    "COMMAND": Value.COMMAND,
}


def _value_of(action: argparse.Action) -> Value:
    if action.nargs == 0:
        return Value.NOTHING
    if action.choices:
        return Value.CHOICE
    return _BY_METAVAR.get(str(action.metavar), Value.TEXT)


def _lines(*blocks: Iterable[str]) -> str:
    return "\n".join(line for block in blocks for line in block) + "\n"


def _quoted(text: str) -> str:
    """For bash and zsh."""
    return "'" + text.replace("'", "'\\''") + "'"


_MADE: Final = "# Made by `make completion` of ccproxyd/ctl/parser.py."


# bash: nothing but compgen, so that it works without the package bash-completion, and on macOS


def _bash(*programs: Program) -> Iterator[tuple[str, str]]:
    for program in programs:
        yield program.name, _lines(_bash_script(program))


def _bash_script(program: Program) -> Iterator[str]:
    function = f"_{program.name}"
    yield from (_MADE, "")
    yield from (f"{function}_offer() {{", *_indented(_BASH_OFFER), "}", "")
    yield from (f"{function}() {{", *_indented(_BASH_START))
    yield from _indented(_bash_find_verb(program))
    yield from _indented(_bash_values(program, function))
    yield from _indented(_bash_options(program, function))
    yield from _indented(_bash_words(program, function))
    yield from ("}", "", f"complete -F {function} {program.name}")


_BASH_OFFER: Final = (
    "local line",
    'while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen "$@")',
)
_BASH_START: Final = (
    "local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb='' i",
    "COMPREPLY=()",
    "# bash takes --name=value for three words.",
    "if [[ $cur == = ]]; then",
    "    cur=''",
    "elif [[ $prev == = ]] && ((COMP_CWORD > 1)); then",
    "    prev=${COMP_WORDS[COMP_CWORD - 2]}",
    "fi",
)


def _bash_find_verb(program: Program) -> Iterator[str]:
    """The first word that is neither an option nor the value of one."""
    if not program.verbs:
        return
    taking = "|".join(_flags(_with_value(program.options)))
    yield "for ((i = 1; i < COMP_CWORD; i++)); do"
    yield "    case ${COMP_WORDS[i]} in"
    yield f"        {taking})"
    yield "            if [[ ${COMP_WORDS[i + 1]} == = ]]; then ((i += 2)); else ((i++)); fi ;;"
    yield "        -*) ;;"
    yield "        *) verb=${COMP_WORDS[i]}; break ;;"
    yield "    esac"
    yield "done"


def _bash_values(program: Program, function: str) -> Iterator[str]:
    """What follows an option that takes a value; of a text nothing is known."""
    yield "case $verb:$prev in"
    texts = []
    for verb, word in _valued(program):
        spellings = "|".join(f"{verb}:{flag}" for flag in word.flags)
        if word.value is Value.TEXT:
            texts.append(spellings)
        else:
            yield f"    {spellings}) {_bash_offer(word, function)}; return ;;"
    if texts:
        yield f"    {'|'.join(texts)}) return ;;"
    yield "esac"


def _bash_options(program: Program, function: str) -> Iterator[str]:
    yield f"local options={_quoted(' '.join(_flags(program.options)))}"
    if program.verbs:
        owns = ((verb.name, _flags(_own(program, verb))) for verb in program.verbs)
        cases = (f'    {name}) options="{" ".join(own)} $options" ;;' for name, own in owns if own)
        yield from ("case $verb in", *cases, "esac")
    yield "if [[ $cur == -* ]]; then"
    yield f'    {function}_offer -W "$options" -- "$cur"'
    yield "    return"
    yield "fi"


def _bash_words(program: Program, function: str) -> Iterator[str]:
    if not program.verbs:
        return
    names = Word((), "", Value.CHOICE, choices=tuple(verb.name for verb in program.verbs))
    yield "case $verb in"
    yield f"    '') {_bash_offer(names, function)} ;;"
    for verb in program.verbs:
        for word in verb.words:
            yield f"    {verb.name}) {_bash_offer(word, function)} ;;"
    yield "esac"


def _bash_offer(word: Word, function: str) -> str:
    match word.value:
        case Value.FILE:
            return f'compopt -o filenames 2>/dev/null; {function}_offer -f -- "$cur"'
        case Value.DIRECTORY:
            return f'compopt -o filenames 2>/dev/null; {function}_offer -d -- "$cur"'
        case Value.COMMAND:
            return f'{function}_offer -c -- "$cur"'
    return f'{function}_offer -W {_quoted(" ".join(word.choices))} -- "$cur"'


# zsh: one file for both programs, since a file is found by its `#compdef` line


def _zsh(*programs: Program) -> Iterator[tuple[str, str]]:
    names = [program.name for program in programs]
    head = [f"#compdef {' '.join(names)}", _MADE]
    yield f"_{names[0]}", _lines(head, *map(_zsh_function, programs), _zsh_end(names))


def _zsh_function(program: Program) -> Iterator[str]:
    yield from ("", f"_{program.name}_words() {{")
    specs = (_quoted(spec) for word in program.options for spec in _zsh_option(word))
    yield from _indented(("local -a general=(", *_indented(specs), ")"))
    body = _zsh_verbs(program) if program.verbs else _zsh_arguments([])
    yield from (*_indented(body), "}")


def _zsh_verbs(program: Program) -> Iterator[str]:
    yield "local context state state_descr line ret=1"
    yield "typeset -A opt_args"
    told = (_quoted(f"{verb.name}:{verb.summary}") for verb in program.verbs)
    yield from ("local -a verbs=(", *_indented(told), ")")
    yield "_arguments -C $general '1:verb:->verb' '*::argument:->argument' && ret=0"
    yield "case $state in"
    yield "    verb) _describe -t verbs verb verbs && ret=0 ;;"
    yield "    argument)"
    yield "        case $line[1] in"
    for verb in program.verbs:
        specs = [spec for word in _own(program, verb) for spec in _zsh_option(word)]
        specs += map(_zsh_word, verb.words)
        if specs:
            calls = [*_zsh_arguments(specs), "    ;;"]
            yield from _indented([f"{verb.name})", *_indented(calls[:-1]), *calls[-1:]], 3)
    yield from _indented(["*)", *_indented(_zsh_arguments([])), "    ;;"], 3)
    yield "        esac"
    yield "        ret=$?"
    yield "        ;;"
    yield "esac"
    yield "return ret"


def _zsh_arguments(specs: Iterable[str]) -> Iterator[str]:
    *lines, last = ["_arguments $general", *_indented(map(_quoted, specs))]
    yield from (f"{line} \\" for line in lines)
    yield last


def _zsh_option(word: Word) -> Iterator[str]:
    """One specification for each spelling; a spelling that was used ends the others."""
    others = f"({' '.join(word.flags)})" if len(word.flags) > 1 else ""
    before = "*" if word.repeats else "(- *)" if _ALONE.intersection(word.flags) else others
    for flag in word.flags:
        told = f"[{_zsh_text(word.summary or flag.lstrip('-'))}]"
        joint = "=" if flag.startswith("--") else "+"
        value = "" if word.value is Value.NOTHING else _zsh_value(word)
        yield f"{before}{flag}{joint if value else ''}{told}{value}"


_ALONE: Final = frozenset({"-h", "--help", "--version"})


def _zsh_word(word: Word) -> str:
    return f"1{_zsh_value(word)}"


def _zsh_value(word: Word) -> str:
    offered = {
        Value.CHOICE: f"({' '.join(word.choices)})",
        Value.FILE: "_files",
        Value.DIRECTORY: "_files -/",
        Value.COMMAND: "_command_names -e",
    }
    return f":{_zsh_text(word.name)}:{offered.get(word.value, ' ')}"


def _zsh_text(text: str) -> str:
    return text.replace(":", "\\:").replace("[", "(").replace("]", ")")


def _zsh_end(names: Sequence[str]) -> Iterator[str]:
    main = f"_{names[0]}"
    yield from ("", f"{main}() {{", "    case $service in")
    yield from (f"        {name}) _{name}_words ;;" for name in names)
    yield from ("    esac", "}", "")
    yield "# Found by compinit, this file is the function itself; sourced, it registers it."
    yield f"if [[ $funcstack[1] == {main} ]]; then"
    yield f"    {main}"
    yield "else"
    yield f"    compdef {main} {' '.join(names)}"
    yield "fi"


# fish


def _fish(*programs: Program) -> Iterator[tuple[str, str]]:
    for program in programs:
        yield f"{program.name}.fish", _lines(_fish_script(program))


def _fish_script(program: Program) -> Iterator[str]:
    complete = f"complete -c {program.name}"
    yield from (_MADE, "")
    if program.verbs:
        yield from (*_fish_find_verb(program), "")
    yield f"{complete} -f"
    yield from (f"{complete} {_fish_word(word)}" for word in program.options)
    for verb in program.verbs:
        told = f"-a {verb.name} -d {_fish_quoted(verb.summary)}"
        yield f"{complete} -n '__{program.name}_verb_is \"\"' {told}"
    for verb in program.verbs:
        for word in [*verb.words, *_own(program, verb)]:
            yield f"{complete} -n '__{program.name}_verb_is {verb.name}' {_fish_word(word)}"


def _fish_find_verb(program: Program) -> Iterator[str]:
    """Not fish's own functions for it, which take the value of an option for a verb."""
    yield f"function __{program.name}_verb_is"
    yield "    set -l value no"
    yield "    for word in (commandline -opc)[2..]"
    yield "        if test $value = yes"
    yield "            set value no"
    yield "            continue"
    yield "        end"
    yield "        switch $word"
    yield f"            case {' '.join(_flags(_with_value(program.options)))}"
    yield "                set value yes"
    yield "            case '-*'"
    yield "            case '*'"
    yield '                test "$word" = "$argv[1]"'
    yield "                return"
    yield "        end"
    yield "    end"
    yield '    test -z "$argv[1]"'
    yield "end"


def _fish_word(word: Word) -> str:
    spelt = [f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in word.flags]
    told = [f"-d {_fish_quoted(word.summary)}"] if word.summary and word.flags else []
    return " ".join([*spelt, *_fish_value(word), *told])


def _fish_value(word: Word) -> list[str]:
    needs = ["-r"] if word.flags and word.value is not Value.NOTHING else []
    match word.value:
        case Value.CHOICE:
            return [*needs, "-f", "-a", _fish_quoted(" ".join(word.choices))]
        case Value.FILE:
            return [*needs, "-F"]
        case Value.DIRECTORY:
            return [*needs, "-f", "-a", "'(__fish_complete_directories)'"]
        case Value.COMMAND:
            return [*needs, "-f", "-a", "'(__fish_complete_command)'"]
        case Value.TEXT:
            return [*needs, "-f"]
    return []


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


# What they have in common


def _own(program: Program, verb: Verb) -> list[Word]:
    """The verb's options without those of every verb."""
    general = {word.flags for word in program.options}
    return [word for word in verb.options if word.flags not in general]


def _with_value(options: Iterable[Word]) -> list[Word]:
    return [word for word in options if word.value is not Value.NOTHING]


def _valued(program: Program) -> Iterator[tuple[str, Word]]:
    """Every option that takes a value, with the verb that it belongs to, or `*`."""
    yield from (("*", word) for word in _with_value(program.options))
    for verb in program.verbs:
        yield from ((verb.name, word) for word in _with_value(_own(program, verb)))


def _flags(options: Iterable[Word]) -> list[str]:
    return [flag for word in options for flag in word.flags]


def _indented(lines: Iterable[str], steps: int = 1) -> Iterator[str]:
    return (f"{'    ' * steps}{line}" for line in lines)


_WRITERS: Final[Mapping[str, Callable[[Program, Program], Iterator[tuple[str, str]]]]] = {
    "bash": _bash,
    "zsh": _zsh,
    "fish": _fish,
}
