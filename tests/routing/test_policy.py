"""The decision, held to the tables in `tables/` (their language: cases.py)."""

from __future__ import annotations

import pytest

from server import errors
from server.errors import HoldfastError
from server.routing.decision import Decision
from server.routing.policy import decide
from tests.routing.cases import WORLD, Row, rows

SHORT = {candidate.name: short for short, candidate in WORLD.items()}
ROWS = list(rows())


def decided(row: Row) -> Decision:
    return decide(
        row.needs, row.candidates, row.router, spare=row.spare, draw=row.draw, absent=ABSENT
    )


ABSENT = {"qwen3.5-9b": "Qwen3.5 9B is in the catalogue, but is not running"}


def told(decision: Decision, facts: dict[str, str]) -> dict[str, str]:
    """Those facts of a decision that a row speaks of, as the row writes them."""
    known = {
        "load": SHORT[decision.load.name] if decision.load else "none",
        "shadow": SHORT[decision.shadow.name] if decision.shadow else "none",
        "route": decision.route or "none",
        "hedge": str(decision.hedge_after),
        "policy": decision.policy,
        "local": "" if decision.local_only else "no",
        "reason": decision.reason,
    }
    return {name: known[name] for name in facts}


@pytest.mark.parametrize("row", ROWS)
def test_the_table(row: Row) -> None:
    if row.expected.startswith("!"):
        name, _, words = row.expected[1:].partition(" ")
        with pytest.raises(HoldfastError) as caught:
            decided(row)
        assert type(caught.value) is getattr(errors, name), caught.value
        assert words in caught.value.sentence
        return
    decision = decided(row)
    names = [SHORT[c.name] for c in decision.attempts]
    wanted = row.expected.removesuffix(".").replace(" ", "").split(">")
    assert (names if row.expected.endswith(".") else names[: len(wanted)]) == wanted
    found = told(decision, row.facts)
    if "reason" in row.facts:
        assert row.facts["reason"] in found.pop("reason")
    assert found == {name: value for name, value in row.facts.items() if name != "reason"}


def test_there_are_enough_rows() -> None:
    assert len(ROWS) >= 150
