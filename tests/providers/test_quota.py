from __future__ import annotations

import pytest

from server.providers.quota import (
    UNTOLD,
    Left,
    Quota,
    anthropic_quota,
    duration,
    openai_quota,
    untold,
)

DATE = {"date": "Sat, 21 Nov 2026 10:00:00 GMT"}


def openai(name: str, remaining: str, reset: str) -> dict[str, str]:
    return {f"x-ratelimit-remaining-{name}": remaining, f"x-ratelimit-reset-{name}": reset}


def anthropic(name: str, remaining: str, reset: str) -> dict[str, str]:
    start = f"anthropic-ratelimit-{name}"
    return {f"{start}-remaining": remaining, f"{start}-reset": f"2026-11-21T10:{reset}Z"}


@pytest.mark.parametrize(
    ("headers", "quota"),
    [
        ({}, UNTOLD),
        ({"x-ratelimit-limit-requests": "500"}, UNTOLD),
        (openai("requests", "499", "120ms"), Quota(requests=Left(499, 0.12))),
        (openai("tokens", "0", "6m0s"), Quota(tokens=Left(0, 360.0))),
        (
            {**openai("requests", "0", "8.64s"), **openai("tokens", "29000", "2s")},
            Quota(Left(0, 8.64), Left(29000, 2.0)),
        ),
        (openai("requests", "3", "1h2m3.5s"), Quota(requests=Left(3, 3723.5))),
        (openai("requests", "3", "7.66"), Quota(requests=Left(3, 7.66))),
        (openai("requests", "3", "900d"), Quota(requests=Left(3, 86400.0))),
        (openai("requests", "-1", "1s"), UNTOLD),
        (openai("requests", "many", "1s"), UNTOLD),
        (openai("requests", "0", "soon"), UNTOLD),
        (openai("requests", "0", ""), UNTOLD),
        ({"x-ratelimit-remaining-requests": "0"}, UNTOLD),
        (openai("requests", "9" * 16, "1s"), UNTOLD),
    ],
)
def test_what_openai_says_is_left(headers: dict[str, str], quota: Quota) -> None:
    assert openai_quota(headers) == quota


@pytest.mark.parametrize(
    ("headers", "quota"),
    [
        ({}, UNTOLD),
        (anthropic("requests", "0", "00:30"), Quota(requests=Left(0, 30.0))),
        (anthropic("tokens", "40", "01:00"), Quota(tokens=Left(40, 60.0))),
        (anthropic("input-tokens", "40", "01:00"), Quota(prompt=Left(40, 60.0))),
        (
            {**anthropic("tokens", "40", "01:00"), **anthropic("output-tokens", "40", "01:00")},
            Quota(answer=Left(40, 60.0)),
        ),
        (
            {**anthropic("tokens", "0", "01:00"), **anthropic("output-tokens", "40", "00:10")},
            Quota(tokens=Left(0, 60.0), answer=Left(40, 10.0)),
        ),
        (anthropic("requests", "0", "00:00"), Quota(requests=Left(0, 0.0))),
        ({"anthropic-ratelimit-requests-remaining": "0"}, UNTOLD),
        (
            {
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "tomorrow",
            },
            UNTOLD,
        ),
    ],
)
def test_what_anthropic_says_is_left(headers: dict[str, str], quota: Quota) -> None:
    assert anthropic_quota(headers | DATE) == quota


def test_a_moment_without_a_date_to_hold_it_against_is_not_known() -> None:
    assert anthropic_quota(anthropic("requests", "0", "00:30")) == UNTOLD


def test_gemini_says_nothing() -> None:
    assert untold(openai("requests", "0", "1s")) == UNTOLD


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1.0), ("1m", 60.0), ("1h0m0.5s", 3600.5), ("1d", 86400.0), ("5", 5.0), ("", None),
     ("1x", None), ("1.2.3s", None), ("s", None), ("1s ", None), ("²", None)],
)  # fmt: skip
def test_durations(text: str, seconds: float | None) -> None:
    assert duration(text) == seconds
