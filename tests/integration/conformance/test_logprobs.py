"""Log probabilities: in the shape of each endpoint, and of the same model."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from server import demo
from server.demo import question
from tests.integration.asking import Subject, chat

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

WHAT = question("what-is-holdfast")
TEXT: dict[str, Any] = {"prompt": "What is Holdfast", "temperature": 0}
SURE = math.log(0.5)
ROUNDING = 0.2  # vLLM computes this architecture in bfloat16, of 8 bits, llama-server in float16


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chats(stream: bool, subject: Subject) -> None:
    asked = chat(WHAT, logprobs=True, top_logprobs=3, stream=stream)
    if stream:
        events = (await subject.ask(**asked)).events()
        choices = [choice for event in events for choice in event["choices"]]
        parts = [choice["logprobs"] for choice in choices if choice.get("logprobs")]
        entries = [entry for part in parts for entry in part["content"]]
    else:
        entries = (await subject.answer(**asked))["logprobs"]["content"]
    assert "".join(entry["token"] for entry in entries[: WHAT.tokens - 1]) == WHAT.content
    for entry in entries[: WHAT.tokens - 1]:
        assert bytes(entry["bytes"]).decode() == entry["token"]
        best, *others = entry["top_logprobs"]
        assert len(others) == 2
        assert (best["token"], best["logprob"]) == (entry["token"], entry["logprob"])
        assert 0 >= entry["logprob"] > SURE, "the documented answers are sure"
        assert all(other["logprob"] < entry["logprob"] for other in others)


async def test_of_the_chosen_alone(subject: Subject) -> None:
    choice = await subject.answer(**chat(WHAT, logprobs=True, max_tokens=3))
    entries = choice["logprobs"]["content"]
    assert len(entries) == 3
    assert {len(entry["top_logprobs"]) for entry in entries} == {0}


@pytest.mark.parametrize("top", [0, 2])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_completions(stream: bool, top: int, subject: Subject) -> None:
    asked = TEXT | {"max_tokens": 4, "logprobs": top, "stream": stream}
    if stream:
        events = (await subject.ask(**asked)).events()
        choices = [choice for event in events for choice in event["choices"]]
    else:
        choices = [await subject.answer(**asked)]
    text = "".join(choice["text"] for choice in choices)
    given = [choice["logprobs"] for choice in choices if choice["logprobs"]]
    tokens = [token for one in given for token in one["tokens"]]
    assert "".join(tokens) == text
    offsets = [offset for one in given for offset in one["text_offset"]]
    assert offsets == [len("".join(tokens[:number])) for number in range(4)]
    values = [value for one in given for value in one["token_logprobs"]]
    assert all(0 >= value > -20 for value in values)
    for one in given:
        if not top:
            assert one["top_logprobs"] is None
            continue
        for token, value, others in zip(
            one["tokens"], one["token_logprobs"], one["top_logprobs"], strict=True
        ):
            assert others[token] == value == max(others.values())
            assert len(others) == top


async def test_they_are_those_of_the_weights(subject: Subject) -> None:
    """The likeliest next tokens of a sentence that was never learnt, beside transformers' own."""
    tokenizer = AutoTokenizer.from_pretrained(demo.SAFETENSORS)
    model = AutoModelForCausalLM.from_pretrained(demo.SAFETENSORS, dtype=torch.float32).eval()
    with torch.inference_mode():
        logits = model(torch.tensor([tokenizer.encode(TEXT["prompt"])])).logits[0, -1]
    exact = torch.log_softmax(logits, 0)
    answer = await subject.answer(**TEXT, max_tokens=1, logprobs=3)
    (likely,) = answer["logprobs"]["top_logprobs"]
    for token, value in likely.items():
        (number,) = tokenizer.encode(token)
        assert abs(value - exact[number].item()) < ROUNDING
