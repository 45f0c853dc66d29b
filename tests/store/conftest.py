"""GGUF files, written by the package that llama.cpp's converters use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest

Writer = Callable[..., Path]


@pytest.fixture(scope="session")
def write_gguf(tmp_path_factory: pytest.TempPathFactory) -> Writer:
    """Writes a small file that has every kind of metadata, and tensors of several types."""
    folder = tmp_path_factory.mktemp("gguf")

    def write(
        name: str = "small.gguf", *, split: tuple[int, int] | None = None, alignment: int = 32
    ) -> Path:
        path = folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        writer = gguf.GGUFWriter(path, "qwen35")
        if alignment != 32:
            writer.add_custom_alignment(alignment)
        if split is not None:
            writer.add_uint16("split.no", split[0])
            writer.add_uint16("split.count", split[1])
            writer.add_int32("split.tensors.count", 3 * split[1])
        writer.add_block_count(2)
        writer.add_context_length(4096)
        writer.add_rope_freq_base(1e7)
        writer.add_bool("general.flag", True)
        writer.add_int8("general.small", -3)
        writer.add_uint64("general.large", 1 << 60)
        writer.add_float64("general.exact", 0.1)
        writer.add_chat_template("{{ messages }} ü")
        writer.add_rope_dimension_sections([4, 2, 2, 0])
        writer.add_token_list(["a", "b", "<|im_end|>"])
        writer.add_token_scores([0.5] * 100)
        writer.add_tensor("token_embd.weight", np.arange(96, dtype=np.float32).reshape(3, 32))
        writer.add_tensor(
            "blk.0.weight",
            np.zeros((2, 34), dtype=np.uint8),
            raw_dtype=gguf.GGMLQuantizationType.Q8_0,
        )
        writer.add_tensor("output_norm.weight", np.ones(5, dtype=np.float16))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write
