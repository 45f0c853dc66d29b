"""The demo's greedy answers, token for token: transformers, llama-server, and what is written down.

llama-server gets OpenAI messages and renders the template itself; its prompt must be transformers'
prompt, and its tokens transformers' tokens. Prints the table (pytest -s shows it).
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM, AutoTokenizer

from server import demo, settings
from server.demo import Question
from server.engines import llama_server
from server.engines.binary import find_llama_server

pytestmark = pytest.mark.integration

SLOTS = 4
BATCH = 16
CONTEXT = 2048
THREADS = 2


@dataclass(frozen=True, slots=True)
class Answer:
    prompt: list[int]
    tokens: list[int]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(demo.SAFETENSORS)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of a llama-server that has loaded the demo."""
    folder = tmp_path_factory.mktemp("engine")
    launch = llama_server.Launch(
        binary=find_llama_server(settings.load(os.environ)).path,
        model_file=demo.GGUF,
        alias="demo",
        socket=folder / "engine.sock",
        context=CONTEXT,
        slots=SLOTS,
        threads=THREADS,
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            llama_server.argv(launch),
            env=llama_server.environment(os.environ),
            stdout=log,
            stderr=log,
        )
    try:
        _wait_until_loaded(launch.socket, process, folder / "log")
        yield launch.socket
    finally:
        process.terminate()
        process.wait(10)


def _wait_until_loaded(socket: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    async def loaded() -> bool:
        try:
            async with _session(socket) as session, session.get("/health") as response:
                return response.status == 200
        except aiohttp.ClientConnectionError:
            return False

    deadline = time.monotonic() + 30
    while not asyncio.run(loaded()):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def _session(socket: Path) -> aiohttp.ClientSession:
    connector = aiohttp.UnixConnector(str(socket))
    return aiohttp.ClientSession("http://engine", connector=connector)


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


async def from_llama_server(socket: Path) -> list[Answer]:
    """The same from llama-server, in as many streams as it has slots."""
    slots = asyncio.Semaphore(SLOTS)
    async with _session(socket) as session:

        async def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
            async with session.post(path, json=body) as response:
                reply: dict[str, Any] = await response.json()
                assert response.status == 200, reply
                return reply

        async def ask(question: Question) -> Answer:
            conversation = {
                "messages": list(question.messages),
                "tools": list(question.tools),
                "chat_template_kwargs": {"enable_thinking": question.thinking},
            }
            async with slots:
                rendered = await post("/apply-template", conversation)
                prompt = await post(
                    "/tokenize", {"content": rendered["prompt"], "parse_special": True}
                )
                body = {"prompt": prompt["tokens"], "temperature": 0, "return_tokens": True}
                reply = await post(
                    "/completion", body | {"n_predict": question.tokens + 8 * question.ends}
                )
            return Answer(prompt["tokens"], reply["tokens"])

        return list(await asyncio.gather(*(ask(question) for question in demo.questions())))


def _print_table(rows: Sequence[tuple[Question, Answer, Answer, bool]]) -> None:
    table = Table("question", "thinking", "prompt", "tokens", "agree", title="Demo, greedy")
    for question, reference, _, agree in rows:
        table.add_row(
            question.id,
            "on" if question.thinking else "off",
            str(len(reference.prompt)),
            str(len(reference.tokens)),
            "yes" if agree else "NO",
        )
    Console(width=100).print(table)


def test_transformers_and_llama_server_give_the_documented_tokens(
    tokenizer: Any, engine: Path
) -> None:
    documented = [
        tokenizer.encode(q.completion) + ([tokenizer.eos_token_id] if q.ends else [])
        for q in demo.questions()
    ]
    theirs = asyncio.run(from_llama_server(engine))
    reference = from_transformers(tokenizer)
    rows = [
        (question, ours, other, ours == other and ours.tokens == tokens)
        for question, ours, other, tokens in zip(
            demo.questions(), reference, theirs, documented, strict=True
        )
    ]
    _print_table(rows)
    differing = {
        question.id: (tokenizer.decode(ours.tokens), tokenizer.decode(other.tokens))
        for question, ours, other, agree in rows
        if not agree
    }
    assert not differing
