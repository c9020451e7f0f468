"""The tests mirror the sources, and the tree holds nothing that belongs to one machine.

Every `ccproxyd/<room>/<module>.py` has `tests/<room>/test_<module>.py`, and the other way round. An
`__init__` or `__main__` counts when it defines something; its test is `test_init` or `test_main`.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.trees import tree_of

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "ccproxyd"
TESTS = ROOT / "tests"

OF_SEVERAL_ROOMS = ("end_to_end", "man", "os", "integration", "scripts", "support")
"""Rooms of tests without a source of their own."""

PLACES = (
    *("ccproxyd", "contrib", "etc", "man", "scripts", "tests", ".ci", ".github"),
    *("Makefile", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"),
    *("pyproject.toml", "requirements.lock", ".pre-commit-config.yaml", ".gitignore"),
)
"""What belongs to the project, as against what tools leave beside it."""

FORBIDDEN = {
    "a directory of one machine": r"(?<![\w.~-])/" + "work" + r"(?![\w-])",
    "a home directory": "/" + "root/",
    "a package index": "py" + r"pi\.|python" + "hosted",
}
"""Written in two halves, so that this file is clean."""


def modules() -> list[Path]:
    return sorted(path for path in SOURCES.rglob("*.py") if holds_logic(path))


def holds_logic(path: Path) -> bool:
    if not path.stem.startswith("__"):
        return True
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return any(isinstance(node, kinds) for node in tree_of(path).body)


def mirror_of(module: Path) -> Path:
    room = module.relative_to(SOURCES).parent
    return TESTS / room / f"test_{module.stem.strip('_')}.py"


def mirrored_tests() -> Iterator[Path]:
    for path in sorted(TESTS.rglob("test_*.py")):
        room = path.relative_to(TESTS).parent
        if room.parts and room.parts[0] not in OF_SEVERAL_ROOMS:
            yield path


def project_files() -> Iterator[Path]:
    for place in PLACES:
        found = ROOT / place
        files = found.rglob("*") if found.is_dir() else [found]
        yield from (path for path in files if path.is_file() and "__pycache__" not in path.parts)


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_every_module_has_its_test() -> None:
    missing = [named(mirror_of(module)) for module in modules() if not mirror_of(module).is_file()]
    assert missing == []


def test_every_test_has_its_module() -> None:
    wanted = {mirror_of(module) for module in modules()}
    assert [named(path) for path in mirrored_tests() if path not in wanted] == []


@pytest.mark.parametrize("pattern", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_no_file_names(pattern: str) -> None:
    forbidden = re.compile(pattern)
    found = [
        f"{named(path)}: {line.strip()[:80]}"
        for path in project_files()
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        if forbidden.search(line)
    ]
    assert found == []


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def locked() -> dict[str, list[str]]:
    """Each package's lines of the lock, the first of which is `name==version ; marker`."""
    blocks: dict[str, list[str]] = {}
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if not line.startswith(" "):
            name = line
            blocks[name] = []
        blocks[name].append(line.strip(" \\"))
    return blocks


def requirements(project: dict[str, Any]) -> list[Requirement]:
    groups = [project["project"]["dependencies"], *project["dependency-groups"].values()]
    return [Requirement(text) for group in groups for text in group]


def test_every_locked_package_has_a_version_and_hashes(locked: dict[str, list[str]]) -> None:
    for first, *hashes in locked.values():
        assert re.match(r"[a-z0-9-]+(\[[a-z,-]+\])?==[^ ]+( ; .+)?$", first)
        assert hashes, f"{first} has no hash"
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line) for line in hashes)


def test_the_lock_holds_no_address(locked: dict[str, list[str]]) -> None:
    addressed = [line for lines in locked.values() for line in lines if "://" in line]
    assert addressed == []


def test_the_lock_satisfies_the_project(
    project: dict[str, Any], locked: dict[str, list[str]]
) -> None:
    versions: dict[str, list[str]] = {}
    for first, *_ in locked.values():
        pinned = Requirement(first)
        [version] = (specifier.version for specifier in pinned.specifier)
        versions.setdefault(canonicalize_name(pinned.name), []).append(version)
    for wanted in requirements(project):
        found = versions.get(canonicalize_name(wanted.name), [])
        assert found, f"{wanted} is not locked: make lock"
        assert all(wanted.specifier.contains(version) for version in found), f"{wanted}: make lock"


def imported_names() -> set[str]:
    names = set()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - {"ccproxyd"}


def test_what_is_imported_is_declared(project: dict[str, Any]) -> None:
    declared = {
        canonicalize_name(Requirement(text).name) for text in project["project"]["dependencies"]
    }
    brought_by = packages_distributions()
    undeclared = {
        name
        for name in imported_names()
        if declared.isdisjoint(canonicalize_name(found) for found in brought_by.get(name, []))
    }
    assert undeclared == set()
