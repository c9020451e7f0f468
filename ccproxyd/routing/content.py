"""What a model reads of a request body, piece by piece.

Four shapes of body say the same thing: Anthropic's messages, OpenAI's chat, OpenAI's responses and
the plain prompts of completions and embeddings. `read` walks any of them and finds

    texts    as they stand
    values   a tool's input, a schema: as compact JSON
    tokens   known without reading: of images, of PDFs, of a prompt given as token ids

and nothing for what a model does not read: ids, signatures, cache marks, hidden thinking, base64.
A tool whose loading is deferred costs nothing until a `tool_reference` names it.

The tables below say which fields of which block are read, and how. A block that they do not list
gives its strings, whatever they are called, but never base64. Bodies are hostile: a field of a
wrong type is an absent one, and nesting beyond any sense is read flat.

A body is a conversation, which grows, in a frame of instructions and tools, which seldom changes;
the two can be read apart. The walk over a conversation may begin behind the messages that somebody
has counted already. What is left of them is the names of the tools that they refer to, and of these
only hashes, since a count is remembered and a text never is. The walk does little for each block:
texts, messages and the results of tools, the commonest of them, are taken without a look at the
table.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import orjson
from attrs import Factory, define

from ccproxyd.routing.media import PAGE_TOKENS, UNKNOWN_IMAGE_TOKENS, image_tokens, pdf_tokens

UNKNOWN_MEDIA_TOKENS: Final = UNKNOWN_IMAGE_TOKENS
"""Audio, video and whatever comes next."""

INSTRUCTIONS: Final = ("system", "instructions")
TOOLS: Final = ("tools", "functions")
IMAGE_TYPES: Final = frozenset({"image", "image_url", "input_image"})

_MAX_DEPTH: Final = 16
_OPAQUE: Final = frozenset(
    "cache_control call_id citations encrypted_content encrypted_index format id media_type role "
    "signature status tool_use_id type".split()
)


@define
class Content:
    """What has been read, and the hashes of the names of the tools that it refers to."""

    texts: list[str] = Factory(list)
    values: list[bytes] = Factory(list)
    tokens: int = 0
    tools_referenced: set[int] = Factory(set)


_Reader = Callable[[Any, Content, int], None]


def read(body: Mapping[str, Any]) -> Content:
    """Everything that the model will read.

    >>> read({"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 10}).texts
    ['Hello']
    """
    content = read_conversation(body)
    _read_frame(body, content)
    return content


def read_conversation(
    body: Mapping[str, Any], first_message: int = 0, tools_referenced: Collection[int] = ()
) -> Content:
    """What is said, but for the messages before the first that counts, and what those refer to."""
    content = Content(tools_referenced=set(tools_referenced))
    messages = body.get("messages")
    _read(messages[first_message:] if isinstance(messages, list) else messages, content, 0)
    for field in ("input", "prompt"):
        _read(body.get(field), content, 0)
    return content


def read_frame(body: Mapping[str, Any], tools_referenced: Collection[int]) -> Content:
    """The instructions and tools around a conversation that refers to these."""
    content = Content(tools_referenced=set(tools_referenced))
    _read_frame(body, content)
    return content


def _read_frame(body: Mapping[str, Any], content: Content) -> None:
    for field in INSTRUCTIONS:
        _read(body.get(field), content, 0)
    for field in TOOLS:
        _read_tools(body.get(field), content)


def texts(value: Any) -> list[str]:
    """The texts of a system prompt, a message or a block; not what it holds besides.

    >>> texts([{"type": "text", "text": "Be brief."}, {"type": "image"}])
    ['Be brief.']
    """
    content = Content()
    _read(value, content, 0)
    return content.texts


def count_images(value: Any) -> int:
    """How many image blocks there are in a conversation, at whatever depth.

    >>> count_images([{"content": [{"type": "image"}, {"type": "text", "text": "Hello"}]}])
    1
    """
    found, waiting = 0, [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting += item
        elif isinstance(item, dict):
            kind = item.get("type")
            found += isinstance(kind, str) and kind in IMAGE_TYPES
            if "content" in item:
                waiting.append(item["content"])
            if "output" in item:
                waiting.append(item["output"])
    return found


def _read(value: Any, content: Content, depth: int) -> None:
    """A text, a block, or a list of these; or of token ids."""
    if isinstance(value, str):
        content.texts.append(value)
    elif depth > _MAX_DEPTH:
        _read_flat(value, content)
    elif isinstance(value, list):
        _read_items(value, content, depth + 1)
    elif isinstance(value, dict):
        _read_block(value, content, depth + 1)


def _read_items(items: list[Any], content: Content, depth: int) -> None:
    for item in items:
        if isinstance(item, dict):
            kind = item.get("type")
            if kind == "text" and isinstance(text := item.get("text"), str):
                content.texts.append(text)
            elif kind == "tool_result" or (kind is None and _is_plain_message(item)):
                _read(item.get("content"), content, depth)
            else:
                _read_block(item, content, depth)
        elif type(item) is int:
            content.tokens += 1
        else:
            _read(item, content, depth)


def _is_plain_message(item: dict[str, Any]) -> bool:
    return len(item) == 2 and "role" in item and "content" in item


def _read_block(block: dict[str, Any], content: Content, depth: int) -> None:
    kind = block.get("type")
    fields = _BLOCKS.get(kind) if kind is None or isinstance(kind, str) else None
    if fields is None:
        _read_flat(block, content)
        return
    for field, reader in fields:
        value = block.get(field)
        if value is not None:
            reader(value, content, depth)


def _read_flat(value: Any, content: Content) -> None:
    """Every string at whatever depth, but opaque ones, and a price for what looks like media."""
    waiting: list[tuple[Any, Any]] = [(None, value)]
    while waiting:
        key, found = waiting.pop()
        if isinstance(found, str):
            if key == "data" or found.startswith("data:"):
                content.tokens += UNKNOWN_MEDIA_TOKENS
            else:
                content.texts.append(found)
        elif isinstance(found, list):
            waiting.extend((None, item) for item in found)
        elif isinstance(found, dict):
            waiting.extend((key, item) for key, item in found.items() if key not in _OPAQUE)


def _read_text(value: Any, content: Content, _depth: int = 0) -> None:
    if isinstance(value, str):
        content.texts.append(value)


def _read_json(value: Any, content: Content, _depth: int = 0) -> None:
    """A tool's input or schema; OpenAI sends the former as text already."""
    if isinstance(value, (dict, list)):
        try:
            content.values.append(orjson.dumps(value))
        except TypeError:  # a lone surrogate, a number beyond 64 bits, a nest too deep
            _read_flat(value, content)
    else:
        _read_text(value, content)


def _read_call(value: Any, content: Content, _depth: int) -> None:
    """OpenAI's `function` in a tool call."""
    if isinstance(value, dict):
        _read_text(value.get("name"), content)
        _read_json(value.get("arguments", value.get("input")), content)


def _read_reference(value: Any, content: Content, _depth: int) -> None:
    if isinstance(value, str):
        content.texts.append(value)
        content.tools_referenced.add(hash(value))


def _read_image(value: Any, content: Content, _depth: int) -> None:
    data = _base64_of(value)
    content.tokens += UNKNOWN_IMAGE_TOKENS if data is None else image_tokens(data)


def _read_document(value: Any, content: Content, depth: int) -> None:
    """An Anthropic source or an OpenAI file: text, blocks, a PDF, or a document elsewhere."""
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "text":
        _read_text(value.get("data"), content)
    elif kind == "content":
        _read(value.get("content"), content, depth)
    else:
        data = _base64_of(value)
        content.tokens += PAGE_TOKENS if data is None else pdf_tokens(data)


def _read_media(_value: Any, content: Content, _depth: int) -> None:
    content.tokens += UNKNOWN_MEDIA_TOKENS


def _base64_of(value: Any) -> str | None:
    """The base64 of `{type: base64, data}`, `{url}`, `{file_data}` or a bare data URL."""
    if isinstance(value, dict):
        data = value.get("data")
        if isinstance(data, str):
            return data
        value = value.get("url", value.get("file_data"))
    if isinstance(value, str) and value.startswith("data:"):
        return value.partition(",")[2]
    return None


def _read_tools(tools: Any, content: Content) -> None:
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict) and not _is_deferred(tool, content):
            function = tool.get("function")
            _read_tool(function if isinstance(function, dict) else tool, content)


def _is_deferred(tool: dict[str, Any], content: Content) -> bool:
    return tool.get("defer_loading") is True and not (
        isinstance(tool.get("name"), str) and hash(tool["name"]) in content.tools_referenced
    )


def _read_tool(definition: dict[str, Any], content: Content) -> None:
    _read_text(definition.get("name"), content)
    _read_text(definition.get("description"), content)
    _read_json(definition.get("input_schema", definition.get("parameters")), content)


_Fields = tuple[tuple[str, _Reader], ...]

_TEXT: Final[_Fields] = (("text", _read_text),)
_CONTENT: Final[_Fields] = (("content", _read),)
_OUTPUT: Final[_Fields] = (("output", _read),)
_USE: Final[_Fields] = (("name", _read_text), ("input", _read_json))

_BLOCKS: Final[Mapping[str | None, _Fields]] = {
    # a message has a role and no type; so has a text block of a careless client
    None: (
        ("content", _read),
        ("text", _read_text),
        ("tool_calls", _read),
        ("function_call", _read_call),
    ),
    # Anthropic
    "text": _TEXT,
    "thinking": (("thinking", _read_text),),
    "redacted_thinking": (),
    "tool_use": _USE,
    "server_tool_use": _USE,
    "mcp_tool_use": _USE,
    "tool_result": _CONTENT,
    "mcp_tool_result": _CONTENT,
    "web_search_tool_result": _CONTENT,
    "web_fetch_tool_result": _CONTENT,
    "web_fetch_result": (("url", _read_text), ("content", _read)),
    "tool_search_tool_result": _CONTENT,
    "tool_search_tool_search_result": (("tool_references", _read),),
    "tool_reference": (("tool_name", _read_reference),),
    "image": (("source", _read_image),),
    "document": (("source", _read_document), ("title", _read_text), ("context", _read_text)),
    # OpenAI, chat
    "function": (("function", _read_call),),
    "custom": (("custom", _read_call),),
    "refusal": (("refusal", _read_text),),
    "image_url": (("image_url", _read_image),),
    "input_audio": (("input_audio", _read_media),),
    "file": (("file", _read_document),),
    # OpenAI, responses
    "message": _CONTENT,
    "input_text": _TEXT,
    "output_text": _TEXT,
    "summary_text": _TEXT,
    "reasoning_text": _TEXT,
    "reasoning": (("summary", _read), ("content", _read)),
    "function_call": (("name", _read_text), ("arguments", _read_text)),
    "function_call_output": _OUTPUT,
    "custom_tool_call": _USE,
    "custom_tool_call_output": _OUTPUT,
    "input_image": (("image_url", _read_image), ("file_id", _read_image)),
    "input_file": (
        ("filename", _read_text),
        ("file_data", _read_document),
        ("file_url", _read_document),
        ("file_id", _read_document),
    ),
}
