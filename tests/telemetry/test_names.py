from __future__ import annotations

import pytest

from ccproxyd.telemetry import names as module
from ccproxyd.telemetry.names import Names

SECRET = "sk-ant-api03-0123456789"


@pytest.mark.parametrize("name", ["label", "model", "original_model", "fallback", "fallback_model"])
def test_a_model_that_is_called_like_a_key_is_not_told(name: str) -> None:
    told = Names().harmless({"request_id": "r", name: f"anthropic/{SECRET}", "latency_ms": 1.0})
    assert SECRET not in repr(told)
    assert told[name].startswith("anthropic/")
    assert (told["request_id"], told["latency_ms"]) == ("r", 1.0)


def test_a_usual_name_stays_as_it_is_and_none_is_made_up() -> None:
    message = {"label": "think", "model": "anthropic/claude-opus-4-8", "fallback": None}
    assert Names().harmless(message) == message
    assert Names().harmless({"label": 7}) == {"label": None}


def test_a_name_is_cut_and_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 3)
    names = Names()
    for number in range(9):
        told = names.harmless({"original_model": f"{number}" * 500})
        assert told["original_model"] == f"{number}" * 128
    assert len(names._known) <= 3
