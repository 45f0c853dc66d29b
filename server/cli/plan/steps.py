"""What to do after a look at a plan. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from server.catalogue import EngineName
from server.cli.plan.draft import Draft, Step
from server.errors import EngineMissing
from server.planning.available import INSTALL
from server.planning.deployment import Deployment
from server.planning.plan import Assignment, Plan, Rejection
from server.units import format_bytes


def steps(
    draft: Draft,
    whole: Draft,
    missing: Mapping[EngineName, EngineMissing],
    running: Collection[Deployment] = (),
) -> tuple[Step, ...]:
    """For a draft of this machine; `whole`: the one with all builds of the catalogue, perhaps the
    same. `missing`: engines that cannot be used."""
    return (
        *_install(missing, draft.plan.rejections),
        *_pull(draft, whole),
        *_apply(draft, missing, running),
    )


def _install(
    missing: Mapping[EngineName, EngineMissing], rejections: Collection[Rejection]
) -> Iterator[Step]:
    for engine, error in missing.items():
        builds = sum((r.kind, r.engine) == ("not installed", engine) for r in rejections)
        if builds:
            waiting = f"{builds} builds wait" if builds > 1 else "a build waits"
            yield Step(f"{error.what}, and {waiting} for it; to install it", INSTALL[engine])


def _pull(draft: Draft, whole: Draft) -> Iterator[Step]:
    absent = [a.option for a in whole.ordered if not a.option.held]
    if not absent:
        return
    size = format_bytes(sum(option.weights_bytes for option in absent))
    command = f"holdfast pull {' '.join(option.deployment.build for option in absent)}"
    if whole is draft:
        yield Step(f"Not all of it is in the store yet; to fetch {size}", command)
        return
    yield Step(f"With {size} more in the store, {_gain(draft.plan, whole.plan)}", command)
    yield Step("To see that plan", f"{draft.command} --all-builds")


def _gain(plan: Plan, whole: Plan) -> str:
    """`5 models could be served instead of 2, qwen3.5-27b:q4_k_m at 39 tokens/s among them`"""
    count, before = len(whole.assignments), len(plan.assignments)
    text = f"{count} models could be served" + (f" instead of {before}" if before else "")
    if count == before:
        text = "the same models would be served better"
    best, now = _ablest(whole), _ablest(plan)
    if best and (now is None or best.option.capability > now.option.capability):
        speed = best.option.speed.decode
        text += f", {best.option.deployment.build} at {speed:.0f} tokens/s among them"
    return text


def _ablest(plan: Plan) -> Assignment | None:
    return max(plan.resident, key=lambda a: a.option.capability, default=None)


def _apply(
    draft: Draft,
    missing: Mapping[EngineName, EngineMissing],
    running: Collection[Deployment],
) -> Iterator[Step]:
    options = [a.option for a in draft.plan.assignments]
    possible = all(o.held and o.deployment.engine not in missing for o in options)
    if possible and any(o.deployment not in running for o in options):
        yield Step("To have the running Holdfast change to this plan", f"{draft.command} --apply")
