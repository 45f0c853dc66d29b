"""Tokens that a request used, as engines and OpenAI report them."""

from __future__ import annotations

from typing import Any, TypeGuard

from server.record import record


@record()
class Usage:
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    """Of the prompt's tokens, those that were still in the engine's or the provider's cache."""
    cache_write_tokens: int = 0
    """Of the prompt's tokens, those that a provider charges for keeping in its cache."""
    reasoning_tokens: int = 0
    """Of the completion's tokens, those of thinking, where it is said."""

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def with_choice(self, other: Usage) -> Usage:
        """Both choices of one prompt: it is read once, and each answer is written."""
        return Usage(
            self.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            min(self.cached_tokens, other.cached_tokens),
            max(self.cache_write_tokens, other.cache_write_tokens),
            self.reasoning_tokens + other.reasoning_tokens,
        )

    def as_json(self) -> dict[str, Any]:
        """As OpenAI has it; what only some providers count stands there where there is any."""
        details = {"cached_tokens": self.cached_tokens}
        if self.cache_write_tokens:
            details["cache_write_tokens"] = self.cache_write_tokens
        usage = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.total_tokens,
            "prompt_tokens_details": details,
        }
        if self.reasoning_tokens:
            usage["completion_tokens_details"] = {"reasoning_tokens": self.reasoning_tokens}
        return usage


def usage_of(value: Any) -> Usage | None:
    """The `usage` of an answer in OpenAI's shape, or None where it is absent or not to be
    believed. A detail that is not to be believed counts as 0; thinking that is counted beside the
    completion becomes part of it."""
    if not isinstance(value, dict):
        return None
    prompt, completion = value.get("prompt_tokens"), value.get("completion_tokens")
    if not (_is_count(prompt) and _is_count(completion)):
        return None
    read = value.get("prompt_tokens_details")
    written = value.get("completion_tokens_details")
    completion += _beside(value, prompt + completion)
    return Usage(
        prompt,
        completion,
        count_in(read, "cached_tokens"),
        count_in(read, "cache_write_tokens"),
        count_in(written, "reasoning_tokens"),
    )


def _beside(usage: dict[str, Any], counted: int) -> int:
    """Tokens of thinking that the total of `usage` has and the `counted`, prompt and completion,
    have not: xAI's, told in the details, and those of Google's endpoint, which gives none.

    A total can be larger for other reasons as well (what was read from a cache, or written to it,
    counted beside the prompt), so that beside details it is believed only where they agree.
    """
    total = usage.get("total_tokens")
    beyond = total - counted if _is_count(total) else 0
    if beyond <= 0:
        return 0
    details = usage.get("completion_tokens_details")
    if details is None and usage.get("prompt_tokens_details") is None:
        return beyond
    return beyond if beyond == count_in(details, "reasoning_tokens") else 0


def count_in(details: Any, key: str) -> int:
    """The tokens that an object of details gives under `key`; 0 where it does not."""
    count = details.get(key) if isinstance(details, dict) else 0
    return count if _is_count(count) else 0


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and value >= 0
