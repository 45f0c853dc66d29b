"""What a provider wants back, carried by clients that have no place for it but an opaque string.

Such strings (`encrypted_content` of the Responses API, `data` and `signature` of Anthropic's) are
sent back as they came and never looked into. Behind a mark of ours an entry of `reasoning_details`
travels in them, so that a conversation goes on with any provider, whatever the client speaks.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import orjson

from server.chat.reasoning_details import Detail, usable_detail

_MARK = "holdfast."


def wrapped(detail: Mapping[str, Any]) -> str:
    return _MARK + base64.urlsafe_b64encode(orjson.dumps(detail)).decode()


def is_ours(text: str) -> bool:
    return text.startswith(_MARK)


def unwrapped(text: str) -> Detail | None:
    """What `wrapped` was given; None for what is not ours, or damaged."""
    if not is_ours(text):
        return None
    try:
        carried = orjson.loads(base64.urlsafe_b64decode(text[len(_MARK) :]))
    except (binascii.Error, ValueError):
        return None
    return usable_detail(carried, 0) if type(carried) is dict else None
