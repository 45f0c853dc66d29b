"""The plan as a person reads it: what goes where, how full that makes it, why, and what next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.text import Text

from server.cli.plan import bars, table
from server.cli.plan.commands import command_lines
from server.cli.plan.draft import Draft, machine_line
from server.cli.plan.screen import Screen, heading
from server.planning.plan import Rejection
from server.units import format_bytes


def report(draft: Draft, screen: Screen, *, commands: bool) -> Iterator[Text]:
    """The whole; `commands`: with the command line of each engine."""
    yield Text(f"Plan for {draft.subject}", style="bold")
    yield from screen.paragraph(machine_line(draft.rig))
    yield from screen.paragraph(summary(draft))
    for reason in draft.rig.left_out:
        yield from screen.paragraph(reason, lead=Text("! ", "bold yellow"))
    if draft.plan.assignments:
        yield Text()
        yield from table.table(draft, screen)
        yield from heading("Memory")
        yield from bars.bars(draft, screen)
        yield from _strangers(draft, screen)
        yield from _why(draft, screen)
    yield from _left_out(draft, screen)
    yield from _otherwise(draft, screen)
    if commands:
        yield from heading("Commands")
        yield from command_lines(draft, screen)
    yield from _next(draft, screen, commands=commands)


def summary(draft: Draft) -> str:
    """`6 of 8 models: 2 resident, 4 on demand. No better plan exists.`"""
    plan = draft.plan
    known = len({wish.model for wish in draft.demand.wishes})
    counts = [
        f"{len(list(group))} {residency}"
        for residency, group in groupby(draft.ordered, lambda one: one.residency)
    ]
    text = f"{len(plan.assignments)} of {known} models"
    text += f": {', '.join(counts)}. " if counts else ". "
    if plan.proven:
        return text + "Proven: no better plan exists."
    gap = f"at most {plan.gap:.1%}" if 0.0005 <= plan.gap < 0.5 else "very little"
    if plan.gap >= 0.5:
        gap = "a good deal"
    return text + f"Not proven: a better plan may exist, by {gap}."


def model_of(rejection: Rejection) -> str:
    """The model that a rejection is about: names are a model, a build, or a way to run it."""
    return rejection.name.partition(" ")[0].partition(":")[0]


def _strangers(draft: Draft, screen: Screen) -> Iterator[Text]:
    for device in (*draft.rig.gpus, draft.rig.ram):
        if device.used_by:
            who = ", ".join(
                f"{one.name or 'a process of another container or user'} (pid {one.pid})"
                + (f" {format_bytes(one.memory)}" if one.memory else "")
                for one in device.used_by
            )
            name = device.name.partition(" (")[0]
            yield from screen.paragraph(f"{name} is also used by {who}.", lead="  ")


def _why(draft: Draft, screen: Screen) -> Iterator[Text]:
    """The reasons, each once for all that share it."""
    yield from heading("Why")
    shared: dict[str, list[Text]] = {}
    for position, one in enumerate(draft.ordered):
        mark = Text(draft.mark(one), f"bold {table.colour(position)}")
        shared.setdefault(f"{one.reason}; limited by {one.binds}.", []).append(mark)
    for text, marks in shared.items():
        yield from screen.paragraph(text, lead=Text(" ").join(marks) + Text("  "))


def _left_out(draft: Draft, screen: Screen) -> Iterator[Text]:
    """Models without a place, one reason each; the rest is for --explain."""
    models = [model for model in draft.left_out if model not in draft.unheld]
    if draft.left_out:
        yield from heading("Not in the plan")
    for model in models:
        of_model = [r for r in draft.plan.rejections if model_of(r) == model]
        reason = chief(of_model)
        text = reason.reason if reason else "no build of it can be placed here"
        yield from screen.paragraph(text + ".", lead=Text.assemble("   ", (model, "bold"), ": "))
    if absent := [model for model in draft.left_out if model in draft.unheld]:
        yield from screen.paragraph(f"not in the store: {', '.join(absent)}.", lead="   ")


def chief(rejections: Sequence[Rejection]) -> Rejection | None:
    """The one that says most: of the model as a whole, else of the build that came nearest."""
    if not rejections:
        return None
    whole = [r for r in rejections if r.name == model_of(r)]
    return min(whole or rejections, key=_distance)


def _distance(rejection: Rejection) -> tuple[int, float]:
    """What more memory would make possible comes before what is too slow with any, and that before
    what was never tried because another build is better."""
    if rejection.kind == "large":
        return 0, sum(rejection.short.values())
    return (1, -(rejection.decode or 0.0)) if rejection.kind == "slow" else (2, 0.0)


def _otherwise(draft: Draft, screen: Screen) -> Iterator[Text]:
    plan = draft.plan
    if plan.next_best:
        yield from heading("Next best")
        text = f"{plan.next_best.what}. It would lose {plan.next_best.loses}."
        yield from screen.paragraph(text, lead="   ")
    if plan.remedies:
        yield from heading("What would help")
        for remedy in plan.remedies:
            lead = Text.assemble("   ", (remedy.text, "bold"), ": ")
            yield from screen.paragraph(remedy.gains + ".", lead=lead)


def _next(draft: Draft, screen: Screen, *, commands: bool) -> Iterator[Text]:
    """What to type next, and what for; commands are never wrapped."""
    yield Text()
    for step in draft.steps:
        yield from screen.paragraph(step.purpose + ":")
        yield Text("   " + step.command)
    if draft.options or draft.plan.rejections:
        more = "--explain MODEL shows every way to run a model and why it lost"
        more += "" if commands or not draft.ordered else ", --commands the engines' command lines"
        yield from screen.paragraph(more + ".", style="dim")
