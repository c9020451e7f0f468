from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import weakref
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import pytest

from ccproxyd.config.fresh import (
    LocalFinder,
    fresh_modules,
    keep_modules,
    take_back_modules,
)


def load(config_dir: Path, name: str) -> ModuleType:
    with fresh_modules(config_dir):
        return importlib.import_module(name)


def write(file: Path, text: str) -> None:
    """The same time and size as before, which is what bytecode caches go by."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    os.utime(file, (1_000_000_000, 1_000_000_000))


def finders() -> int:
    return sum(isinstance(finder, LocalFinder) for finder in sys.meta_path)


def test_an_edit_within_the_same_second_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    write(tmp_path / "mine.py", "LIMIT = 1\n")
    assert load(tmp_path, "mine").LIMIT == 1
    write(tmp_path / "mine.py", "LIMIT = 2\n")
    assert load(tmp_path, "mine").LIMIT == 2
    assert not (tmp_path / "__pycache__").exists()


def test_an_edit_of_what_a_module_imports_is_seen(tmp_path: Path) -> None:
    write(tmp_path / "mine.py", "from pkg.deep import LIMIT\n")
    write(tmp_path / "pkg" / "deep.py", "from . import beside\nLIMIT = beside.LIMIT\n")
    write(tmp_path / "pkg" / "beside.py", "LIMIT = 1\n")
    assert load(tmp_path, "mine").LIMIT == 1
    write(tmp_path / "pkg" / "beside.py", "LIMIT = 2\n")
    assert load(tmp_path, "mine").LIMIT == 2


def test_a_module_that_was_imported_before_in_another_way_is_loaded_afresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "mine.py", "LIMIT = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("mine")
    write(tmp_path / "mine.py", "LIMIT = 2\n")
    assert load(tmp_path, "mine").LIMIT == 2


def test_a_failure_leaves_the_modules_of_before(tmp_path: Path) -> None:
    write(tmp_path / "mine.py", "import helper\n")
    write(tmp_path / "helper.py", "LIMIT = 1\n")
    before = load(tmp_path, "mine")
    write(tmp_path / "helper.py", "LIMIT = 2\n")
    write(tmp_path / "mine.py", "import helper, newer\n1 / 0\n")
    write(tmp_path / "newer.py", "")
    with pytest.raises(ZeroDivisionError):
        load(tmp_path, "mine")
    assert sys.modules["mine"] is before
    assert sys.modules["helper"].LIMIT == 1
    assert "newer" not in sys.modules
    assert finders() == 1


def test_a_first_failure_leaves_nothing(tmp_path: Path) -> None:
    modules, path = set(sys.modules), list(sys.meta_path)
    write(tmp_path / "mine.py", "import helper\nraise SystemExit(1)\n")
    write(tmp_path / "helper.py", "")
    with pytest.raises(SystemExit):
        load(tmp_path, "mine")
    assert set(sys.modules) == modules
    assert sys.meta_path == path


def test_what_is_in_force_can_import_later_on(tmp_path: Path) -> None:
    write(tmp_path / "mine.py", "def ask():\n    import late\n    return late.ANSWER\n")
    write(tmp_path / "late.py", "ANSWER = 42\n")
    assert load(tmp_path, "mine").ask() == 42


def test_there_is_one_finder_however_often_a_config_is_loaded(tmp_path: Path) -> None:
    write(tmp_path / "mine.py", "")
    for _ in range(3):
        load(tmp_path, "mine")
    assert finders() == 1


def test_pythons_own_modules_and_ours_are_not_shadowed(tmp_path: Path) -> None:
    write(tmp_path / "json.py", "raise RuntimeError\n")
    write(tmp_path / "ccproxyd.py", "raise RuntimeError\n")
    assert load(tmp_path, "json") is json
    assert load(tmp_path, "ccproxyd").__file__ != str(tmp_path / "ccproxyd.py")


def test_a_module_loaded_from_elsewhere_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path / "pytest.py", "")
    assert load(tmp_path, "pytest") is pytest


def test_a_submodule_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    write(tmp_path / "pkg" / "__init__.py", "")
    with pytest.raises(ModuleNotFoundError, match=r"pkg\.none"):
        load(tmp_path, "pkg.none")


def test_a_package_that_looks_elsewhere_is_left_to_others(tmp_path: Path) -> None:
    write(tmp_path / "pkg" / "__init__.py", "__path__ = ['/nowhere']\n")
    write(tmp_path / "pkg" / "inner.py", "")
    with pytest.raises(ModuleNotFoundError, match=r"pkg\.inner"):
        load(tmp_path, "pkg.inner")


def test_sources_that_were_brought_along_go_before_the_files(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    write(file, "LIMIT = 1\n")
    sources = {str(file): file.read_text()}
    write(file, "LIMIT = (\n")
    with fresh_modules(tmp_path, sources):
        assert importlib.import_module("mine").LIMIT == 1
    with pytest.raises(SyntaxError):
        load(tmp_path, "mine")


LAZY = "def ask():\n    import helper\n    return helper.ANSWER\n"
TAKES_BACK = "from ccproxyd.config import fresh\nfresh.take_back_modules()\n"
"""As somebody else does while this module loads."""


def in_force(config_dir: Path, answer: int = 1) -> ModuleType:
    write(config_dir / "mine.py", f"import helper\n{LAZY}")
    write(config_dir / "helper.py", f"ANSWER = {answer}\n")
    return load(config_dir, "mine")


def test_what_fails_late_leaves_those_alone_that_were_loaded_since(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write(first / "slow.py", "")
    write(second / "mine.py", LAZY)
    write(second / "helper.py", "ANSWER = 42\n")
    with suppress(ZeroDivisionError), fresh_modules(first):
        importlib.import_module("slow")
        mine = load(second, "mine")
        raise ZeroDivisionError
    assert mine.ask() == 42
    assert sys.modules["mine"] is mine
    assert finders() == 1


def test_what_comes_late_is_no_success_after_others_were_loaded(tmp_path: Path) -> None:
    write(tmp_path / "mine.py", "")
    with pytest.raises(Exception, match="taken back"), fresh_modules(tmp_path):
        mine = load(tmp_path, "mine")
    assert sys.modules["mine"] is mine


@pytest.mark.parametrize("end", ["1 / 0\n", "", "import beside\n"])
def test_a_load_that_is_taken_back_leaves_the_modules_of_before_however_it_ends(
    tmp_path: Path, end: str
) -> None:
    before = in_force(tmp_path)
    helper = sys.modules["helper"]
    keep_modules()
    write(tmp_path / "mine.py", f"import helper\n{TAKES_BACK}{end}")
    write(tmp_path / "beside.py", "import nowhere\n")
    write(tmp_path / "helper.py", "ANSWER = 2\n")
    with pytest.raises(Exception, match=r"taken back|division|nowhere"):
        load(tmp_path, "mine")
    assert (sys.modules["mine"], sys.modules["helper"]) == (before, helper)
    assert before.ask() == 1
    assert finders() == 1


def test_what_has_loaded_can_be_taken_back_until_it_is_kept(tmp_path: Path) -> None:
    before = in_force(tmp_path, 1)
    keep_modules()
    in_force(tmp_path, 2)
    take_back_modules()
    assert (sys.modules["mine"], before.ask()) == (before, 1)
    after = in_force(tmp_path, 3)
    keep_modules()
    take_back_modules()
    assert (sys.modules["mine"], after.ask()) == (after, 3)


def test_a_first_load_that_is_taken_back_leaves_nothing(tmp_path: Path) -> None:
    modules, path = set(sys.modules), list(sys.meta_path)
    in_force(tmp_path)
    take_back_modules()
    assert set(sys.modules) == modules
    assert sys.meta_path == path


def test_of_the_modules_of_before_no_more_is_held_than_those_of_the_last_time(
    tmp_path: Path,
) -> None:
    gone = weakref.ref(in_force(tmp_path))
    in_force(tmp_path)
    in_force(tmp_path)
    gc.collect()
    assert gone() is None
