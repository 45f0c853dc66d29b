"""What Gemini's errors mean: https://ai.google.dev/gemini-api/docs/troubleshooting and
google.rpc.Status with its details."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
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
from server.providers.retry_after import whole_seconds

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "TOO_LARGE",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}
_REFUSED = {
    "UNAUTHENTICATED": "it does not take the key",
    "PERMISSION_DENIED": "the key may not use this model",
    "NOT_FOUND": "it does not know the model",
    "FAILED_PRECONDITION": "it does not serve this account, or not from here",
}
_BAD_KEY = ("API_KEY_INVALID", "API_KEY_EXPIRED", "API_KEY_SERVICE_BLOCKED")
_TOO_LONG = ("input token count", "exceeds the maximum number of tokens")


def failure(status: int, headers: Mapping[str, str], body: bytes) -> HoldfastError:
    """See CloudProtocol.failure."""
    try:
        sent = orjson.loads(body)
        error = (sent[0] if type(sent) is list else sent)["error"]
    except (ValueError, TypeError, LookupError):
        error = {}
    return error_of({"code": status, **(error if type(error) is dict else {})}, headers)


def error_of(error: Mapping[str, Any], headers: Mapping[str, str]) -> HoldfastError:
    """`error` is the object of that name."""
    code = error.get("code")
    status = str(error.get("status") or _STATUSES.get(code if type(code) is int else 0, "INTERNAL"))
    message = str(error.get("message") or "")
    details = list(_details(error))
    if status == "RESOURCE_EXHAUSTED":
        after = next(filter(None, map(_delay, details)), None) or whole_seconds(headers)
        return ProviderBusy("Gemini limits our requests for now", retry_after=after)
    if status == "UNAVAILABLE":
        after = whole_seconds(headers)
        return ProviderBusy("Gemini is overloaded", next_step="Try again", retry_after=after)
    if any(one.get("reason") in _BAD_KEY for one in details):
        status = "UNAUTHENTICATED"
    if status in _REFUSED:
        return ProviderRefused("Gemini refuses to serve us", why=_REFUSED[status])
    if status == "TOO_LARGE":
        return BodyTooLarge("The request is larger than Gemini takes", param="messages")
    if status in ("INVALID_ARGUMENT", "OUT_OF_RANGE"):
        if all(words in message for words in _TOO_LONG):
            return ContextExceeded("The conversation is too long", why=message, param="messages")
        return RequestError("Gemini does not take the request", why=message)
    return ProviderError("Gemini could not answer", why="it reports an error of its own")


def _details(error: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    details = error.get("details")
    yield from (one for one in (details if type(details) is list else ()) if type(one) is dict)


def _delay(detail: Mapping[str, Any]) -> int | None:
    """Of a google.rpc.RetryInfo: seconds, as protobuf writes a duration: `34.07s`."""
    try:
        return math.ceil(float(str(detail["retryDelay"]).removesuffix("s")))
    except (KeyError, ValueError, OverflowError):
        return None
