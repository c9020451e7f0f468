# ruff: noqa: ANN001, ANN201, ANN204, ARG002
"""Rules of your own. In ccproxy.yaml:

    - label: think
      rule: custom_rules.LongAnswerRule
      params:
        - max_tokens: 32000

A rule is made once, with its parameters, when the config is read. `evaluate` is then asked for each
request, so it should be quick. After an edit, `ccproxyctl reload`.

`request` reads like the body that the client sent: `request["model"]`, `request.get("messages")`.
Beside it are facts that are worked out only when a rule asks: `model` and `headers`, `token_count`,
`session_id` and `agent_id`, `thinking`, `tools_declared`, `tools_used`, `has_images`, `call_type`.
"""

from ccproxyd.routing import ClassificationRule


class LongAnswerRule(ClassificationRule):
    """The client wants a long answer."""

    reads_tokens = False  # it does not ask for token_count, which takes time to work out

    def __init__(self, max_tokens):
        self.max_tokens = max_tokens

    def evaluate(self, request, config):
        wanted = request.get("max_tokens")
        return isinstance(wanted, int) and wanted >= self.max_tokens

    def detail(self, request):
        """What was measured, for `ccproxyctl explain`; numbers and names, never content."""
        return f"max_tokens {request.get('max_tokens')}"


class ProjectRule(ClassificationRule):
    """The client says, in a header, which project it works for."""

    reads_tokens = False

    def __init__(self, project):
        self.project = project

    def evaluate(self, request, config):
        return request.headers.get("x-project") == self.project
