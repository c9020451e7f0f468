"""The handler's own decision, where LiteLLM runs without a gateway in front.

The same `routing` decides, on the config of `$CCPROXY_CONFIG_DIR`, else of the directory of
LiteLLM's own config if there is a `ccproxy.yaml` in it, else of `~/.ccproxy`. It is read once:
reloading is the daemon's art.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from ccproxyd.config.imports import build_table
from ccproxyd.config.load import load
from ccproxyd.errors import CcproxydError, ProxyError
from ccproxyd.routing import Request, Router, RoutingTable, Rule, TokenCounter
from ccproxyd.worker import doors
from ccproxyd.worker.verdict import Verdict

SLOW_CHARACTERS: Final = 20_000
"""More uncounted text than this is counted in a thread: a millisecond on the loop, about."""

_log = logging.getLogger(__name__)


class RulePolicy:
    """Decides by the rules of a config."""

    def __init__(self, table: RoutingTable) -> None:
        self._router = Router(table, on_error=_tell)
        self._counter = TokenCounter()

    @classmethod
    def find(cls, environ: Mapping[str, str]) -> RulePolicy:
        """The policy of this process's config.

        Raises:
            ConfigError: the config cannot be used.
        """
        config_dir = find_config_dir(environ, doors.config_file())
        return cls(build_table(load(config_dir, environ), config_dir))

    async def decide(self, data: Mapping[str, Any]) -> Verdict | None:
        """The verdict on a request that names a model.

        Raises:
            HTTPException: 404, since nothing serves the model and there is no `default`.
        """
        if not isinstance(data.get("model"), str):
            return None
        request = self._request(data)
        if self._router.reads_tokens:
            with contextlib.suppress(CcproxydError):  # the rules will meet it again, and tell it
                if request.new_characters > SLOW_CHARACTERS:
                    await asyncio.to_thread(lambda: request.token_count)
        try:
            decision = self._router.decide(request, time.monotonic())
        except ProxyError as error:
            raise doors.refusal(error.message, error.code) from error
        return Verdict(decision.label, uuid.uuid4().hex, decision.requested_model)

    def _request(self, data: Mapping[str, Any]) -> Request:
        received = data.get("proxy_server_request") or {}
        sent = received.get("headers") or {}
        headers = {str(name).lower(): value for name, value in sent.items()}
        path = urlsplit(received.get("url", "")).path
        return Request(data, headers=headers, path=path, counter=self._counter)


def find_config_dir(environ: Mapping[str, str], litellm_config: Path | None) -> Path:
    """Where the config is.

    >>> find_config_dir({"CCPROXY_CONFIG_DIR": "/etc/ccproxyd"}, None).as_posix()
    '/etc/ccproxyd'
    """
    if named := environ.get("CCPROXY_CONFIG_DIR"):
        return Path(named).expanduser()
    if litellm_config and (litellm_config.parent / "ccproxy.yaml").is_file():
        return litellm_config.parent
    return Path(os.path.expanduser("~/.ccproxy"))  # noqa: PTH111 - the environment may lack HOME


def _tell(rule: Rule, error: BaseException) -> None:
    _log.warning("cannot ask rule %s (%s): %s", rule.path, rule.name, type(error).__name__)
