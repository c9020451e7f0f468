"""The man pages as words, each with the macro that it stands under and where it is.

mdoc(7) says by its macros what a word is: `Fl` an option, `Ev` a variable. Our pages add a few
customs, so that they can be held against the code:

    Cm   a key of ccproxy.yaml, or a word that an option or a verb takes
    Ic   a verb, a rule or a hook
    Fa   a key of a verb's payload
    Va   a field of an answer, a fact of a request, a key of config.yaml
    Sy   the type of an error
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

ROOT: Final = Path(__file__).resolve().parents[2]
MAN: Final = ROOT / "man"
PAGES: Final = tuple(sorted(MAN.iterdir()))

_MACROS: Final = frozenset(
    "Ar Cm Dl Dq Dv Em Ev Fa Fl Fn Ic It Li Lk Nd Nm No Ns Oc Oo Op Pa Pq Ql Sx Sy Ta Va Xr".split()
)
_QUIET: Final = frozenset({"Ns", "Op", "Oo", "Oc", "Pq", "Ta", "It"})
"""They say nothing of what a word is."""
_PUNCTUATION: Final = frozenset("| , . ; : ( ) [ ] ...".split())


@frozen
class Item:
    """The head of a list's item: `.It Cm port : No 4000` is of `Cm`, `port` and `4000`."""

    macro: str
    names: tuple[str, ...]
    more: tuple[str, ...] = ()
    depth: int = 1


@frozen
class Word:
    text: str
    macro: str
    section: str
    subsection: str = ""
    items: tuple[Item, ...] = ()
    """The items that it stands in, the innermost last."""
    is_head: bool = False


@frozen
class Page:
    name: str
    words: tuple[Word, ...]
    examples: tuple[str, ...]
    sections: tuple[str, ...]

    def of(self, macro: str, section: str | None = None) -> set[str]:
        """The words under a macro."""
        return {
            word.text
            for word in self.words
            if word.macro == macro and section in (None, word.section)
        }

    def items(self, section: str, macro: str, subsection: str | None = None) -> list[Item]:
        """The items of a section's lists, in order."""
        found = [
            word.items[-1]
            for word in self.words
            if word.is_head
            and word.section == section
            and subsection in (None, word.subsection)
            and word.items[-1].macro == macro
        ]
        return list(dict.fromkeys(found))

    def inside(self, section: str, name: str) -> list[Word]:
        """The words of the item of this name, head and body, and of all items in it."""
        return [
            word
            for word in self.words
            if word.section == section and any(name in item.names for item in word.items)
        ]


def read(path: Path) -> Page:
    reader = _Reader()
    for line in path.read_text("utf-8").splitlines():
        reader.take(line)
    return Page(path.name, tuple(reader.words), tuple(reader.examples), tuple(reader.sections))


class _Reader:
    def __init__(self) -> None:
        self.words: list[Word] = []
        self.examples: list[str] = []
        self.sections: list[str] = []
        self._subsection = ""
        self._lists: list[Item | None] = []
        self._example: list[str] | None = None

    def take(self, line: str) -> None:
        if self._example is not None and not line.startswith(".Ed"):
            self._example.append(plain(line))
        elif line.startswith(".") and not line.startswith('.\\"'):
            macro, *arguments = _split(line[1:])
            getattr(self, f"_{macro.lower()}", self._words)(macro, arguments)

    def _sh(self, _macro: str, arguments: list[str]) -> None:
        self.sections.append(" ".join(arguments))
        self._subsection = ""

    def _ss(self, _macro: str, arguments: list[str]) -> None:
        self._subsection = " ".join(arguments)

    def _bl(self, _macro: str, _arguments: list[str]) -> None:
        self._lists.append(None)

    def _el(self, _macro: str, _arguments: list[str]) -> None:
        self._lists.pop()

    def _bd(self, _macro: str, _arguments: list[str]) -> None:
        self._example = []

    def _ed(self, _macro: str, _arguments: list[str]) -> None:
        self.examples.append("\n".join(self._example or ()) + "\n")
        self._example = None

    def _dl(self, _macro: str, arguments: list[str]) -> None:
        self.examples.append(plain(" ".join(arguments)) + "\n")

    def _it(self, _macro: str, arguments: list[str]) -> None:
        found = list(_by_macro("", arguments))
        head = found[0][0] if found else ""
        names = tuple(text for macro, text in found if macro == head)
        more = tuple(text for macro, text in found if macro == "No")
        self._lists[-1] = Item(head, names, more, len(self._lists))
        self._add(found, is_head=True)

    def _words(self, macro: str, arguments: list[str]) -> None:
        self._add(list(_by_macro(macro, arguments)))

    def _add(self, found: list[tuple[str, str]], *, is_head: bool = False) -> None:
        section = self.sections[-1] if self.sections else ""
        items = tuple(item for item in self._lists if item)
        for macro, text in found:
            self.words.append(Word(text, macro, section, self._subsection, items, is_head))


def _split(line: str) -> list[str]:
    reader = shlex.shlex(line, posix=True, punctuation_chars="")
    reader.whitespace_split, reader.quotes, reader.escape, reader.commenters = True, '"', "", ""
    return [word for word in reader if word]


def _by_macro(macro: str, arguments: list[str]) -> Iterator[tuple[str, str]]:
    for word in arguments:
        if word in _MACROS:
            macro = macro if word in _QUIET else word
        elif word not in _PUNCTUATION:
            yield macro, plain(word)


def plain(text: str) -> str:
    """Without mdoc's escapes."""
    for escape, letter in {
        "\\(aq": "'",
        "\\(ti": "~",
        "\\(ha": "^",
        "\\e": "\\",
        "\\&": "",
    }.items():
        text = text.replace(escape, letter)
    return text
