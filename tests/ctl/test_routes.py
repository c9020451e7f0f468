import json
from pathlib import Path

import attrs
import pytest

from ccproxyd.ctl import main
from tests.control.fakes import ROUTES, FakeOperations, running_in_thread


def test_it_shows_the_rules_in_their_order_and_what_labels_mean(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_in_thread(path, FakeOperations()):
        assert main(["routes"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "#  RULE          LABEL  STICKY",
        "1  ThinkingRule  think  yes",
        "LABEL    MODEL",
        "default  anthropic/sonnet",
        "think    a/b, c/d",
        "smart    = think",
        "A request that no rule matches keeps its model.",
    ]


def test_it_says_what_happens_without_passthrough(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = attrs.evolve(ROUTES, default_model_passthrough=False, rules=()).to_json()
    with running_in_thread(path, FakeOperations(routes=answer)):
        assert main(["routes"]) == 0
    assert capsys.readouterr().out.endswith("no rule matches gets the label default.\n")


def test_json_is_the_daemons_answer_as_it_is(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_in_thread(path, FakeOperations()):
        assert main(["routes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(ROUTES.to_json()))
