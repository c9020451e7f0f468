import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from ccproxyd.errors import CcproxydError
from ccproxyd.gateway import prices as module
from ccproxyd.gateway.prices import find_price_file, load_prices


def test_the_file_is_litellms_own_and_knows_claude_and_gpt():
    prices = load_prices()
    assert find_price_file().is_file()
    assert prices.find("claude-haiku-4-5", "anthropic") is not None
    assert prices.find("gpt-4o", "openai") is not None


def test_litellm_is_not_imported_for_it():
    code = (
        "import sys; from ccproxyd.gateway.prices import load_prices; load_prices(); "
        "sys.exit('litellm' in sys.modules)"
    )
    environ = {"PYTHONPATH": ":".join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environ).returncode == 0


def test_without_litellm_there_are_no_prices(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CcproxydError, match="cannot price answers: LiteLLM is not installed"):
        load_prices()


def test_a_missing_file_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "find_price_file", lambda: tmp_path / "prices.json")
    with pytest.raises(CcproxydError, match=r"cannot price answers: .*prices.json: No such file"):
        load_prices()


def test_a_damaged_file_is_named(monkeypatch, tmp_path):
    file = Path(tmp_path, "prices.json")
    file.write_bytes(b'{"claude": ')
    monkeypatch.setattr(module, "find_price_file", lambda: file)
    with pytest.raises(CcproxydError, match=r"prices: Expecting value.*prices.json is damaged"):
        load_prices()
