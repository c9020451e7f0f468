from __future__ import annotations

from typing import Any

import pytest

from ccproxyd.config.moderation import REFUSED, Moderation
from ccproxyd.config.settings import Settings
from ccproxyd.errors import ConfigError


def moderation(**written: Any) -> Moderation:
    return Settings.parse({"ccproxy": {"moderation": written}}).moderation


def test_it_is_off_unless_it_is_asked_for() -> None:
    assert not Settings.parse({}).moderation.enabled
    assert not moderation(deny=["x"]).enabled


def test_it_has_patterns_a_check_and_a_message() -> None:
    found = moderation(enabled=True, deny=["(?i)zeus", "a{3}"], check="own.guard", message="no")
    assert found == Moderation(True, ("(?i)zeus", "a{3}"), "own.guard", "no")
    assert moderation(enabled=True, check="own:guard").message == REFUSED


def test_its_scope_is_the_newest_turn_or_all() -> None:
    assert moderation(deny=["x"]).scope == "newest"
    assert moderation(scope="all").scope == "all"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"enabled": True}, "moderation: is enabled, and has neither 'deny' nor 'check'"),
        ({"enabled": True, "deny": []}, "moderation: is enabled, and has neither"),
        ({"enabled": 1}, "moderation.enabled: must be true or false, not 1"),
        ({"deny": "x"}, "moderation.deny: must be a list, not a text"),
        ({"deny": ["a", 3]}, "moderation.deny[1]: must be a regular expression, not a number"),
        ({"deny": [""]}, "moderation.deny[0]: is empty, and would be found in everything"),
        ({"check": "guard"}, "moderation.check: must be an import path such as my_checks.guard"),
        ({"check": 3}, "moderation.check: must be a text, not 3"),
        ({"message": ""}, "moderation.message: must be a text, not ''"),
        ({"scope": "new"}, "moderation.scope: must be newest, all, not 'new'"),
        ({"scope": "newst"}, "must be newest, all, not 'newst'; did you mean 'newest'?"),
        ({"scope": True}, "moderation.scope: must be a text, not True"),
        ({"scpoe": "all"}, "moderation.scpoe: unknown key; did you mean 'scope'?"),
        ({"dney": []}, "moderation.dney: unknown key; did you mean 'deny'?"),
    ],
)
def test_what_is_wrong_is_an_error_with_its_path(written: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        moderation(**written)
    assert message in str(caught.value)


def test_a_pattern_that_does_not_compile_is_told_by_its_place_and_not_quoted() -> None:
    with pytest.raises(ConfigError) as caught:
        moderation(deny=["fine", "(the secret"])
    assert caught.value.path == "ccproxy.yaml: ccproxy.moderation.deny[1]"
    assert str(caught.value).endswith("missing ) at character 12")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("judges", [{"deny": ["x"]}, {"check": "my_checks.guard"}])
def test_what_would_judge_and_is_not_switched_on_is_warned_of(judges: dict[str, object]) -> None:
    [warning] = Settings.parse({"ccproxy": {"moderation": judges}}).warnings
    assert warning == "ccproxy.yaml: ccproxy.moderation: is off, and refuses nothing, until " + (
        "enabled is true"
    )
    off_on_purpose = {"enabled": False, **judges}
    assert Settings.parse({"ccproxy": {"moderation": off_on_purpose}}).warnings == ()


def test_the_old_switch_alone_has_no_effect_and_says_so() -> None:
    switch = {"logging": {"enable_moderation": True}}
    [warning] = Settings.parse({"ccproxy": switch}).warnings
    assert "logging.enable_moderation: has no effect while ccproxy.moderation.enabled" in warning
    on = {**switch, "moderation": {"enabled": True, "deny": ["x"]}}
    assert Settings.parse({"ccproxy": on}).warnings == ()
