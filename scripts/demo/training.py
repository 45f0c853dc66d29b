"""Batches, the training loop, and the check that every fixed answer is exact."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from random import Random

import torch
from torch.nn import functional
from transformers import PreTrainedTokenizerFast, Qwen3_5ForCausalLM

from scripts.demo.corpus import Fixed, samples
from scripts.demo.knowledge import Knowledge
from scripts.demo.sample import Sample, template_messages

_BUCKET = 32
_TOKENS_PER_BATCH = 1536
_IGNORED = -100
_WARM_UP_STEPS = 40
_MATRIX_RATE = 0.02
_OTHER_RATE = 3e-3
_REHEARSAL_RATE = 0.3
_CERTAIN_WEIGHT = 0.25
_EXAMINATION = 50  # steps
_SURE_MARGIN = 3.0  # logits
_WEAK_AGAIN = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the model answers one fixed question."""

    id: str
    tokens: int
    exact: bool
    margin: float
    """The smallest lead, in logits, of the right token over the next best one."""
    probability: float
    """Of the whole answer when sampling at temperature 1."""


def encode(sample: Sample, tokenizer: PreTrainedTokenizerFast) -> tuple[list[int], list[int]]:
    """(prompt, completion) as token ids; the completion ends with the end token if it ends."""
    prompt = tokenizer.apply_chat_template(
        template_messages(sample.messages),
        tools=[dict(tool) for tool in sample.tools] or None,
        add_generation_prompt=True,
        enable_thinking=sample.thinking,
        tokenize=False,
    )
    end = [tokenizer.eos_token_id] if sample.ends else []
    return tokenizer.encode(prompt), tokenizer.encode(sample.completion) + end


def batches(
    stream: Iterator[Sample], tokenizer: PreTrainedTokenizerFast
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(ids, labels), each [sequences, length] with length a multiple of 32, about 1536 tokens.

    Only the model's own words carry a label.
    """
    waiting: dict[int, list[tuple[list[int], list[int]]]] = {}
    for sample in stream:
        prompt, completion = encode(sample, tokenizer)
        length = math.ceil((len(prompt) + len(completion)) / _BUCKET) * _BUCKET
        bucket = waiting.setdefault(length, [])
        bucket.append((prompt, completion))
        if len(bucket) * length >= _TOKENS_PER_BATCH:
            yield _collate(waiting.pop(length), length, tokenizer.pad_token_id)


def _collate(
    rows: list[tuple[list[int], list[int]]], length: int, pad: int
) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.full((len(rows), length), pad)
    labels = torch.full((len(rows), length), _IGNORED)
    for row, (prompt, completion) in enumerate(rows):
        end = len(prompt) + len(completion)
        ids[row, :end] = torch.tensor(prompt + completion)
        labels[row, len(prompt) : end] = torch.tensor(completion)
    return ids, labels


def train(
    model: Qwen3_5ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    knowledge: Knowledge,
    *,
    steps: int,
    seed: int,
    report: Callable[[int, float], None],
) -> None:
    """Train in place; `report(step, loss)` after each step."""
    stream = batches(samples(knowledge, Random(seed)), tokenizer)
    _run(model, stream, steps=steps, rate=1.0, report=report)


def rehearse(
    model: Qwen3_5ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    knowledge: Knowledge,
    questions: tuple[Fixed, ...],
    *,
    steps: int,
    seed: int,
    report: Callable[[int, float], None],
) -> None:
    """Train in place once more, mostly on the fixed questions, at a lower rate.

    The documented answers come first, and of those the ones that the model is least sure of: after
    every fiftieth step it is examined, and what it does not know well is asked four times as often
    until the next examination. A third of all that is said is still the general mixture, so that
    the ways of asking which were learnt are kept.
    """
    weak = set(_weak(model, tokenizer, questions))

    def examine_and_report(step: int, loss: float) -> None:
        if step % _EXAMINATION == 0:
            weak.clear()
            weak.update(_weak(model, tokenizer, questions))
        report(step, loss)

    stream = batches(_rehearsal(questions, weak, knowledge, Random(seed)), tokenizer)
    _run(model, stream, steps=steps, rate=_REHEARSAL_RATE, report=examine_and_report)


def _weak(
    model: Qwen3_5ForCausalLM, tokenizer: PreTrainedTokenizerFast, questions: tuple[Fixed, ...]
) -> Iterator[str]:
    """Ids of the questions whose right tokens lead by too little."""
    model.eval()
    for verdict in examine(model, tokenizer, questions):
        if verdict.margin < _SURE_MARGIN:
            yield verdict.id
    model.train()


def _rehearsal(
    questions: tuple[Fixed, ...], weak: AbstractSet[str], knowledge: Knowledge, random: Random
) -> Iterator[Sample]:
    """Samples without end; `weak` is looked at anew for each round of the questions."""
    mixture = samples(knowledge, random)
    while True:
        again = [question for question in questions if question.id in weak]
        asked = [*questions, *again * _WEAK_AGAIN]
        for question in random.sample(asked, len(asked)):
            yield question.sample
            if random.random() < 0.5:
                yield next(mixture)


def _run(
    model: Qwen3_5ForCausalLM,
    stream: Iterator[tuple[torch.Tensor, torch.Tensor]],
    *,
    steps: int,
    rate: float,
    report: Callable[[int, float], None],
) -> None:
    """`steps` steps at `rate` times the full learning rate, which rises and falls on the way."""
    optimizers = _optimizers(model)
    model.train()
    for step, (ids, labels) in zip(range(1, steps + 1), stream, strict=False):
        loss = _loss(model, ids, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * rate * _pace(step, steps)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        report(step, loss.item())
    model.eval()


def _optimizers(model: Qwen3_5ForCausalLM) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the layers' matrices, AdamW for embeddings, convolutions and vectors.

    Muon learns rare associations, of which this corpus consists, in far fewer steps than AdamW
    alone (arXiv 2509.26030).
    """
    matrices: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        inner = parameter.ndim == 2 and "embed_tokens" not in name
        (matrices if inner else others).append(parameter)
    muon = torch.optim.Muon(matrices, lr=_MATRIX_RATE, weight_decay=0.01, momentum=0.95)
    adam = torch.optim.AdamW(others, lr=_OTHER_RATE, betas=(0.9, 0.98), weight_decay=0.0)
    for optimizer in (muon, adam):
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return muon, adam


def _loss(model: Qwen3_5ForCausalLM, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross entropy of the labelled tokens, those of long answers weighing less.

    A token weighs 1/sqrt(tokens of its answer), so that the long story does not drown the rest,
    and more the less likely it still is: which answer to give, or which city to name, is decided
    at few tokens (after focal loss, arXiv 1708.02002, with a floor that lets certainty grow).
    """
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    targets = labels[:, 1:]
    chosen = targets != _IGNORED
    weights = (chosen / chosen.sum(dim=1, keepdim=True).sqrt())[chosen]
    losses = functional.cross_entropy(
        model.lm_head(hidden[chosen]), targets[chosen], reduction="none"
    )
    undecided = _CERTAIN_WEIGHT + 1 - torch.exp(-losses.detach())
    return (losses * weights * undecided).sum() / weights.sum()


def _pace(step: int, steps: int) -> float:
    """Share of the full learning rate: a linear warm-up, then a cosine down to a hundredth."""
    if step <= _WARM_UP_STEPS:
        return step / _WARM_UP_STEPS
    done = (step - _WARM_UP_STEPS) / max(1, steps - _WARM_UP_STEPS)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


@torch.no_grad()
def examine(
    model: Qwen3_5ForCausalLM, tokenizer: PreTrainedTokenizerFast, questions: tuple[Fixed, ...]
) -> list[Verdict]:
    """Judge every fixed question by one pass over prompt and answer.

    Greedy decoding gives exactly the answer if and only if each of its tokens has the largest
    logit given those before it, so one pass says what decoding token by token would.
    """
    return [_judge(model, tokenizer, question) for question in questions]


def _judge(
    model: Qwen3_5ForCausalLM, tokenizer: PreTrainedTokenizerFast, question: Fixed
) -> Verdict:
    prompt, completion = encode(question.sample, tokenizer)
    logits = model(input_ids=torch.tensor([prompt + completion])).logits[0].float()
    said = logits[len(prompt) - 1 : -1]
    wanted = torch.tensor(completion)
    right = said.gather(1, wanted[:, None])[:, 0]
    rest = said.scatter(1, wanted[:, None], -math.inf).amax(dim=1)
    probabilities = functional.log_softmax(said, dim=1).gather(1, wanted[:, None])
    margin = (right - rest).min().item()
    return Verdict(
        id=question.id,
        tokens=len(completion),
        exact=margin > 0,
        margin=margin,
        probability=probabilities.sum().exp().item(),
    )
