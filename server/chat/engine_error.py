"""An engine's complaint -> the error that the client gets.

What an engine says about itself (paths, dumps of the request, its build) is never passed on; what
it says about the client's own request is, where it helps, shortened to one line.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from server.errors import (
    ContextExceeded,
    DoesNotFit,
    EngineError,
    EngineUnready,
    HoldfastError,
    RequestError,
)

_SHOWN = 300

_COMPLAINTS: tuple[tuple[str, str, str, str | None], ...] = (
    (
        "Failed to load image",
        "An image could not be decoded",
        "Send a whole PNG, JPEG or GIF, base64-encoded in a data: URL",
        "messages",
    ),
    (
        "image input is not supported",
        "This build cannot see images",
        "Leave the images out, or ask for a build with an image encoder",
        "messages",
    ),
    (
        "Prompt contains invalid tokens",
        "The prompt holds token ids that do not exist",
        "Send text, or ids of this model's own vocabulary",
        "prompt",
    ),
    (
        "is out of vocabulary",
        "The prompt holds token ids that do not exist",
        "Send text, or ids of this model's own vocabulary",
        "prompt",
    ),
    (
        "is not a multimodal model",
        "This build cannot see images",
        "Leave the images out, or ask for a build with an image encoder",
        "messages",
    ),
    (
        "does not support embeddings",
        "This build makes no embeddings",
        "Ask for a model that does; GET /v1/models tells which do",
        "model",
    ),
    (
        "Input content cannot be empty",
        "An input is empty",
        "Leave it out",
        "input",
    ),
    (
        "Cannot have 2 or more assistant",
        "The last two messages are both the assistant's",
        "Join them into one",
        "messages",
    ),
    (
        "Field 'n_cmpl'",
        "'n' is larger than the number of slots of this engine",
        "Ask for fewer choices, or several times",
        "n",
    ),
    (
        "Field 'n'",
        "'n' is larger than the number of slots of this engine",
        "Ask for fewer choices, or several times",
        "n",
    ),
)
"""Part of an engine's message, what the client is told, what to do, and the field at fault."""

_SCHEMA_COMPLAINTS = (
    "JSON schema",
    "Failed to parse grammar",
    "failed to parse grammar",
    "json schema",  # this and the next are vLLM's
    "Grammar error",
)
_SOURCE_LINE = re.compile(r"\[[\d:]+\] \S+:\d+: ")  # xgrammar says where in its code it was
_MEMORY = re.compile(r"bad_alloc|out of memory|failed to allocate|unable to allocate", re.I)
_TOO_LONG = re.compile(
    r"maximum context length is (\d+) tokens.*?contains at least (\d+)", re.DOTALL
)


def engine_error(status: int, body: bytes) -> HoldfastError:
    """The error for an engine's answer of `status` other than 200 with `body`."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    error = parsed.get("error") if isinstance(parsed, dict) else None
    return error_of(status, error)


def error_of(status: Any, error: Any) -> HoldfastError:
    """The same, from the engine's `error` object, as it also comes inside a stream; there, its
    `code` is the status."""
    status = status if type(status) is int else 500
    fields = error if isinstance(error, dict) else {}
    message = fields.get("message")
    message = message if isinstance(message, str) else ""
    if fields.get("type") == "exceed_context_size_error":
        return _context_exceeded(fields.get("n_ctx"), fields.get("n_prompt_tokens"))
    if too_long := _TOO_LONG.search(message):  # vLLM, which stops counting once it is too much
        return _context_exceeded(int(too_long[1]), int(too_long[2]), "at least ")
    if status == 503:
        return EngineUnready(
            "The model is not ready", why="its engine is loading", next_step="Try again shortly"
        )
    if _MEMORY.search(message):  # llama-server also says so with status 400
        return DoesNotFit(
            "The engine has too little memory for this request",
            next_step="Try again shortly, or with a shorter prompt",
            retry_after=5,
        )
    for part, what, next_step, param in _COMPLAINTS:
        if part in message:
            return RequestError(what, next_step=next_step, param=param)
    if any(part in message for part in _SCHEMA_COMPLAINTS):
        why = " ".join(_SOURCE_LINE.sub("", message).split())[:_SHOWN]
        return RequestError(
            "A JSON schema of the request cannot be enforced",
            why=why,
            next_step="Simplify the schema in 'response_format' or 'tools'",
        )
    if "does not match the expected" in message:
        return EngineError(
            "The model's answer broke off in a form that cannot be read as an answer",
            next_step="Try again, or with fewer or simpler tools",
        )
    if status == 400:
        return RequestError(
            "The engine refused this request", next_step="The engine's log on the server says why"
        )
    return EngineError(
        "The engine failed on this request",
        why=f"it answered with status {status}",
        next_step="Try again; the engine's log on the server says more",
    )


def _context_exceeded(limit: Any, needed: Any, about: str = "") -> ContextExceeded:
    """The numbers, in the words that OpenAI's clients look for."""
    if type(limit) is not int or type(needed) is not int:
        return ContextExceeded("The prompt exceeds the model's maximum context length")
    return ContextExceeded(
        f"This model's maximum context length is {limit} tokens",
        why=f"the prompt has {about}{needed}",
        next_step="Shorten the prompt, or have the model served with a larger context",
        param="messages",
    )
