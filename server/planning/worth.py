"""What an option is worth to a wish, as whole numbers: what the planner adds up and maximizes.

Three measures, compared in this order over a whole plan:

lead      of the most capable resident model: its capability, and four steps of comfort (a context
          of 32k, two requests at a time, images, hardly a loss by quantization) that weigh less.
coverage  capability times weight times how ready the model is, over all that are served; being
          ready counts where an answer is worth waiting for.
pace      what the expected seconds for a token fall short of four, in milliseconds,
          times the model's share of the requests, over all that are ready, less a rent for RAM.
          Maximizing it is maximizing the expected tokens per second under the demand, as a harmonic
          mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

from server.planning.demand import LEAST_CONTEXT, Demand, Wish
from server.planning.device import RAM_ID
from server.planning.plan import Option
from server.planning.quality import FINE, SOUND
from server.planning.sizing import COMFORT
from server.planning.speed import Speed
from server.units import GIB

Mode = Literal["resident", "asleep", "beside", "in turn"]
"""A residency, where what is on demand is loaded either `beside` all others or `in turn` with those
that are not pinned, which are evicted for it."""
MODES: tuple[Mode, ...] = get_args(Mode)

COMFORT_SLOTS = 2
_LEADING_CONTEXT = 16_384
_CRAMPED = 0.9
"""What is left of a model that leads with less context: a question and an answer are all it holds.
"""
_SLUGGISH = 0.9
"""What is left of one that writes fast enough to read along, and reads a prompt for minutes."""
_READINESS = {"resident": 8, "asleep": 5, "beside": 4, "in turn": 4}
_SLOW_READINESS = {"resident": 2, "asleep": 2, "beside": 2, "in turn": 2}
_USEFUL_SECONDS = 0.3
"""For a token, with all that is expected of the requests: what is slower is not worth waiting for.
"""
_QUEUE_SECONDS = 30.0
"""Until the answers that a model is giving are finished, so that it can make room."""
_PROMPT_TOKENS = 4
"""Read for each token that is written."""
_ANSWER_TOKENS = 500
"""Over which a load is spread."""
_COLD = 0.5
"""How often a request for what is not resident finds it unloaded."""
_WAKE_RATE = 16e9
"""Bytes/s from RAM to a GPU on waking."""
_AT_ONCE = ((1, 1 / 2), (2, 1 / 4), (4, 1 / 8), (8, 1 / 16), (16, 1 / 32), (32, 1 / 32))
"""Requests at a time, and how often: each doubling half as often."""
_SHORTEST, _DOUBLINGS = 1024, 8
"""Contexts that requests need: from 1k to 256k, each doubling as often."""
_QUALITY_POWER = 32
"""A per cent of the capability lost counts as much as a quarter of the speed."""
_NO_IMAGES = 0.9
"""The part of the requests that a model without its image encoder can take."""
_SLOWEST = 4.0
_RENT = 2
"""Steps of pace that a GiB of RAM has to gain (2 ms for each token), since everything else on the
machine wants it, too. GPUs are there for this."""
TYPICAL_CONTEXT = 16_384
"""Half of it filled: what speeds are compared at, however much context there is."""
_PACE_STEPS = 1000
_POINTS_PER_OCTAVE = 10.0
"""Under `auto`, a model weaker by so many points is asked half as often."""


def points(capability: float, retention: float) -> int:
    """Tenths of points of capability; a build of four bits and more counts as the model itself."""
    return round(10 * capability * (1.0 if retention >= SOUND else retention))


def comfort(context: int, slots: int, wish: Wish, *, vision: bool, retention: float) -> int:
    """0 to 5: the four comforts, context twice, as far as the wish lets there be more."""
    enough_context = min(COMFORT, wish.context_limit or COMFORT)
    enough_slots = min(COMFORT_SLOTS, wish.slots_limit or COMFORT_SLOTS)
    is_fine = retention >= FINE
    return 2 * (context >= enough_context) + (slots >= enough_slots) + vision + is_fine


def lead(option: Option, wish: Wish) -> int:
    d = option.deployment
    comforts = comfort(d.context, d.slots, wish, vision=d.vision, retention=option.retention)
    value = points(option.capability, option.retention)
    if d.context < min(_LEADING_CONTEXT, wish.context_limit or _LEADING_CONTEXT):
        value = round(value * _CRAMPED)
    if option.token_seconds > _USEFUL_SECONDS:
        value = round(value * _SLUGGISH)
    return 6 * value + comforts


def compromised(option: Option, wish: Wish, demand: Demand) -> bool:
    """Whether it gives up precision that a demand may have to give up: with a KV cache in fewer
    bits, or, where so much context or so many slots must be served, with less than four bits of
    weights, which lose more than the cache does."""
    must = must_fit(wish, demand) and option.retention < SOUND
    return option.deployment.quantized_cache or must


def must_fit(wish: Wish, demand: Demand) -> bool:
    """Whether more than the least context or one slot is asked for, and has to be served."""
    is_asked = wish.context > LEAST_CONTEXT or wish.slots > 1
    return is_asked and (wish.pin or not demand.auto)


def useful(option: Option, wish: Wish) -> bool:
    """Whether it is worth having ready: a build of four bits and more, with room for long prompts,
    at a speed that is worth waiting for."""
    return (
        option.retention >= SOUND
        and option.deployment.context >= min(COMFORT, wish.context_limit or COMFORT)
        and option.token_seconds <= _USEFUL_SECONDS
    )


def coverage(option: Option, wish: Wish, mode: Mode) -> int:
    value = points(option.capability, option.retention) * wish.weight
    return round(value * (_READINESS[mode] if useful(option, wish) else _SLOW_READINESS[mode]))


def pace(option: Option, share: float, mode: Mode) -> int:
    """Of what is on demand it is 0: it takes nothing from the others, and is chosen by itself."""
    if mode in ("beside", "in turn"):
        return 0
    waking = 0.0
    if mode == "asleep":
        # What makes room for it has to come back, too.
        waking = 1.0 + option.weights_bytes / _WAKE_RATE + option.load_seconds + _QUEUE_SECONDS
    seconds = option.token_seconds + _COLD * waking / _ANSWER_TOKENS
    return round(_PACE_STEPS * share * (_SLOWEST - min(_SLOWEST, seconds))) - _rent(option, mode)


def demand_seconds(option: Option, mode: Mode) -> float:
    """Expected seconds for a token of what is loaded on demand, its loading included."""
    wait = option.load_seconds
    if mode == "in turn":
        wait = 2 * wait + _QUEUE_SECONDS
    return option.token_seconds + _COLD * wait / _ANSWER_TOKENS


def _rent(option: Option, mode: Mode) -> int:
    held = option.footprint if mode == "resident" else option.asleep if mode == "asleep" else None
    return 0 if held is None else round(held.on(RAM_ID) / GIB * _RENT)


def seconds_per_token(
    speed: Speed, context: int, slots: int, *, vision: bool, retention: float
) -> float:
    """Expected seconds that somebody waits for each token of an answer, its part of reading the
    prompt included, over the numbers of requests at a time and the contexts that they need."""
    growth = 0.0
    if slots > 1:
        growth = math.log2(max(1.0, speed.decode_all / speed.decode)) / math.log2(slots)
    seconds: float = sum(
        part
        * (count / (speed.decode * min(count, slots) ** growth) + _PROMPT_TOKENS / speed.prefill)
        for count, part in _AT_ONCE
    )
    fitting = min(1.0, math.log2(max(2.0, context / _SHORTEST)) / _DOUBLINGS)
    images = 1.0 if vision else _NO_IMAGES
    return seconds / (fitting * images * retention**_QUALITY_POWER)


def shares(demand: Demand, options: Iterable[Option]) -> tuple[float, ...]:
    """The part of the requests that each wish gets, against the one that gets most.

    What the weights say; under `auto`, where nobody said, the more capable are asked more often.
    """
    capability: dict[str, float] = {}
    for option in options:
        capability[option.deployment.model] = option.capability
    best = max(capability.values(), default=0.0)
    raw = [
        wish.weight * 2 ** ((capability.get(wish.model, 0.0) - best) / _POINTS_PER_OCTAVE)
        if demand.auto
        else wish.weight
        for wish in demand.wishes
    ]
    most = max(raw, default=1.0) or 1.0
    return tuple(part / most for part in raw)


def serves(option: Option, wish: Wish) -> bool:
    """Whether the option fulfils the wish in all but its residency."""
    d = option.deployment
    return (
        d.model == wish.model
        and (wish.build is None or d.build == wish.name)
        and d.engine in wish.engines
        and d.embeddings == wish.embeddings
        and wish.context <= d.context <= (wish.context_limit or d.context)
        and wish.slots <= d.slots <= (wish.slots_limit or d.slots)
        and option.speed.decode >= wish.speed
    )


def modes(option: Option, wish: Wish) -> Sequence[Mode]:
    """How the option may be kept for the wish; what is in turn may later turn out to fit beside."""
    if wish.pin:
        return ("resident",)
    if option.asleep is None:
        return ("resident", "in turn")
    return ("resident", "asleep", "in turn")
