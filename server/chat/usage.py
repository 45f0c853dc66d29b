"""Tokens that a request used, as engines and OpenAI report them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeGuard


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    """Of the prompt's tokens, those that were still in the engine's cache."""

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def with_choice(self, other: Usage) -> Usage:
        """Both choices of one prompt: it is read once, and each answer is written."""
        return Usage(
            self.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            min(self.cached_tokens, other.cached_tokens),
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.total_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }


def usage_of(value: Any) -> Usage | None:
    """The `usage` of an engine's answer, or None where it is absent or not to be believed."""
    if not isinstance(value, dict):
        return None
    details = value.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    prompt, completion = value.get("prompt_tokens"), value.get("completion_tokens")
    if not (_is_count(prompt) and _is_count(completion)):
        return None
    return Usage(prompt, completion, cached if _is_count(cached) else 0)


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and value >= 0
