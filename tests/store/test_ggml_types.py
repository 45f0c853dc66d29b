from __future__ import annotations

import gguf

from server.store.ggml_types import GGML_TYPES


def test_block_sizes_agree_with_the_gguf_package() -> None:
    for number, (block, size) in gguf.GGML_QUANT_SIZES.items():
        if number.name == "Q8_1":
            continue  # never in a file; the package had its size wrong until llama.cpp 0c1e570
        ours = GGML_TYPES[int(number)]
        assert (ours.name, ours.block, ours.bytes) == (number.name, block, size)
