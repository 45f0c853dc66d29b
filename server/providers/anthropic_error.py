"""What Anthropic's errors mean: https://platform.claude.com/docs/en/api/errors."""

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
from server.providers.quota import anthropic_quota
from server.providers.retry_after import whole_seconds

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_REFUSED = {
    "authentication_error": "it does not take the key",
    "billing_error": "the account has no credit",
    "permission_error": "the key may not use this model",
    "not_found_error": "it does not know the model",
}
_TOO_LONG = ("prompt is too long", "exceed context limit", "context window")
_ON_HOLD = "organization_on_hold"
_NO_CREDIT = ("credit balance", "spend limit", "usage limit", "spend_limit", "billing")


def failure(status: int, headers: Mapping[str, str], body: bytes) -> HoldfastError:
    """See CloudProtocol.failure."""
    try:
        error = orjson.loads(body)["error"]
    except (ValueError, TypeError, LookupError):
        error = {}
    return error_of(error if isinstance(error, dict) else {}, status, headers)


def error_of(
    error: Mapping[str, Any], status: int | None, headers: Mapping[str, str]
) -> HoldfastError:
    """`error` is the object of that name; `status` is None in a stream, which began with 200."""
    kind = str(error.get("type") or _TYPES.get(status or 0, "api_error"))
    message = str(error.get("message") or "")
    details = error.get("details")
    code = str(details.get("error_code")) if isinstance(details, dict) else ""
    if code == _ON_HOLD:
        return _refused("the account is on hold")
    if kind in _REFUSED or _tells(_NO_CREDIT, code):  # spend limits come as rate limits, too
        return _refused(_REFUSED.get(kind, _REFUSED["billing_error"]))
    if kind == "rate_limit_error":
        after = whole_seconds(headers) or _until_reset(headers)
        return ProviderBusy("Anthropic limits our requests for now", retry_after=after)
    if kind == "overloaded_error":
        after = whole_seconds(headers)
        return ProviderBusy("Anthropic is overloaded", next_step="Try again", retry_after=after)
    if _tells(_NO_CREDIT, message):
        return _refused(_REFUSED["billing_error"])
    if kind == "request_too_large":
        return BodyTooLarge("The request is larger than Anthropic takes", param="messages")
    if kind == "invalid_request_error":
        if _tells(_TOO_LONG, message):
            return ContextExceeded("The conversation is too long", why=message, param="messages")
        return RequestError("Anthropic does not take the request", why=message)
    return ProviderError("Anthropic could not answer", why=f"it reports {_known(kind)}")


def _refused(why: str) -> ProviderRefused:
    return ProviderRefused("Anthropic refuses to serve us", why=why)


def _tells(words: tuple[str, ...], text: str) -> bool:
    return any(word in text.lower() for word in words)


def _known(kind: str) -> str:
    return f"'{kind}'" if kind in ("api_error", "timeout_error") else "an error"


def _until_reset(headers: Mapping[str, str]) -> int | None:
    """Until every limit that is used up begins anew."""
    quota = anthropic_quota(headers)
    shares = (quota.requests, quota.tokens, quota.prompt, quota.answer)
    out = [left.reset for left in shares if left and not left.remaining]
    return math.ceil(max(out)) if out else None
