"""The beginnings of a conversation, as hashes: what caches of earlier prompts are looked up by.

A cache can be used as far as two prompts begin alike. A conversation grows by whole messages, so
there is one beginning for each of its messages (with the tools, which templates put first); long
texts have some within, so that requests that share a long document meet, too. Hashes are those of
this process: nothing of the text can be had from them, and they mean nothing elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from server.chat.request import ChatRequest, CompletionRequest
from server.routing import tokens

Prefix = tuple[tuple[int, int], ...]

_FIRST, _LAST = 8, 56
"""Beginnings that are kept: the shortest, which many conversations share, and the longest."""
_PIECE = 4096
"""Characters after which a long text has another beginning."""
_PIECES = 16


def measured(request: ChatRequest | CompletionRequest) -> tuple[float, Prefix]:
    """Tokens of the prompt as they are to be expected, and its beginnings, the shortest first."""
    chain = _Chain()
    if isinstance(request, ChatRequest):
        tools = request.tool_use.tools
        if tools:
            text = orjson.dumps(tools).decode()
            chain.add(hash(text), tokens.tools_tokens(tools))
        for message in request.messages:
            _add_message(chain, message)
        if request.response_format is not None and "json_schema" in request.response_format:
            chain.tokens += tokens.json_tokens(request.response_format["json_schema"])
    elif isinstance(request.prompt, str):
        _add_text(chain, "", request.prompt)
    else:
        chain.add(hash(request.prompt), len(request.prompt))
    return chain.tokens, chain.kept()


class _Chain:
    def __init__(self) -> None:
        self.tokens = 0.0
        self._hash = 0
        self._found: list[tuple[int, int]] = []

    def add(self, what: int, count: float) -> None:
        self.tokens += count
        self._hash = hash((self._hash, what))
        self._found.append((self._hash, int(self.tokens)))

    def kept(self) -> Prefix:
        found = self._found
        if len(found) > _FIRST + _LAST:
            found = found[:_FIRST] + found[-_LAST:]
        return tuple(found)


def _add_message(chain: _Chain, message: Mapping[str, Any]) -> None:
    content = message.get("content")
    role: str = message["role"]
    if type(content) is str and "tool_calls" not in message:
        _add_text(chain, role, content)
    else:
        whole = orjson.dumps([role, content, message.get("tool_calls")])
        chain.add(hash(whole), tokens.message_tokens(message))


def _add_text(chain: _Chain, role: str, text: str) -> None:
    """In pieces, each as long as all before it, where it is long."""
    size = len(text)
    if size <= 2 * _PIECE:
        chain.add(hash((role, text)), tokens.MESSAGE + tokens.text_tokens(text))
        return
    whole = tokens.text_tokens(text)
    at, until = 0, _PIECE
    for _ in range(_PIECES):
        if until >= size:
            break
        chain.add(hash((role, text[at:until])), whole * (until - at) / size)
        at, until = until, 2 * until
    chain.add(hash((role, text[at:])), tokens.MESSAGE + whole * (size - at) / size)
