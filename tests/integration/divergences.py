"""What the engines do differently, known and explained.

The suite asks each engine the same. Where one answers otherwise, the test says so by an entry of
this table (`subject.differs`), and checks what it does instead: the day that it does not, the test
fails and the entry goes. Nothing is passed over without standing here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Name = Literal[
    "call forced once begun",
    "spelt tag stays",
    "pattern with length",
    "counts until it is too much",
    "cached tokens untold",
    "one token to read",
]


@dataclass(frozen=True, slots=True)
class Divergence:
    engine: str
    instead: str
    """What it does."""
    why: str


DIVERGENCES: dict[Name, Divergence] = {
    "call forced once begun": Divergence(
        "llama-server",
        "with tool_choice `required` the model may still begin with something else",
        "its grammar for this template waits for `<tool_call>`; vLLM allows nothing before it",
    ),
    "spelt tag stays": Divergence(
        "vllm",
        "of a forced call whose `<tool_call>` the model spells in several tokens, that tag is left "
        "in the content beside the call",
        "its grammar takes the letters for the special token, its parser of tool calls does not",
    ),
    "pattern with length": Divergence(
        "vllm",
        "a JSON schema whose string has both a pattern and bounds of its length is refused",
        "xgrammar enforces either alone (mlc-ai/xgrammar issue 966). vLLM could fall back to "
        "guidance, which then serves all requests of that engine, and fails on forced tool calls",
    ),
    "counts until it is too much": Divergence(
        "vllm",
        "of a prompt that is too long it tells one token more than the limit, and `at least`",
        "it stops to tokenize there; llama-server tells the whole number",
    ),
    "cached tokens untold": Divergence(
        "vllm",
        "usage counts no cached tokens before a whole block of the cache is filled",
        "it keeps recurrent states at the ends of blocks alone; llama-server keeps each prompt's",
    ),
    "one token to read": Divergence(
        "vllm",
        "on processors with AVX-512 BF16 a prompt of one token, computed alone, ends its process",
        "its convolution for CPUs takes the strides of a single row for an error "
        "(`causal_conv1d_fwd_cpu: expect x to be transposed`, 0.32). No test asks for it, since "
        "the engine is shared: every prompt of the suite has two tokens or more",
    ),
}
