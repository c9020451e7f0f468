"""Config directories for the tests of this room."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ccproxyd.config.fresh import LocalFinder

# They are modules of users, written for other names than ours: to load, not to collect.
collect_ignore_glob = ["fixtures/*"]

MODELS = """
model_list:
  - {model_name: default, litellm_params: {model: anthropic/claude-sonnet-5, api_key: k}}
  - {model_name: think, litellm_params: {model: anthropic/claude-opus-4-8, api_key: k}}
"""
RULES = """
ccproxy:
  rules:
    - {label: think, rule: ThinkingRule}
"""

FIXTURES = Path(__file__).parent / "fixtures"
"""Configs in the forms that claude-ccproxy has documented."""

KEYS = {"ANTHROPIC_API_KEY": "sk-a", "GOOGLE_API_KEY": "g", "OPENAI_API_KEY": "o"}

WriteConfig = Callable[..., Path]


@pytest.fixture
def write_config(tmp_path: Path) -> WriteConfig:
    """Writes a config directory: the two YAML files, and others by their names."""

    def write(ours: str = RULES, litellm: str = MODELS, **files: str) -> Path:
        texts = {"ccproxy.yaml": ours, "config.yaml": litellm}
        texts |= {name.replace("__", "/") + ".py": text for name, text in files.items()}
        for name, text in texts.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path

    return write


@pytest.fixture(autouse=True)
def _same_modules_after() -> Iterator[None]:
    """Imports of users' modules reach into the interpreter; the next test must not see them."""
    modules, path = dict(sys.modules), list(sys.meta_path)
    yield
    for name in set(sys.modules) - set(modules):
        if name.partition(".")[0] == "ccproxy" or _is_local(name):
            del sys.modules[name]
    sys.meta_path[:] = [finder for finder in path if not isinstance(finder, LocalFinder)]


def _is_local(name: str) -> bool:
    module = sys.modules[name]
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    return any(str(FIXTURES) in str(place) or "pytest-of" in str(place) for place in places)
