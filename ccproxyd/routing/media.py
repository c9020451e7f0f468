"""What an image or a document costs, from the first bytes of its base64.

Base64 is how media travels, not what a model reads: a 400 KB screenshot is some 1,500 tokens, not
the 100,000 that its letters would be. Anthropic's rule for images, the one used for every
provider here: scale down, keeping the proportions, until the long edge is at most 1568 pixels and
the area at most 1.15 megapixels; then one token for each 750 pixels, rounded up.

The size stands in the header of a PNG, GIF or WebP. A JPEG's may come late, after its thumbnails
and colour profiles; base64 maps 3 bytes to 4 letters, so its segments are visited one by one and
nothing between them is decoded. An image that is elsewhere (a URL, a file id) or cannot be read
counts as the largest that there is.

A PDF's pages are each read twice, as text (1,500 to 3,000 tokens by Anthropic's account, 2,250 in
the middle) and as an image of the whole page. A linearized PDF says how many pages it has; any
other counts one for each 50 KB. A document that is elsewhere counts as one page.
"""

from __future__ import annotations

import base64
import math
import re
import struct
from collections.abc import Callable
from typing import Final

MAX_EDGE: Final = 1568
MAX_PIXELS: Final = 1_150_000
PIXELS_PER_TOKEN: Final = 750

UNKNOWN_IMAGE_TOKENS: Final = math.ceil(MAX_PIXELS / PIXELS_PER_TOKEN)
PAGE_TOKENS: Final = 2_250 + UNKNOWN_IMAGE_TOKENS
BYTES_PER_PAGE: Final = 50_000
MAX_PAGES: Final = 600

_MAX_SEGMENTS: Final = 512
_PAGES = re.compile(rb"/Linearized\b.{0,200}?/N\s+(\d{1,9})\b", re.DOTALL)

Size = tuple[int, int]


def image_tokens(data: str) -> int:
    """The tokens of an image given as base64.

    >>> image_tokens("not an image") == UNKNOWN_IMAGE_TOKENS == 1534
    True
    """
    size = image_size(data)
    return area_tokens(*size) if size else UNKNOWN_IMAGE_TOKENS


def area_tokens(width: int, height: int) -> int:
    """The tokens of an image of that many pixels.

    >>> area_tokens(200, 200), area_tokens(1000, 1000), area_tokens(4000, 3000)
    (54, 1334, 1534)
    """
    area = width * height
    longest = max(width, height)
    if longest > MAX_EDGE:
        area = area * MAX_EDGE * MAX_EDGE // (longest * longest)
    return max(1, math.ceil(min(area, MAX_PIXELS) / PIXELS_PER_TOKEN))


def image_size(data: str) -> Size | None:
    """Width and height in pixels, or None where the header cannot be read."""
    head = window(data, 0, 30)
    for magic, read in _FORMATS:
        if head.startswith(magic):
            return _positive(read(data, head))
    return None


def pdf_tokens(data: str) -> int:
    """The tokens of a PDF given as base64.

    >>> pdf_tokens("A" * 200_000) == 3 * PAGE_TOKENS
    True
    """
    return PAGE_TOKENS * min(MAX_PAGES, max(1, _pages(data)))


def window(data: str, start: int, size: int) -> bytes:
    """Some bytes of a base64 text, without decoding the rest; fewer, or none, past its end.

    >>> window(base64.b64encode(b"abcdefgh").decode(), 2, 3)
    b'cde'
    """
    first, last = start // 3 * 4, -(-(start + size) // 3) * 4
    letters = data[first:last]
    try:
        decoded = base64.b64decode(letters + "=" * (-len(letters) % 4))
    except ValueError:
        return b""
    return decoded[start % 3 :][:size]


def _pages(data: str) -> int:
    if stated := _PAGES.search(window(data, 0, 1024)):
        return int(stated[1])
    size = len(data) * 3 // 4 - data[-2:].count("=")
    return math.ceil(size / BYTES_PER_PAGE)


def _positive(size: Size | None) -> Size | None:
    return size if size and min(size) > 0 else None


def _unpack(layout: str, data: bytes, offset: int) -> Size | None:
    try:
        width, height = struct.unpack_from(layout, data, offset)
    except struct.error:
        return None
    return width, height


def _png(_: str, head: bytes) -> Size | None:
    return _unpack(">II", head, 16)


def _gif(_: str, head: bytes) -> Size | None:
    return _unpack("<HH", head, 6)


def _webp(_: str, head: bytes) -> Size | None:
    """Three layouts: extended, lossy and lossless."""
    if len(head) < 30 or head[8:12] != b"WEBP":
        return None
    if head[12:16] == b"VP8X":
        return _little(head[24:27]) + 1, _little(head[27:30]) + 1
    if head[12:16] == b"VP8L":
        bits = _little(head[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return _little(head[26:28]) & 0x3FFF, _little(head[28:30]) & 0x3FFF


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _jpeg(data: str, _: bytes) -> Size | None:
    offset = 2
    for _segment in range(_MAX_SEGMENTS):
        segment = window(data, offset, 9)
        if len(segment) < 9 or segment[0] != 0xFF:
            return None
        if _starts_frame(segment[1]):
            height, width = struct.unpack_from(">HH", segment, 5)
            return width, height
        offset += _segment_length(segment)
    return None


def _starts_frame(marker: int) -> bool:
    """SOF0 to SOF15, among which stand three markers that are something else."""
    return 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)


def _segment_length(segment: bytes) -> int:
    marker = segment[1]
    if marker == 0xFF:
        return 1
    if marker == 0x01 or 0xD0 <= marker <= 0xD9:
        return 2
    return 2 + int.from_bytes(segment[2:4], "big")


_FORMATS: Final[tuple[tuple[bytes, Callable[[str, bytes], Size | None]], ...]] = (
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"\xff\xd8\xff", _jpeg),
    (b"GIF8", _gif),
    (b"RIFF", _webp),
)
