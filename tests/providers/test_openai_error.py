from __future__ import annotations

from typing import Any, get_args

import orjson
import pytest
from openai.types.responses.response_error import ResponseError

from server.errors import (
    BodyTooLarge,
    ContextExceeded,
    HoldfastError,
    ProviderBusy,
    ProviderError,
    ProviderRefused,
    RequestError,
)
from server.providers.openai import PROTOCOL
from server.providers.openai_error import stream_failure


def fail(status: int, error: Any = None, **headers: str) -> HoldfastError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return PROTOCOL.failure(status, named, orjson.dumps({"error": error}))


def error(code: str | None, kind: str = "x", message: str = "m", **more: Any) -> dict[str, Any]:
    return {"message": message, "type": kind, "param": None, "code": code, **more}


LONG = "This model's maximum context length is 8192 tokens. However, you sent 9000."
MEANINGS: list[tuple[int, Any, type[HoldfastError]]] = [
    (401, error("invalid_api_key", "invalid_request_error"), ProviderRefused),
    (400, error(None, message="API key not valid. Please pass a valid one"), ProviderRefused),
    (402, error(None, message="Insufficient Balance"), ProviderRefused),
    (403, error("unsupported_country_region_territory"), ProviderRefused),
    (404, error("model_not_found", "invalid_request_error"), ProviderRefused),
    (429, error("insufficient_quota", "insufficient_quota"), ProviderRefused),
    (429, error(None, "insufficient_quota"), ProviderRefused),
    (429, error("rate_limit_exceeded", "tokens"), ProviderBusy),
    (429, None, ProviderBusy),
    (503, error("server_is_overloaded"), ProviderBusy),
    (529, None, ProviderBusy),
    (500, error("server_error"), ProviderError),
    (502, "Bad gateway", ProviderError),
    (408, None, ProviderError),
    (413, None, BodyTooLarge),
    (400, error("context_length_exceeded"), ContextExceeded),
    (400, error(None, message=LONG), ContextExceeded),
    (422, error(None, message="Prompt is too long for this"), ContextExceeded),
    (400, error("unsupported_value", "invalid_request_error"), RequestError),
    (400, error("content_policy_violation"), RequestError),
    (422, error(None), RequestError),
    (418, None, ProviderError),
]


@pytest.mark.parametrize(("status", "said", "kind"), MEANINGS)
def test_what_a_status_means(status: int, said: Any, kind: type[HoldfastError]) -> None:
    assert type(fail(status, said)) is kind


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry_after": "7"}, 7),
        ({"retry_after_ms": "1500"}, 2),
        ({"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "6m0.5s"}, 361),
        ({"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "120ms"}, 1),
        ({"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "7.66"}, 8),
        ({"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "1.2.3s"}, None),
        ({"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "soon"}, None),
        ({"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "9999999999d"}, 86400),
        ({"x_ratelimit_remaining_tokens": "9", "x_ratelimit_reset_tokens": "1h"}, None),
        (
            {
                "x_ratelimit_remaining_requests": "0",
                "x_ratelimit_reset_requests": "1h2m3s",
                "x_ratelimit_remaining_tokens": "0",
                "x_ratelimit_reset_tokens": "1s",
            },
            3723,
        ),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], seconds: int | None) -> None:
    assert fail(429, error("rate_limit_exceeded"), **headers).retry_after == seconds


def test_an_account_without_credit_is_not_asked_again() -> None:
    refused = fail(429, error("insufficient_quota"), retry_after="5")
    assert isinstance(refused, ProviderRefused)
    assert not refused.retryable
    assert refused.retry_after is None


def test_what_concerns_the_request_is_passed_on() -> None:
    told = fail(400, error("unsupported_value", message="Bad 'x'.\n More", param="x"))
    assert told.why == "Bad 'x'. More"
    assert told.param == "x"
    assert len(fail(400, error(None, message="y" * 10_000)).sentence) < 500
    assert "org-secret" not in fail(429, error(None, message="Limit in org-secret")).sentence
    assert "sk-12" not in fail(401, error(None, message="Incorrect key: sk-12")).sentence
    assert "trace" not in fail(500, error(None, message="trace")).sentence


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"message":"too hot"}', "too hot"),
        (b'{"detail":"too hot"}', "too hot"),
        (b'{"detail":[{"loc":["body"],"msg":"too hot"}]}', '[{"loc":["body"],"msg":"too hot"}]'),
        (b'{"error":"too hot"}', "too hot"),
        (b'[{"error":{"code":400,"message":"too hot","status":"INVALID_ARGUMENT"}}]', "too hot"),
        (b"<html>", ""),
        (b"", ""),
        (b"[]", ""),
        (b"1", ""),
        (b'{"error":{"message":{"a":1},"code":[1],"type":{},"param":[]}}', '{"a":1}'),
    ],
)
def test_every_body_is_read(body: bytes, why: str) -> None:
    refused = PROTOCOL.failure(400, {}, body)
    assert type(refused) is RequestError
    assert refused.why == why


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (error("rate_limit_exceeded"), ProviderBusy),
        (error("server_error", "server_error"), ProviderError),
        (error(None, "invalid_request_error"), RequestError),
        (error("insufficient_quota"), ProviderRefused),
        (error("context_length_exceeded", "invalid_request_error"), ContextExceeded),
        ({"code": "context_length_exceeded", "message": "m"}, ContextExceeded),
        ({"code": "invalid_prompt", "message": "m"}, RequestError),
        ({"code": "image_too_large", "message": "m"}, RequestError),
        ({"code": 429, "message": "m"}, ProviderBusy),
        ({"code": 502, "message": "m"}, ProviderError),
        ({"code": 200, "message": "m"}, ProviderError),
        ("it broke", ProviderError),
        ({}, ProviderError),
    ],
)
def test_what_an_error_in_a_stream_means(said: Any, kind: type[HoldfastError]) -> None:
    assert type(stream_failure(said)) is kind


_PASSING = {
    "server_error": ProviderError,
    "vector_store_timeout": ProviderError,
    "rate_limit_exceeded": ProviderBusy,
}
_CODES: tuple[str, ...] = get_args(ResponseError.model_fields["code"].annotation)


@pytest.mark.parametrize("code", _CODES)
def test_only_what_passes_is_tried_again(code: str) -> None:
    """Of what `response.failed` can say, as the SDK has it: the rest would end alike each time."""
    refused = ProviderRefused if code == "data_residency_mismatch" else RequestError
    told = stream_failure({"code": code, "message": "m"})
    assert type(told) is _PASSING.get(code, refused)
    assert (isinstance(told, ProviderError) and told.retryable) is (code in _PASSING)
