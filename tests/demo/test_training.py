"""The training machinery, run for two steps: deterministic, and exact from the weights to both
files."""

from __future__ import annotations

from pathlib import Path
from random import Random

import gguf
import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast, Qwen3_5ForCausalLM

from scripts.demo import corpus, gguf_export, knowledge, model, tokenizer, training
from server.demo import SAFETENSORS

pytestmark = pytest.mark.integration

KNOWN = knowledge.load()
TEMPLATE = (SAFETENSORS / "chat_template.jinja").read_text()


@pytest.fixture(scope="module")
def words() -> PreTrainedTokenizerFast:
    texts = corpus.texts(KNOWN, Random(1))
    return tokenizer.train(texts, TEMPLATE, model.VOCABULARY, model.CONTEXT)


def _trained(words: PreTrainedTokenizerFast) -> Qwen3_5ForCausalLM:
    torch.manual_seed(1)
    net = model.create(words)
    training.train(net, words, KNOWN, steps=2, seed=1, report=lambda step, loss: None)
    questions = corpus.fixed_questions(KNOWN)
    training.rehearse(net, words, KNOWN, questions, steps=1, seed=1, report=lambda step, loss: None)
    model.round_to_grid(net)
    return net


@pytest.fixture(scope="module")
def net(words: PreTrainedTokenizerFast) -> Qwen3_5ForCausalLM:
    return _trained(words)


def test_the_shipped_vocabulary_is_the_corpus_s(words: PreTrainedTokenizerFast) -> None:
    shipped = PreTrainedTokenizerFast.from_pretrained(SAFETENSORS)
    assert words.get_vocab() == shipped.get_vocab()


def test_training_twice_gives_the_same_weights(
    words: PreTrainedTokenizerFast, net: Qwen3_5ForCausalLM
) -> None:
    again = _trained(words).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in net.state_dict().items())


def test_both_formats_hold_every_weight(net: Qwen3_5ForCausalLM) -> None:
    for tensor in net.state_dict().values():
        assert torch.equal(tensor.to(torch.bfloat16).float(), tensor)
        assert torch.equal(tensor.to(torch.float16).float(), tensor)


def test_gguf_undoes_what_the_checkpoint_does(
    net: Qwen3_5ForCausalLM, words: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """Value heads tiled instead of grouped, norms whole, decay as a negative rate."""
    path = tmp_path / "net.gguf"
    gguf_export.write(path, net, words)
    tensors = {t.name: np.asarray(t.data) for t in gguf.GGUFReader(path).tensors}
    layer = net.model.layers[0]
    linear = layer.linear_attn
    heads = [0, 2, 1, 3]  # of two key heads with two value heads each
    decay = -np.exp(linear.A_log.detach().numpy())
    np.testing.assert_allclose(tensors["blk.0.ssm_a"], decay[heads], rtol=1e-6)
    gate = linear.in_proj_z.weight.detach().numpy().reshape(4, 64, -1)
    assert np.array_equal(tensors["blk.0.attn_gate.weight"].reshape(4, 64, -1), gate[heads])
    out = linear.out_proj.weight.detach().numpy().reshape(-1, 4, 64)
    assert np.array_equal(tensors["blk.0.ssm_out.weight"].reshape(-1, 4, 64), out[:, heads])
    norm = layer.input_layernorm.weight.detach().numpy()
    assert np.array_equal(tensors["blk.0.attn_norm.weight"], norm + np.float32(1))
    gated = linear.norm.weight.detach().numpy()
    assert np.array_equal(tensors["blk.0.ssm_norm.weight"], gated)


def test_an_untrained_model_is_found_wanting(
    net: Qwen3_5ForCausalLM, words: PreTrainedTokenizerFast
) -> None:
    question = corpus.fixed_questions(KNOWN)[0]
    (verdict,) = training.examine(net, words, (question,))
    assert not verdict.exact
    assert verdict.margin < 0
    assert verdict.tokens == len(training.encode(question.sample, words)[1])
