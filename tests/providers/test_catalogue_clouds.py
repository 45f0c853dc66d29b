"""The clouds of models.toml, held against the protocols that they are said to speak."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from server.catalogue import Catalogue, load
from server.catalogue.cloud import Feature
from server.errors import RequestError
from server.providers import PROTOCOLS
from server.providers.egress import address
from server.settings import Settings
from tests.providers.clouds import ALL, ask

ADDRESSES = {
    "openai": "https://api.openai.com/v1/responses",
    "anthropic": "https://api.anthropic.com/v1/messages",
    "gemini": "https://generativelanguage.googleapis.com/v1/models/"
    "gemini-3.5-flash:streamGenerateContent?alt=sse",
}
"""As the providers' own SDKs call them."""

_TOOL = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {}}},
}
_FORM = {"name": "form", "schema": {"type": "object", "properties": {}}}
ASKED: dict[Feature, dict[str, Any]] = {
    "tools": {"tools": [_TOOL]},
    "parallel_tools": {"tools": [_TOOL], "parallel_tool_calls": False},
    "tool_choice": {"tools": [_TOOL], "tool_choice": "required"},
    "schema": {"response_format": {"type": "json_schema", "json_schema": _FORM}},
    "json": {"response_format": {"type": "json_object"}},
    "thinking": {"reasoning_effort": "high"},
    "logprobs": {"logprobs": True, "top_logprobs": 2},
    "n": {"n": 2},
    "seed": {"seed": 1},
    "stop": {"stop": ["."]},
    "temperature": {"temperature": 0.5},
    "top_k": {"top_k": 5},
    "penalties": {"presence_penalty": 0.5},
    "logit_bias": {"logit_bias": {"5": 1}},
}


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load(Settings(home=Path("home"), configs=()))


def models() -> list[str]:
    return list(load(Settings(home=Path("home"), configs=())).clouds)


@pytest.mark.parametrize("provider", ADDRESSES)
def test_calls_go_to_the_documented_address(catalogue: Catalogue, provider: str) -> None:
    names = [model for model in catalogue.clouds.values() if model.provider == provider]
    wanted = next((one for one in names if one.name == "gemini-3.5-flash"), names[0])
    cloud = catalogue.providers[provider]
    call = PROTOCOLS[cloud.kind].encode(ask(), wanted)
    assert str(address(cloud, call.path)) == ADDRESSES[provider]


def test_every_feature_is_asked_for_here() -> None:
    assert ASKED.keys() == ALL


@pytest.mark.parametrize("name", models())
def test_what_a_model_is_said_to_do_can_be_asked_of_it(catalogue: Catalogue, name: str) -> None:
    model = catalogue.clouds[name]
    protocol = PROTOCOLS[catalogue.providers[model.provider].kind]
    for feature in model.features:
        protocol.encode(ask(**ASKED[feature]), model)
    refused: set[Feature] = {"tools", "schema", "logprobs", "n", "stop", "seed", "logit_bias"}
    for feature in refused - model.features:
        with pytest.raises(RequestError):
            protocol.encode(ask(**ASKED[feature]), model)
    for effort in model.efforts:
        protocol.encode(ask(reasoning_effort=effort), model)
