from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ccproxyd.config.documents import parse_document
from ccproxyd.config.includes import Merged, merge_includes
from ccproxyd.errors import ConfigError


def write(directory: Path, **files: str) -> Path:
    for name, text in files.items():
        file = directory / (name.replace("__", "/") + ".yaml")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return directory / "config.yaml"


def merge(root: Path) -> Merged:
    return merge_includes(root, "config.yaml", lambda file, name: read(file, name))


def read(file: Path, name: str) -> dict[str, Any]:
    return parse_document(file.read_bytes(), name)


def error_of(root: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        merge(root)
    return str(caught.value)


def test_a_file_without_includes_is_itself(tmp_path: Path) -> None:
    root = write(tmp_path, config="model_list: [a]\n")
    assert merge(root) == Merged(
        {"model_list": ["a"]}, ("config.yaml: model_list[0]",), (tmp_path / "config.yaml",)
    )


def test_lists_are_appended_and_other_values_replaced(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        config="include: [more.yaml]\nmodel_list: [a]\nlitellm_settings: {x: 1}\nkept: 1\n",
        more="model_list: [b, c]\nlitellm_settings: {y: 2}\n",
    )
    merged = merge(root)
    assert merged.document == {
        "model_list": ["a", "b", "c"],
        "litellm_settings": {"y": 2},
        "kept": 1,
    }
    assert merged.origins == (
        "config.yaml: model_list[0]",
        "more.yaml: model_list[0]",
        "more.yaml: model_list[1]",
    )


def test_models_may_all_come_from_includes(tmp_path: Path) -> None:
    root = write(tmp_path, config="include: [models.yaml]\n", models="model_list: [a]\n")
    assert merge(root).origins == ("models.yaml: model_list[0]",)


def test_includes_include_and_are_sought_beside_the_file_that_names_them(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        config="include: [sub/one.yaml]\nlist: [0]\n",
        sub__one="include: [two.yaml, three.yaml]\nlist: [1]\n",
        sub__two="list: [2]\n",
        three="list: [3]\n",
    )
    merged = merge(root)
    assert merged.document == {"list": [0, 1, 2, 3]}
    assert merged.files[1:] == (
        tmp_path / "sub/one.yaml",
        tmp_path / "sub/two.yaml",
        tmp_path / "three.yaml",
    )


def test_a_file_is_read_once(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        config="include: [one.yaml, ./one.yaml]\nlist: [0]\n",
        one="include: [config.yaml, one.yaml]\nlist: [1]\n",
    )
    assert merge(root).document == {"list": [0, 1]}


def test_a_link_includes_what_lies_beside_it(tmp_path: Path) -> None:
    real = write(tmp_path / "dotfiles", config="include: [more.yaml]\n")
    write(tmp_path, more="list: [1]\n")
    (tmp_path / "config.yaml").symlink_to(real)
    assert merge(tmp_path / "config.yaml").document == {"list": [1]}


def test_a_file_elsewhere_is_named_by_its_whole_path(tmp_path: Path) -> None:
    write(tmp_path, other="model_list: [a]\n")
    root = write(tmp_path / "conf", config="include: [../other.yaml]\n")
    assert merge(root).origins == (f"{tmp_path}/other.yaml: model_list[0]",)


def test_a_file_that_is_not_there_is_an_error_at_its_entry(tmp_path: Path) -> None:
    root = write(tmp_path, config="include: [a.yaml]\n", a="include: [b.yaml]\n")
    assert error_of(root) == f"a.yaml: include[0]: no such file: {tmp_path}/b.yaml"


def test_an_include_that_is_no_list_is_an_error(tmp_path: Path) -> None:
    root = write(tmp_path, config="include: more.yaml\n")
    assert error_of(root) == "config.yaml: include: must be a list, not a text"
    root = write(tmp_path, config="include: [7]\n")
    assert error_of(root) == "config.yaml: include[0]: must be a file's name, not a number"


def test_an_included_file_that_does_not_parse_is_named(tmp_path: Path) -> None:
    root = write(tmp_path, config="include: [a.yaml]\n", a="a: b: c\n")
    assert error_of(root).startswith("a.yaml: line 1, column 5: ")
