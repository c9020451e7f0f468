"""How many tokens a request is, counted once for each text that was not seen before.

The plain definition is `full_count`: the tokens of all that `content.read` finds, summed. Nothing
is added for the framing of messages, which each provider does in its own way. Texts are encoded as
`litellm.token_counter` does by default: cl100k_base, special tokens as ordinary text, in chunks of
1024 characters. The chunks make an evil text (a megabyte without a space) cost what any other
does, where encoding it whole is quadratic, and give the very number that LiteLLM gives.

A turn of a conversation repeats all earlier ones, so a `TokenCounter` remembers the count of every
piece by its length and the hash that Python itself computes: SipHash with a secret of the process,
at the speed of memory. Two pieces share a key with a probability of 2**-64, and nobody outside can
aim for it. No text is kept. The memory has two generations: when the younger is full it becomes the
older, whose contents are forgotten unless somebody asks for them again. That is nearly "least
recently used", without any bookkeeping when a piece is found: a turn without news is a few calls of
built-in functions.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import sys
import threading
from collections.abc import Iterator, Mapping
from functools import cache, partial
from itertools import chain, compress
from operator import invert, is_
from pathlib import Path
from typing import Any, Final, Protocol

from ccproxyd.errors import CcproxydError
from ccproxyd.routing.content import Content, read

CHUNK_CHARACTERS: Final = 1024

_CL100K_FILE: Final = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
_CL100K_SHA256: Final = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
_CL100K_PATTERN: Final = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)

_Key = tuple[int, int]
_is_none: Final = partial(is_, None)


class Encoding(Protocol):
    """What is needed of a `tiktoken.Encoding`."""

    def encode_ordinary(self, text: str) -> list[int]: ...


class TokenCounter:
    """Counts the tokens of request bodies, and remembers pieces. Safe among threads.

    `capacity` bounds the number of remembered pieces, at some 200 bytes each.

    >>> counter = TokenCounter()
    >>> hello = {"role": "user", "content": "Hello, world"}
    >>> counter.pending({"messages": [hello]}), counter.count({"messages": [hello]})
    (12, 3)
    >>> counter.pending({"messages": [hello, {"role": "assistant", "content": "Hi"}]})
    2
    """

    def __init__(self, encoding: Encoding | None = None, capacity: int = 65_536) -> None:
        self._encoding = encoding
        self._generation_size = max(1, capacity // 2)
        self._younger: dict[_Key, int] = {}
        self._older: dict[_Key, int] = {}
        self._writing = threading.Lock()

    def count(self, body: Mapping[str, Any]) -> int:
        """The same as `full_count(body)`, at the price of what is new in it."""
        return self.count_within(body, sys.maxsize) or 0

    def count_within(self, body: Mapping[str, Any], limit: int) -> int | None:
        """The same, or None where more than `limit` characters would have to be encoded.

        >>> TokenCounter().count_within({"system": "Hello, world"}, 5) is None
        True
        """
        content = read(body)
        keys = list(_keys(content))
        found = list(map(self._younger.get, keys))
        known = sum(filter(None, found))
        if None in found:
            pieces = zip(keys, _pieces(content), strict=True)
            missing = list(compress(pieces, map(_is_none, found)))
            if sum(len(piece) for key, piece in missing if key not in self._older) > limit:
                return None
            known += sum(self._recall(key, piece) for key, piece in missing)
        return content.tokens + known

    def pending(self, body: Mapping[str, Any]) -> int:
        """How many characters `count` would have to encode."""
        content = read(body)
        younger, older = self._younger, self._older
        return sum(
            len(piece)
            for key, piece in zip(_keys(content), _pieces(content), strict=True)
            if key not in younger and key not in older
        )

    def count_text(self, text: str) -> int:
        return _count_piece(text, self._encoding_now())

    def __len__(self) -> int:
        return len(self._younger) + len(self._older)

    def _encoding_now(self) -> Encoding:
        return load_encoding() if self._encoding is None else self._encoding

    def _recall(self, key: _Key, piece: str | bytes) -> int:
        """The count of a piece that the younger generation did not have when the count began."""
        tokens = self._younger.get(key, self._older.get(key))
        if tokens is None:
            tokens = _count_piece(piece, self._encoding_now())
        with self._writing:
            if len(self._younger) >= self._generation_size:
                self._older, self._younger = self._younger, {}
            self._younger[key] = tokens
        return tokens


def full_count(body: Mapping[str, Any], encoding: Encoding | None = None) -> int:
    """The tokens of a request body, by definition and without a memory.

    >>> full_count({"system": "Hello, world", "messages": [{"role": "user", "content": "Hi"}]})
    4
    """
    found = load_encoding() if encoding is None else encoding
    content = read(body)
    return content.tokens + sum(_count_piece(piece, found) for piece in _pieces(content))


def find_encodings() -> Path:
    """The directory of the encodings that LiteLLM brings along, found without importing it.

    Raises:
        CcproxydError: LiteLLM is not installed.
    """
    found = importlib.util.find_spec("litellm")
    if found is None or not found.submodule_search_locations:
        raise CcproxydError("cannot count tokens: LiteLLM is not installed; install ccproxyd anew")
    return Path(found.submodule_search_locations[0], "litellm_core_utils", "tokenizers")


@cache
def load_encoding() -> Encoding:
    """cl100k_base, from LiteLLM's own copy; 48 MB, thus at the first use and once in a process.

    tiktoken's own loader looks into a cache directory or on the network, and writes what it found
    there to /tmp; this one reads one file.

    Raises:
        CcproxydError: the file is not there, or is not the one it should be.
    """
    import tiktoken

    return tiktoken.Encoding(
        name="cl100k_base",
        pat_str=_CL100K_PATTERN,
        mergeable_ranks=_parse_ranks(_read_ranks(find_encodings() / _CL100K_FILE)),
        special_tokens={},
    )


def _read_ranks(file: Path) -> bytes:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise CcproxydError(f"cannot count tokens: {file}: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != _CL100K_SHA256:
        raise CcproxydError(f"cannot count tokens: {file} is damaged; install LiteLLM anew")
    return data


def _parse_ranks(data: bytes) -> dict[bytes, int]:
    """Lines of a token in base64, a space, and its rank."""
    lines = (line.split() for line in data.splitlines())
    return {base64.b64decode(token): int(rank) for token, rank in lines}


def _pieces(content: Content) -> Iterator[str | bytes]:
    return chain(content.texts, content.values)


def _keys(content: Content) -> Iterator[_Key]:
    """A text and a JSON value hash alike where their bytes do, hence the inverted length."""
    lengths = chain(map(len, content.texts), map(invert, map(len, content.values)))
    return zip(map(hash, _pieces(content)), lengths, strict=True)


def _count_piece(piece: str | bytes, encoding: Encoding) -> int:
    text = piece if isinstance(piece, str) else piece.decode()
    return sum(
        len(encoding.encode_ordinary(text[start : start + CHUNK_CHARACTERS]))
        for start in range(0, len(text), CHUNK_CHARACTERS)
    )
