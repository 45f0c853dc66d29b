"""What each answer of a hub is taken to mean."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from server.errors import HubError, StoreError
from server.store.transfer.answer import (
    LONGEST_WAIT,
    Answer,
    Asked,
    Body,
    Later,
    Redirect,
    Refusal,
    Stale,
    Unranged,
    judge,
)
from server.store.transfer.want import Want

NOW = datetime.datetime(2026, 11, 21, 5, 0, tzinfo=datetime.UTC)
SHA256, OID = "ab" * 32, "cd" * 20
LARGE = Want("model.safetensors", Path("x.part"), 1000, SHA256, OID, ())
SMALL = Want("config.json", Path("y.part"), 1000, None, OID, ())


def asked(want: Want = LARGE, first: int = 0, end: int = 1000, redirects: int = 0) -> Asked:
    return Asked(want, "the hub", first, end, redirects)


def ranged(first: int, last: int, size: int | str = 1000, **more: str) -> dict[str, str]:
    length = str(last + 1 - first)
    return {"content-range": f"bytes {first}-{last}/{size}", "content-length": length, **more}


GOOD: list[tuple[int, dict[str, str], Asked, Answer]] = [
    (200, {"content-length": "1000"}, asked(), Body(0, 1000, 1000)),
    (200, {}, asked(), Body(0, 1000, None)),
    (200, {"content-length": "1000"}, asked(first=10), Unranged()),
    (206, ranged(10, 999), asked(first=10), Body(10, 1000, 990)),
    (206, ranged(10, 499), asked(first=10), Body(10, 500, 490)),
    (206, ranged(10, 499, "*"), asked(first=10, end=500), Body(10, 500, 490)),
    (206, {"content-range": "bytes 10-99/1000"}, asked(first=10), Body(10, 100, None)),
    (302, {"location": "https://cdn/x"}, asked(), Redirect("https://cdn/x")),
    (307, {"location": "/x", "x-linked-etag": f'"{SHA256}"'}, asked(), Redirect("/x")),
    (200, {"x-repo-commit": "0", "etag": f'"{OID}"'}, asked(SMALL), Body(0, 1000, None)),
    (200, {"x-repo-commit": "0", "etag": f'W/"{OID}"'}, asked(SMALL), Body(0, 1000, None)),
    # A CDN's ETag of 64 digits is its own: Xet's hash, for one.
    (200, {"etag": '"' + "0" * 64 + '"'}, asked(redirects=1), Body(0, 1000, None)),
]


@pytest.mark.parametrize(("status", "headers", "question", "answer"), GOOD)
def test_what_can_be_used(
    status: int, headers: dict[str, str], question: Asked, answer: Answer
) -> None:
    assert judge(status, headers, question, NOW) == answer


LATER: list[tuple[int, dict[str, str], Asked, str]] = [
    (200, {"content-length": "500"}, asked(), "500 bytes are announced where the file has 1000"),
    (200, {"content-encoding": "gzip"}, asked(), "compressed"),
    (206, {}, asked(first=10), "which is not said"),
    (206, {"content-range": "lines 1-2/3"}, asked(first=10), "which is not said"),
    (206, {"content-range": "bytes 1" + "0" * 30 + "-2/3"}, asked(first=10), "which is not said"),
    (206, ranged(0, 999), asked(first=10), "bytes 0 to 999 come instead of those from 10"),
    (206, ranged(20, 999), asked(first=10), "bytes 20 to 999 come"),
    (206, ranged(10, 999), asked(first=10, end=100), "bytes 10 to 999 come"),
    (206, ranged(10, 9), asked(first=10), "come instead"),
    (206, {**ranged(10, 99), "content-length": "7"}, asked(first=10), "disagrees with its range"),
    (302, {}, asked(), "leads nowhere"),
    (408, {}, asked(), "HTTP 408"),
    (500, {}, asked(), "HTTP 500"),
    (504, {}, asked(), "HTTP 504"),
    (416, {"content-range": "bytes */1000"}, asked(first=10), "416"),
]


@pytest.mark.parametrize(("status", "headers", "question", "why"), LATER)
def test_what_is_tried_again(
    status: int, headers: dict[str, str], question: Asked, why: str
) -> None:
    answer = judge(status, headers, question, NOW)
    assert isinstance(answer, Later)
    assert why in answer.why
    assert answer.seconds is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "Sat, 21 Nov 2026 05:01:30 GMT"}, 90.0),
        ({"retry-after": "Sat, 21 Nov 2026 04:00:00 GMT"}, 0.0),
        ({"retry-after": "999999"}, LONGEST_WAIT),
        ({"retry-after": "Sat, 21 Nov 2099 04:00:00 GMT"}, LONGEST_WAIT),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"ratelimit": '"resolvers";r=0;t=55'}, 55.0),
        ({}, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_how_long_the_hub_wants_us_to_wait(
    status: int, headers: dict[str, str], seconds: float | None
) -> None:
    assert judge(status, headers, asked(), NOW) == Later(f"HTTP {status}", seconds, busy=True)


CHANGED: list[tuple[int, dict[str, str], Asked, str]] = [
    (302, {"location": "/x", "x-linked-size": "1001"}, asked(), "1001 bytes instead of 1000"),
    (302, {"location": "/x", "x-linked-etag": '"' + "9" * 64 + '"'}, asked(), "sha256 99999"),
    (307, {"location": "/x", "x-linked-etag": '"' + "9" * 40 + '"'}, asked(SMALL), "blob 99999"),
    (200, {"x-repo-commit": "0", "etag": '"' + "9" * 40 + '"'}, asked(SMALL), "blob 99999"),
    (200, {"x-repo-commit": "0", "etag": '"' + "9" * 64 + '"'}, asked(), "sha256 99999"),
    (206, ranged(10, 999, 2000), asked(first=10), "2000 bytes instead of 1000"),
    (416, {"content-range": "bytes */5"}, asked(first=10), "5 bytes instead of 1000"),
]


@pytest.mark.parametrize(("status", "headers", "question", "why"), CHANGED)
def test_what_is_another_file(
    status: int, headers: dict[str, str], question: Asked, why: str
) -> None:
    answer = judge(status, headers, question, NOW)
    assert isinstance(answer, Refusal)
    assert type(answer.error) is StoreError
    assert "changed upstream" in answer.error.what
    assert why in answer.error.why


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        (401, "", "set HF_TOKEN"),
        (401, "RepoNotFound", "private or not there"),
        (401, "GatedRepo", "gated"),
        (403, "GatedRepo", "gated"),
        (403, "", "no access"),
        (404, "RepoNotFound", "the repository is not at the hub (model.safetensors)"),
        (404, "RevisionNotFound", "the revision is not at the hub"),
        (404, "EntryNotFound", "model.safetensors is not at the hub"),
        (410, "", "renamed or removed"),
        (400, "", "refuses model.safetensors"),
    ],
)
def test_what_the_hub_will_not_give(status: int, code: str, text: str) -> None:
    headers = {"x-error-code": code, "x-error-message": "\x1b[31mlies"} if code else {}
    answer = judge(status, headers, asked(), NOW)
    assert isinstance(answer, Refusal)
    assert isinstance(answer.error, HubError)
    assert text in answer.error.sentence
    assert "lies" not in answer.error.sentence


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_refusal_behind_a_redirect_is_an_address_that_expired(status: int) -> None:
    assert isinstance(judge(status, {}, asked(redirects=1), NOW), Stale)
