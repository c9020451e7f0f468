from __future__ import annotations

import inspect
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ccproxyd.config.importing import (
    describe,
    find_named,
    importing,
    one_line,
    place_of,
    place_of_function,
)
from ccproxyd.errors import ConfigError

PATH = "ccproxy.yaml: ccproxy.x"


def find(config_dir: Path, written: str, *, kind: Any = inspect.isclass) -> Any:
    with importing(config_dir):
        return find_named(written, PATH, config_dir, kind)


def raised_by(function: Any) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError


@pytest.mark.parametrize("written", ["own.Mine", "own:Mine"])
def test_a_name_stands_for_what_the_module_has(tmp_path: Path, written: str) -> None:
    (tmp_path / "own.py").write_text("class Mine: ...")
    assert find(tmp_path, written).__name__ == "Mine"


def test_modules_find_us_by_the_ancestors_names(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("from ccproxy.rules import TokenCountRule as Mine")
    assert find(tmp_path, "own.Mine").__module__ == "ccproxyd.routing.rules"


def test_what_is_near_is_offered_by_its_kind(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def mine(): ...\nclass Mina: ...")
    with pytest.raises(ConfigError, match="has no class 'Mins'; did you mean 'Mina'"):
        find(tmp_path, "own.Mins")
    with pytest.raises(ConfigError, match="has no function 'mins'; did you mean 'mine'"):
        find(tmp_path, "own.mins", kind=inspect.isroutine)


def test_a_module_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("x = 1")
    find(tmp_path, "own.x")
    (tmp_path / "own.py").write_text("x = 2\nraise SystemExit")
    with pytest.raises(ConfigError, match=r"cannot import own: SystemExit \(own.py:2\)"):
        find(tmp_path, "own.x")
    assert sys.modules["own"].x == 1


def test_only_who_sits_at_the_keyboard_interrupts(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        find(tmp_path, "own.x")
    with ThreadPoolExecutor() as threads:  # where a gateway imports
        found = threads.submit(raised_by, partial(find, tmp_path, "own.x")).result()
    assert str(found) == f"{PATH}: cannot import own: KeyboardInterrupt (own.py:1)"


@pytest.mark.parametrize("raised", ["StopIteration", "GeneratorExit", "SystemExit", "ValueError"])
@pytest.mark.parametrize("where", ["raise {}", "def __getattr__(name):\n    raise {}"])
def test_whatever_a_module_raises_is_told_of_its_field(
    tmp_path: Path, where: str, raised: str
) -> None:
    (tmp_path / "own.py").write_text(where.format(raised))
    with pytest.raises(ConfigError, match=f"cannot import own: {raised} ") as told:
        find(tmp_path, "own.x")
    assert told.value.path == PATH
    assert type(told.value.__cause__).__name__ == raised


def test_an_exception_is_told_on_one_line_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def fail():\n    raise ValueError('a\\nb')\n")
    error = raised_by(find(tmp_path, "own.fail"))
    assert describe(error, tmp_path) == "ValueError: a b (own.py:2)"
    assert place_of(error, tmp_path) == "own.py:2"
    assert place_of(error, tmp_path / "other") is None
    assert len(one_line(ValueError("x" * 9999))) == 300


def test_a_function_is_where_it_begins(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("\n\ndef mine(): ...\n")
    mine = find(tmp_path, "own.mine")
    assert place_of_function(mine, tmp_path) == "own.py:3"
    assert place_of_function(raised_by, tmp_path).startswith("test_importing.py:")
    assert place_of_function(partial(mine), tmp_path) == "partial"
