"""Modules of the config directory, loaded afresh.

A reload must see an edited module, and what that module imports from the same directory, even when
the edit came within the second that bytecode caches can tell apart; so these modules are compiled
from their source each time and cached nowhere. When something fails, the modules of the time before
are put back, and nothing of the new ones is left.

What has loaded can be taken back as well, until somebody keeps it: a config that does not come into
force in the end, or one whose modules do not finish loading. Those go on in a thread that nobody
can stop; when it ends, it changes nothing of what others have put in place since. A load that was
taken back has failed, since the rest of it has met other modules. Of two loads at a time only the
later one succeeds.

A config that is in force brings its sources along. They go before what is on disk, so that a
gateway that has to be started again gets the modules that it had, whatever their files have become.

The modules that are in force stay in `sys.modules`, and can be found, for imports that a rule makes
only when it is called; while others load, such an import finds those. A name that is loaded from
elsewhere already (an installed package) is left alone: to take it away would break who holds it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from attrs import define

from ccproxyd.config.modules import is_local


class _FreshLoader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, sources: Mapping[str, str]) -> None:
        super().__init__(fullname, path)
        self._sources = sources

    def get_data(self, path: str) -> bytes:
        known = self._sources.get(path)
        return super().get_data(path) if known is None else known.encode()

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


class LocalFinder(MetaPathFinder):
    """Finds what the config directory provides, before anything that is installed."""

    before: _InForce | None = None
    """What it has replaced, as long as nobody has kept it."""

    def __init__(self, config_dir: Path, sources: Mapping[str, str]) -> None:
        self._config_dir = config_dir
        self._sources = sources

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if not is_local(fullname, self._config_dir):
            return None
        for directory in [str(self._config_dir)] if path is None else path:
            if Path(directory).is_relative_to(self._config_dir):
                return self._finder(directory).find_spec(fullname)
        return None

    def take_back(self) -> None:
        """Put in its place again what it has replaced."""
        if self.before is not None:
            self.before.return_in_place_of(self, self._config_dir)

    def _finder(self, directory: str) -> FileFinder:
        loader = partial(_FreshLoader, sources=self._sources)
        return FileFinder(directory, (loader, [".py"]))  # type: ignore[arg-type]  # any callable


class _TakenBackError(Exception):
    """Other modules are in force than those that were loaded."""

    def __init__(self) -> None:
        super().__init__("what was loaded has been taken back meanwhile")


@define
class _InForce:
    """The modules of a config directory, and who finds them."""

    finders: list[LocalFinder]
    modules: dict[str, ModuleType]

    def return_in_place_of(self, finder: LocalFinder, config_dir: Path) -> None:
        """Put them back, where this finder is installed.

        Where they are back already, the import that fails now may have taken the name of one.
        """
        installed = _installed()
        if finder in installed:
            _forget(config_dir)
            _replace(installed, self.finders)
        if _installed() == self.finders:
            sys.modules.update(self.modules)


@contextmanager
def fresh_modules(config_dir: Path, sources: Mapping[str, str] | None = None) -> Iterator[None]:
    """What is imported inside comes from these sources by path, else from the files as they are."""
    config_dir = config_dir.resolve()
    finder = LocalFinder(config_dir, sources or {})
    finders = _installed()
    before = finder.before = _InForce(finders, _forget(config_dir))
    _replace(finders, [finder])
    try:
        yield
        if finder not in sys.meta_path:
            raise _TakenBackError
        for one in finders:
            one.before = None
    except BaseException:
        before.return_in_place_of(finder, config_dir)
        raise


def keep_modules() -> None:
    """What was loaded last is in force, and what was before is let go."""
    for finder in _installed():
        finder.before = None


def take_back_modules() -> None:
    """Unless somebody has kept it, what was loaded last, or is being loaded, is not in force."""
    for finder in _installed():
        finder.take_back()


def _installed() -> list[LocalFinder]:
    return [finder for finder in sys.meta_path if isinstance(finder, LocalFinder)]


def _replace(old: Sequence[LocalFinder], new: Sequence[LocalFinder]) -> None:
    sys.meta_path[:] = [*new, *(finder for finder in sys.meta_path if finder not in old)]


def _forget(config_dir: Path) -> dict[str, ModuleType]:
    """Take away the modules that came from the config directory; a thread may be loading more."""
    known = list(sys.modules.items())
    ours = {name: module for name, module in known if _is_ours(name, module, config_dir)}
    for name in ours:
        sys.modules.pop(name, None)
    return ours


def _is_ours(name: str, module: ModuleType, config_dir: Path) -> bool:
    spec = getattr(module, "__spec__", None)
    if isinstance(getattr(spec, "loader", None), _FreshLoader):
        return True
    places = [getattr(module, "__file__", None), *(getattr(module, "__path__", None) or ())]
    return is_local(name, config_dir) and any(
        isinstance(place, str) and Path(place).is_relative_to(config_dir) for place in places
    )
