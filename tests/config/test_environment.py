from __future__ import annotations

from typing import Any

import pytest

from ccproxyd.config.environment import (
    expand,
    expand_known,
    is_env_name,
    parse_env_file,
    references,
    resolve,
    saying_references,
)
from ccproxyd.errors import ConfigError

ENVIRON = {"PORT": "4001", "HOST": "h", "EMPTY": "", "RATIO": "0.5", "ON": "True"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("${PORT}", 4001),
        ("os.environ/PORT", 4001),
        ("${RATIO}", 0.5),
        ("${ON}", True),
        ("${HOST}", "h"),
        ("${EMPTY}", ""),
        ("http://${HOST}:${PORT}/", "http://h:4001/"),
        ("port ${PORT}", "port 4001"),
        ("${NONE:-7}", 7),
        ("${NONE:-}", ""),
        ("${EMPTY:-x}", "x"),
        ("${PORT:-7}", 4001),
        ("$PORT and $(pwd) and ${1}", "$PORT and $(pwd) and ${1}"),
        (7, 7),
        (None, None),
    ],
)
def test_a_value_of_ours_is_expanded(written: Any, meant: Any) -> None:
    found = expand({"a": [written]}, ENVIRON, "ccproxy.yaml")["a"][0]
    assert found == meant
    assert type(found) is type(meant)


@pytest.mark.parametrize("written", ["${NONE}", "x ${NONE} y", "os.environ/NONE"])
def test_an_unset_name_in_ours_is_an_error_with_the_fields_path(written: str) -> None:
    with pytest.raises(ConfigError) as caught:
        expand({"ccproxy": {"rules": [{"rule": written}]}}, {}, "ccproxy.yaml")
    assert str(caught.value) == "ccproxy.yaml: ccproxy.rules[0].rule: the environment has no NONE"


def test_what_a_shell_would_run_stays_as_it_is() -> None:
    document = {"oat_sources": {"a": "echo ${TOKEN}"}, "credentials": "cat ${FILE}"}
    assert expand(document, {}, "ccproxy.yaml") == document


def test_a_lone_reference_in_litellms_file_is_left_to_litellm() -> None:
    """So that a provider's key stands in no file that we write."""
    assert expand_known({"api_key": "${HOST}"}, ENVIRON) == {"api_key": "os.environ/HOST"}


def test_a_lone_reference_in_a_list_is_put_in_since_litellm_does_not_look_there() -> None:
    document = {"list": ["${HOST}", {"deep": "${HOST}"}, ["${HOST}"]]}
    assert expand_known(document, ENVIRON) == {"list": ["h", {"deep": "os.environ/HOST"}, ["h"]]}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("https://${HOST}/v1", "https://h/v1"),
        ("${NONE}", "${NONE}"),
        ("${NONE}-${HOST}", "${NONE}-h"),
        ("${NONE:-x}", "x"),
        ("os.environ/NONE", "os.environ/NONE"),
        (3, 3),
    ],
)
def test_what_the_environment_does_not_know_is_left_alone_in_litellms_file(
    written: Any, meant: Any
) -> None:
    assert expand_known({"a": written}, ENVIRON) == {"a": meant}


def test_values_can_be_put_in_literally() -> None:
    assert expand_known({"a": {"b": "${HOST}"}}, ENVIRON, literally=True) == {"a": {"b": "h"}}


def test_litellms_form_is_looked_up() -> None:
    assert resolve("os.environ/HOST", ENVIRON) == "h"
    assert resolve("os.environ/NONE", ENVIRON) is None
    assert resolve("plain", ENVIRON) == "plain"


def test_every_reference_is_found_with_its_field() -> None:
    document = {"a": ["os.environ/X", {"b": "${Y}/${Z:-1}"}], "c": 1}
    assert list(references(document, "config.yaml")) == [
        ("config.yaml: a[0]", "X"),
        ("config.yaml: a[1].b", "Y"),
        ("config.yaml: a[1].b", "Z"),
    ]


def test_an_env_file_holds_names_and_values() -> None:
    text = "# keys\n\nA=1\n  export B = two words \nC='x=y'\nD=\"q\"\nE=\nF='\n"
    assert parse_env_file(text, "env") == {
        "A": "1",
        "B": "two words",
        "C": "x=y",
        "D": "q",
        "E": "",
        "F": "'",
    }


@pytest.mark.parametrize("line", ["sk-secret", "2A=secret", "=secret", "A B=secret"])
def test_a_line_of_another_form_is_an_error_that_does_not_show_it(line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_env_file(f"A=1\n{line}\n", "env")
    assert str(caught.value) == "env: line 2: must be NAME=value"


def test_the_name_of_a_variable_is_told_from_other_names() -> None:
    assert is_env_name("ANTHROPIC_API_KEY")
    assert not is_env_name("tls.key")


REFERRED = {
    "KEY": "hunter2",
    "LONG": "hunter2-and-more",
    "WORD": "text",
    "PIN": "1234",
    "SHORT": "7",
}


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("must be a whole number, not 'hunter2'", "must be a whole number, not ${KEY}"),
        ("must be a text, not 'text'", "must be a text, not ${WORD}"),
        ("must be between 1 and 7, not 1234", "must be between 1 and 7, not ${PIN}"),
        ("OSError: of hunter2-and-more", "OSError: of ${LONG}"),
        ("no model_name 'x-hunter2'", "no model_name 'x-${KEY}'"),
        ("must be a text", "must be a text"),
    ],
)
def test_an_error_says_the_reference_and_not_what_it_stands_for(reason: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught, saying_references(REFERRED):
        raise ConfigError("ccproxy.yaml: ccproxy.x", reason, reason)
    assert (caught.value.reason, caught.value.hint) == (told, told)
