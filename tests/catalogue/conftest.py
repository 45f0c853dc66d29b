"""Configuration files on disk, and a small one that is whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from server.catalogue import Catalogue, load
from server.catalogue.assemble import assemble
from server.catalogue.document import read
from server.errors import ConfigError
from server.settings import Settings

WHOLE = """
[serve]
port = 8100
queue_timeout = "90s"
models = ["tiny:q4"]

[family.tinies]
context = 4096
licence = "apache-2.0"
thinking_default = false
architecture = { kind = "qwen3_5", head_dim = 64, full_attention_interval = 4, conv_kernel = 4 }
sampling.thinking = { temperature = 0.6, top_p = 0.95 }
sampling.non_thinking = { temperature = 0.7 }

[[model]]
id = "tiny"
like = "tinies"
released = 2026-03-02
scores = { ifeval = 44.0 }

[model.architecture]
layers = 8
hidden = 192
ffn = 448
heads = 4
kv_heads = 2
linear_key_heads = 2
linear_key_head_dim = 32
linear_value_heads = 4
linear_value_head_dim = 32
vocab = 2048
tied = true
vision = { depth = 2, hidden = 64, heads = 4, ffn = 128 }

[[repository]]
id = "someone/Tiny-GGUF"
model = "tiny"
engine = "llama-server"
format = "gguf"
revision = "0123456789abcdef0123456789abcdef01234567"
mmproj = { path = "mmproj-F16.gguf", bytes = 500 }

[[repository.builds]]
id = "q4"
quant = "Q4"
files = [{ path = "tiny-Q4.gguf", bytes = 1_000 }]

[[repository.builds]]
id = "q8"
quant = "Q8"
files = [{ path = "Q8/tiny-#####-of-00002.gguf", parts = 2, part_bytes = [10, 2_000] }]

[[build]]
model = "tiny"
id = "local"
engine = "vllm"
format = "safetensors"
quant = "BF16"
path = "weights/tiny"
"""


@pytest.fixture
def whole() -> str:
    return WHOLE


@pytest.fixture
def catalogue_of(tmp_path: Path) -> Callable[..., Catalogue]:
    """Texts of configuration files, laid over each other without the built-in ones."""

    def build(*texts: str) -> Catalogue:
        return assemble([read(path) for path in _written(tmp_path, texts)])

    return build


@pytest.fixture
def problems_of(tmp_path: Path) -> Callable[..., list[str]]:
    """The problems of such texts, without the folder in front of the file's name."""

    def problems(*texts: str) -> list[str]:
        documents = [read(path) for path in _written(tmp_path, texts)]
        with pytest.raises(ConfigError) as caught:
            assemble(documents)
        return [problem.replace(f"{tmp_path}/", "") for problem in caught.value.problems]

    return problems


@pytest.fixture
def load_over(tmp_path: Path) -> Callable[..., Catalogue]:
    """The built-in catalogue with texts laid over it."""

    def over(*texts: str) -> Catalogue:
        return load(Settings(home=tmp_path, configs=tuple(_written(tmp_path, texts))))

    return over


def _written(folder: Path, texts: tuple[str, ...]) -> list[Path]:
    paths = [folder / f"{index}.toml" for index in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return paths
