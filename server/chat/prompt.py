"""The prompt of a text completion: a string, or the token ids of one."""

from __future__ import annotations

from typing import Any

from server.chat.checks import integer, invalid, wrong_type

MAX_TOKENS = 1_048_576

Prompt = str | tuple[int, ...]

_token = integer(0, 2**31 - 1)


def parse_prompt(value: Any, name: str) -> Prompt:
    """A string, an array of token ids, or an array that holds one of either."""
    if isinstance(value, str):
        return _not_empty(value, name)
    if not isinstance(value, list):
        raise wrong_type(name, "a string or an array of token ids", value)
    if not value:
        raise invalid(name, "it is empty")
    if not isinstance(value[0], str | list):
        if len(value) > MAX_TOKENS:
            raise invalid(name, f"it has more than {MAX_TOKENS} tokens")
        return tuple(_token(one, f"{name}[{index}]") for index, one in enumerate(value))
    if len(value) > 1:
        raise invalid(
            name, f"it holds {len(value)} prompts, and one is accepted", "Send a request for each"
        )
    inner = value[0]
    if isinstance(inner, list) and inner and not isinstance(inner[0], int):
        raise wrong_type(f"{name}[0][0]", "an integer", inner[0])
    return parse_prompt(inner, f"{name}[0]")


def _not_empty(text: str, name: str) -> str:
    if not text:
        raise invalid(name, "it is empty")
    return text
