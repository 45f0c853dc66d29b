"""A small byte-level BPE vocabulary that splits text as Qwen3.5 does.

The vocabulary is learned from the corpus; the splitting pattern, the normalisation and the special
tokens are Qwen3.5's, so that llama.cpp's pre-tokenizer `qwen35` gives the same tokens.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MARKUP = (
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
)
"""One token each, but text: decoding shows them, so that a parser can find them."""
END = "<|im_end|>"
PAD = "<|endoftext|>"


def train(texts: Iterable[str], template: str, size: int, context: int) -> PreTrainedTokenizerFast:
    """A tokenizer of exactly `size` tokens; the special ones come last, as in Qwen3.5."""
    special = len(CONTROL) + len(MARKUP)
    core = Tokenizer(models.BPE())
    core.normalizer = normalizers.NFC()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=size - special,
        min_frequency=1,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    core.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in CONTROL])
    core.add_tokens([AddedToken(text, special=False, normalized=False) for text in MARKUP])
    if core.get_vocab_size() != size:
        raise ValueError(f"the corpus yields {core.get_vocab_size()} tokens, {size} were wanted")
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=END,
        pad_token=PAD,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
        chat_template=template,
    )
