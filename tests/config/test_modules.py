from __future__ import annotations

from pathlib import Path

import pytest

from ccproxyd.config.modules import dotted_names, is_local, local_files, local_names


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    for name, text in {
        "ccproxy.py": "handler = 1\n",
        "json.py": "",
        "rules.py": "import os, helper\nfrom pkg.deep import thing\n",
        "helper.py": "def lazy():\n    import late\n",
        "late.py": "import rules\n",
        "unused.py": "",
        "broken.py": "def\n",
        "pkg/__init__.py": "",
        "pkg/deep.py": "from . import sibling\nfrom .other import x\nfrom .. import outside\n",
        "pkg/sibling.py": "",
        "pkg/other.py": "",
        "plain/inner.py": "from plain import beside\n",
        "plain/beside.py": "",
        "data/notes.txt": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def files(config_dir: Path, *names: str) -> list[str]:
    return [str(file.relative_to(config_dir)) for file in local_files(names, config_dir)]


def test_a_module_of_the_directory_is_local(config_dir: Path) -> None:
    assert is_local("rules", config_dir)
    assert is_local("rules.Anything", config_dir)
    assert is_local("pkg.deep", config_dir)
    assert is_local("plain", config_dir)


@pytest.mark.parametrize("name", ["ccproxy", "ccproxy.handler", "ccproxyd", "json", "data", "yaml"])
def test_our_names_and_pythons_and_what_is_not_there_are_not_local(
    config_dir: Path, name: str
) -> None:
    assert not is_local(name, config_dir)


def test_the_local_names_are_listed(config_dir: Path) -> None:
    assert local_names(config_dir) == [
        "broken", "helper", "late", "pkg", "plain", "rules", "unused",
    ]  # fmt: skip
    assert local_names(config_dir / "none") == []


def test_the_files_behind_a_name_include_what_they_import_from_there(config_dir: Path) -> None:
    assert files(config_dir, "rules.MyRule") == [
        "helper.py",
        "late.py",
        "pkg/__init__.py",
        "pkg/deep.py",
        "pkg/other.py",
        "pkg/sibling.py",
        "rules.py",
    ]


def test_a_directory_without_an_init_is_followed_too(config_dir: Path) -> None:
    assert files(config_dir, "plain.inner.Rule") == ["plain/beside.py", "plain/inner.py"]


def test_a_file_that_does_not_parse_is_still_one(config_dir: Path) -> None:
    assert files(config_dir, "broken.Rule") == ["broken.py"]


def test_names_that_are_not_local_have_no_files(config_dir: Path) -> None:
    assert files(config_dir, "ccproxy.handler", "json.x", "langfuse", "a b.c") == []


def test_texts_that_could_be_import_paths_are_found() -> None:
    document = {
        "a": ["my_hooks.log", 7, "langfuse"],
        "b": {"c": "mod:Class"},
        "d": "x y.z",
        "e": None,
    }
    assert list(dotted_names(document)) == ["my_hooks.log", "mod.Class"]
