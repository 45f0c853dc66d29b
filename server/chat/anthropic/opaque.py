"""Thinking of other providers in the hands of Anthropic's clients.

They send `redacted_thinking` back as they got it and never look into it: what another provider
wants back (a signature of Gemini's on a call, encrypted thoughts of OpenAI's) travels in there,
behind a mark of ours, so that a conversation goes on with it whatever the client speaks.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import orjson

from server.chat.reasoning_details import Detail, parse_details
from server.errors import RequestError

_MARK = "holdfast."


def wrapped(detail: Mapping[str, Any]) -> str:
    """The `data` of a `redacted_thinking` block that carries `detail`."""
    return _MARK + base64.urlsafe_b64encode(orjson.dumps(detail)).decode()


def unwrapped(data: str) -> Detail | None:
    """What `wrapped` was given; None for data that is Anthropic's own, or damaged."""
    if not data.startswith(_MARK):
        return None
    try:
        details = parse_details([orjson.loads(base64.urlsafe_b64decode(data[len(_MARK) :]))], "")
    except (binascii.Error, ValueError, RequestError):
        return None
    return details[0] if details else None


def is_ours(data: str) -> bool:
    return data.startswith(_MARK)
