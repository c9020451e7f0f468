import json

import pytest

from ccproxyd.ctl.printing import (
    Column,
    coloured,
    coloured_state,
    print_error,
    print_json,
    print_pairs,
    print_table,
    print_warnings,
    visible,
)

COLUMNS = [Column("label"), Column("requests", figures=True)]
ROWS = [["think", "1,200"], ["a longer label", "3"]]
HOSTILE = "opus\x1b[2J\r\n\x07[red]"


def test_a_table_is_aligned_text_where_no_person_looks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(COLUMNS, ROWS)
    assert capsys.readouterr().out.splitlines() == [
        "LABEL           REQUESTS",
        "think              1,200",
        "a longer label         3",
    ]


def test_a_table_without_rows_is_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, [])
    assert capsys.readouterr().out == "LABEL  REQUESTS\n"


@pytest.mark.usefixtures("terminal")
def test_a_table_on_a_terminal_has_its_cells_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(COLUMNS, [["[red]think", "1,200"]])
    said = capsys.readouterr().out
    assert "[red]think" in said
    assert "1,200" in said
    assert "─" in said


@pytest.mark.usefixtures("terminal")
def test_a_state_is_coloured_on_a_terminal() -> None:
    assert coloured_state("ready") == "\x1b[32mready\x1b[0m"
    assert coloured_state("degraded") == "\x1b[31mdegraded\x1b[0m"
    assert coloured_state("starting") == "\x1b[33mstarting\x1b[0m"


@pytest.mark.usefixtures("terminal")
def test_a_text_is_coloured_on_a_terminal_and_shown_without_its_own_colours() -> None:
    assert coloured("cannot\x1b[0m x", "31") == "\x1b[31mcannot?[0m x\x1b[0m"
    assert coloured("plain", None) == "plain"


def test_a_text_is_not_coloured_elsewhere() -> None:
    assert coloured("cannot x", "31") == "cannot x"


@pytest.mark.usefixtures("terminal")
def test_no_color_is_no_colour(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert coloured_state("ready") == "ready"
    print_table(COLUMNS, ROWS)
    assert "\x1b[3" not in capsys.readouterr().out


@pytest.mark.usefixtures("terminal")
def test_a_dumb_terminal_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert coloured_state("ready") == "ready"
    print_table(COLUMNS, ROWS)
    assert "─" not in capsys.readouterr().out


def test_text_from_outside_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, [[HOSTILE, "1"]])
    print_pairs([("model", HOSTILE)])
    print_error(HOSTILE)
    print_warnings([HOSTILE])
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err
    assert len(captured.out.splitlines()) == 4
    assert coloured_state(HOSTILE) == visible(HOSTILE)


def test_json_is_ascii_and_indented(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "é"})
    said = capsys.readouterr().out
    assert said.isascii()
    assert json.loads(said) == {"name": "é"}
    assert said.startswith('{\n  "name"')


def test_pairs_stand_in_two_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_pairs([("a", "1"), ("long", "2"), ("none", "")])
    print_pairs([])
    assert capsys.readouterr().out == "  a     1\n  long  2\n  none\n"
