"""What becomes of a file that is there already, and doing it.

Nothing that somebody has edited is lost: it is kept, or, when it is to be replaced by force, moved
to a name beside it. A file is written beside its place and moved there whole.
"""

from __future__ import annotations

import datetime
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from attrs import frozen

from ccproxyd.control.client import FailedError, NotPermittedError
from ccproxyd.ctl.setup.marker import is_unedited

Fate = Literal["wrote", "unchanged", "updated", "kept", "replaced", "removed", "left"]

CHANGES: Final = ("wrote", "updated", "replaced", "removed")

Clock = Callable[[], datetime.datetime]


@frozen
class Wanted:
    """A file as it should be."""

    path: Path
    text: str
    mode: int = 0o644


@frozen
class Outcome:
    path: Path
    fate: Fate
    note: str = ""

    @property
    def is_change(self) -> bool:
        return self.fate in CHANGES

    def to_json(self) -> dict[str, str]:
        return {"path": str(self.path), "fate": self.fate, "note": self.note}


def fate_of(found: str | None, wanted: str, *, force: bool) -> Fate:
    r"""What becomes of a file that says `found`; None where there is none.

    >>> fate_of(None, "a", force=False), fate_of("a", "a", force=True)
    ('wrote', 'unchanged')
    >>> fate_of("mine", "a", force=False), fate_of("mine", "a", force=True)
    ('kept', 'replaced')
    """
    if found is None:
        return "wrote"
    if found == wanted:
        return "unchanged"
    if is_unedited(found):
        return "updated"
    return "replaced" if force else "kept"


def put(wanted: Wanted, *, force: bool = False, clock: Clock = datetime.datetime.now) -> Outcome:
    """Bring a file about, as far as that costs nobody's edits.

    Raises:
        FailedError, NotPermittedError: it cannot be read or written.
    """
    try:
        fate = fate_of(read(wanted.path), wanted.text, force=force)
        if fate == "kept":
            return Outcome(wanted.path, fate, "edited; --force replaces it and keeps a backup")
        backup = _move_away(wanted.path, clock()) if fate == "replaced" else None
        if fate != "unchanged":
            _write(wanted)
    except OSError as error:
        raise cannot("write", wanted.path, error) from None
    return Outcome(wanted.path, fate, f"the edited one is {backup}" if backup else "")


def read(path: Path) -> str | None:
    """What a file says, whatever its encoding; None where there is none.

    Raises:
        FailedError, NotPermittedError: it cannot be read.
    """
    try:
        return path.read_text("utf-8", "surrogateescape")
    except FileNotFoundError:
        return "" if path.is_symlink() else None
    except OSError as error:
        raise cannot("read", path, error) from None


def fill(path: Path, text: str) -> None:
    """A file that keeps its owner and its mode."""
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise cannot("write", path, error) from None


def make_directory(path: Path) -> None:
    """For its owner alone, unless it is there already."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise cannot("make", path, error) from None


def remove(path: Path) -> Outcome:
    try:
        path.unlink()
    except OSError as error:
        raise cannot("remove", path, error) from None
    return Outcome(path, "removed")


def set_aside(path: Path, now: datetime.datetime) -> Outcome:
    """Removed from where it counts, and kept beside that for its author."""
    try:
        backup = _move_away(path, now)
    except OSError as error:
        raise cannot("remove", path, error) from None
    return Outcome(path, "removed", f"the edited one is {backup}")


def remove_directory(path: Path, *, with_all: bool = False) -> Outcome | None:
    """An empty one, or one with all that is in it; None for what is not there, or not empty."""
    try:
        if path.is_symlink() or not path.is_dir() or (not with_all and any(path.iterdir())):
            return None
        if with_all:
            shutil.rmtree(path)
        else:
            path.rmdir()
    except OSError as error:
        raise cannot("remove", path, error) from None
    return Outcome(path, "removed")


def cannot(doing: str, path: Path, error: OSError) -> FailedError | NotPermittedError:
    kind = NotPermittedError if isinstance(error, PermissionError) else FailedError
    return kind(f"cannot {doing} {path}: {error.strerror}")


def _write(wanted: Wanted) -> None:
    wanted.path.parent.mkdir(parents=True, exist_ok=True)
    fresh = wanted.path.with_name(f".{wanted.path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(wanted.text)
        os.fchmod(file.fileno(), wanted.mode)
    fresh.replace(wanted.path)


def _move_away(path: Path, now: datetime.datetime) -> Path:
    backup = path.with_name(f"{path.name}.bak-{now:%Y%m%d-%H%M%S}")
    while backup.exists():
        backup = backup.with_name(f"{backup.name}x")
    return path.rename(backup)
