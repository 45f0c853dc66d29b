"""What the errors of OpenAI, and of those who speak as it does, mean.

https://platform.openai.com/docs/guides/error-codes. Others differ in where the words stand; and in
a stream, which began with 200, the status is told by `code`, if at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson

from server.errors import (
    BodyTooLarge,
    ContextExceeded,
    HoldfastError,
    ProviderBusy,
    ProviderError,
    ProviderRefused,
    RequestError,
)
from server.providers.quota import openai_quota
from server.providers.retry_after import whole_seconds

_SHOWN = 300

_STATUSES = {
    "rate_limit_exceeded": 429,
    "requests": 429,
    "tokens": 429,
    "server_is_overloaded": 503,
    "slow_down": 503,
    "overloaded_error": 503,
    "context_length_exceeded": 400,
    "content_policy_violation": 400,
    "bio_policy": 400,
    "misalignment_policy_violation": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "data_residency_mismatch": 403,
}
"""`code` or `type` of an error -> the status that it would have had."""
_OF_REQUESTS = ("invalid_", "image_", "unsupported_", "empty_image", "failed_to_download")
"""What the codes of a wrong request begin with."""
_NO_CREDIT = frozenset(
    ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "credits_exhausted")
)
_REFUSED = {
    401: "it does not take the key",
    402: "the account has no credit",
    403: "the key may not do this",
    404: "it does not know the model",
}
_TOO_LONG = (
    "maximum context length",
    "context_length_exceeded",
    "context window",
    "exceeds the context",
    "exceed_context_size",
    "prompt is too long",
    "too many tokens",
)
_BAD_KEY = ("api key not valid", "invalid api key", "incorrect api key")


def failure(status: int, headers: Mapping[str, str], body: bytes) -> HoldfastError:
    """See CloudProtocol.failure."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    if isinstance(parsed, list) and parsed:  # Google's compatible endpoint
        parsed = parsed[0]
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else None
    return error_of(error, status, headers)


def stream_failure(error: Any) -> HoldfastError:
    """The same for the `error` that a stream carries."""
    code = error.get("code") if isinstance(error, dict) else None
    status = code if type(code) is int and 400 <= code < 600 else None
    return error_of(error, status, {})


def error_of(error: Any, status: int | None, headers: Mapping[str, str]) -> HoldfastError:
    """`error` is the object of that name, or the text in its place; `status` is None in a stream
    that does not tell."""
    fields = error if isinstance(error, dict) else {"message": error}
    message = _words(fields.get("message") or fields.get("detail"))
    codes = {one for one in (fields.get("code"), fields.get("type")) if isinstance(one, str)}
    if status is None:
        status = next((_STATUSES[one] for one in sorted(codes) if one in _STATUSES), None)
    if status is None:
        status = 400 if any(one.startswith(_OF_REQUESTS) for one in codes) else 500
    if codes & _NO_CREDIT:
        status = 402
    elif any(words in message.lower() for words in _BAD_KEY):
        status = 401
    if status in _REFUSED:
        return ProviderRefused("The provider refuses to serve us", why=_REFUSED[status])
    if status == 429:
        after = whole_seconds(headers) or _until_reset(headers)
        return ProviderBusy("The provider limits our requests for now", retry_after=after)
    if status in (503, 529):
        after = whole_seconds(headers)
        return ProviderBusy("The provider is overloaded", next_step="Try again", retry_after=after)
    if status == 413:
        return BodyTooLarge("The request is larger than the provider takes", param="messages")
    if status in (400, 422):
        return _request_error(fields, codes, message)
    return ProviderError("The provider could not answer", why=f"it reports status {status}")


def _request_error(fields: Mapping[str, Any], codes: set[str], message: str) -> RequestError:
    told = " ".join((message, *codes)).lower()
    if any(words in told for words in _TOO_LONG):
        return ContextExceeded("The conversation is too long", why=message, param="messages")
    param = fields.get("param")
    param = param if isinstance(param, str) and len(param) < _SHOWN else None
    return RequestError("The provider does not take the request", why=message, param=param)


def _words(message: Any) -> str:
    """One line of what it says of the request."""
    if isinstance(message, str):
        return " ".join(message.split())[:_SHOWN].rstrip(".")
    if isinstance(message, list | dict):  # `detail` of those built with FastAPI
        return orjson.dumps(message).decode()[:_SHOWN]
    return ""


def _until_reset(headers: Mapping[str, str]) -> int | None:
    """Until every limit that is used up begins anew, such as `6m0s`."""
    quota = openai_quota(headers)
    out = [left.reset for left in (quota.requests, quota.tokens) if left and not left.remaining]
    return math.ceil(max(out)) if out else None
