"""`include:` of config.yaml, merged as LiteLLM merges it.

An entry is sought beside the file that names it, then beside config.yaml. Lists are appended, every
other key of an included file replaces the one before. A file's own includes come after those that
already wait, and a file that was read is not read again. We merge here, since the config that a
worker loads lies elsewhere.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import define, frozen

from ccproxyd.config.fields import Fields, kind_of
from ccproxyd.errors import ConfigError

Read = Callable[[Path, str], Mapping[str, Any]]
"""Reads a file, named in errors as the second argument says."""


@frozen
class Merged:
    """One document out of several files.

    `origins` is the path of each entry of `model_list`: the file and the place that it came from.
    """

    document: dict[str, Any]
    origins: tuple[str, ...]
    files: tuple[Path, ...]


@frozen
class _Pending:
    entry: Path
    declared_in: Path
    path: str


@define
class _Merge:
    document: dict[str, Any]
    origins: list[str]

    def add(self, included: Mapping[str, Any], file: str) -> None:
        models = included.get("model_list")
        if isinstance(models, list):
            kept = self.origins if isinstance(self.document.get("model_list"), list) else []
            self.origins = kept + _origins(models, file)
        for key, value in included.items():
            self.document[key] = _merged(self.document.get(key), value)


def merge_includes(root: Path, name: str, read: Read) -> Merged:
    """A config file with all that it includes.

    Raises:
        ConfigError: an entry that names no file, or what `read` raises.
    """
    root = _absolute(root)
    document = dict(read(root, name))
    pending = deque(_entries(document, root, name))
    merge = _Merge(document, _origins(document.get("model_list"), name))
    files = [root]
    while pending:
        file = _locate(pending.popleft(), root)
        if file in files:
            continue
        file_name = _name(file, root)
        included = dict(read(file, file_name))
        pending.extend(_entries(included, file, file_name))
        merge.add(included, file_name)
        files.append(file)
    return Merged(merge.document, tuple(merge.origins), tuple(files))


def _entries(document: dict[str, Any], declared_in: Path, name: str) -> list[_Pending]:
    """What a document includes; the key itself is taken out of it."""
    fields = Fields({"include": document.pop("include", None)}, name)
    return [_pending(entry, declared_in, path) for path, entry in fields.items("include")]


def _pending(entry: Any, declared_in: Path, path: str) -> _Pending:
    if not isinstance(entry, str):
        raise ConfigError(path, f"must be a file's name, not {kind_of(entry)}")
    return _Pending(Path(entry), declared_in, path)


def _locate(pending: _Pending, root: Path) -> Path:
    for directory in (pending.declared_in.parent, root.parent):
        file = _absolute(directory / pending.entry)
        if file.exists():
            return file
    raise ConfigError(pending.path, f"no such file: {pending.declared_in.parent / pending.entry}")


def _absolute(file: Path) -> Path:
    """Without following links: a linked config.yaml includes what lies beside the link."""
    return Path(os.path.abspath(file))  # noqa: PTH100


def _name(file: Path, root: Path) -> str:
    """How errors name an included file: as short as it is clear."""
    directory = root.parent
    return str(file.relative_to(directory)) if file.is_relative_to(directory) else str(file)


def _origins(models: Any, file: str) -> list[str]:
    count = len(models) if isinstance(models, list) else 0
    return [f"{file}: model_list[{index}]" for index in range(count)]


def _merged(base: Any, included: Any) -> Any:
    both = isinstance(base, list) and isinstance(included, list)
    return [*base, *included] if both else included
