from __future__ import annotations

import pytest

from ccproxyd.telemetry.plain import one_line, shown


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "1"), (1234.5678, "1234.568"), (True, "True"), ("a\tb", "a b")]
)
def test_a_value_is_short(value: object, text: str) -> None:
    assert shown(value) == text


def test_a_terminal_has_nothing_to_obey() -> None:
    assert one_line("\x1b]0;title\x07 \udcff\r\nx") == "]0;title x"
