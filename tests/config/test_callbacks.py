from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ccproxyd.config.callbacks import (
    OUR_HANDLER,
    listed_callbacks,
    makes_only_our_handler,
    means_our_handler,
)

DOCUMENTED = '''"""The documented form."""
from ccproxy.handler import CCProxyHandler

# Create the instance that LiteLLM will use
proxy_handler_instance = CCProxyHandler()
'''
OWN = """from litellm.integrations.custom_logger import CustomLogger
class Mine(CustomLogger): ...
proxy_handler_instance = Mine()
"""
DOCUMENTED_NAME = "custom_callbacks.proxy_handler_instance"


@pytest.mark.parametrize(
    ("written", "listed"),
    [
        (None, []),
        ("a.b", ["a.b"]),
        (["a.b", "langfuse"], ["a.b", "langfuse"]),
        ({"x": 1}, [{"x": 1}]),
    ],
)
def test_callbacks_are_a_list_or_one_name(written: Any, listed: list[Any]) -> None:
    assert listed_callbacks({"litellm_settings": {"callbacks": written}}) == listed


def test_without_settings_there_are_no_callbacks() -> None:
    assert listed_callbacks({}) == []
    assert listed_callbacks({"litellm_settings": None}) == []


@pytest.mark.parametrize("name", [OUR_HANDLER, "ccproxy.handler", "ccproxy.instance"])
def test_some_names_always_mean_our_handler(name: str, tmp_path: Path) -> None:
    (tmp_path / "ccproxy.py").write_text(OWN)
    assert means_our_handler(name, tmp_path)


def test_the_documented_name_means_our_handler_when_there_is_no_such_file(tmp_path: Path) -> None:
    assert means_our_handler(DOCUMENTED_NAME, tmp_path)


def test_the_documented_file_means_our_handler(tmp_path: Path) -> None:
    (tmp_path / "custom_callbacks.py").write_text(DOCUMENTED)
    assert means_our_handler(DOCUMENTED_NAME, tmp_path)


def test_the_documented_file_under_another_name_means_our_handler_too(tmp_path: Path) -> None:
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "mine.py").write_text(DOCUMENTED)
    assert means_our_handler("hooks.mine.proxy_handler_instance", tmp_path)


def test_a_file_that_does_more_is_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "custom_callbacks.py").write_text(OWN)
    assert not means_our_handler(DOCUMENTED_NAME, tmp_path)


@pytest.mark.parametrize("name", ["langfuse", "my_callbacks.log", "../x.y", "s3://b/x.y"])
def test_other_names_are_the_users_own(name: str, tmp_path: Path) -> None:
    assert not means_our_handler(name, tmp_path)


@pytest.mark.parametrize(
    "source",
    [
        "",
        "def\n",
        DOCUMENTED + "import os\n",
        DOCUMENTED + "print(1)\n",
        DOCUMENTED.replace("CCProxyHandler()", "CCProxyHandler(1)"),
        DOCUMENTED.replace("ccproxy.handler", "elsewhere"),
        DOCUMENTED.replace("= CCProxyHandler()", "= Other()"),
        "x = 1\n",
        "\0",
    ],
)
def test_what_adds_anything_is_not_the_documented_form(source: str) -> None:
    assert not makes_only_our_handler(source)
