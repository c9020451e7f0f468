"""How many tokens a request is, counted once for each text that was not seen before.

The plain definition is `full_count`: the tokens of all that `content.read` finds, summed. Nothing
is added for the framing of messages, which each provider does in its own way. Texts are encoded as
`litellm.token_counter` does by default: cl100k_base, special tokens as ordinary text, in chunks of
1024 characters. The chunks make an evil text (a megabyte without a space) cost what any other
does, where encoding it whole is quadratic, and give the very number that LiteLLM gives.

A turn of a conversation repeats all earlier ones. A `TokenCounter` passes over what `prefixes` has
seen, byte for byte, and walks over the rest, mostly a message or two. Of what it finds there it
remembers the count of every piece by the hash that Python itself computes: SipHash with a secret of
the process, at the speed of memory. Two pieces share a key with a probability of 2**-64, and nobody
outside can aim for it. No text is kept. Instructions and tools, which may be a hundred and are the
same in each turn, are remembered as one piece: `marshal` writes them down in half the time that a
walk takes, and what it writes the same is the same.

A count is made in two steps, so that the second can be another thread's, or come later: `begin`
walks and looks up, at some 0.2 ms for 500 KB, `finish` encodes what is new, at some 20 MB/s. What
has begun tells already between which bounds the count will be. tiktoken lets other
threads run while it encodes, but each call has to win the interpreter back, for which it may wait 5
ms where an event loop is busy. So many chunks go into one call, a *separator* between them that
tiktoken takes for a special token: it encodes what is between two of them as if it stood alone.

The pattern that cuts a text into words is cl100k_base's, put in another way. Alternatives that need
no look ahead are in one group and take whatever they can, which no more than the original gives
anything back: each ends where its last class of characters ends. The group runs as one automaton,
at twice the speed.
"""

from __future__ import annotations

import base64
import hashlib
import marshal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import chain, compress, islice
from operator import invert, is_
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from attrs import Factory, define, frozen

from ccproxyd.errors import CcproxydError
from ccproxyd.paths import litellm_directory
from ccproxyd.routing.content import (
    INSTRUCTIONS,
    TOOLS,
    Content,
    read,
    read_conversation,
    read_frame,
)
from ccproxyd.routing.memory import Memory
from ccproxyd.routing.prefixes import Counted, Known, Prefixes
from ccproxyd.routing.toolsets import Toolset

if TYPE_CHECKING:
    import tiktoken

CHUNK_CHARACTERS: Final = 1024
CHUNKS_PER_CALL: Final = 64
"""About 3 ms of encoding."""

_CL100K_FILE: Final = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
_CL100K_SHA256: Final = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
_CL100K_PATTERN: Final = (
    r"(?:'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s+$|\s*[\r\n])|\s+(?!\S)|\s"
)
_SEPARATOR: Final = "\x1c"
"""ASCII's "file separator", which next to no text has."""
_SEPARATOR_TOKEN: Final = 100_257

_Piece = str | bytes
_is_none: Final = partial(is_, None)


class Encoding(Protocol):
    """What counts the tokens of texts, each for itself."""

    def lengths(self, texts: Sequence[str]) -> list[int]: ...


@define
class Tally:
    """A count that has begun: what is known, and what is still to be encoded.

    `missing` has a key for each piece that is not known, `new` each of them once. `frame` is what
    is around the conversation, if that is not known.
    """

    tokens: int
    missing: list[int] = Factory(list)
    new: dict[int, _Piece] = Factory(dict)
    frame: Tally | None = None
    frame_key: int | None = None
    raw: bytes = b""
    messages: list[Any] = Factory(list)
    known: Known = Factory(Known)

    @property
    def new_characters(self) -> int:
        beside = self.frame.new_characters if self.frame else 0
        return beside + sum(map(len, self.new.values()))

    @property
    def least(self) -> int:
        """So many tokens there are at least: those that are known."""
        return self.tokens + (self.frame.least if self.frame else 0)

    @property
    def most(self) -> int:
        """There cannot be more: a token is a byte at least."""
        new = sum(_bytes_at_most(self.new[key]) for key in self.missing)
        return self.tokens + new + (self.frame.most if self.frame else 0)


class TokenCounter:
    """Counts the tokens of request bodies, and remembers pieces. Safe among threads.

    `capacity` bounds the number of remembered pieces, at some 100 bytes each.

    >>> counter = TokenCounter()
    >>> hello = {"role": "user", "content": "Hello, world"}
    >>> counter.begin({"messages": [hello]}).new_characters, counter.count({"messages": [hello]})
    (12, 3)
    >>> counter.begin({"messages": [hello, {"content": "Hi"}]}).new_characters
    2
    """

    def __init__(self, encoding: Encoding | None = None, capacity: int = 65_536) -> None:
        self._encoding = encoding
        self._pieces: Memory[int] = Memory(capacity)
        self._prefixes = Prefixes(capacity // 16)

    def count(self, body: Mapping[str, Any], raw: bytes = b"") -> int:
        """The same as `full_count(body)`, at the price of what is new in it.

        `raw` is what the body was parsed from.
        """
        return self.finish(self.begin(body, raw))

    def begin(self, body: Mapping[str, Any], raw: bytes = b"") -> Tally:
        """Find out what is new; nothing is encoded."""
        messages = body.get("messages")
        known = Known()
        if raw and isinstance(messages, list):
            known = self._prefixes.known(raw, messages)
        before = known.mark.counted
        content = read_conversation(body, known.mark.messages, before.tools_referenced)
        tally = self._tally(content)
        tally.tokens += before.tokens
        if isinstance(messages, list):
            tally.raw, tally.messages, tally.known = raw, messages, known
        self._add_frame(tally, body, content.tools_referenced)
        return tally

    def finish(self, tally: Tally) -> int:
        """Encode what is new, and remember it."""
        total = self._sum(tally)
        if tally.frame:
            total += self._finish_frame(tally.frame, tally.frame_key)
        if tally.raw:
            self._prefixes.learn(tally.raw, tally.messages, tally.known, self._counted)
        return total

    @property
    def is_ready(self) -> bool:
        """Whether the encoding is loaded, so that nothing but the counting takes time."""
        return self._encoding is not None or load_encoding.cache_info().currsize > 0

    def count_text(self, text: str) -> int:
        return sum(_count_pieces([text], self._encoding_now()))

    def __len__(self) -> int:
        return len(self._pieces)

    def _encoding_now(self) -> Encoding:
        return load_encoding() if self._encoding is None else self._encoding

    def _tally(self, content: Content) -> Tally:
        keys = list(_keys(content))
        found = list(map(self._pieces.younger.get, keys))
        tally = Tally(content.tokens + sum(filter(None, found)))
        if None in found:
            pieces = zip(keys, _pieces(content), strict=True)
            self._look_further(tally, compress(pieces, map(_is_none, found)))
        return tally

    def _add_frame(self, tally: Tally, body: Mapping[str, Any], tools: set[int]) -> None:
        key = _frame_key(body, tools)
        tokens = None if key is None else self._pieces.get(key)
        if tokens is None:
            tally.frame = self._tally(read_frame(body, tools))
            tally.frame_key = key
        elif key is not None:
            tally.tokens += tokens
            self._pieces.put(key, tokens)

    def _finish_frame(self, frame: Tally, key: int | None) -> int:
        tokens = self._sum(frame)
        if key is not None:
            self._pieces.put(key, tokens)
        return tokens

    def _look_further(self, tally: Tally, pieces: Iterable[tuple[int, _Piece]]) -> None:
        """For pieces that the younger generation does not have."""
        for key, piece in pieces:
            tokens = self._pieces.get(key)
            if tokens is None:
                tally.missing.append(key)
                tally.new[key] = piece
            else:
                tally.tokens += tokens
                self._pieces.put(key, tokens)

    def _sum(self, tally: Tally) -> int:
        if not tally.new:
            return tally.tokens
        counts = _count_pieces(list(tally.new.values()), self._encoding_now())
        found = dict(zip(tally.new, counts, strict=True))
        for key, tokens in found.items():
            self._pieces.put(key, tokens)
        return tally.tokens + sum(map(found.__getitem__, tally.missing))

    def _counted(self, messages: list[Any]) -> Counted:
        """Of messages that have just been counted, which is why this takes next to no time."""
        content = read_conversation({"messages": messages})
        return Counted(self._sum(self._tally(content)), frozenset(content.tools_referenced))


def full_count(body: Mapping[str, Any], encoding: Encoding | None = None) -> int:
    """The tokens of a request body, by definition and without a memory.

    >>> full_count({"system": "Hello, world", "messages": [{"role": "user", "content": "Hi"}]})
    4
    """
    found = load_encoding() if encoding is None else encoding
    content = read(body)
    return content.tokens + sum(_count_pieces(list(_pieces(content)), found))


def find_encodings() -> Path:
    """The directory of the encodings that LiteLLM brings along, found without importing it.

    Raises:
        CcproxydError: LiteLLM is not installed.
    """
    return litellm_directory("count tokens") / "litellm_core_utils" / "tokenizers"


@frozen
class Cl100k:
    """The encoding that is counted by, around a `tiktoken.Encoding` that knows the separator."""

    encoding: tiktoken.Encoding

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text is.

        >>> load_encoding().lengths(["Hello, world", "", "Hi"])
        [3, 0, 1]
        """
        joined = _SEPARATOR.join(texts)
        if joined.count(_SEPARATOR) >= len(texts):
            return [len(self.encoding.encode_ordinary(text)) for text in texts]
        found = self.encoding.encode(joined, allowed_special={_SEPARATOR}, disallowed_special=())
        return list(_distances([*found, _SEPARATOR_TOKEN], len(texts)))


def _distances(tokens: list[int], count: int) -> Iterator[int]:
    start = 0
    for _ in range(count):
        end = tokens.index(_SEPARATOR_TOKEN, start)
        yield end - start
        start = end + 1


@cache
def load_encoding() -> Cl100k:
    """cl100k_base, from LiteLLM's own copy; 48 MB, thus at the first use and once in a process.

    tiktoken's own loader looks into a cache directory or on the network, and writes what it found
    there to /tmp; this one reads one file.

    Raises:
        CcproxydError: the file is not there, or is not the one it should be.
    """
    import tiktoken

    return Cl100k(
        tiktoken.Encoding(
            name="cl100k_base",
            pat_str=_CL100K_PATTERN,
            mergeable_ranks=_parse_ranks(_read_ranks(find_encodings() / _CL100K_FILE)),
            special_tokens={_SEPARATOR: _SEPARATOR_TOKEN},
        )
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


def _frame_key(body: Mapping[str, Any], tools_referenced: set[int]) -> int | None:
    """None if there is nothing, or something that marshal does not know."""
    frame = [_written(body.get(field)) for field in (*INSTRUCTIONS, *TOOLS)]
    if not any(frame):
        return None
    try:
        return hash((marshal.dumps(frame, 4), frozenset(tools_referenced)))
    except ValueError:
        return None


def _written(value: Any) -> Any:
    """Of tools that were met before the digest tells enough; JSON has no tuples."""
    return (value.digest,) if isinstance(value, Toolset) else value


def _pieces(content: Content) -> Iterator[_Piece]:
    return chain(content.texts, content.values)


def _keys(content: Content) -> Iterator[int]:
    """A text and a JSON value hash alike where their bytes do, hence the inversion."""
    return chain(map(hash, content.texts), map(invert, map(hash, content.values)))


def _count_pieces(pieces: Sequence[_Piece], encoding: Encoding) -> list[int]:
    chunks = [_chunks(piece if isinstance(piece, str) else piece.decode()) for piece in pieces]
    lengths = iter(_lengths(list(chain.from_iterable(chunks)), encoding))
    return [sum(islice(lengths, len(found))) for found in chunks]


def _bytes_at_most(piece: _Piece) -> int:
    return len(piece) if isinstance(piece, bytes) or piece.isascii() else 4 * len(piece)


def _chunks(text: str) -> list[str]:
    starts = range(0, len(text), CHUNK_CHARACTERS)
    return [text[start : start + CHUNK_CHARACTERS] for start in starts]


def _lengths(chunks: list[str], encoding: Encoding) -> Iterator[int]:
    for start in range(0, len(chunks), CHUNKS_PER_CALL):
        yield from encoding.lengths(chunks[start : start + CHUNKS_PER_CALL])
