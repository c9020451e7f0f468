import json
from pathlib import Path

import pytest

from ccproxyd.ctl.setup.files import Outcome
from ccproxyd.ctl.setup.report import Report, Step

WROTE = Outcome(Path("/c/env"), "wrote")
KEPT = Outcome(Path("/c/a.yaml"), "kept", "edited")
SAME = Outcome(Path("/c/b.yaml"), "unchanged")
STEPS = [Step("ccproxyctl start", "start it"), Step("eval", "use it")]


def test_what_was_done_is_told_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(is_json=False)
    assert report.tell([WROTE, KEPT, SAME]) == [WROTE]
    report.add("enabled   ccproxyd.service")
    report.note("that is all")
    report.finish("nothing has changed", STEPS)
    assert capsys.readouterr().out == (
        "  wrote     /c/env\n"
        "  kept      /c/a.yaml (edited)\n"
        "  enabled   ccproxyd.service\n"
        "note: that is all\n"
        "Next:\n"
        "  ccproxyctl start  start it\n"
        "  eval              use it\n"
    )


def test_that_nothing_was_done_is_told_too(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(is_json=False)
    report.tell([SAME, KEPT])
    report.finish("nothing has changed")
    assert capsys.readouterr().out == "  kept      /c/a.yaml (edited)\nnothing has changed\n"


def test_each_is_told_before_the_next_is_begun(capsys: pytest.CaptureFixture[str]) -> None:
    def outcomes():
        yield WROTE
        assert "/c/env" in capsys.readouterr().out
        yield KEPT

    Report(is_json=False).tell(outcomes())


def test_json_comes_once_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(is_json=True)
    report.tell([WROTE, SAME])
    report.add("enabled")
    report.note("by the way")
    assert capsys.readouterr().out == ""
    report.finish("nothing has changed", STEPS)
    assert json.loads(capsys.readouterr().out) == {
        "ok": True,
        "changed": True,
        "files": [WROTE.to_json(), SAME.to_json()],
        "done": ["enabled"],
        "notes": ["by the way"],
        "next": ["ccproxyctl start", "eval"],
    }
