"""What holds for every page: mandoc likes it, and what it refers to is there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.man.mdoc import PAGES, Page, read

SECTIONS = {
    "1": ("ENVIRONMENT", "EXIT STATUS", "EXAMPLES"),
    "5": ("ENVIRONMENT", "FILES", "EXAMPLES"),
    "7": ("FILES", "EXAMPLES"),
    "8": ("SIGNALS", "ENVIRONMENT", "FILES", "EXIT STATUS", "EXAMPLES"),
}

MANDOC = shutil.which("mandoc") or ""

each_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)


@pytest.mark.skipif(MANDOC == "", reason="mandoc is not installed")
@each_page
def test_mandoc_has_nothing_to_say_against_it(path: Path) -> None:
    """But for pages of other packages, which may not be installed here."""
    done = subprocess.run(
        [MANDOC, "-T", "lint", "-W", "all", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in done.stdout.splitlines() if "referenced manual not found" not in line]
    assert said == []


@each_page
def test_it_has_the_sections_that_people_look_for(path: Path) -> None:
    sections = read(path).sections
    wanted = ("NAME", "DESCRIPTION", *SECTIONS[path.suffix[1:]], "SEE ALSO")
    assert [section for section in wanted if section not in sections] == []


def test_our_pages_refer_to_each_other_and_to_none_that_is_not_there(pages: list[Page]) -> None:
    names = {page.name for page in pages}
    for page in pages:
        words = [word.text for word in page.words if word.macro == "Xr"]
        referred = {
            f"{name}.{section}" for name, section in zip(words[::2], words[1::2], strict=True)
        }
        ours = {name for name in referred if name.startswith("ccproxy")}
        assert ours <= names
        assert ours >= {"ccproxyd.8", "ccproxyctl.1"} - {page.name}


def test_every_option_that_a_page_names_exists(pages: list[Page]) -> None:
    from ccproxyd.ctl.completion import DAEMON, control

    program = control()
    known = {flag for word in (*DAEMON.options, *program.options) for flag in word.flags}
    known |= {flag for verb in program.verbs for word in verb.options for flag in word.flags}
    assert {f"-{text}" for page in pages for text in page.of("Fl")} <= known


def test_every_verb_that_a_page_calls_exists(pages: list[Page]) -> None:
    from ccproxyd.ctl.parser import COMMANDS

    known = {command.name for command in COMMANDS}
    for page in pages:
        called = [
            second.text
            for first, second in zip(page.words, page.words[1:], strict=False)
            if (first.macro, first.text) == ("Ic", "ccproxyctl") and second.macro == "Ic"
        ]
        assert set(called) <= known


def test_a_key_that_another_page_names_is_one_of_the_config(pages: list[Page]) -> None:
    from ccproxyd.config.settings import documented_keys

    known = {key.removeprefix("ccproxy.") for key in documented_keys()}
    named = {text for page in pages if page.name.startswith("ccproxyd") for text in page.of("Cm")}
    assert named <= known
