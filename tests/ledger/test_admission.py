"""The windows against a list of what happened, and the promises of admission one by one."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.catalogue.router import Limits
from server.errors import RateLimited
from server.ledger.account import Party
from server.ledger.admission import Admission, Pass, Rates


@dataclass
class Clock:
    now: float = 1000.0
    seen: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now


def key(**limits: int) -> Party:
    return Party("key", "k", Limits(**limits))


def team(**limits: int) -> Party:
    return Party("team", "t", Limits(**limits))


def refused(admission: Admission, *parties: Party, tokens: int = 0) -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        admission.admit(parties, tokens)
    return caught.value


def test_who_has_no_limits_is_let_in_and_nothing_is_kept_of_it() -> None:
    admission = Admission(Clock())
    for address in range(100):
        admission.admit([Party("key", str(address), Limits())], 10**9)
    assert not admission._uses
    assert admission.rates([key()]).headers() == []


def test_requests_a_minute() -> None:
    clock = Clock()
    admission = Admission(clock)
    for _ in range(3):
        admission.admit([key(rpm=3)], 0).release()
        clock.now += 10
    error = refused(admission, key(rpm=3))
    looked = admission.refusal([key(rpm=3)], 0)
    assert looked is not None
    assert looked.sentence == error.sentence
    assert admission.refusal([key(rpm=4)], 0) is admission.refusal([key(rpm=4)], 0) is None
    assert (error.status, error.code, error.retry_after) == (429, "rate_limit_exceeded", 31)
    assert "key k has had its share for now: 3 of 3 requests a minute" in error.sentence
    clock.now += 31
    admission.admit([key(rpm=3)], 0)
    refused(admission, key(rpm=3))


def test_tokens_a_minute_and_what_was_really_used() -> None:
    clock = Clock()
    admission = Admission(clock)
    place = admission.admit([key(tpm=1000)], 900)
    assert refused(admission, key(tpm=1000), tokens=200).retry_after == 61
    place.used(300)
    admission.admit([key(tpm=1000)], 700)
    refused(admission, key(tpm=1000), tokens=1)


def test_what_was_used_later_than_a_minute_is_not_counted() -> None:
    clock = Clock()
    admission = Admission(clock)
    place = admission.admit([key(tpm=1000)], 900)
    clock.now += 120
    admission.admit([key(tpm=1000)], 500)
    place.used(5)
    assert admission.rates([key(tpm=1000)]).tokens.remaining == 500  # type: ignore[union-attr]


def test_a_request_larger_than_a_minutes_tokens_waits_for_an_empty_minute() -> None:
    clock = Clock()
    admission = Admission(clock)
    admission.admit([key(tpm=10)], 5)
    assert refused(admission, key(tpm=10), tokens=50).retry_after == 61
    clock.now += 61
    admission.admit([key(tpm=10)], 50)


def test_requests_at_a_time() -> None:
    admission = Admission(Clock())
    first = admission.admit([key(concurrency=2)], 0)
    admission.admit([key(concurrency=2)], 0)
    assert "2 of 2 requests at a time run" in refused(admission, key(concurrency=2)).sentence
    first.release()
    first.release()
    admission.admit([key(concurrency=2)], 0)
    refused(admission, key(concurrency=2))


def test_a_place_is_given_back_whatever_happens() -> None:
    admission = Admission(Clock())
    for error in (ValueError(), KeyboardInterrupt()):
        with pytest.raises(type(error)), admission.admit([key(concurrency=1)], 0):
            raise error
    admission.admit([key(concurrency=1)], 0)


def test_all_parties_let_it_in_or_nothing_is_counted() -> None:
    admission = Admission(Clock())
    admission.admit([team(rpm=1)], 0)
    for _ in range(5):
        refused(admission, key(rpm=1, concurrency=1), team(rpm=1))
    admission.admit([key(rpm=1, concurrency=1)], 0)


def test_limits_that_were_raised_hold_at_once() -> None:
    admission = Admission(Clock())
    admission.admit([key(rpm=1)], 0)
    refused(admission, key(rpm=1))
    admission.admit([key(rpm=2)], 0)


def test_the_figures_are_those_of_the_tightest() -> None:
    clock = Clock()
    admission = Admission(clock)
    clock.now += 0.5
    place = admission.admit([key(rpm=10, tpm=1000), team(rpm=5)], 100)
    assert place.rates.headers() == [
        (b"x-ratelimit-limit-requests", b"5"),
        (b"x-ratelimit-remaining-requests", b"4"),
        (b"x-ratelimit-reset-requests", b"61s"),
        (b"x-ratelimit-limit-tokens", b"1000"),
        (b"x-ratelimit-remaining-tokens", b"900"),
        (b"x-ratelimit-reset-tokens", b"61s"),
    ]
    clock.now += 61
    rates: Rates = admission.rates([key(rpm=10)])
    assert rates.requests is not None
    assert (rates.requests.remaining, rates.requests.reset, rates.tokens) == (10, 0.0, None)


def test_how_long_one_would_wait() -> None:
    clock = Clock()
    admission = Admission(clock)
    assert admission.wait([key(rpm=1)], 0) == 0
    admission.admit([key(rpm=1)], 0)
    clock.now += 20
    assert admission.wait([key(rpm=1)], 0) == 41
    assert admission.wait([team(rpm=1)], 0) == 0


def test_parties_that_are_gone_are_forgotten_unless_they_run() -> None:
    admission = Admission(Clock())
    running = admission.admit([key(concurrency=1)], 0)
    admission.forget([])
    refused(admission, key(concurrency=1))
    running.release()
    admission.forget([])
    assert not admission._uses


events = st.lists(st.tuples(st.floats(0, 40), st.integers(0, 60)), max_size=60)


@given(events, st.integers(1, 8), st.integers(1, 150))
def test_no_minute_ever_sees_more_than_the_limit_and_none_waits_longer_than_told(
    events: list[tuple[float, int]], rpm: int, tpm: int
) -> None:
    clock = Clock()
    admission = Admission(clock)
    party = key(rpm=rpm, tpm=tpm)
    admitted: list[tuple[float, int]] = []
    for pause, tokens in events:
        clock.now += pause
        try:
            place: Pass = admission.admit([party], tokens)
        except RateLimited as error:
            clock.now += error.retry_after or 0
            place = admission.admit([party], tokens)
        place.release()
        admitted.append((clock.now, tokens))
        last = [amount for time, amount in admitted if time > clock.now - 60]
        assert len(last) <= rpm
        assert sum(last) <= tpm or sum(last[:-1]) == 0
