"""A server of tools (MCP, on standard input and output) that adds."""

from __future__ import annotations

import json
import sys
from typing import Any

_NUMBERS = {"a": {"type": "number"}, "b": {"type": "number"}}
_TOOL = {
    "name": "add",
    "description": "Add two numbers.",
    "inputSchema": {"type": "object", "properties": _NUMBERS, "required": ["a", "b"]},
}


def answer(method: str, params: dict[str, Any]) -> dict[str, Any]:
    match method:
        case "initialize":
            server = {"name": "sums", "version": "1"}
            version = params.get("protocolVersion", "2025-06-18")
            told = {"capabilities": {"tools": {}}, "serverInfo": server}
            return {"protocolVersion": version, **told}
        case "tools/list":
            return {"tools": [_TOOL]}
        case "tools/call":
            given = params["arguments"]
            return {"content": [{"type": "text", "text": str(given["a"] + given["b"])}]}
    return {}


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        if "id" in asked:
            result = answer(asked["method"], asked.get("params") or {})
            print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)


if __name__ == "__main__":
    main()
