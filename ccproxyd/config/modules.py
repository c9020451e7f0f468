"""The user's own modules: which files of the config directory a name stands for.

A module in the config directory is *local* when its top name is neither Python's nor ours: a file
`ccproxy.py` that claude-ccproxy generated, or a `json.py`, shadows nothing. What a module imports
is read from its syntax tree, without running it, so that the daemon can tell whether an edit
concerns a rule, a callback, or neither.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

OUR_NAMES: Final = frozenset({"ccproxy", "ccproxyd"})

_DOTTED: Final = re.compile(r"[A-Za-z_]\w*([.:][A-Za-z_]\w*)+")


def is_local(name: str, config_dir: Path) -> bool:
    """Whether a module's top name is one that the config directory provides."""
    top = name.partition(".")[0]
    if top in OUR_NAMES or top in sys.stdlib_module_names:
        return False
    return (config_dir / f"{top}.py").is_file() or _holds_python(config_dir / top)


def local_names(config_dir: Path) -> list[str]:
    """The top names that the config directory provides."""
    try:
        found = sorted({entry.stem for entry in config_dir.iterdir() if entry.stem.isidentifier()})
    except OSError:
        return []
    return [name for name in found if is_local(name, config_dir)]


def local_files(names: Iterable[str], config_dir: Path) -> tuple[Path, ...]:
    """The local files behind some dotted names, with all that they import from there."""
    seen: set[Path] = set()
    waiting = list(names)
    while waiting:
        for file in _files_of(waiting.pop(), config_dir):
            if file not in seen:
                seen.add(file)
                waiting.extend(_imported_by(file, config_dir))
    return tuple(sorted(seen))


def dotted_names(value: Any) -> Iterator[str]:
    """Every text of a document that could be an import path.

    >>> list(dotted_names({"callbacks": ["my_hooks.log", "langfuse"], "custom_auth": "auth.check"}))
    ['my_hooks.log', 'auth.check']
    """
    if isinstance(value, dict):
        for item in value.values():
            yield from dotted_names(item)
    elif isinstance(value, list):
        for item in value:
            yield from dotted_names(item)
    elif isinstance(value, str) and _DOTTED.fullmatch(value):
        yield value.replace(":", ".")


def _holds_python(directory: Path) -> bool:
    """A package, or a directory of modules that has no `__init__.py`."""
    return directory.is_dir() and any(directory.glob("*.py"))


def _files_of(name: str, config_dir: Path) -> list[Path]:
    """The packages on the way to a name and the module itself; a class at its end is no file."""
    if not is_local(name, config_dir):
        return []
    parts = name.split(".")
    places = [config_dir.joinpath(*parts[: end + 1]) for end in range(len(parts))]
    found = [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")]
    return [file for file in found if file.is_file()]


def _imported_by(file: Path, config_dir: Path) -> list[str]:
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    package = file.parent.relative_to(config_dir).parts
    return [name for node in ast.walk(tree) for name in _names_in(node, package)]


def _names_in(node: ast.AST, package: tuple[str, ...]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        above = package[: len(package) - node.level + 1] if node.level else ()
        start = ".".join([*above, *([node.module] if node.module else [])])
        return [f"{start}.{alias.name}" for alias in node.names] if start else []
    return []
