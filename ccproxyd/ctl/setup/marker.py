r"""A line that says that a file is ours, and by a digest of the rest whether it was edited. Pure.

An edited unit is its user's, and is kept; one that was not is ours to bring up to date.

>>> text = mark("[Unit]\n", "#")
>>> print(text)
# Written by `ccproxyctl install`, which keeps what was edited. ae6c63cff33bcfa3
[Unit]
<BLANKLINE>
>>> is_ours(text), is_unedited(text), is_unedited(text + "After=x\n"), is_ours("[Unit]\n")
(True, True, False, False)
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

_SAYS: Final = "Written by `ccproxyctl install`, which keeps what was edited."
_MARKED: Final = re.compile(rf"^.*{re.escape(_SAYS)} ([0-9a-f]{{16}}).*\n", re.MULTILINE)


def mark(text: str, begin: str, end: str = "", *, after: str = "") -> str:
    """The text with the line put before it, or behind the text's own beginning `after`."""
    comment = f"{begin} {_SAYS} {_digest(text)}{end}\n"
    return f"{after}{comment}{text.removeprefix(after)}"


def is_ours(text: str) -> bool:
    return _MARKED.search(text) is not None


def is_unedited(text: str) -> bool:
    found = _MARKED.search(text)
    return found is not None and found[1] == _digest(text.replace(found[0], "", 1))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
