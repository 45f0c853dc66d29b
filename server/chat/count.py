"""What an engine is asked when a prompt is only to be counted, and what it says. Pure.

An engine counts by the model's own template and tokenizer, pictures included, so that the count is
that of the answer's `usage`. llama-server takes the whole body of the request; vLLM only what makes
the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from server.catalogue import EngineName

_COUNT = re.compile(rb'"(?:input_tokens|count)":\s*(\d+)')
_TOKENS = re.compile(rb'\{"tokens":\s*\[([\d,\s]*)\]')
_PROMPT = ("messages", "tools", "chat_template_kwargs", "prompt")


def count_question(body: Mapping[str, Any], engine: EngineName) -> tuple[str, dict[str, Any]]:
    """Path and body of the question how many tokens the prompt of `body` has, an engine's body of
    chat completions or of completions (see engine_body)."""
    if engine == "vllm":
        return "/tokenize", _for_vllm(body)
    if "messages" in body:
        return "/v1/chat/completions/input_tokens", dict(body)
    return "/tokenize", {"content": body["prompt"], "add_special": True, "parse_special": True}


def _for_vllm(body: Mapping[str, Any]) -> dict[str, Any]:
    question = {name: body[name] for name in _PROMPT if name in body}
    if "messages" in question:
        # There the older name, which chat completions take as well, would be passed over (0.32).
        question["messages"] = [
            {
                "reasoning" if key == "reasoning_content" else key: value
                for key, value in one.items()
            }
            for one in question["messages"]
        ]
    return question


def read_count(answer: bytes) -> int | None:
    """The count in the answer; None where there is none.

    The tokens themselves, which /tokenize lists, are not read: a list of 200,000 would cost more
    than all the rest.
    """
    if found := _COUNT.search(answer, 0, 1024):
        return int(found[1])
    if listed := _TOKENS.match(answer):
        return listed[1].count(b",") + 1 if listed[1] else 0
    return None
