"""What a provider wants back, in the hands of Anthropic's clients.

They send `redacted_thinking` and signatures back as they got them, and never look into them. So
what else must come back travels in there, behind a mark of ours (chat/opaque.py): which model it
was that signed, and what providers other than Anthropic want (a signature of Gemini's on a call,
encrypted thoughts of OpenAI's). A conversation then goes on with any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.chat.opaque import is_ours, unwrapped, wrapped
from server.chat.reasoning_details import Detail


def data_of(detail: Mapping[str, Any]) -> str:
    """The `data` of the `redacted_thinking` block that carries `detail`."""
    if detail["format"] == "anthropic" and "model" not in detail and "data" in detail:
        return str(detail["data"])
    return wrapped(detail)


def signature_of(detail: Mapping[str, Any]) -> str:
    """The `signature` of the block of thinking that `detail` tells of; the block has the text."""
    if "model" not in detail:
        return str(detail.get("signature", ""))
    return wrapped({key: value for key, value in detail.items() if key != "text"})


def detail_in(opaque: str, kind: str) -> Detail | None:
    """What `data_of` or `signature_of` was given; of what is Anthropic's own, a detail with it as
    its `kind`, `data` or `signature`. None for what was damaged."""
    if is_ours(opaque):
        return unwrapped(opaque)
    name = "reasoning.encrypted" if kind == "data" else "reasoning.text"
    return {"type": name, "format": "anthropic", kind: opaque}
