from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ccproxyd.config.entries import parse_hooks
from ccproxyd.config.fields import Fields
from ccproxyd.config.hooks import OwnHook, load_check, load_hooks
from ccproxyd.config.importing import importing
from ccproxyd.config.moderation import Moderation
from ccproxyd.errors import ConfigError

OWN = """
import math
from functools import partial

def log(data, user_api_key_dict, level="info"):
    return level

async def anything(data, user_api_key_dict, **kwargs): ...

def needs(data, user_api_key_dict, word): ...

def nothing(): ...

class Guard:
    async def async_moderation_hook(self, data, user_api_key_dict, call_type):
        return "guarded"

    def __call__(self, data, user_api_key_dict): ...

guard = Guard()
hidden = math.hypot
number = 3

def check(data, user_api_key_dict, call_type): ...
"""


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    (tmp_path / "my_hooks.py").write_text(OWN)
    return tmp_path


def loaded(config_dir: Path, *written: Any) -> dict[str, OwnHook]:
    entries = parse_hooks(Fields({"hooks": list(written)}, "ccproxy.yaml: ccproxy"), "hooks")
    with importing(config_dir):
        return load_hooks(entries, config_dir)


def error_of(config_dir: Path, written: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(config_dir, written)
    return str(caught.value).removeprefix("ccproxy.yaml: ccproxy.")


def checked(config_dir: Path, name: str, *, enabled: bool = True) -> Any:
    with importing(config_dir):
        return load_check(Moderation(enabled=enabled, check=name), config_dir)


def test_the_users_own_are_loaded_and_ours_are_not_there(config_dir: Path) -> None:
    named = {"hook": "my_hooks:log", "params": [{"level": "debug"}]}
    [(path, hook)] = loaded(config_dir, "forward_oauth", named, "model_router").items()
    assert path == "ccproxy.yaml: ccproxy.hooks[1]"
    assert hook.path == "ccproxy.hooks[1]"
    assert hook.function({}, {}, **hook.params) == "debug"


@pytest.mark.parametrize("name", ["log", "anything", "guard"])
def test_a_hook_is_any_function_of_two_arguments(config_dir: Path, name: str) -> None:
    assert loaded(config_dir, f"my_hooks.{name}")


def test_whoever_takes_any_parameter_gets_them_all(config_dir: Path) -> None:
    [hook] = loaded(config_dir, {"hook": "my_hooks.anything", "params": {"x": 1}}).values()
    assert hook.params == {"x": 1}


def test_a_function_that_does_not_tell_its_parameters_is_taken_as_it_is(config_dir: Path) -> None:
    assert loaded(config_dir, {"hook": "my_hooks.hidden", "params": {"x": 1}})


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("nowhere.log", "hooks[0]: no module 'nowhere' in "),
        ("my_hook.log", "did you mean 'my_hooks.log'?"),
        ("my_hooks.logg", "hooks[0]: module my_hooks has no function 'logg'; did you mean 'log'?"),
        ("my_hooks.Guard", "my_hooks.Guard is a class; name a function, or an object of it"),
        ("my_hooks.number", "hooks[0]: my_hooks.number is no function"),
        ("my_hooks.nothing", "hooks[0]: must take (data, user_api_key_dict, **params): "),
        ("my_hooks.needs", "hooks[0]: must take (data, user_api_key_dict, **params): "),
        (
            {"hook": "my_hooks.log", "params": {"levle": "x"}},
            "hooks[0].params: my_hooks.log has no parameter 'levle'; did you mean 'level'?",
        ),
    ],
)
def test_a_hook_that_does_not_load_is_an_error_with_its_path(
    config_dir: Path, written: Any, message: str
) -> None:
    assert message in error_of(config_dir, written)


def test_a_module_that_breaks_is_told_by_its_place(tmp_path: Path) -> None:
    (tmp_path / "my_hooks.py").write_text("import json\n1 / 0\n")
    told = error_of(tmp_path, "my_hooks.log")
    assert told.startswith("hooks[0]: cannot import my_hooks: ZeroDivisionError")
    assert "(my_hooks.py:2)" in told


# What judges


def test_a_check_is_a_function_of_three_arguments(config_dir: Path) -> None:
    assert checked(config_dir, "my_hooks.check").__name__ == "check"


def test_or_a_method_of_litellms_name(config_dir: Path) -> None:
    assert checked(config_dir, "my_hooks.guard").__name__ == "async_moderation_hook"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_hooks.log", None),
        ("my_hooks.nothing", "must take (data, user_api_key_dict, call_type)"),
        ("my_hooks.Guard", "my_hooks.Guard is a class"),
        ("my_hooks.chek", "module my_hooks has no function 'chek'; did you mean 'check'?"),
    ],
)
def test_a_check_that_does_not_load_is_an_error(
    config_dir: Path, name: str, message: str | None
) -> None:
    if message is None:
        assert checked(config_dir, name)
        return
    with pytest.raises(ConfigError) as caught:
        checked(config_dir, name)
    assert str(caught.value).startswith(f"ccproxy.yaml: ccproxy.moderation.check: {message}")


def test_a_check_is_not_imported_where_moderation_is_off(config_dir: Path) -> None:
    assert checked(config_dir, "nowhere.check", enabled=False) is None
    with importing(config_dir):
        assert load_check(Moderation(enabled=True, deny=("x",)), config_dir) is None
