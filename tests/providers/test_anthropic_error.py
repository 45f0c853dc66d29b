from __future__ import annotations

from typing import Any

import orjson
import pytest
from anthropic._error_classes import ERROR_CLASSES

from server.errors import (
    BodyTooLarge,
    ContextExceeded,
    HoldfastError,
    ProviderBusy,
    ProviderError,
    ProviderRefused,
    RequestError,
)
from server.providers.anthropic import PROTOCOL

DATE = {"date": "Sat, 21 Nov 2026 10:00:00 GMT"}


def failed(
    status: int, kind: str | None, message: str = "", headers: Any = None, **details: Any
) -> HoldfastError:
    error = {"type": kind, "message": message, **({"details": details} if details else {})}
    body = orjson.dumps({"type": "error", "error": error, "request_id": "req_1"}) if kind else b"x"
    return PROTOCOL.failure(status, headers or {}, body)


@pytest.mark.parametrize(
    ("status", "kind", "message", "expected"),
    [
        (400, "invalid_request_error", "messages: odd", RequestError),
        (400, "invalid_request_error", "prompt is too long: 9 tokens > 8 maximum", ContextExceeded),
        (
            400,
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 1 + 2 > 2",
            ContextExceeded,
        ),
        (400, "invalid_request_error", "Your credit balance is too low", ProviderRefused),
        (400, "invalid_request_error", "You have reached your spend limit", ProviderRefused),
        (401, "authentication_error", "invalid x-api-key", ProviderRefused),
        (402, "billing_error", "", ProviderRefused),
        (403, "permission_error", "", ProviderRefused),
        (404, "not_found_error", "model: x", ProviderRefused),
        (413, "request_too_large", "", BodyTooLarge),
        (429, "rate_limit_error", "", ProviderBusy),
        (500, "api_error", "Internal server error", ProviderError),
        (504, "timeout_error", "", ProviderError),
        (529, "overloaded_error", "Overloaded", ProviderBusy),
        (400, None, "", RequestError),
        (401, None, "", ProviderRefused),
        (413, None, "", BodyTooLarge),
        (429, None, "", ProviderBusy),
        (502, None, "", ProviderError),
        (503, None, "", ProviderBusy),
        (529, None, "", ProviderBusy),
        (418, "teapot_error", "", ProviderError),
    ],
)
def test_what_an_error_means(
    status: int, kind: str | None, message: str, expected: type[HoldfastError]
) -> None:
    assert type(failed(status, kind, message)) is expected


_CODES = {code: status for status, code in ERROR_CLASSES if code is not None}
_KINDS = {400: "invalid_request_error", 402: "billing_error", 403: "permission_error",
          429: "rate_limit_error"}  # fmt: skip


@pytest.mark.parametrize(
    ("code", "expected", "why"),
    [
        ("organization_on_hold", ProviderRefused, "the account is on hold"),
        ("contract_spend_limit_reached", ProviderRefused, "the account has no credit"),
        ("enforced_spend_limit_reached", ProviderRefused, "the account has no credit"),
        ("linked_organization_billing_unavailable", ProviderRefused, "the account has no credit"),
        ("linked_organization_spend_limit_reached", ProviderRefused, "the account has no credit"),
        ("user_profile_not_billable", ProviderRefused, "the key may not use this model"),
        ("ramp_limit_exceeded", ProviderBusy, None),
        ("tool_name_conflict", RequestError, "no"),
    ],
)
def test_an_error_code_counts_where_there_is_one(
    code: str, expected: type[HoldfastError], why: str | None
) -> None:
    """With the status that the SDK knows it by; without a kind of the error as well."""
    status = _CODES[code]
    for kind in (_KINDS[status], ""):
        told = failed(status, kind, "no", error_code=code) if kind else untyped(status, code)
        assert type(told) is expected
        assert why is None or told.why == why


def untyped(status: int, code: str) -> HoldfastError:
    error = {"message": "no", "details": {"error_code": code}}
    return PROTOCOL.failure(status, {}, orjson.dumps({"error": error}))


def test_a_spend_limit_is_not_waited_for() -> None:
    code = {"error_code": "enforced_spend_limit_reached"}
    told = failed(429, "rate_limit_error", "no", {"retry-after": "5"}, **code)
    assert isinstance(told, ProviderRefused)
    assert (told.retryable, told.retry_after) == (False, None)


def test_what_concerns_the_request_is_passed_on_and_nothing_else() -> None:
    assert "messages: odd" in failed(400, "invalid_request_error", "messages: odd").sentence
    for status, kind in ((401, "authentication_error"), (429, "rate_limit_error"),
                         (500, "api_error"), (402, "billing_error")):  # fmt: skip
        assert "secret" not in failed(status, kind, "secret org-123").sentence


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "12"}, 12),
        (
            {
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2026-11-21T10:00:05Z",
                "anthropic-ratelimit-tokens-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2026-11-21T10:00:20Z",
                "anthropic-ratelimit-input-tokens-remaining": "5",
                "anthropic-ratelimit-input-tokens-reset": "2026-11-21T11:00:00Z",
                **DATE,
            },
            20,
        ),
    ],
)
def test_how_long_a_limit_lasts(headers: dict[str, str], seconds: int | None) -> None:
    assert failed(429, "rate_limit_error", headers=headers).retry_after == seconds


@pytest.mark.parametrize("body", [b"", b"[]", b'{"error": 1}', b'{"error": {"type": 1}}', b"\xff"])
def test_any_body_has_a_meaning(body: bytes) -> None:
    assert isinstance(PROTOCOL.failure(500, {}, body), ProviderError)
    assert isinstance(PROTOCOL.failure(429, {}, body), HoldfastError)
