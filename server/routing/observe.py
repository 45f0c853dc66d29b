"""What each target was seen to do: from it, when the next first token should come.

One observer for each target, told of every request there: `begin` gives a Flight, which hears when
the request got its slot, when the engine got its prompt, when its first token came and how it
ended. Times are monotonic seconds, given by the caller. Nothing here waits or fails; what is not
told is not learnt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from server.chat.usage import Usage
from server.routing.affinity import NOTHING, Cached
from server.routing.candidate import MARGIN, Forecast
from server.routing.flight import Flight
from server.routing.learning import Line, Recent, Upper
from server.routing.lengths import Lengths
from server.routing.predict import Rates, Standing, Work, at_once, forecast
from server.routing.tokens import ABOVE

_TYPICAL_PROMPT = 1000.0
LEAST_DECODED = 8
"""Tokens of an answer below which its speed says little."""
_LATE = 0.05
"""How often a wait may be longer than its forecast's `queue_late`."""
_OVERDUE = 0.1
"""Of a prompt, what is taken to be unread still when its first token is overdue."""
_FIRST_MARGIN, _MOST_MARGIN = 1.25, 3.0
"""Times its forecast that reading may take: until it was seen, and at the most. The least is that
of candidate.py."""
_NO_MATTER = 0.05
"""Seconds by which a forecast may be wrong: a small one that is too early by half tells nothing of
what a long one may take."""
_ALMOST_READ = 0.7
"""Of what reading a prompt should take, after which the engine gets the next one: it takes that up
when the batch is done, and does no step of decoding in between, with slots not busy yet."""
_TOGETHER = 128
"""Tokens of prompts that are read in one batch: for fewer each would take markedly longer."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a local target should do, until it was seen: tokens a second, from the planner."""

    prefill: float = 500.0
    decode: float = 20.0
    decode_all: float = 40.0
    """Of all answers together, every slot being busy."""
    fixed: float = 0.02
    """Seconds of a first token beside the reading."""


class Observer:
    """A local target: an engine with slots, which reads prompts one after the other."""

    def __init__(self, slots: int, expected: Expected = Expected()) -> None:
        self.slots = slots
        step = 1 / expected.decode
        more = (slots / expected.decode_all - step) / (slots - 1) if slots > 1 else 0.0
        self._reading = Line(expected.fixed, 1 / expected.prefill, _TYPICAL_PROMPT)
        self._token = Line(step, max(0.0, more), slots / 2)
        self._lengths = Lengths()
        self._margin = Upper(_FIRST_MARGIN, _LATE)
        self._counted = Recent(1 / ABOVE)
        self._kept = {True: Recent(1.0), False: Recent(0.5)}
        """Of what its cache should have had, the part that it did: by whether the prompt went on
        where an earlier one ended."""
        self._waiting: dict[Flight, None] = {}
        self._running: dict[Flight, None] = {}
        self._unheard: dict[Flight, None] = {}
        """Those of the running whose first token has not come."""
        self._taken = 0
        """Slots in use."""
        self._due = 0.0
        """When all prompts that are being read should have been."""
        self._busy = 0.0
        """Slot-seconds so far: slots in use, summed over time."""
        self._read = 0.0
        """Seconds that were spent on reading so far."""
        self._as_of = 0.0
        self.rates = self._rates()

    # ---- What happens ----

    def begin(
        self,
        guess: int,
        thought: Cached = NOTHING,
        max_tokens: int | None = None,
        slots: int = 1,
        scale: float | None = None,
    ) -> Flight:
        """A request is to be sent: a prompt of `guess` tokens as estimated from above, of which
        `thought` should be in its cache. It waits for its slots from now on. `scale`: see there."""
        scale = self.scale if scale is None else scale
        unread = self.unread(guess, self.cached(thought, scale), scale)
        flight = Flight(self, guess, thought, unread, max_tokens, slots, scale)
        self._waiting[flight] = None
        return flight

    def seat(self, flight: Flight, now: float) -> None:
        self._pass(now)
        self._waiting.pop(flight, None)
        self._running[flight] = self._unheard[flight] = None
        self._taken += flight.slots
        flight.seated_at = now

    def start(self, flight: Flight, now: float) -> None:
        flight.started_at = now
        flight.ahead = max(0.0, self._due - now)
        flight.due = self._due = max(self._due, now) + self._reading(flight.prompt)

    def hear(self, flight: Flight, now: float) -> None:
        self._pass(now)
        assert flight.started_at is not None
        flight.first_at = now
        self._unheard.pop(flight, None)
        self._compare(flight, now)
        self._read += max(0.0, now - flight.started_at - flight.ahead)
        flight.busy, flight.read = self._busy, self._read
        flight.last = self._due <= flight.due
        if flight.last:
            self._due = now

    def finish(self, flight: Flight, now: float, usage: Usage | None) -> None:
        self._pass(now)
        self._waiting.pop(flight, None)
        if self._running.pop(flight, flight) is not None:
            return
        self._taken -= flight.slots
        self._unheard.pop(flight, None)
        if next(self._reads(), None) is None:
            self._due = now
        if usage is not None:
            self._learn(flight, now, usage)

    # ---- What is to be expected ----

    def hold(self, flight: Flight, now: float) -> float:
        """Seconds, at most, until the engine should get the prompt of a `flight` that has its slot:
        until those that it has should almost have been read. 0: now, as it reads none, as they are
        few tokens, as reading this one takes no longer than a batch does in any case, or as nobody
        knows how long they take."""
        rates = self.rates
        if len(self._unheard) < 2:  # itself
            return 0.0
        if not rates.measured or flight.prompt <= rates.fixed * rates.prefill:
            return 0.0
        read, tokens = 0.0, flight.prompt
        for one in self._reads():
            tokens += one.prompt
            read = max(read, one.due - (1 - _ALMOST_READ) * self._reading(one.prompt))
        return 0.0 if tokens <= _TOGETHER else max(0.0, read - now)

    def _reads(self) -> Iterator[Flight]:
        """Those whose prompt the engine has, and has not read."""
        return (flight for flight in self._unheard if flight.started_at is not None)

    def reading(self) -> float:
        """Seconds for reading all prompts that are being read, as if none had been begun."""
        return sum(self._reading(flight.prompt) for flight in self._reads())

    def _rates(self) -> Rates:
        return Rates(
            fixed=self._reading.a,
            prefill=1 / max(self._reading.b, 1e-7),
            step=max(self._token.a, 1e-6),
            step_more=self._token.b,
            measured=self._reading.measured,
            margin=self._margin.value,
        )

    @property
    def scale(self) -> float:
        """Tokens, as this target counts them, for each of the estimate from above; of a prompt that
        was counted it is known better, and is said."""
        return self._counted.value

    def cached(self, thought: Cached, scale: float | None = None) -> int:
        """Of a prompt's tokens, as this target counts them, those that should be in its cache."""
        scale = self.scale if scale is None else scale
        return int(thought.tokens * ABOVE * scale * self._kept[thought.continues].value)

    def unread(self, guess: int, cached: int, scale: float | None = None) -> float:
        """Tokens of such a prompt that should be in no cache."""
        return max(1.0, guess * (self.scale if scale is None else scale) - cached)

    def standing(self, now: float, load: float = 0.0, ahead: int | None = None) -> Standing:
        """`load`: seconds until it is ready. `ahead`: of those that wait, how many are served
        before a newcomer; None: all."""
        prefill = self.rates.prefill
        waiting = list(self._waiting)[:ahead] if self._waiting else ()
        return Standing(
            slots=self.slots,
            load=load,
            running=self._rests(now, prefill),
            waiting=[Work(f.prompt, self._lengths.mean(f.limit), f.slots) for f in waiting],
        )

    def forecast(
        self,
        now: float,
        guess: int,
        cached: int,
        load: float = 0.0,
        ahead: int | None = None,
        scale: float | None = None,
    ) -> Forecast:
        """For a newcomer. See `begin` and `standing`."""
        unread = self.unread(guess, cached, scale)
        rates = self.rates
        if self._taken < self.slots and not self._waiting:  # the rest of the answers matters not
            left = self._left(self._unheard, now, rates.prefill)
            return at_once(load, self._taken, left, rates, unread)
        return forecast(self.standing(now, load, ahead), rates, unread)

    def _rests(self, now: float, prefill: float) -> list[Work]:
        """What is still to be done of the requests that run. How long an answer will be nobody
        knows: of several, one will be short and one long, so each gets its part of the distribution
        and not its middle, else the first slot would always be expected too late; and a higher part
        for what is to be expected at worst."""
        flights = self._running
        if not flights:
            return []
        token = self._token(max(0, self._taken - 1))
        found = []
        # Those that have come furthest are taken to end first.
        ordered = sorted(flights, key=lambda flight: flight.first_at or now)
        count = len(ordered)
        # The first of so many has ended by the one part of the distribution in all but _LATE of the
        # cases, and the last by the other: 1 - (1 - part)^count, and part^count, are 1 - _LATE.
        soonest, latest = 1 - _LATE ** (1 / count), (1 - _LATE) ** (1 / count)
        for index, flight in enumerate(ordered):
            part = (index + 0.5) / count
            late = soonest + (latest - soonest) * index / max(1, count - 1)
            come = left = 0.0
            if flight.first_at is None:
                left = self._left((flight,), now, prefill)
            else:
                stalled = self._read - flight.read  # while others were read
                come = max(0.0, now - flight.first_at - stalled) / token
            rest = self._lengths.rest(come, flight.limit, part)
            rest_late = self._lengths.rest(come, flight.limit, late)
            found.append(Work(left, rest, flight.slots, rest_late))
        return found

    def _left(self, flights: Iterable[Flight], now: float, prefill: float) -> float:
        """Of prompts that are being read, or are about to be, the tokens that should be left."""
        total = 0.0
        for flight in flights:
            left, prompt = (flight.due - now) * prefill, flight.prompt
            if flight.started_at is None or left >= prompt:
                left = prompt
            elif left < _OVERDUE * prompt:
                left = _OVERDUE * prompt
            total += left
        return total

    # ---- Learning ----

    def _pass(self, now: float) -> None:
        if self._as_of:
            self._busy += self._taken * (now - self._as_of)
        self._as_of = now

    def _compare(self, flight: Flight, now: float) -> None:
        """How far off forecasts are of which all is reading: none waits for a slot, which may come
        late."""
        told = flight.foretold
        if told is None or told.load or told.queue_late or not told.measured:
            return
        took, foretold = now - flight.asked_at, told.queue + told.prefill
        ratio = (took + _NO_MATTER) / (foretold + _NO_MATTER)
        self._margin.add(min(max(ratio, MARGIN), _MOST_MARGIN))
        if self._margin.value != self.rates.margin:
            self.rates = self._rates()

    def _learn(self, flight: Flight, now: float, usage: Usage) -> None:
        if usage.prompt_tokens > 0:
            self._counted.add(usage.prompt_tokens / flight.guess)
        tokens = max(1, usage.completion_tokens // flight.slots)
        self._lengths.add(tokens, cut=flight.limit is not None and tokens >= flight.limit)
        if flight.thought.tokens:
            thought = flight.thought.tokens * ABOVE * flight.scale
            self._kept[flight.thought.continues].add(min(1.0, usage.cached_tokens / thought))
        if flight.first_at is None or flight.started_at is None:
            return
        unread = max(1, usage.prompt_tokens - usage.cached_tokens)
        took = flight.first_at - flight.started_at - flight.ahead
        if flight.last and took > 0 and flight.ahead <= took:
            self._reading.add(unread, took)
        decoded, seconds = usage.completion_tokens - 1, now - flight.first_at
        if decoded >= LEAST_DECODED and flight.slots == 1 and seconds > 0:
            busy = (self._busy - flight.busy) / seconds
            stalled = self._read - flight.read
            self._token.add(max(0.0, busy - 1), max(seconds - stalled, seconds / 5) / decoded)
        self.rates = self._rates()
