"""Settings that would undo what the client is given are told, by file and name alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ccproxyd.ctl.env import client_variables
from ccproxyd.ctl.overrides import overridden, settings_files, unwanted
from tests.ctl.service.fakes import write

URL = "http://127.0.0.1:4000"
GIVEN = {"ANTHROPIC_BASE_URL": URL, "ANTHROPIC_AUTH_TOKEN": "sk-1", "ENABLE_TOOL_SEARCH": "true"}


def told(tmp_path: Path, settings: Any, given: dict[str, str | None] | None = None) -> list[str]:
    file = tmp_path / ".claude" / "settings.json"
    write(file, settings if isinstance(settings, str) else json.dumps(settings))
    found = overridden(given or dict(GIVEN), settings_files({}, tmp_path, tmp_path / "work"))
    return [note.partition(", ")[0].removeprefix(f"{file} sets ") for note in found]


def test_another_address_and_another_key_are_told(tmp_path: Path) -> None:
    env = {"ANTHROPIC_BASE_URL": "https://elsewhere.example", "ANTHROPIC_AUTH_TOKEN": "sk-canary"}
    assert told(tmp_path, {"env": env}) == list(env)


def test_what_they_hold_is_not_repeated(tmp_path: Path) -> None:
    write(tmp_path / "file.json", json.dumps({"env": {"ANTHROPIC_AUTH_TOKEN": "sk-canary"}}))
    [note] = overridden(GIVEN, (tmp_path / "file.json",))
    assert "canary" not in note


def test_the_same_values_are_no_news_nor_are_other_variables(tmp_path: Path) -> None:
    assert told(tmp_path, {"env": {**GIVEN, "ENABLE_TOOL_SEARCH": "false", "OTHER": "1"}}) == []


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"])
def test_a_login_that_would_take_the_subscriptions_place_is_told(tmp_path: Path, name: str) -> None:
    given = unwanted(oauth=True) | client_variables("127.0.0.1", 4000, "sk-1", {}, oauth=True)
    assert told(tmp_path, {"env": {name: "sk"}}, given) == [name]


def test_an_api_key_beside_our_token_does_no_harm(tmp_path: Path) -> None:
    given = unwanted(oauth=False) | client_variables("127.0.0.1", 4000, "sk-1", {})
    assert told(tmp_path, {"env": {"ANTHROPIC_API_KEY": "sk"}}, given) == []


@pytest.mark.parametrize(("value", "is_told"), [("1", True), (1, True), ("0", False), ("", False)])
def test_a_client_that_speaks_to_somebody_else_is_told(
    tmp_path: Path, value: Any, is_told: bool
) -> None:
    env = {"CLAUDE_CODE_USE_BEDROCK": value}
    assert told(tmp_path, {"env": env}) == list(env) * is_told


@pytest.mark.parametrize("url", ["http://localhost:4000", "http://127.0.0.1:4000/"])
def test_the_same_address_may_be_written_otherwise(tmp_path: Path, url: str) -> None:
    assert told(tmp_path, {"env": {"ANTHROPIC_BASE_URL": url}}) == []


@pytest.mark.parametrize("settings", ["", "{", "[" * 100_000, "[]", {}, {"env": []}, {"env": None}])
def test_what_is_no_settings_says_nothing(tmp_path: Path, settings: Any) -> None:
    assert told(tmp_path, settings) == []


def test_nor_does_what_is_no_text_or_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bytes.json").write_bytes(b"\x80")
    assert list(overridden(GIVEN, (tmp_path / "bytes.json", tmp_path, tmp_path / "none"))) == []


def test_settings_are_the_users_the_projects_and_the_administrators(tmp_path: Path) -> None:
    own, shared, local, *managed = settings_files({}, tmp_path, tmp_path / "work")
    assert own == tmp_path / ".claude" / "settings.json"
    assert {shared.parent, local.parent} == {tmp_path / "work" / ".claude"}
    assert all(file.name == "managed-settings.json" for file in managed)
    elsewhere = {"CLAUDE_CONFIG_DIR": str(tmp_path / "own")}
    assert settings_files(elsewhere, tmp_path, tmp_path)[0] == tmp_path / "own" / "settings.json"


def test_a_project_in_the_home_is_told_once(tmp_path: Path) -> None:
    write(tmp_path / ".claude" / "settings.json", json.dumps({"env": {"ANTHROPIC_API_KEY": "sk"}}))
    files = settings_files({}, tmp_path, tmp_path)
    assert len(list(overridden(unwanted(oauth=True), files))) == 1
