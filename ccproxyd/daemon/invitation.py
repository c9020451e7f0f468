"""What the demo tells its user to try. It names no key: what is on standard error may be a log."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

_REQUEST: Final = (
    '{"model": "claude-haiku-4-5", "max_tokens": 64,'
    ' "messages": [{"role": "user", "content": "hello"}]}'
)


def invitation(program: Path) -> str:
    """For the demo that was started as `program`, beside which is the command line."""
    ctl = program.with_name("ccproxyctl")
    command = shlex.quote(str(ctl)) if ctl.is_file() else ctl.name
    return f"""
try it in another terminal:

  {command} run -- claude

or without a client:

  eval "$({command} env)"
  curl -si "$ANTHROPIC_BASE_URL/v1/messages" -H "x-api-key: $ANTHROPIC_AUTH_TOKEN" \\
    -H 'content-type: application/json' -d '{_REQUEST}'

the x-ccproxy-* headers of the answer say how it was routed; ^C ends the demo

"""
