"""Everything about one model."""

from __future__ import annotations

from dataclasses import replace

from server.cli.plan.document import explanation
from server.cli.plan.explain import explain
from server.cli.plan.screen import Screen
from tests.cli.plan.drafts import BIG, PLAN, SMALL, draft


def told(model: str, width: int | None = None) -> str:
    screen = Screen(width)
    return screen.render(explain(draft(), model, screen))


def test_bytes_by_component_and_device() -> None:
    text = told("qwen3.5-122b-a10b")
    assert "                GPU 0     GPU 1       RAM" in text
    assert "   weights   10.0 GiB  17.0 GiB  59.0 GiB" in text
    assert "   KV cache   1.0 GiB   1.0 GiB   1.0 GiB" in text
    assert "   in all    11.0 GiB  18.0 GiB  60.0 GiB" in text


def test_what_was_chosen_is_marked_among_the_ways() -> None:
    better = replace(SMALL.option, deployment=replace(SMALL.option.deployment, slots=2))
    made = draft(options=(better, SMALL.option, BIG.option))
    lines = Screen(None).render(explain(made, "qwen3.5-9b", Screen(None))).splitlines()
    assert "Ways that were weighed: 2" in lines
    assert [line.split()[:2] for line in lines if "x 128K" in line] == [
        ["q4_k_m", "llama-server"],
        ["*", "q4_k_m"],
    ]


def test_every_rejection_with_its_reason() -> None:
    text = told("qwen3.5-397b-a17b")
    assert "It is not in the plan." in text
    assert "Turned down: 2" in text
    assert "   qwen3.5-397b-a17b:q8_0: needs 400.0 GiB." in text


def test_a_size_that_nobody_told_is_said_to_be_estimated() -> None:
    assert "estimated" in told("qwen3.5-122b-a10b")
    assert "estimated" not in told("qwen3.5-9b")


def test_as_json_it_is_of_this_model_only() -> None:
    found = explanation(draft(), "qwen3.5-9b")
    assert found["assignment"]["deployment"]["build"] == "qwen3.5-9b:q4_k_m"
    assert [one["deployment"]["model"] for one in found["options"]] == ["qwen3.5-9b"]
    assert [one["name"] for one in found["rejections"]] == ["qwen3.5-9b:q8_0"]
    assert [one["build"] for one in found["commands"]] == ["qwen3.5-9b:q4_k_m"]
    assert explanation(draft(PLAN), "qwen3.5-397b-a17b")["assignment"] is None
