"""The forecast, part by part, and over whole days of a simulated engine."""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import dataclass

import pytest

from server.chat.usage import Usage
from server.routing.flight import Flight
from server.routing.observe import Expected, Observer
from server.routing.predict import Rates, Standing, Work, forecast
from tests.routing.simulated import Engine, Request

RATES = Rates(fixed=0.1, prefill=100.0, step=0.1, step_more=0.05)
BUSY = (Work(0, 10), Work(0, 30))


@pytest.mark.parametrize(
    ("standing", "prompt", "load", "queue", "prefill"),
    [
        (Standing(2), 0, 0, 0, 0.1),
        (Standing(2), 500, 0, 0, 5.1),
        (Standing(2, load=7.0), 500, 7.0, 0, 5.1),
        # A slot is free: what is being read comes before, what is being written does not matter.
        (Standing(2, running=(Work(200, 50),)), 500, 0, 2.0, 5.1),
        (Standing(2, running=(Work(0, 50),)), 500, 0, 0, 5.1),
        # None is: the first to end has 10 tokens to go, of 0.15 s each.
        (Standing(2, running=BUSY), 0, 0, 1.5, 0.1),
        (Standing(2, running=(Work(100, 10), Work(0, 30))), 0, 0, 2.5, 0.1),
        # One waits: it gets that slot, reads for 1.1 s, which holds up the other one as well, and
        # writes 10 tokens: 1.5 + 1.1 + 1.5 s; the other one ends at 4.5 + 1.1.
        (Standing(2, running=BUSY, waiting=(Work(100, 10),)), 0, 0, 4.1, 0.1),
        (Standing(2, running=BUSY, waiting=(Work(100, 100),)), 0, 0, 5.6, 0.1),
        # A request with two slots waits for both.
        (Standing(2, running=BUSY, waiting=(Work(0, 10, slots=2),)), 0, 0, 6.1, 0.1),
        (Standing(1, running=(Work(0, 20),)), 100, 0, 2.0, 1.1),
        # Nothing runs yet: it is being loaded, and others wait for that as well.
        (Standing(1, load=3.0, waiting=(Work(100, 20),)), 0, 3.0, 3.1, 0.1),
    ],
)
def test_the_parts(
    standing: Standing, prompt: float, load: float, queue: float, prefill: float
) -> None:
    found = forecast(standing, RATES, prompt)
    assert (found.load, found.queue, found.prefill) == pytest.approx((load, queue, prefill))
    assert found.ttft == pytest.approx(load + queue + prefill)


def test_the_speed_is_that_beside_the_others() -> None:
    assert forecast(Standing(4), RATES, 10).speed == pytest.approx(10)
    assert forecast(Standing(4, running=BUSY), RATES, 10).speed == pytest.approx(5)
    assert forecast(Standing(2, running=BUSY), RATES, 10).speed == pytest.approx(1 / 0.15)


def test_a_wait_is_longer_where_answers_get_long() -> None:
    long = (Work(0, 10, answer_late=40), Work(0, 30, answer_late=50))
    found = forecast(Standing(2, running=long), RATES, 0)
    assert (found.queue, found.queue_late) == pytest.approx((1.5, 6.0))
    waits = forecast(Standing(2, running=BUSY), RATES, 0)
    assert waits.queue_late == waits.queue
    assert forecast(Standing(3, running=long), RATES, 0).queue_late == 0  # nobody's end matters


@pytest.mark.parametrize("slots", [1, 2, 4, 8])
def test_nearly_all_waits_end_in_time(slots: int) -> None:
    """Of answers that get as long as those before; each has come as far as chance will have it."""
    rnd = random.Random(slots)
    lengths = [rnd.lognormvariate(5, 1) for _ in range(4000)]
    ended = []
    for _ in range(100):
        observer = Observer(slots, Expected(decode=20, decode_all=20 * slots))
        now = 0.0
        for length in rnd.choices(lengths, k=128):
            flight = observer.begin(10)
            flight.started(now)
            flight.first(now)
            flight.end(now + length / 20, Usage(8, max(1, round(length))))
            now += length / 20
        rest = []
        for _ in range(slots):  # the longer one is, the more often one comes upon it
            length = rnd.choices(lengths, lengths)[0]
            come = rnd.random() * length
            flight = observer.begin(10)
            flight.started(now - come / 20)
            flight.first(now - come / 20)
            rest.append((length - come) / 20)
        ended.append(min(rest) <= observer.forecast(now, 10, 0).queue_late * 1.05)
    assert 0.85 < statistics.fmean(ended) <= 1.0


@pytest.mark.parametrize("slots", [1, 3, 8])
def test_more_work_before_it_never_makes_it_sooner(slots: int) -> None:
    random.seed(slots)
    for _ in range(200):
        running = tuple(
            Work(random.choice([0, 300]), random.randint(1, 200))
            for _ in range(random.randint(0, slots))
        )
        waiting: tuple[Work, ...] = ()
        if len(running) == slots:
            waiting = tuple(Work(100, random.randint(1, 200)) for _ in range(random.randint(0, 6)))
        now = forecast(Standing(slots, 0, running, waiting), RATES, 200).ttft
        more = (*waiting, Work(400, 80))
        assert forecast(Standing(slots, 0, running, more), RATES, 200).ttft >= now - 1e-9


# ---- Beside what comes to pass ----


SLOWER = Expected(prefill=300, decode=15, decode_all=30)


@dataclass(frozen=True)
class Traffic:
    slots: int = 4
    load: float = 0.8
    """Of what the engine can do."""
    bursts: bool = True
    expected: Expected = SLOWER
    """What the planner says of an engine that reads 900 tokens a second, and writes 50."""
    known: bool = True
    """Whether the estimate of tokens is about right."""
    cut: bool = False
    """Whether answers end at their limits."""


def errors(traffic: Traffic, seed: int) -> list[float]:
    """|predicted - actual| / actual of the time to the first token, from the 50th request on."""
    rnd = random.Random(seed)
    observer = Observer(traffic.slots, traffic.expected)
    flights: dict[Request, Flight] = {}
    predicted: dict[Request, float] = {}

    def tell(kind: str, request: Request, now: float) -> None:
        flight = flights[request]
        if kind == "seated":
            flight.seated(now)
        elif kind == "started":
            flight.started(now)
        elif kind == "first":
            flight.first(now)
        else:
            flight.end(now, Usage(request.prompt, request.answer, request.cached))

    engine = Engine(traffic.slots, reads=900, step=0.02, more=0.006, fixed=0.01, tell=tell)
    requests = list(arrivals(traffic, rnd))
    for request in requests:
        engine.run_until(request.at)
        guess = int(request.prompt * rnd.lognormvariate(0.18 if traffic.known else 0.6, 0.08)) + 1
        predicted[request] = observer.forecast(request.at, guess, 0).ttft
        limit = request.answer if traffic.cut else rnd.choice([None, 8192])
        flights[request] = observer.begin(guess, max_tokens=limit)
        engine.ask(request)
    engine.run_until(math.inf)
    assert all(request.first is not None for request in requests)
    return [
        abs(predicted[r] - (r.first - r.at)) / (r.first - r.at) for r in requests[50:] if r.first
    ]


def arrivals(traffic: Traffic, rnd: random.Random) -> list[Request]:
    """400 requests: Poisson, or in bursts of five times the rate; lengths as of chats."""
    service = 200 * (0.02 + 0.006 * (traffic.slots - 1)) / traffic.slots + 800 / 900
    rate = traffic.load / service
    found = []
    time = until = 0.0
    burst = False
    for _ in range(400):
        if traffic.bursts and time > until:
            burst = not burst
            until = time + rnd.expovariate(rate / (10 if burst else 20))
        time += rnd.expovariate(rate * (2.5 if burst else 0.5) if traffic.bursts else rate)
        prompt = int(min(8000, max(20, rnd.lognormvariate(math.log(500), 1.0))))
        answer = int(min(1500, max(2, rnd.lognormvariate(math.log(140), 0.8))))
        found.append(Request(time, prompt, answer))
    return found


@pytest.mark.parametrize(
    "traffic",
    [
        Traffic(),
        Traffic(load=0.3),
        Traffic(load=0.6, bursts=False),
        Traffic(slots=1),
        Traffic(slots=8),
        Traffic(expected=Expected(prefill=5000, decode=100, decode_all=300)),
        Traffic(expected=Expected(prefill=100, decode=4, decode_all=5)),
        Traffic(known=False),
        Traffic(cut=True),
        Traffic(cut=True, load=1.1),
    ],
)
def test_half_of_the_forecasts_are_within_a_fifth(traffic: Traffic) -> None:
    """The target of the whole router, held here for an engine whose noise is only in what nobody
    can know: how long answers will be."""
    found = [error for seed in (1, 2) for error in errors(traffic, seed)]
    assert statistics.median(found) < (0.12 if traffic.cut else 0.2)


def test_a_busy_engine_is_told_from_an_idle_one() -> None:
    """Where forecasts were a constant, half of them would be off by far more."""
    rnd = random.Random(3)
    actual = [rnd.lognormvariate(1, 1.2) for _ in range(1000)]
    best = min(
        statistics.median(abs(constant - one) / one for one in actual)
        for constant in (0.5, 1, 2, 3, 5, 8)
    )
    assert best > 0.4
