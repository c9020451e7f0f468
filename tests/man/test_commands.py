"""ccproxyctl(1) and ccproxyd(8) against their parsers."""

from __future__ import annotations

import pytest

from ccproxyd import ctl, errors
from ccproxyd.ctl.completion import Program, Value, Verb, control
from ccproxyd.daemon.main import _parser
from tests.man.mdoc import Page, Word

PROGRAM: Program = control()
GENERAL = {flag for word in PROGRAM.options for flag in word.flags}


def flags(words: list[Word]) -> set[str]:
    return {f"-{word.text}" for word in words if word.macro == "Fl"}


def documented(page: Page) -> set[str]:
    """The options that have an item of their own."""
    return {f"-{name}" for item in page.items("DESCRIPTION", "Fl", "") for name in item.names}


def of_verb(page: Page, verb: str) -> list[Word]:
    """The words of its item, and not those of an item that only mentions it."""
    return [
        word
        for word in page.inside("DESCRIPTION", verb)
        if word.items[0].macro == "Ic" and word.items[0].names[0] == verb
    ]


def test_the_daemon_s_options_are_all_there_and_no_others(ccproxyd: Page) -> None:
    known = {flag for action in _parser()._actions for flag in action.option_strings}
    assert documented(ccproxyd) == known
    assert {f"-{text}" for text in ccproxyd.of("Fl", "SYNOPSIS")} == known - {"-h"}


def test_the_general_options_are_all_there_and_no_others(ccproxyctl: Page) -> None:
    assert documented(ccproxyctl) == GENERAL
    assert {f"-{text}" for text in ccproxyctl.of("Fl", "SYNOPSIS")} == GENERAL - {"-h"}


def test_every_verb_is_there_and_no_other(ccproxyctl: Page) -> None:
    items = ccproxyctl.items("DESCRIPTION", "Ic")
    assert sorted(item.names[0] for item in items) == sorted(verb.name for verb in PROGRAM.verbs)


@pytest.mark.parametrize("verb", PROGRAM.verbs, ids=lambda verb: verb.name)
def test_a_verb_s_options_are_all_there_and_no_others(ccproxyctl: Page, verb: Verb) -> None:
    own = {flag for word in verb.options for flag in word.flags} - GENERAL
    assert flags(of_verb(ccproxyctl, verb.name)) - GENERAL == own


@pytest.mark.parametrize("verb", PROGRAM.verbs, ids=lambda verb: verb.name)
def test_the_words_that_a_verb_knows_are_all_there(ccproxyctl: Page, verb: Verb) -> None:
    known = {
        choice
        for word in (*verb.words, *verb.options)
        if word.value is Value.CHOICE
        for choice in word.choices
    }
    told = {word.text for word in of_verb(ccproxyctl, verb.name) if word.macro == "Cm"}
    assert told == known


def codes(page: Page) -> list[int]:
    return [
        int(word.text)
        for word in page.words
        if word.section == "EXIT STATUS" and word.is_head and word.text.isdecimal()
    ]


def test_the_exit_codes_of_the_daemon_are_those_of_the_code(ccproxyd: Page) -> None:
    from ccproxyd.errors import EXIT_CONFIG, EXIT_FAILED, EXIT_TEMPORARY, EXIT_USAGE

    assert codes(ccproxyd) == [0, EXIT_FAILED, EXIT_USAGE, EXIT_TEMPORARY, EXIT_CONFIG]


def test_the_exit_codes_of_ccproxyctl_are_those_of_the_code(ccproxyctl: Page) -> None:
    of_status = [0, ctl.STATUS_NOT_RUNNING, ctl.STATUS_UNKNOWN]
    of_others = [0, *ctl._OURS, ctl.EXIT_INTERRUPTED]
    assert codes(ccproxyctl) == [*of_status, *of_others]
    assert errors.EXIT_NOT_RUNNING in codes(ccproxyctl)
