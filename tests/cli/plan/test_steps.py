"""What to do next."""

from __future__ import annotations

from dataclasses import replace

from server.catalogue import EngineName
from server.cli.plan.draft import Draft
from server.cli.plan.steps import steps
from server.errors import EngineMissing
from server.planning.plan import Rejection
from tests.cli.plan.drafts import ASKED, BIG, PLAN, SMALL, draft

HERE = draft(replace(PLAN, assignments=(BIG, SMALL)), here=True)
NO_VLLM: dict[EngineName, EngineMissing] = {"vllm": EngineMissing("vLLM is not installed")}


def commands(
    made: Draft, whole: Draft, missing: dict[EngineName, EngineMissing] | None = None
) -> list[str]:
    return [step.command for step in steps(made, whole, missing or {})]


def test_with_everything_there_it_can_be_applied() -> None:
    assert commands(HERE, HERE) == ["holdfast plan --models all --apply"]


def test_what_runs_already_needs_no_step() -> None:
    running = [a.option.deployment for a in HERE.plan.assignments]
    assert steps(HERE, HERE, {}, running) == ()
    assert steps(HERE, HERE, {}, running[:1]) == steps(HERE, HERE, {})


def test_what_is_absent_is_to_be_pulled_before() -> None:
    made = draft()
    (step,) = steps(made, made, {})
    assert step.command == "holdfast pull qwen3.5-27b:q4_k_m"
    assert "20.0 GiB" in step.purpose


def test_what_a_pull_would_give_is_told() -> None:
    whole = draft(replace(PLAN, assignments=(BIG, SMALL, ASKED)))
    pull, see, _ = steps(HERE, whole, {})
    assert pull.command == "holdfast pull qwen3.5-27b:q4_k_m"
    assert "3 models could be served instead of 2" in pull.purpose
    assert see.command == "holdfast plan --models all --all-builds"


def test_an_abler_model_is_named_with_its_speed() -> None:
    able = replace(BIG, option=replace(BIG.option, capability=90.0, held=False))
    whole = draft(replace(PLAN, assignments=(able, SMALL)))
    few = draft(replace(PLAN, assignments=(SMALL,)))
    pull, *_ = steps(few, whole, {})
    assert "qwen3.5-122b-a10b:ud-q4_k_xl at 43 tokens/s among them" in pull.purpose


def test_the_same_models_may_be_served_better() -> None:
    other = replace(SMALL, option=replace(SMALL.option, held=False))
    whole = draft(replace(PLAN, assignments=(other,)))
    pull, *_ = steps(draft(replace(PLAN, assignments=(SMALL,))), whole, {})
    assert "the same models would be served better" in pull.purpose


def test_an_engine_that_builds_wait_for_is_to_be_installed() -> None:
    wait = Rejection("qwen3.5-9b:bf16", "no engine for it", "not installed", "vllm")
    made = draft(replace(PLAN, assignments=(SMALL,), rejections=(wait,)), here=True)
    first, *_ = steps(made, made, NO_VLLM)
    assert first.command == "scripts/setup --vllm"
    assert first.purpose == "vLLM is not installed, and a build waits for it; to install it"


def test_an_engine_that_nothing_waits_for_is_not_mentioned() -> None:
    assert commands(HERE, HERE, NO_VLLM) == ["holdfast plan --models all --apply"]
