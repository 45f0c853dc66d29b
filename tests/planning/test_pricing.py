"""What a plan with a choice is worth at most, against every plan there is."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from server.planning.pricing import Offer, limits

PARTS = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.8, 1.0])
OFFERS = st.builds(
    Offer, st.integers(0, 2), st.integers(-5, 100).map(float), st.tuples(PARTS, PARTS)
)


def best_with(offers: list[Offer], optional: frozenset[int], chosen: Offer) -> float | None:
    """The worth of the best plan with `chosen`, by looking at all; None: there is none."""
    places: list[list[Offer | None]] = []
    for position in sorted({offer.position for offer in offers}):
        own: list[Offer | None] = [offer for offer in offers if offer.position == position]
        if position == chosen.position:
            own = [chosen]
        elif position in optional:
            own.append(None)
        places.append(own)
    worths = []
    for plan in product(*places):
        taken = [offer for offer in plan if offer is not None]
        if all(sum(offer.parts[pool] for offer in taken) <= 1 for pool in (0, 1)):
            worths.append(sum(offer.worth for offer in taken))
    return max(worths, default=None)


@given(
    offers=st.lists(OFFERS, min_size=1, max_size=8),
    optional=st.frozensets(st.integers(0, 2)),
    least=st.floats(0, 300),
)
def test_no_plan_with_a_choice_is_worth_more(
    offers: list[Offer], optional: frozenset[int], least: float
) -> None:
    for offer, limit in zip(offers, limits(offers, optional, [1.0, 1.0], least), strict=True):
        best = best_with(offers, optional, offer)
        assert best is None or best <= limit


def test_memory_that_is_short_has_a_price() -> None:
    large, middle, small = (
        Offer(0, worth, (part,)) for worth, part in ((9.5, 0.9), (9.4, 0.3), (9.0, 0.1))
    )
    other = Offer(1, 50.0, (0.8,))
    *found, _ = limits([large, middle, small, other], frozenset(), [1.0], 59.0)
    assert found[0] < 59.0 <= found[2] < 59.5


def test_what_must_be_covered_excludes_what_covers_too_little() -> None:
    offers = [Offer(0, worth, (part,)) for worth, part in ((10.0, -0.4), (9.9, -0.9), (1.0, -1.0))]
    little, _, enough = limits(offers, frozenset(), [-1.0], 1.0)
    assert little < 1.0 <= enough
