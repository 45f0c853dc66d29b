"""Estimates held against what public tokenizers count."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import pytest

from server.routing.tokens import ABOVE, PAGE, message_tokens, raised, text_tokens, tools_tokens

COUNTED: list[tuple[str, int, int]] = [
    (
        "The router decides where a request goes: it looks at what the request needs, at "
        "what each model can do, and at how long each of them would take to say its "
        "first word. What is late stands behind what is not, and what is free stands "
        "before what costs money.",
        57,
        57,
    ),
    (
        "def merge(left: list[int], right: list[int]) -> list[int]:\n    found = []\n    "
        "while left and right:\n        side = left if left[0] <= right[0] else "
        "right\n        found.append(side.pop(0))\n    return found + left + right\n",
        59,
        60,
    ),
    (
        '{"id": "chatcmpl-9f3a", "object": "chat.completion", "created": '
        '1763712000, "choices": [{"index": 0, "message": {"role": "assistant", '
        '"content": "Hello!"}, "finish_reason": "stop"}], "usage": '
        '{"prompt_tokens": 12, "completion_tokens": 2}}',
        80,
        88,
    ),
    (
        "Der Verteiler entscheidet, wohin eine Anfrage geht. Er sieht nach, was sie "
        "braucht, was jedes Modell kann und wie lange es bis zum ersten Wort dauern "
        "würde. Was zu spät käme, steht hinten.",
        54,
        52,
    ),
    (
        "Le routeur décide où va une requête. Il regarde ce dont elle a besoin, ce que "
        "chaque modèle sait faire et combien de temps il faudrait jusqu'au premier mot.",
        42,
        40,
    ),
    (
        "路由器决定请求发往何处。它查看请求的需要、每个模型的能力。以及每个模型说出第一个词所需的时间。免费的排在收费的前面。",
        58,
        31,
    ),
    (
        "Маршрутизатор решает, куда пойдёт запрос. Он смотрит, что нужно запросу, что "
        "умеет каждая модель и сколько времени пройдёт до первого слова.",
        58,
        48,
    ),
    (
        "ルーターはリクエストの行き先を決めます。必要なもの、各モデルの能力、最初の単語までの時間を調べます。",
        53,
        35,
    ),
    (
        "2026-11-21T10:31:50Z 192.168.1.17 GET /v1/models 200 0.0042 1763720000 8841 "
        "77231 5.25 0.875",
        52,
        52,
    ),
    (
        "# Notes\n\n- one\n- two\n  - three\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nSee "
        "`holdfast route explain --json` for more.\n",
        42,
        39,
    ),
]
"""(text, tokens by OpenAI's cl100k, tokens by DeepSeek's tokenizer), recorded in November 2026."""


@pytest.mark.parametrize(("text", "one", "other"), COUNTED, ids=[row[0][:24] for row in COUNTED])
def test_a_text_is_estimated_within_a_third(text: str, one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert low * 0.67 <= text_tokens(text) <= high * 1.5


def test_all_of_them_together_within_a_tenth() -> None:
    estimate = sum(text_tokens(text) for text, _, _ in COUNTED)
    for counted in (sum(one for _, one, _ in COUNTED), sum(other for _, _, other in COUNTED)):
        assert 0.9 <= estimate / counted <= 1.15
        assert raised(estimate) > counted


def test_a_long_text_is_judged_by_its_pieces() -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 4000
    per = text_tokens(text[:9000]) / 9000
    assert text_tokens(text) == pytest.approx(per * len(text), rel=0.02)
    mixed = "a plain sentence of words " * 2000 + "中文" * 20_000
    assert text_tokens(mixed) == pytest.approx(
        text_tokens("a plain sentence of words " * 600) / 600 * 2000 + 0.8 * 40_000, rel=0.2
    )


@pytest.mark.parametrize("text", ["", " ", "\n", "\ud800", "\0", "🙂", "a" * 16_385])
def test_nothing_is_too_odd(text: str) -> None:
    assert text_tokens(text) >= 0
    assert raised(text_tokens(text)) >= 1


def picture(width: int, height: int) -> str:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header
    data += struct.pack(">I", zlib.crc32(header))
    return "data:image/png;base64," + base64.b64encode(data).decode()


def test_a_picture_counts_by_its_pixels() -> None:
    def tokens(width: int, height: int) -> float:
        part = {"type": "image_url", "image_url": {"url": picture(width, height)}}
        message: dict[str, Any] = {"role": "user", "content": [part]}
        return message_tokens(message) - message_tokens({"role": "user", "content": ""})

    assert tokens(1024, 1024) == 1024
    assert tokens(64, 32) == 4
    assert tokens(1920, 1080) == pytest.approx(2025)


def test_a_document_counts_by_its_pages() -> None:
    document = {"type": "document", "document": {"url": "data:,", "pages": 12}}
    message: dict[str, Any] = {"role": "user", "content": [document]}
    bare = message_tokens({"role": "user", "content": ""})
    assert message_tokens(message) - bare == 12 * PAGE


def test_tools_and_calls_count() -> None:
    tool = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
    assert tools_tokens(()) == 0
    assert tools_tokens((tool, tool)) > tools_tokens((tool,)) > 150
    call = {"function": {"name": "find", "arguments": '{"city":"Paris","days":[1,2,3]}'}}
    with_call = message_tokens({"role": "assistant", "content": "", "tool_calls": [call]})
    assert with_call > message_tokens({"role": "assistant", "content": ""}) + 10


def test_thoughts_of_earlier_turns_do_not_count() -> None:
    plain = {"role": "assistant", "content": "Yes."}
    assert message_tokens(plain | {"reasoning_content": "Well. " * 100}) == message_tokens(plain)


def test_the_estimate_is_raised() -> None:
    assert raised(1000) == int(1000 * ABOVE) + 1
