"""Modules of the config directory, loaded afresh.

A reload must see an edited module, and what that module imports from the same directory, even when
the edit came within the second that bytecode caches can tell apart; so these modules are compiled
from their source each time and cached nowhere. When something fails, the modules of the time before
are put back, and nothing of the new ones is left.

A config that is in force brings its sources along. They go before what is on disk, so that a
gateway that has to be started again gets the modules that it had, whatever their files have become.

The modules that are in force stay in `sys.modules`, and can be found, for imports that a rule makes
only when it is called. A name that is loaded from elsewhere already (an installed package) is left
alone: taking it away would break those who hold it.
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

    def _finder(self, directory: str) -> FileFinder:
        loader = partial(_FreshLoader, sources=self._sources)
        return FileFinder(directory, (loader, [".py"]))  # type: ignore[arg-type]  # any callable


@contextmanager
def fresh_modules(config_dir: Path, sources: Mapping[str, str] | None = None) -> Iterator[None]:
    """What is imported inside comes from these sources by path, else from the files as they are."""
    config_dir = config_dir.resolve()
    finders = [finder for finder in sys.meta_path if isinstance(finder, LocalFinder)]
    before = _forget(config_dir)
    _replace(finders, [LocalFinder(config_dir, sources or {})])
    try:
        yield
    except BaseException:
        _forget(config_dir)
        sys.modules.update(before)
        _replace([finder for finder in sys.meta_path if isinstance(finder, LocalFinder)], finders)
        raise


def _replace(old: Sequence[LocalFinder], new: Sequence[LocalFinder]) -> None:
    sys.meta_path[:] = [*new, *(finder for finder in sys.meta_path if finder not in old)]


def _forget(config_dir: Path) -> dict[str, ModuleType]:
    """Take away the modules that came from the config directory."""
    names = [name for name, module in sys.modules.items() if _is_ours(name, module, config_dir)]
    return {name: sys.modules.pop(name) for name in names}


def _is_ours(name: str, module: ModuleType, config_dir: Path) -> bool:
    spec = getattr(module, "__spec__", None)
    if isinstance(getattr(spec, "loader", None), _FreshLoader):
        return True
    places = [getattr(module, "__file__", None), *(getattr(module, "__path__", None) or ())]
    return is_local(name, config_dir) and any(
        isinstance(place, str) and Path(place).is_relative_to(config_dir) for place in places
    )
