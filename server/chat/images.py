"""Images in a request: `data:` URLs of pictures that an engine can safely decode.

Nothing is ever fetched for a client: an http(s) or file URL would let it reach what only this
machine can reach.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from typing import Any

from server.chat.checks import invalid, wrong_type
from server.errors import RequestError
from server.units import MIB, format_bytes

MAX_IMAGES = 64
MAX_IMAGE_BYTES = 20 * MIB
MAX_PIXELS = 64 * 1000 * 1000
"""Decoded, at 3 bytes a pixel, about 190 MB: a picture of a few kB may claim to be far larger."""
MAX_PIXELS_TOGETHER = 2 * MAX_PIXELS
"""Of a request: the engine decodes all of its images before it looks at what they come to."""

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BEGINNING = 4096  # characters, a multiple of 4; decoding 20 MiB whole would take 0.15 s
_HEAD = re.compile(r"data:image/([a-z]+);base64,", re.IGNORECASE)
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG start-of-frame markers; ITU-T T.81
_MAX_SEGMENTS = 10_000
"""Before a JPEG's frame header, fill bytes counted: profiles and previews of 20 MiB take 320."""


@dataclass(frozen=True, slots=True)
class Picture:
    kind: str
    """`"png"`, `"jpeg"`, `"gif"` or `"webp"`."""
    pixels: int


def read_picture(url: Any, name: str) -> Picture:
    """What the picture in `url` is.

    The bytes decide, not the label. Raises RequestError for anything but a base64 `data:` URL of
    such a picture, and for one beyond the bounds above.
    """
    if type(url) is not str:
        raise wrong_type(name, "a string", url)
    head = _HEAD.match(url)
    if head is None:
        raise _not_data(url, name)
    text = url[head.end() :].encode()
    padding = text.translate(None, _BASE64)
    if len(text) % 4 or padding not in (b"", b"=", b"==") or not text.endswith(padding):
        raise invalid(name, "its base64 is malformed")
    size = len(text) // 4 * 3 - len(padding)
    if size > MAX_IMAGE_BYTES:
        raise invalid(
            name,
            f"the image has {format_bytes(size)}, "
            f"more than the {format_bytes(MAX_IMAGE_BYTES)} that are accepted",
        )
    kind, width, height = _dimensions(binascii.a2b_base64(text[:_BEGINNING]))
    if kind == "jpeg" and width == 0:  # its size stands behind previews and colour profiles
        kind, width, height = _dimensions(binascii.a2b_base64(text))
    if kind == "" or width * height == 0:
        raise invalid(name, "it is not a readable PNG, JPEG, GIF or WebP image")
    if width * height > MAX_PIXELS:
        raise invalid(
            name,
            f"the image has {width} x {height} pixels, more than the {MAX_PIXELS // 10**6} million "
            "that are accepted",
        )
    return Picture(kind, width * height)


def pixels(url: str) -> int | None:
    """Of a picture that `read_picture` has taken: width times height, from its first bytes; None
    where its size stands further behind, or the URL is no such picture."""
    head = _HEAD.match(url)
    if head is None:
        return None
    text = url[head.end() : head.end() + _BEGINNING]
    try:
        _, width, height = _dimensions(binascii.a2b_base64(text))
    except ValueError:
        return None
    return width * height or None


def _not_data(url: str, name: str) -> RequestError:
    scheme = url.split(":", 1)[0].lower()
    if scheme in ("http", "https", "file", "ftp"):
        why = f"{scheme}: URLs are not fetched, so that no request can reach into this network"
    else:
        why = "it is not a base64 data: URL of an image"
    return invalid(name, why, "Send the image itself as data:image/png;base64,... (or jpeg, gif)")


def _dimensions(data: bytes) -> tuple[str, int, int]:
    """Kind, width and height from the picture's own header; `("", 0, 0)` if it is none."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR" and len(data) > 24:
        return "png", int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if data.startswith((b"GIF87a", b"GIF89a")) and len(data) > 10:
        return "gif", int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg", *_jpeg_size(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP" and len(data) > 30:
        return "webp", *_webp_size(data)
    return "", 0, 0


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Walks the marker segments to the frame header; ITU-T T.81, B.1.1.4 and B.2.2."""
    at = 2
    for _ in range(_MAX_SEGMENTS):
        if at + 9 > len(data) or data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in _SOF:
            height = int.from_bytes(data[at + 5 : at + 7], "big")
            return int.from_bytes(data[at + 7 : at + 9], "big"), height
        at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    return 0, 0


def _webp_size(data: bytes) -> tuple[int, int]:
    """From the first chunk of a RIFF WebP; RFC 9649, sections 2.5 to 2.7."""
    chunk = data[12:16]
    if chunk == b"VP8X":
        width, height = data[24:27], data[27:30]
        return 1 + int.from_bytes(width, "little"), 1 + int.from_bytes(height, "little")
    if chunk == b"VP8 ":
        width, height = data[26:28], data[28:30]
        return (
            int.from_bytes(width, "little") & 0x3FFF,
            int.from_bytes(height, "little") & 0x3FFF,
        )
    if chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return 0, 0
