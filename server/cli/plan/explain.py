"""`holdfast plan --explain`: all that was weighed for one model, and why each way lost."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from server.cli.columns import columns
from server.cli.plan.draft import Draft
from server.cli.plan.report import model_of
from server.cli.plan.screen import Screen, heading
from server.cli.plan.table import extras, filled, gib, rate, tokens, where
from server.cli.plan.verdict import ways
from server.planning.footprint.component import COMPONENTS, Component
from server.planning.plan import Assignment, Option
from server.units import format_bytes, format_duration

_HEADINGS = ("", "BUILD", "ON", "SLOTS", "GPU GIB", "RAM GIB", "TOK/S", "KEEPS")
_FIRST_NUMBER = 3
_LABELS = {"kv_cache": "KV cache", "mtp": "MTP", "prompt_cache": "prompt cache"}


def explain(draft: Draft, model: str, screen: Screen) -> Iterator[Text]:
    """What `model` got, byte by byte; the other ways that fit; what was turned down."""
    assignment = draft.plan.of(model)
    yield Text(f"{model} on {draft.subject}", style="bold")
    if assignment is None:
        yield from screen.paragraph("It is not in the plan.")
    else:
        yield from _assignment(draft, assignment, screen)
    count = sum(option.deployment.model == model for option in draft.options)
    if count:
        yield from heading(f"Ways to run it: {count}, of each build and place the best")
        yield from screen.paragraph("Short: beside the other models of the plan.", style="dim")
        yield from _ways(draft, model, screen)
    rejections = [r for r in draft.plan.rejections if model_of(r) == model]
    if rejections:
        yield from heading(f"Turned down: {len(rejections)}")
    for rejection in rejections:
        name = rejection.name.removeprefix(f"{model}:")
        lead = Text.assemble("   ", (name, "bold"), ": ")
        yield from screen.paragraph(rejection.reason + ".", lead=lead)


def component_label(component: Component) -> str:
    """A component's name for people."""
    return _LABELS.get(component, component)


def _assignment(draft: Draft, assignment: Assignment, screen: Screen) -> Iterator[Text]:
    option = assignment.option
    deployment, speed = option.deployment, option.speed
    yield from screen.paragraph(f"{assignment.reason}; limited by {assignment.binds}.")
    facts = [
        ("build", f"{deployment.build}, {format_bytes(option.weights_bytes)} of weights"),
        ("engine", ", ".join([deployment.engine, *extras(deployment)])),
        ("on", f"{where(deployment, draft.rig)}, {assignment.residency}"),
        ("slots", f"{deployment.slots} of {deployment.context:,} tokens, KV {deployment.kv_type}"),
        (
            "speed",
            f"{rate(speed.decode)} tokens/s alone, {rate(speed.decode_all)} with all slots busy, "
            f"prompts {rate(speed.prefill)}; bound by {speed.binds}",
        ),
        ("loads in", format_duration(option.load_seconds)),
    ]
    if option.capability:
        score = f"{option.retention:.1%} of a mean benchmark score of {option.capability:.1f}"
        facts.append(("keeps", score))
    if option.estimated:
        facts.append(("size", "estimated from the quantization: nobody has told it yet"))
    yield Text()
    for name, text in facts:
        yield from screen.paragraph(text, lead=Text(f"   {name:<10}", style="dim"))
    yield from heading("Memory")
    yield from _components(draft, option)


def _components(draft: Draft, option: Option) -> Iterator[Text]:
    devices = list(option.footprint.by_device())
    names = [draft.rig.device(device).name.partition(" (")[0] for device in devices]
    shares = {device: option.footprint.by_component(device) for device in devices}
    used = [c for c in COMPONENTS if any(c in share for share in shares.values())]
    rows = [("", *names)]
    for component in used:
        sizes = [shares[device].get(component) for device in devices]
        label = component_label(component)
        rows.append((label, *(format_bytes(size) if size else "-" for size in sizes)))
    rows.append(("in all", *(format_bytes(option.footprint.on(device)) for device in devices)))
    for line in columns(rows, frozenset(range(1, len(names) + 1))):
        yield Text("   " + line)


def _ways(draft: Draft, model: str, screen: Screen) -> Iterator[Text]:
    rows = [_HEADINGS]
    reasons = [""]
    for way in ways(draft, model):
        option, d = way.option, way.option.deployment
        reasons.append(way.verdict or "chosen")
        rows.append(
            (
                "" if way.verdict else "*",
                ", ".join([d.build.partition(":")[2], *extras(d)]),
                where(d, draft.rig),
                f"{d.slots} x {tokens(d.context)}",
                *gib(option, draft.rig),
                rate(option.speed.decode),
                f"{option.retention:.0%}",
            )
        )
    shown = filled(rows)
    right = frozenset(at for at, number in enumerate(shown) if number >= _FIRST_NUMBER)
    lines = columns([[row[number] for number in shown] for row in rows], right)
    width = max(map(len, lines))
    for line, reason in zip(lines, reasons, strict=True):
        style = "bold" if line.startswith("*") else "" if reason else "dim"
        lead = Text(f"{line:<{width}}  ", style)
        yield from screen.column(reason, lead=lead, style=style)
