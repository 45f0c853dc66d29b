"""What the list of models says to Anthropic's clients, beside what OpenAI's read in the same."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any


def model_fields(
    title: str, created: int, *, context: int, max_output: int | None = None
) -> dict[str, Any]:
    """Of one model. `created` in seconds of the epoch, `context` and `max_output` in tokens."""
    moment = datetime.datetime.fromtimestamp(created, datetime.UTC)
    return {
        "type": "model",
        "display_name": title,
        "created_at": moment.isoformat().replace("+00:00", "Z"),
        "lifecycle": "active",
        "max_input_tokens": context,
        "max_tokens": max_output or context,
    }


def page_fields(names: Sequence[str]) -> dict[str, Any]:
    """Of the list: it is one page, whatever `limit` was asked for."""
    return {
        "has_more": False,
        "first_id": names[0] if names else None,
        "last_id": names[-1] if names else None,
    }
