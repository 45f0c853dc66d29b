"""What observers make of what they are told, be it in order or not."""

from __future__ import annotations

import math
import random

import pytest

from server.chat.usage import Usage
from server.routing.affinity import Cached
from server.routing.candidate import MARGIN, QUEUE_MARGIN
from server.routing.flight import Flight
from server.routing.observe import Expected, Observer
from server.routing.observe_cloud import CAREFUL, STALE, CloudObserver
from server.routing.tokens import ABOVE

KNOWN = Expected(prefill=100, decode=10, decode_all=20, fixed=0.1)


def answer(
    observer: Observer, at: float, *, prompt: int = 1000, tokens: int = 21, reads: float = 1000.0
) -> float:
    """A request alone, from its slot to its end; returns when that was. A token takes 0.05 s."""
    flight = observer.begin(round(prompt * ABOVE))
    flight.started(at)
    first = at + prompt / reads
    flight.first(first)
    end = first + (tokens - 1) * 0.05
    flight.end(end, Usage(prompt, tokens))
    return end


def test_at_first_it_says_what_the_planner_says() -> None:
    observer = Observer(2, KNOWN)
    found = observer.forecast(0.0, round(1000 * ABOVE), 0)
    assert found.ttft == pytest.approx(10.1, rel=0.01)
    assert found.speed == pytest.approx(10)
    assert not found.measured


def test_a_few_requests_teach_its_rates() -> None:
    observer = Observer(2, KNOWN)
    now = 0.0
    for prompt in (200, 1000, 4000, 500, 2000):
        now = answer(observer, now + 1, prompt=prompt)
    found = observer.forecast(now, round(1000 * ABOVE), 0)
    assert found.ttft == pytest.approx(1.0, rel=0.1)
    assert found.speed == pytest.approx(20, rel=0.1)
    assert found.measured


def test_it_counts_tokens_as_the_engine_does() -> None:
    observer = Observer(1, KNOWN)
    assert round(1200 * observer.scale) == 1000
    for _ in range(5):
        flight = observer.begin(1200)
        flight.started(0.0)
        flight.end(1.0, Usage(1500, 10))
    assert round(1200 * observer.scale) == 1500


def test_caches_are_believed_as_far_as_they_held() -> None:
    observer = Observer(1, KNOWN)
    thought = Cached(500, continues=True)
    assert observer.cached(thought) == pytest.approx(500, abs=1)
    partly = Cached(500, continues=False)
    for _ in range(5):
        for what, held in ((thought, 490), (partly, 0)):
            flight = observer.begin(1200, what)
            flight.started(0.0)
            flight.end(1.0, Usage(1000, 10, held))
    assert observer.cached(thought) == pytest.approx(490, abs=2)
    assert observer.cached(partly) == 0
    assert observer.unread(1200, observer.cached(thought)) == pytest.approx(510, abs=3)


def test_a_request_in_hand_is_waited_for_and_one_that_ended_is_not() -> None:
    observer = Observer(1, KNOWN)
    idle = observer.forecast(10.0, 120, 0).ttft
    flight = observer.begin(1200)
    assert observer.forecast(10.0, 120, 0).queue > 10
    flight.started(10.0)
    assert observer.forecast(10.0, 120, 0).queue > 10
    flight.first(20.0)
    writing = observer.forecast(20.0, 120, 0).queue
    assert writing > 0
    flight.end(21.0)
    assert observer.forecast(21.0, 120, 0).ttft == pytest.approx(idle)


def test_the_work_shrinks_as_time_goes_by() -> None:
    observer = Observer(1, KNOWN)
    flight = observer.begin(1200)
    flight.started(0.0)
    waits = [observer.forecast(at, 120, 0).queue for at in (0.0, 4.0, 8.0)]
    assert waits == sorted(waits, reverse=True)
    assert waits[0] - waits[2] == pytest.approx(8, rel=0.2)
    assert observer.forecast(1000.0, 120, 0).queue > 0  # overdue, and not for ever on the way


def test_only_those_before_the_newcomer_count() -> None:
    observer = Observer(1, KNOWN)
    observer.begin(1200).started(0.0)
    for _ in range(3):
        observer.begin(1200)
    waits = [observer.forecast(0.0, 120, 0, ahead=ahead).queue for ahead in (0, 1, 3, None)]
    assert waits == sorted(waits)
    assert waits[0] < waits[1] < waits[2] == waits[3]


def margin(observer: Observer, took: list[float], *, load: float = 0.0) -> float:
    """After requests one after the other, which took so many times what was foretold."""
    now = 1000.0
    for times in took:
        told = observer.forecast(now, round(1000 * ABOVE), 0, load)
        flight = observer.begin(round(1000 * ABOVE))
        flight.asked_at, flight.foretold = now, told
        flight.started(now)
        now += told.ttft * times
        flight.first(now)
        flight.end(now)
    return observer.forecast(now, 1000, 0).margin


def taught() -> Observer:
    observer = Observer(2, KNOWN)
    for at in (0.0, 100.0, 200.0):
        answer(observer, at, reads=100)
    return observer


@pytest.mark.parametrize(
    ("took", "expected"),
    [
        ([], 1.25),
        ([1.0] * 20, 1.25),
        ([1.0] * 40, MARGIN),
        ([0.3] * 40, MARGIN),
        ([1.5] * 40, 1.5),
        ([1.0, 1.0, 1.0, 1.6] * 10, 1.6),
        ([50.0] * 40, 3.0),
        ([50.0] * 2 + [1.0] * 38, MARGIN),
    ],
)
def test_forecasts_that_hold_need_less_room(took: list[float], expected: float) -> None:
    assert margin(taught(), took) == pytest.approx(expected, rel=0.01)


def test_room_is_for_waiting_to_be_read_too_and_not_for_slots_and_loads() -> None:
    observer = taught()
    assert margin(observer, [1.0] * 40) == MARGIN
    observer.begin(1200).started(5000.0)
    reading = observer.forecast(5000.0, 1200, 0)
    assert reading.queue_margin == reading.margin == MARGIN
    observer.begin(1200).started(5000.0)
    full = observer.forecast(5000.0, 1200, 0)
    assert (full.margin, full.queue_margin) == (MARGIN, QUEUE_MARGIN)
    assert margin(taught(), [2.0] * 40, load=1.0) == 1.25


def test_a_wait_for_a_slot_teaches_no_room() -> None:
    observer = taught()
    known = margin(observer, [1.3] * 40)
    for _ in range(observer.slots):
        observer.begin(1200).started(9000.0)
    told = observer.forecast(9000.0, 1200, 0)
    for _ in range(40):
        flight = observer.begin(1200)
        flight.asked_at, flight.foretold = 9000.0, told
        flight.started(9001.0)
        flight.first(9000.0 + 5 * told.ttft)
        flight.end(9900.0)
    assert observer.rates.margin == known


def test_a_prompt_that_is_read_anew_is_timed_from_then_on() -> None:
    """As where an engine died with it, and came back after half a minute."""
    observer = taught()
    told = observer.forecast(1000.0, round(1000 * ABOVE), 0)
    flight = observer.begin(round(1000 * ABOVE))
    flight.asked_at, flight.foretold = 1000.0, told
    flight.started(1000.0)
    flight.anew()
    assert next(iter(observer.standing(1001.0).running)).prompt == pytest.approx(1000)
    flight.started(1030.0)
    flight.first(1030.0 + told.prefill)
    flight.end(1050.0, Usage(1000, 1))
    again = observer.forecast(1050.0, round(1000 * ABOVE), 0)
    assert (again.prefill, again.margin) == pytest.approx((told.prefill, told.margin), rel=0.01)


@pytest.mark.parametrize(
    "story",
    [
        ["end"],
        ["end", "end"],
        ["first", "end"],
        ["started", "end"],
        ["started", "started", "first", "first", "end", "end"],
        ["end", "started", "first"],
        ["anew", "started", "anew", "started", "first", "anew", "end"],
    ],
)
def test_nothing_that_is_told_does_harm(story: list[str]) -> None:
    observer = Observer(2, KNOWN)
    flight = observer.begin(1200, max_tokens=16, slots=2)
    for step, now in zip(story, range(1, 10), strict=False):
        if step == "end":
            flight.end(now, Usage(0, 0))
        elif step == "first":
            flight.first(now)
        elif step == "anew":
            flight.anew()
        else:
            flight.started(now)
    found = observer.forecast(20.0, 1200, 0)
    assert 0 < found.ttft < 1000


def test_what_has_ended_leaves_nothing_behind() -> None:
    observer = Observer(2, KNOWN)
    now = 0.0
    for _ in range(50):
        now = answer(observer, now)
    standing = observer.standing(now)
    assert not standing.running
    assert not standing.waiting


def test_what_all_prompts_in_hand_should_take() -> None:
    observer = Observer(3, KNOWN)
    flights = [observer.begin(1000) for _ in range(3)]
    assert flights[0].reading() == 0, "none has its slot"
    flights[0].started(0.0)
    alone = flights[0].reading()
    assert alone == pytest.approx(observer.forecast(0.0, 1000, 0).prefill)
    flights[1].started(0.0)
    assert flights[2].reading() == pytest.approx(2 * alone), "it stands still for the others"
    flights[0].first(0.5)
    assert flights[0].reading() == pytest.approx(alone)


def test_a_cloud_is_told_by_its_medians() -> None:
    cloud = CloudObserver(1.0, 60.0)
    first = cloud.forecast
    assert (first.ttft, first.speed, first.measured) == (1.0, 60.0, False)
    for ttft in (0.4, 0.5, 9.0):
        flight = cloud.begin(1200)
        flight.started(0.0)
        flight.first(ttft)
        flight.end(ttft + 1.0, Usage(900, 80))
    assert cloud.forecast.ttft == 0.5
    assert cloud.forecast.speed == 80
    assert cloud.forecast.measured
    assert cloud.counted(1200) == 900
    assert cloud.forecast is cloud.forecast
    papers = cloud.begin(0)  # what pages come to says nothing of text
    papers.started(9.0)
    papers.first(9.5)
    papers.end(10.5, Usage(99_000, 80))
    assert cloud.counted(1200) == 900


def test_while_the_first_finds_out_the_others_are_careful() -> None:
    cloud = CloudObserver(0.3, 60.0)
    first = cloud.begin(1200)
    assert cloud.at(0.0).ttft == CAREFUL
    first.started(0.0)
    second = cloud.begin(1200)
    first.end(0.5)  # without a word
    assert cloud.at(0.5).ttft == CAREFUL, "the second still asks"
    second.started(0.5)
    second.end(0.6)
    assert (cloud.at(0.6).ttft, cloud.at(0.6).measured) == (0.3, False)
    third = cloud.begin(1200)
    third.started(1.0)
    third.first(1.8)
    assert cloud.at(2.0).ttft == pytest.approx(0.8)
    assert cloud.at(2.0).measured
    third.end(3.0, Usage(900, 80))
    cloud.begin(1200).started(4.0)
    assert cloud.at(4.0).ttft == pytest.approx(0.8), "what is known is known"


def test_a_slow_guess_is_no_less_slow_while_somebody_finds_out() -> None:
    cloud = CloudObserver(5.0, 60.0)
    cloud.begin(1200)
    assert cloud.at(0.0).ttft == 5.0


def test_what_was_measured_long_ago_counts_no_longer() -> None:
    cloud = CloudObserver(0.3, 60.0)
    for now in (0.0, 100.0):
        flight = cloud.begin(1200)
        flight.started(now)
        flight.first(now + 4.0)
        flight.end(now + 5.0, Usage(900, 80))
    assert cloud.at(104.0 + STALE).ttft == 4.0
    later = cloud.at(105.0 + STALE)
    assert (later.ttft, later.speed, later.measured) == (0.3, 80, False)
    assert cloud.at(106.0 + STALE) is later


def test_a_cloud_that_failed_teaches_nothing() -> None:
    cloud = CloudObserver(1.0, 60.0)
    flight = cloud.begin(1200)
    flight.started(0.0)
    flight.end(30.0)
    assert cloud.forecast.ttft == 1.0


@pytest.mark.parametrize("seed", range(40))
def test_whatever_comes_to_pass_there_is_a_forecast(seed: int) -> None:
    """Flights that start, speak and end in any order, at odd lengths and at once."""
    rnd = random.Random(seed)
    observer = Observer(rnd.choice([1, 2, 8]), KNOWN)
    flights: list[Flight] = []
    now = 0.0
    for _ in range(300):
        now += rnd.choice([0.0, 1e-6, 0.1, 30.0])
        step = rnd.random()
        if step < 0.4 or not flights:
            thought = Cached(rnd.choice([0, 10, 5000]), rnd.choice([True, False]))
            limit = rnd.choice([None, 1, 500])
            flights.append(observer.begin(rnd.choice([1, 50, 90_000]), thought, limit))
        elif step < 0.6:
            rnd.choice(flights).started(now)
        elif step < 0.63:
            rnd.choice(flights).anew()
        elif step < 0.8:
            rnd.choice(flights).first(now)
        else:
            usage = Usage(
                rnd.choice([0, 1, 10**6]), rnd.choice([0, 1, 9, 5000]), rnd.choice([0, 7])
            )
            flights.pop(rnd.randrange(len(flights))).end(now, rnd.choice([None, usage]))
        found = observer.forecast(now, rnd.choice([1, 500, 10**6]), rnd.choice([0, 100]))
        assert math.isfinite(found.ttft)
        assert found.ttft > 0
        assert found.queue >= 0
        assert math.isfinite(found.speed)
        assert found.speed > 0
