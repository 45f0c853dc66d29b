"""Embeddings go to one model, at whichever of its providers, and to one build of a local one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from server.errors import ContextExceeded, NoRoute
from server.routing.candidate import Candidate
from server.routing.fit import Stage
from server.routing.needs import Needs
from server.routing.policy import decide
from server.routing.vectors import one_model
from tests.routing.cases import ROUTER, WORLD, needs_for

CLOUD = WORLD["vectors"]
ELSEWHERE = replace(CLOUD, name="azure/vectors", provider="azure")
OTHER = replace(CLOUD, name="openai/vectors-large", model="vectors-large")
HERE = replace(WORLD["small"], embeddings=True)
HERE_TOO = replace(HERE, name="qwen3.5-4b:q8_0")


def staged(*candidates: Candidate, stage: Stage = Stage.FIT) -> list[tuple[Candidate, Stage]]:
    return [(c, stage) for c in candidates]


def embeds(asked: str = "auto", tokens: int = 1000, longest: int = 1000) -> Needs:
    return needs_for(
        asked, endpoint="embeddings", prompt_tokens=tokens, longest=longest, max_tokens=0
    )


def test_a_model_may_be_had_from_several_providers() -> None:
    both = staged(CLOUD, ELSEWHERE, WORLD["mini"])
    assert one_model("embed", both) == both
    down = replace(CLOUD, down="its breaker is open")
    found = decide(embeds(), (down, ELSEWHERE, WORLD["mini"]), ROUTER)
    assert [c.name for c in found.attempts] == ["azure/vectors"]


@pytest.mark.parametrize("pair", [(CLOUD, OTHER), (CLOUD, HERE)])
@pytest.mark.parametrize("stage", [Stage.FIT, Stage.DOWN, Stage.PRIVACY, Stage.BUDGET])
def test_never_one_of_several_models_however_busy_they_are(
    pair: tuple[Candidate, Candidate], stage: Stage
) -> None:
    with pytest.raises(NoRoute, match="several models that make embeddings") as caught:
        one_model("auto", [(pair[0], Stage.FIT), (pair[1], stage)])
    assert pair[0].name in caught.value.why
    assert pair[1].name in caught.value.why
    assert one_model("it", [(pair[0], Stage.FIT), (pair[1], Stage.ASKED)])


def test_of_a_local_models_builds_the_first() -> None:
    found = decide(embeds("qwen3.5-4b"), (HERE, HERE_TOO), ROUTER)
    assert [c.name for c in found.attempts] == [HERE.name]
    reasons = {verdict.name: verdict.reason for verdict in found.verdicts}
    assert reasons[HERE_TOO.name] == "another build, whose vectors differ"
    by_name = decide(embeds(HERE_TOO.name), (HERE, HERE_TOO), ROUTER)
    assert [c.name for c in by_name.attempts] == [HERE_TOO.name]


def test_the_longest_input_has_to_fit_and_not_all_together() -> None:
    assert decide(embeds(tokens=900_000, longest=5000), (CLOUD,), ROUTER).attempts
    with pytest.raises(ContextExceeded, match="maximum context length is 8192") as caught:
        decide(embeds(tokens=900_000, longest=20_000), (CLOUD,), ROUTER)
    assert caught.value.param == "input"
    assert "about 20000" in caught.value.why


def test_all_inputs_are_paid_for_together() -> None:
    one = decide(embeds(tokens=5000), (CLOUD,), ROUTER, spare=10**9)
    assert one.attempts
    with pytest.raises(Exception, match="the budget does not allow"):
        decide(embeds(tokens=90_000_000, longest=5000), (CLOUD,), ROUTER, spare=10**9)
