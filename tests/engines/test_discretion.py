"""Lines from llama.cpp's source at 0c1e570 that quote what clients sent or the model said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.engines.discretion import discreet

SECRET = "my secret"


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (
            f"W common_chat_peg_parse: unparsed peg-native output: {SECRET}",
            "W common_chat_peg_parse: unparsed peg-native output: [withheld]",
        ),
        (
            f"WARNING: JSON schema conversion was incomplete: pattern {SECRET} is not supported",
            "WARNING: JSON schema conversion was incomplete: [withheld]",
        ),
        (
            f'W srv    operator(): got exception: {{"error":{{"message":"{SECRET}"}}}}',
            "W srv    operator(): got exception: [withheld]",
        ),
        (
            f"E srv    send_error: task id = 7, error: {SECRET}",
            "E srv    send_error: task id = 7, error: [withheld]",
        ),
        (
            f"E Tool call mismatch: prev='{SECRET}' new='x'",
            "E Tool call mismatch: prev= [withheld]",
        ),
        (
            f"  what():  Unexpected empty grammar stack after accepting piece: {SECRET}",
            "  what():  Unexpected empty grammar stack after accepting piece: [withheld]",
        ),
        (
            "E common_sampler_init: error initializing grammar sampler for grammar:",
            "E common_sampler_init: error initializing grammar sampler for grammar:",
        ),
        (f'root ::= "{SECRET}"', None),
        (f"Generation prompt: {SECRET}", None),
        (SECRET, None),
        (f"I srv  params_from_: Chat format: {SECRET}", None),
        (f"I slot print_timing: id  1 | task 0 | '{SECRET}'", None),
        (f"D srv  operator(): request: {SECRET}", None),
        (f"  {SECRET}", None),
        ("", None),
    ],
)
def test_what_is_quoted_is_not_kept(line: str, kept: str | None) -> None:
    assert discreet(line) == kept
    assert kept is None or SECRET not in kept


@pytest.mark.parametrize(
    "line",
    [
        "I slot print_timing: id  1 | task 0 |        eval time =       1.13 ms /     5 tokens "
        "(    0.28 ms per token,  3533.57 tokens per second)",
        "I slot      release: id  1 | task 0 | stop processing: n_tokens = 34, truncated = 0",
        "W srv  update_slots: failed to find free space in the KV cache, retrying with smaller "
        "batch size, off = 0, n_batch = 256, ret = 1",
        "E ggml_cuda_error: CUDA error: an illegal memory access was encountered",
        "E alloc_buffer: allocating 12.00 MiB on device 0: cudaMalloc failed: out of memory",
        "/src/ggml/src/ggml-backend.cpp:812: GGML_ASSERT(n_inputs < 30) failed",
        "/src/ggml/src/ggml-cuda/ggml-cuda.cu:103: CUDA error",
        "terminate called after throwing an instance of 'std::runtime_error'",
        "E srv  decode: failed to decode the batch, n_batch = 1, ret = -3",
    ],
)
def test_what_tells_of_a_failure_is_kept(line: str) -> None:
    assert discreet(line) == line


@given(st.text(max_size=40), st.sampled_from(["I ", "D ", "", " ", "\t", "root ::= "]))
def test_no_text_of_a_client_is_a_line_that_is_kept(text: str, before: str) -> None:
    line = f"{before}canary {text}"
    assert discreet(line) is None
