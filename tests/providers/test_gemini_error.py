from __future__ import annotations

from typing import Any

import orjson
import pytest

from server.errors import (
    BodyTooLarge,
    ContextExceeded,
    HoldfastError,
    ProviderBusy,
    ProviderError,
    ProviderRefused,
    RequestError,
)
from server.providers.gemini import PROTOCOL


def failed(
    code: int, status: str | None, message: str = "", *details: Any, headers: Any = None
) -> HoldfastError:
    error = {"code": code, "message": message, "status": status, "details": list(details)}
    body = orjson.dumps({"error": error}) if status else b"<html>"
    return PROTOCOL.failure(code, headers or {}, body)


BAD_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
LONG = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."


@pytest.mark.parametrize(
    ("code", "status", "message", "details", "expected"),
    [
        (400, "INVALID_ARGUMENT", "contents: odd", [], RequestError),
        (400, "INVALID_ARGUMENT", LONG, [], ContextExceeded),
        (400, "INVALID_ARGUMENT", "API key not valid.", [BAD_KEY], ProviderRefused),
        (400, "FAILED_PRECONDITION", "User location is not supported", [], ProviderRefused),
        (401, "UNAUTHENTICATED", "", [], ProviderRefused),
        (403, "PERMISSION_DENIED", "", [], ProviderRefused),
        (404, "NOT_FOUND", "", [], ProviderRefused),
        (429, "RESOURCE_EXHAUSTED", "", [], ProviderBusy),
        (500, "INTERNAL", "", [], ProviderError),
        (503, "UNAVAILABLE", "", [], ProviderBusy),
        (504, "DEADLINE_EXCEEDED", "", [], ProviderError),
        (400, None, "", [], RequestError),
        (403, None, "", [], ProviderRefused),
        (413, None, "", [], BodyTooLarge),
        (429, None, "", [], ProviderBusy),
        (502, None, "", [], ProviderError),
        (503, None, "", [], ProviderBusy),
    ],
)
def test_what_an_error_means(
    code: int, status: str | None, message: str, details: list[Any], expected: type[HoldfastError]
) -> None:
    assert type(failed(code, status, message, *details)) is expected


RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"}


@pytest.mark.parametrize(
    ("details", "headers", "seconds"),
    [
        ([], {}, None),
        ([{"@type": "x"}, RETRY], {}, 35),
        ([RETRY], {"retry-after": "3"}, 35),
        ([{"retryDelay": "soon"}], {"retry-after": "3"}, 3),
        ([1, {"retryDelay": None}], {}, None),
    ],
)
def test_how_long_a_limit_lasts(
    details: list[Any], headers: dict[str, str], seconds: int | None
) -> None:
    error = failed(429, "RESOURCE_EXHAUSTED", "", *details, headers=headers)
    assert error.retry_after == seconds


def test_what_concerns_the_request_is_passed_on_and_nothing_else() -> None:
    assert "contents: odd" in failed(400, "INVALID_ARGUMENT", "contents: odd").sentence
    for code, status in (
        (403, "PERMISSION_DENIED"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"),
    ):
        assert "secret" not in failed(code, status, "secret project-1").sentence


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"error": 1}', b'[{"error": {"status": "UNAVAILABLE"}}]', b"\xff"]
)
def test_any_body_has_a_meaning(body: bytes) -> None:
    assert isinstance(PROTOCOL.failure(500, {}, body), ProviderError)
    assert isinstance(PROTOCOL.failure(400, {}, body), HoldfastError)
