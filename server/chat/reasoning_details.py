"""Thinking as its provider must get it back: signatures and encrypted thoughts, kept over turns.

An answer's message carries them in `reasoning_details`, as at OpenRouter, and clients send the
message back as they got it. Each provider uses the entries of its own `format` and drops the
others', which mean nothing to it: a conversation that changes its provider goes on without them.
Where an entry says which `model` thought so, only that one gets it back: signatures are of no use
to another, which may even refuse them. Engines never get any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from server.chat.checks import array, mapping

FORMATS = frozenset(("anthropic", "gemini", "openai-responses"))
TYPES = frozenset(("reasoning.text", "reasoning.encrypted", "reasoning.summary"))
MAX_DETAILS = 1024

_STRINGS = ("text", "signature", "data", "id", "summary", "model")
_NUMBERS = ("index", "at")  # `at`: characters of the answer's text that came before it

_EDITION = re.compile(r"(-(\d{4}-\d\d-\d\d|\d{3,}|\d\d-\d{4}|preview|exp))*")

Detail = Mapping[str, Any]
Piece = Literal["text", "call", "detail"]


def parse_details(value: Any, name: str) -> list[Detail]:
    """The entries that some provider here can use, with known keys only.

    Those of another type or format are dropped, as is what of an entry is not of its kind.
    Raises RequestError for what is no array of objects.
    """
    details: list[Detail] = []
    for index, entry in enumerate(array(value, name, longest=MAX_DETAILS)):
        detail = usable_detail(mapping(entry, f"{name}[{index}]"), index)
        if detail is not None:
            details.append(detail)
    return details


def usable_detail(given: Detail, index: int) -> Detail | None:
    """One entry, the `index`th, with known keys only; None where no provider here can use it."""
    if not (_among(given.get("type"), TYPES) and _among(given.get("format"), FORMATS)):
        return None
    detail: dict[str, Any] = {"type": given["type"], "format": given["format"]}
    detail |= {key: given[key] for key in _STRINGS if type(given.get(key)) is str}
    for key in _NUMBERS:
        if type(given.get(key)) is int and given[key] >= 0:
            detail[key] = given[key]
    detail.setdefault("index", index)
    return detail


def details_of(message: Mapping[str, Any], form: str, model: str | None = None) -> list[Detail]:
    """Those of an assistant message that belong to the provider whose `form` it is, in order;
    `model`: as that provider calls it, only those that it can take for its own."""
    details = [one for one in message.get("reasoning_details", ()) if one["format"] == form]
    if model is None:
        return details
    return [one for one in details if "model" not in one or _is_edition(one["model"], model)]


def _is_edition(name: str, model: str) -> bool:
    """Whether an answer that says it is of `name` is of `model`: the same, or with its date or
    number behind it, such as `-20251001`, `-2025-10-01`, `-001` or `-preview-09-2025`. A gateway's
    prefix, as in `openai/gpt-5`, does not count."""
    name, model = name.rpartition("/")[2], model.rpartition("/")[2]
    return name.startswith(model) and _EDITION.fullmatch(name, len(model)) is not None


def in_order(
    message: Mapping[str, Any], form: str, model: str | None = None
) -> Iterator[tuple[Piece, Any]]:
    """An assistant message piece by piece, as its provider said it: `text` (not empty), `call` (an
    entry of `tool_calls`) and `detail` (one of details_of).

    A detail's `index` is its place among the pieces, its `at` the characters of text before it;
    where it has no `at`, the text is taken for one piece.
    """
    text: str = message["content"]
    calls = list(message.get("tool_calls", ()))
    written = count = 0
    for detail in sorted(details_of(message, form, model), key=lambda one: one["index"]):
        at = detail.get("at", len(text) if count < detail["index"] else written)
        if text[written:at]:
            yield "text", text[written:at]
            written, count = at, count + 1
        while calls and count < detail["index"]:
            yield "call", calls.pop(0)
            count += 1
        yield "detail", detail
        count += 1
    if text[written:]:
        yield "text", text[written:]
    for call in calls:
        yield "call", call


def _among(value: Any, known: frozenset[str]) -> bool:
    return type(value) is str and value in known
