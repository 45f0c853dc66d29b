from __future__ import annotations

from typing import Any

import pytest

from server.catalogue.cloud import Feature
from server.errors import RequestError
from server.providers.ability import check_ability, output_limit
from tests.providers.clouds import ALL, ask, image, model, paper, png, tool, user, without

SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}


@pytest.mark.parametrize(
    ("lacking", "fields", "param"),
    [
        ("tools", {"tools": [tool()]}, "tools"),
        ("tool_choice", {"tools": [tool()], "tool_choice": "required"}, "tool_choice"),
        ("tool_choice", {"tools": [tool()], "tool_choice": tool()}, "tool_choice"),
        ("schema", {"response_format": SCHEMA}, "response_format"),
        ("json", {"response_format": {"type": "json_object"}}, "response_format"),
        ("thinking", {"reasoning_effort": "high"}, "reasoning_effort"),
        ("logprobs", {"logprobs": True}, "logprobs"),
        ("n", {"n": 2}, "n"),
        ("seed", {"seed": 1}, "seed"),
        ("stop", {"stop": "x"}, "stop"),
        ("logit_bias", {"logit_bias": {"1": 1}}, "logit_bias"),
        ("temperature", {"temperature": 0.5}, "temperature"),
        ("temperature", {"top_p": 0.5}, "top_p"),
        ("top_k", {"top_k": 5}, "top_k"),
        ("penalties", {"presence_penalty": 1}, "presence_penalty"),
        ("penalties", {"frequency_penalty": 1}, "frequency_penalty"),
    ],
)
def test_what_a_model_cannot_do_is_refused_by_name(
    lacking: Feature, fields: dict[str, Any], param: str
) -> None:
    request = ask(**fields)
    check_ability(request, model(), ALL)
    with pytest.raises(RequestError) as caught:
        check_ability(request, without(lacking), ALL)
    with pytest.raises(RequestError, match="cloud/model"):
        check_ability(request, model(), ALL - {lacking})
    assert caught.value.param == param
    assert "cloud/model" in caught.value.sentence


def test_images_need_eyes() -> None:
    request = ask(user([image(png())]))
    check_ability(request, model(), ALL)
    with pytest.raises(RequestError, match="cannot see"):
        check_ability(request, model(image=False), ALL)


def test_documents_need_a_reader() -> None:
    request = ask(user([paper()]))
    check_ability(request, model(), ALL)
    with pytest.raises(RequestError, match="'cloud/model' reads no documents") as caught:
        check_ability(request, model(documents=False), ALL)
    assert caught.value.param == "messages"


NEUTRAL = {"temperature": 1, "top_p": 1, "top_k": -1, "min_p": 0, "presence_penalty": 0,
           "frequency_penalty": 0, "repetition_penalty": 1}  # fmt: skip


def test_what_asks_for_nothing_is_left_out() -> None:
    lacking = without("temperature", "top_k", "penalties")
    assert check_ability(ask(**NEUTRAL, n=1, seed=None), lacking, ALL) == {}


@pytest.mark.parametrize("name", ["min_p", "repetition_penalty", "top_k"])
def test_what_the_protocol_has_no_word_for_is_refused(name: str) -> None:
    request = ask(**{name: 0.5 if name != "top_k" else 5})
    with pytest.raises(RequestError) as caught:
        check_ability(request, model(), ALL - {"top_k"})
    assert caught.value.param == name
    assert check_ability(request, model(), ALL, (name,)) == request.sampling


def test_sampling_is_passed_on() -> None:
    given = {"temperature": 0.2, "top_p": 1, "top_k": 5}
    assert check_ability(ask(**given), model(), ALL) == given


@pytest.mark.parametrize(("asked", "most"), [(None, 64_000), (10, 10), (100_000, 64_000)])
def test_an_answer_is_no_longer_than_the_model_can_write(asked: int | None, most: int) -> None:
    assert output_limit(ask(max_tokens=asked), model()) == most
