"""What became of each candidate, put into words when somebody looks: most decisions are never
looked at, and words cost more than the decision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from server.routing.candidate import Candidate
from server.routing.decision import Verdict
from server.routing.fit import Case, Stage, why
from server.routing.order import Order
from server.units import format_duration, format_money


class Verdicts(Sequence[Verdict]):
    """Of all candidates: those that are tried in their order, then the others."""

    __slots__ = ("_attempts", "_case", "_order", "_staged", "_told")

    def __init__(
        self,
        case: Case,
        staged: Sequence[tuple[Candidate, Stage]],
        attempts: Sequence[Candidate],
        order: Order,
    ) -> None:
        self._case = case
        self._staged = staged
        self._attempts = attempts
        self._order = order
        self._told: tuple[Verdict, ...] | None = None

    @overload
    def __getitem__(self, at: int) -> Verdict: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Verdict]: ...
    def __getitem__(self, at: int | slice) -> Verdict | Sequence[Verdict]:
        return self._all()[at]

    def __len__(self) -> int:
        return len(self._staged)

    def _all(self) -> tuple[Verdict, ...]:
        if self._told is None:
            tried = {c.name for c in self._attempts}
            self._told = (
                *(Verdict(c.name, True, self._praise(c)) for c in self._attempts),
                *(
                    Verdict(c.name, stage is Stage.FIT, why(self._case, c, stage))
                    for c, stage in self._staged
                    if c.name not in tried
                ),
            )
        return self._told

    def _praise(self, c: Candidate) -> str:
        """What a candidate that is tried was put in its place for."""
        order, needs = self._order, self._case.needs
        price = "free" if c.price is None else f"about {format_money(order.cost(c))}"
        words = [price, f"first token in {_parts(c)}"]
        if order.late(c):
            perhaps = "" if c.forecast.ttft > order.slo else "perhaps "
            words.append(f"{perhaps}later than the {format_duration(order.slo)} asked for")
        if c.forecast.speed:
            words.append(f"{c.forecast.speed:.0f} tokens/s")
        if (capability := c.capability.get(needs.task)) is not None:
            words.append(f"capability {capability:.1f} for {needs.task}")
        if c.cached_tokens:
            words.append(f"{c.cached_tokens} tokens in its cache")
        if c.sticky:
            words.append("the session was there")
        if c.down:
            words.append(c.down)
        return ", ".join(words)


def _parts(c: Candidate) -> str:
    """The forecast, and what it is made of where that is more than the prompt's reading."""
    forecast = c.forecast
    parts = [
        f"{name} {format_duration(seconds)}"
        for name, seconds in (
            ("load", forecast.load),
            ("queue", forecast.queue),
            ("prefill", forecast.prefill),
        )
        if seconds
    ]
    told = format_duration(forecast.ttft)
    if len(parts) > 1:
        told += f" ({' + '.join(parts)})"
    return told if forecast.measured else f"{told} (not measured yet)"
