"""How many tokens a prompt will come to, without a tokenizer: in microseconds, for any model.

Byte-pair encodings of today's size (100,000 to 250,000 tokens) differ by language and by text more
than from each other, so a text is judged by the kinds of characters in it. The weights follow a
least-squares fit, in relative error, to three public tokenizers (OpenAI's cl100k, Anthropic's of
2023, DeepSeek's) over 840 pieces of 3,000 characters: prose, code, JSON, TOML and 20 languages.
Against these the estimate is off by 6 to 8 % in the median, and by less than 13 to 18 % in four of
five; digits count somewhat more than there, since Qwen3.5 reads them one by one. `raised` adds
what makes it an estimate from above; what each target really counted corrects it from then on
(observe.py). Clouds do not publish their tokenizers, so for them there is nothing better. The
engines here count exactly where that matters (counting.py), and what was once counted is not
estimated again (counts.py).
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

import orjson

from server.chat.images import pixels

ABOVE = 1.2
"""What the estimate is raised by."""
SLACK = 0.75
"""The part of the estimated tokens that a prompt surely has."""
PIXELS = 1024
"""Of a picture, in one token: patches of 16 x 16, merged 2 x 2 (Qwen3.5's image encoder)."""

PAGE = 2500.0
"""Tokens of a page of a PDF, from above, its text and its image. Anthropic's documentation (PDF
support) has about 7,000 for three pages. Measured in October 2026 were, on Claude 5.5, 2,330 for a
page of text, 2,480 for a table and 1,600 for a scan, and 560 for each on Gemini 3 (Hugging Face,
dataset JOHNISKING/pdf-token-cost). OpenAI says only that its models get both."""
LEAST_PAGE = 258
"""Tokens that a page has at the least: Google's documentation of Gemini before 3."""

MESSAGE = 5.0
"""Tokens around each message: its role, its beginning and its end."""
_TOOLS = 150.0
"""Tokens with which a template explains that there are tools."""
_LARGEST = 4096.0
"""Tokens of the largest picture: llama.cpp shrinks what would have more."""
_PICTURE = 1000.0
"""Tokens of a picture whose size nobody knows."""

_LETTER, _MARK, _DIGIT, _LINE = 0.24, 0.60, 0.80, 1.0
_LATIN, _ASIAN, _RARE = 0.45, 0.80, 2.5
"""Of a character of two bytes in UTF-8 (accents, Cyrillic, Greek, Arabic, ...), three, and four."""

_WHOLE = 16_384
"""Characters up to which a text is looked at whole; of a longer one, eight pieces."""
_PIECES, _PIECE = 8, 1024

_LETTERS = (string.ascii_letters + " ").encode()
_DIGITS = string.digits.encode()
_ASCII = bytes(range(128))
_BEYOND = bytes(range(128, 256))
_NOT_LEADING_2 = bytes(sorted({*range(256)} - {*range(0xC0, 0xE0)}))
_NOT_LEADING_3 = bytes(sorted({*range(256)} - {*range(0xE0, 0xF0)}))
_NOT_LEADING_4 = bytes(sorted({*range(256)} - {*range(0xF0, 0xF8)}))


def text_tokens(text: str) -> float:
    """Tokens of `text`, as they are to be expected. Not raised."""
    size = len(text)
    if size <= _WHOLE:
        return _counted(text)
    step = (size - _PIECE) // (_PIECES - 1)
    pieces = "".join([text[at : at + _PIECE] for at in range(0, size - _PIECE + 1, step)])
    return _counted(pieces) * size / len(pieces)


def message_tokens(message: Mapping[str, Any]) -> float:
    """Tokens of one message of a conversation, as they are to be expected. Not raised.

    Thinking of earlier turns does not count: the templates leave it out.
    """
    content = message.get("content")
    tokens = MESSAGE
    if type(content) is str:
        tokens += text_tokens(content)
    elif content:
        for part in content:
            tokens += text_tokens(part["text"]) if part["type"] == "text" else _other_tokens(part)
    for call in message.get("tool_calls", ()):
        function = call["function"]
        tokens += MESSAGE + text_tokens(function["name"]) + text_tokens(function["arguments"])
    return tokens


def tools_tokens(tools: tuple[Any, ...]) -> float:
    """Tokens of the tools that a model is told of, as they are to be expected. Not raised."""
    return _TOOLS + json_tokens(tools) if tools else 0.0


def json_tokens(value: Any) -> float:
    """Tokens of `value` written as JSON, as they are to be expected. Not raised."""
    return text_tokens(orjson.dumps(value).decode())


def raised(tokens: float) -> int:
    """The estimate from above."""
    return int(tokens * ABOVE) + 1


def _other_tokens(part: Mapping[str, Any]) -> float:
    document = part.get("document")
    return _picture_tokens(part) if document is None else document["pages"] * PAGE


def _picture_tokens(part: Mapping[str, Any]) -> float:
    image = part.get("image_url")
    seen = pixels(image["url"]) if image else None
    return _PICTURE if seen is None else min(_LARGEST, max(4.0, seen / PIXELS))


def _counted(text: str) -> float:
    data = text.encode("utf-8", "replace")
    rest = data.translate(None, _LETTERS)
    tokens = _LETTER * (len(data) - len(rest) - data.count(b" "))
    if not rest:
        return tokens
    if len(text) < len(data):
        strange = rest.translate(None, _ASCII)
        rest = rest.translate(None, _BEYOND)
        tokens += (
            _LATIN * len(strange.translate(None, _NOT_LEADING_2))
            + _ASIAN * len(strange.translate(None, _NOT_LEADING_3))
            + _RARE * len(strange.translate(None, _NOT_LEADING_4))
        )
    digits = len(rest) - len(rest.translate(None, _DIGITS))
    lines = rest.count(b"\n")
    return tokens + _DIGIT * digits + _LINE * lines + _MARK * (len(rest) - digits - lines)
