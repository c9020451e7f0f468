"""Images and documents: sizes out of headers, and what they cost, worked out by hand."""

import base64
import struct

import pytest

from ccproxyd.routing.media import (
    BYTES_PER_PAGE,
    MAX_PAGES,
    PAGE_TOKENS,
    UNKNOWN_IMAGE_TOKENS,
    area_tokens,
    image_size,
    image_tokens,
    pdf_tokens,
    window,
)
from tests.support.shapes import jpeg


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + bytes(40)


def riff(kind: bytes, rest: bytes) -> bytes:
    return b"RIFF" + bytes(4) + b"WEBP" + kind + rest.ljust(40, b"\0")


def jpeg_of(*segments: bytes) -> bytes:
    return b"\xff\xd8" + b"".join(segments)


def segment(marker: int, size: int) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", size + 2) + bytes(size)


def frame(marker: int, width: int, height: int) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">HBHHB", 17, 8, height, width, 3) + bytes(9)


@pytest.mark.parametrize(
    ("width", "height", "tokens"),
    [
        (1, 1, 1),
        (200, 200, 54),  # 40,000 / 750 = 53.3
        (1000, 1000, 1334),  # 1,000,000 / 750 = 1333.3
        (1568, 500, 1046),  # 784,000 / 750 = 1045.3: the edge is just allowed
        (3136, 1000, 1046),  # half of each edge: the same
        (1600, 1200, 1534),  # 1568 x 1176 is 1.84 megapixels, so 1,150,000 / 750 = 1533.3
        (100_000, 1, 1),  # 1568 wide and a hair high
        (10**9, 10**9, 1534),
    ],
)
def test_an_image_costs_its_area_after_the_resize(width: int, height: int, tokens: int) -> None:
    assert area_tokens(width, height) == tokens


def test_an_image_of_400_kilobytes_is_not_100_000_tokens() -> None:
    assert image_tokens(jpeg(1000, 1000, 400_000)) == 1334


@pytest.mark.parametrize(
    "data",
    [
        png(640, 480),
        b"GIF89a" + struct.pack("<HH", 640, 480) + bytes(40),
        b"GIF87a" + struct.pack("<HH", 640, 480) + bytes(40),
        riff(b"VP8X", bytes(8) + (639).to_bytes(3, "little") + (479).to_bytes(3, "little")),
        riff(b"VP8 ", bytes(10) + struct.pack("<HH", 640 | 0x4000, 480 | 0x8000)),
        riff(b"VP8L", bytes(5) + (639 | 479 << 14).to_bytes(4, "little")),
        jpeg_of(frame(0xC0, 640, 480)),
        jpeg_of(frame(0xC2, 640, 480)),
        jpeg_of(
            segment(0xE1, 60_000), segment(0xE2, 65_000), segment(0xC4, 30), frame(0xC1, 640, 480)
        ),
        jpeg_of(b"\xff\x01", b"\xff" * 3 + segment(0xE0, 14)[1:], frame(0xCF, 640, 480)),
    ],
    ids="png gif89 gif87 webp-x webp-lossy webp-lossless jpeg progressive late filled".split(),
)
def test_the_size_stands_in_the_header(data: bytes) -> None:
    assert image_size(encoded(data)) == (640, 480)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"what is this",
        png(0, 480),
        png(640, 480)[:20],
        b"GIF89a",
        b"RIFF" + bytes(60),
        riff(b"VP8 ", b"")[:24],
        jpeg_of(),
        jpeg_of(segment(0xE0, 14)),
        jpeg_of(b"not a marker at all"),
        jpeg_of(frame(0xC0, 640, 0)),
        jpeg_of(b"\xff\xd0" * 2000),
    ],
)
def test_an_image_without_a_size_costs_as_the_largest(data: bytes) -> None:
    assert image_size(encoded(data)) is None
    assert image_tokens(encoded(data)) == UNKNOWN_IMAGE_TOKENS == 1534


@pytest.mark.parametrize("data", ["é" * 100, "A", "====", "%%%%", "iVBORw0KGgo\ud800"])
def test_what_is_not_base64_is_an_image_without_a_size(data: str) -> None:
    assert image_tokens(data) == UNKNOWN_IMAGE_TOKENS


@pytest.mark.parametrize("start", range(7))
@pytest.mark.parametrize("size", range(5))
def test_a_window_is_a_slice_of_the_bytes(start: int, size: int) -> None:
    data = b"abcdefgh"
    assert window(encoded(data), start, size) == data[start : start + size]


def test_a_pdf_costs_a_page_for_each_50_kilobytes() -> None:
    assert PAGE_TOKENS == 2250 + 1534
    assert pdf_tokens(encoded(b"%PDF-1.7" + bytes(400_000))) == 9 * PAGE_TOKENS
    assert pdf_tokens(encoded(bytes(BYTES_PER_PAGE))) == PAGE_TOKENS
    assert pdf_tokens("") == PAGE_TOKENS


def test_a_linearized_pdf_says_how_many_pages_it_has() -> None:
    start = b"%PDF-1.5\n1 0 obj\n<< /Linearized 1 /L 400000 /H [ 1 2 ] /O 5 /E 9 /N 42 /T 3 >>"
    assert pdf_tokens(encoded(start + bytes(400_000))) == 42 * PAGE_TOKENS


def test_no_pdf_costs_more_than_the_most_pages_that_are_taken() -> None:
    assert pdf_tokens(encoded(b"%PDF-1.5 << /Linearized 1 /N 999999999 >>")) == 600 * PAGE_TOKENS
    assert pdf_tokens("A" * 100_000_000) == MAX_PAGES * PAGE_TOKENS
