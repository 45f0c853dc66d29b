"""The demo's greedy answers, token for token: transformers, each engine, and what is written down.

Each engine gets OpenAI messages and renders the template itself; its prompt must be transformers'
prompt, and its tokens transformers' tokens. Prints the tables (pytest -s shows them).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM, AutoTokenizer

from server import demo
from server.demo import Question
from tests.integration.asking import SLOTS, Subject

pytestmark = pytest.mark.integration

BATCH = 16


@dataclass(frozen=True, slots=True)
class Answer:
    prompt: list[int]
    tokens: list[int]


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(demo.SAFETENSORS)


@pytest.fixture(scope="session")
def reference(tokenizer: Any) -> list[Answer]:
    return from_transformers(tokenizer)


def _template_messages(question: Question) -> list[dict[str, Any]]:
    """OpenAI messages for transformers, whose template wants a call's arguments as a mapping."""
    messages: list[dict[str, Any]] = json.loads(json.dumps(question.messages))
    for message in messages:
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return messages


def from_transformers(tokenizer: Any) -> list[Answer]:
    """Each question's prompt and greedy answer, computed in float32 from the shipped weights."""
    torch.set_num_threads(1)  # one token of so small a model is not worth a second one's waiting
    model = AutoModelForCausalLM.from_pretrained(demo.SAFETENSORS, dtype=torch.float32).eval()
    answers: dict[str, Answer] = {}
    by_length = sorted(demo.questions(), key=lambda question: question.tokens)
    for start in range(0, len(by_length), BATCH):
        batch = by_length[start : start + BATCH]
        prompts = [_prompt(question, tokenizer) for question in batch]
        longest = max(question.tokens for question in batch)
        with torch.inference_mode():
            output = model.generate(
                **tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt"),
                do_sample=False,
                max_new_tokens=longest + 8,
            )
        for question, prompt, row in zip(batch, prompts, output.tolist(), strict=True):
            said = row[max(map(len, prompts)) :]
            answers[question.id] = Answer(prompt, _cut(said, question, tokenizer.eos_token_id))
    return [answers[question.id] for question in demo.questions()]


def _prompt(question: Question, tokenizer: Any) -> list[int]:
    text = tokenizer.apply_chat_template(
        _template_messages(question),
        tools=list(question.tools) or None,
        enable_thinking=question.thinking,
        add_generation_prompt=True,
        tokenize=False,
    )
    ids: list[int] = tokenizer.encode(text)
    return ids


def _cut(said: list[int], question: Question, end: int) -> list[int]:
    """What was said, up to and with the end token; of an endless answer the documented length."""
    if not question.ends:
        return said[: question.tokens]
    return said[: said.index(end) + 1] if end in said else said


async def from_llama_server(subject: Subject, question: Question) -> Answer:
    conversation = {
        "messages": list(question.messages),
        "tools": list(question.tools),
        "chat_template_kwargs": {"enable_thinking": question.thinking},
    }
    rendered = await _post(subject, "/apply-template", conversation)
    text = {"content": rendered["prompt"], "parse_special": True}
    prompt = (await _post(subject, "/tokenize", text))["tokens"]
    body = {"prompt": prompt, "temperature": 0, "return_tokens": True}
    reply = await _post(subject, "/completion", body | {"n_predict": _limit(question)})
    return Answer(prompt, reply["tokens"])


async def from_vllm(subject: Subject, question: Question) -> Answer:
    body: dict[str, Any] = {
        "model": "demo",
        "messages": list(question.messages),
        "chat_template_kwargs": {"enable_thinking": question.thinking},
        "temperature": 0,
        "max_tokens": _limit(question),
        "return_token_ids": True,
    }
    if question.tools:
        body["tools"] = list(question.tools)
    reply = await _post(subject, "/v1/chat/completions", body)
    return Answer(reply["prompt_token_ids"], reply["choices"][0]["token_ids"])


FROM = {"llama-server": from_llama_server, "vllm": from_vllm}


async def from_engine(subject: Subject) -> list[Answer]:
    """The same from an engine, in as many streams as it has slots."""
    slots = asyncio.Semaphore(SLOTS)

    async def ask(question: Question) -> Answer:
        async with slots:
            return await FROM[subject.kind](subject, question)

    return list(await asyncio.gather(*(ask(question) for question in demo.questions())))


async def _post(subject: Subject, path: str, body: dict[str, Any]) -> dict[str, Any]:
    async with subject.engine.post(path, json=body) as response:
        reply: dict[str, Any] = await response.json()
        assert response.status == 200, reply
        return reply


def _limit(question: Question) -> int:
    """Tokens to ask for: a few more than are right, so that an answer without end shows."""
    return question.tokens + 8 * question.ends


def _print_table(rows: Sequence[tuple[Question, Answer, Answer, bool]], kind: str) -> None:
    title = f"Demo, greedy: transformers and {kind}"
    table = Table("question", "thinking", "prompt", "tokens", "agree", title=title)
    for question, reference, _, agree in rows:
        table.add_row(
            question.id,
            "on" if question.thinking else "off",
            str(len(reference.prompt)),
            str(len(reference.tokens)),
            "yes" if agree else "NO",
        )
    Console(width=100).print(table)


@pytest.mark.asyncio(loop_scope="session")
async def test_transformers_and_the_engine_give_the_documented_tokens(
    tokenizer: Any, reference: list[Answer], subject: Subject
) -> None:
    documented = [
        tokenizer.encode(q.completion) + ([tokenizer.eos_token_id] if q.ends else [])
        for q in demo.questions()
    ]
    theirs = await from_engine(subject)
    rows = [
        (question, ours, other, ours == other and ours.tokens == tokens)
        for question, ours, other, tokens in zip(
            demo.questions(), reference, theirs, documented, strict=True
        )
    ]
    _print_table(rows, subject.kind)
    differing = {
        question.id: (tokenizer.decode(ours.tokens), tokenizer.decode(other.tokens))
        for question, ours, other, agree in rows
        if not agree
    }
    assert not differing
