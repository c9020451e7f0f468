"""The handler without a gateway: its policy on dicts, and a plain `litellm --config`."""

import http.client
import logging
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
import yaml

from ccproxyd.errors import ConfigError
from ccproxyd.routing import (
    ClassificationRule,
    MatchModelRule,
    RoutingTable,
    Rule,
    Target,
    TokenCountRule,
)
from tests.support.provider import running_provider
from tests.worker.harness import PATIENCE, clean_environment, deployment, sealed

pytestmark = pytest.mark.anyio

PROMPT = "a prompt that nobody may read"
KEY = "sk-a-master-key"


@pytest.fixture
def standalone(handlers):
    """`ccproxyd.worker.standalone`."""
    from ccproxyd.worker import standalone

    return standalone


def table(*rules, targets=("think", "asked", "default")):
    return RoutingTable(rules=rules, targets=tuple(map(Target, targets)))


def rule(rule, label="think"):
    return Rule(label, rule, type(rule).__name__, path="ccproxy.rules[0]")


def data(model="asked", path="/v1/messages", **more):
    received = {"url": f"http://127.0.0.1:4000{path}?beta=true", "headers": {"X-App": "cli"}}
    return {"model": model, "proxy_server_request": received, **more}


class Raising(ClassificationRule):
    def evaluate(self, request, config):
        raise LookupError(PROMPT)


class Looking(ClassificationRule):
    """Keeps the requests that it was asked about."""

    def __init__(self):
        self.requests = []

    def evaluate(self, request, config):
        self.requests.append(request)
        return False


# -- deciding


async def test_the_rules_decide(standalone):
    policy = standalone.RulePolicy(table(rule(MatchModelRule("haiku"))))
    found = await policy.decide(data("claude-haiku-4-5"))
    assert found.label == "think"


async def test_every_decision_has_an_id_of_its_own(standalone):
    policy = standalone.RulePolicy(table())
    first, second = [await policy.decide(data()) for _ in range(2)]
    assert first.request_id != second.request_id


async def test_the_rules_see_the_requests_path_and_headers(standalone):
    looking = Looking()
    await standalone.RulePolicy(table(rule(looking))).decide(data())
    [request] = looking.requests
    assert (request.path, request.headers["x-app"]) == ("/v1/messages", "cli")


async def test_a_long_conversation_is_counted_in_a_thread(standalone, monkeypatch):
    policy = standalone.RulePolicy(table(rule(TokenCountRule(1000))))
    threads = []
    finish = policy._counter.finish

    def recording(tally):
        threads.append(threading.current_thread())
        return finish(tally)

    monkeypatch.setattr(policy._counter, "finish", recording)
    messages = [{"role": "user", "content": "many words " * 5000}]
    assert (await policy.decide(data(messages=messages))).label == "think"
    assert threads[0] is not threading.main_thread()


async def test_a_call_without_a_model_is_left_alone(standalone):
    policy = standalone.RulePolicy(table())
    assert await policy.decide({"file": b""}) is None


async def test_a_model_that_nothing_serves_is_a_404(standalone):
    policy = standalone.RulePolicy(table(targets=("think",)))
    with pytest.raises(Exception, match="unheard-of") as caught:
        await policy.decide(data("unheard-of"))
    assert caught.value.status_code == 404


async def test_a_rule_that_raises_is_told_by_its_name_and_counts_as_no_match(standalone, caplog):
    policy = standalone.RulePolicy(table(rule(Raising())))
    with caplog.at_level(logging.WARNING):
        assert (await policy.decide(data())).label == "asked"
    assert caplog.messages == ["cannot ask rule ccproxy.rules[0] (Raising): LookupError"]
    assert PROMPT not in caplog.text


# -- finding the config


def test_the_environment_names_the_config_directory(standalone, tmp_path):
    environ = {"CCPROXY_CONFIG_DIR": str(tmp_path)}
    assert standalone.find_config_dir(environ, Path("/etc/litellm.yaml")) == tmp_path


def test_else_it_is_where_litellms_config_is(standalone, tmp_path):
    (tmp_path / "ccproxy.yaml").touch()
    assert standalone.find_config_dir({}, tmp_path / "config.yaml") == tmp_path


@pytest.mark.parametrize("config", [None, Path("/nowhere/config.yaml")])
def test_else_it_is_in_the_home_directory(standalone, config, monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert standalone.find_config_dir({}, config) == Path("/home/someone/.ccproxy")


def test_a_config_that_cannot_be_used_ends_the_import(handlers, tmp_path, monkeypatch):
    monkeypatch.setenv("CCPROXY_CONFIG_DIR", str(tmp_path))
    monkeypatch.delitem(vars(handlers), "proxy_handler_instance", raising=False)
    with pytest.raises(ConfigError, match="does not exist"):
        handlers.proxy_handler_instance  # noqa: B018


# -- a plain LiteLLM

RULES = {
    "ccproxy": {
        "rules": [
            {"label": "routed", "rule": "MatchModelRule", "params": {"model_name": "haiku"}},
            {"label": "routed", "rule": "broken_rule.Raising"},
        ]
    }
}
BROKEN_RULE = f"""
from ccproxy.rules import ClassificationRule

class Raising(ClassificationRule):
    def evaluate(self, request, config):
        raise LookupError("{PROMPT}")
"""


def write_configs(directory, provider):
    config = {
        "model_list": [
            deployment("routed", "anthropic/routed", provider.url),
            deployment("asked", "anthropic/asked", provider.url),
        ],
        "litellm_settings": {"callbacks": ["ccproxyd.worker.handler.proxy_handler_instance"]},
        "general_settings": {"forward_client_headers_to_llm_api": True},
    }
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    (directory / "ccproxy.yaml").write_text(yaml.safe_dump(RULES))
    (directory / "broken_rule.py").write_text(BROKEN_RULE)


class PlainLiteLLM:
    """`litellm --config`; `words` is what it said so far."""

    def __init__(self, directory):
        litellm = Path(sys.executable).with_name("litellm")
        self.words = []
        self.port = None
        self._told = threading.Event()
        self.process = subprocess.Popen(
            [litellm, "--config", directory / "config.yaml", "--host", "127.0.0.1", "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=directory,
            env=clean_environment(
                {"LITELLM_MASTER_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
            ),
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def ready(self):
        self._told.wait(PATIENCE)
        assert self.port, self.words

    def post(self, body, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        fixed = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("POST", "/v1/messages", orjson.dumps(body), {**fixed, **named})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def end(self):
        self.process.terminate()
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)

    def _read(self):
        for line in self.process.stdout:
            self.words.append(line)
            if found := re.search(r"Uvicorn running on http://127.0.0.1:(\d+)", line):
                self.port = int(found[1])
                self._told.set()
        self.process.stdout.close()
        self._told.set()


@contextmanager
def plain_litellm(directory):
    litellm = PlainLiteLLM(directory)
    try:
        yield litellm
    finally:
        litellm.end()


def message(model):
    return {
        "model": model,
        "max_tokens": 16,
        "messages": [{"role": "user", "content": "hello"}],
        "metadata": {"user_id": "u"},
    }


def test_a_plain_litellm_routes_by_the_rules_beside_its_config(tmp_path):
    with running_provider() as provider:
        write_configs(tmp_path, provider)
        with plain_litellm(tmp_path) as litellm:
            litellm.ready()
            forged = sealed("asked", "forged", "")
            routed = litellm.post(message("claude-haiku-4-5"), **forged, x_app="cli")
            kept = litellm.post(message("asked"))
            refused = litellm.post(message("unheard-of"))
        assert (routed[0], kept[0], refused[0]) == (200, 200, 404)
        assert [request.model for request in provider.requests] == ["routed", "asked"]
        headers = provider.requests[0].headers
        assert headers["x-app"] == "cli"
        assert not [name for name in headers if name.startswith("x-ccproxy")]
    said = "".join(litellm.words)
    assert "cannot ask rule" in said
    assert PROMPT not in said
    assert b"unheard-of" in refused[1]


def test_a_plain_litellm_with_a_config_that_cannot_be_used_does_not_start(tmp_path):
    with running_provider() as provider:
        write_configs(tmp_path, provider)
    (tmp_path / "ccproxy.yaml").write_text("ccproxy: {rules: [{label: routed, rule: NoSuchRule}]}")
    with plain_litellm(tmp_path) as litellm:
        assert litellm.process.wait(PATIENCE) != 0
    assert "NoSuchRule" in "".join(litellm.words)
