from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from server.demo import SAFETENSORS

# scripts/train-demo-model imports `demo` from its own folder; its tests do the same.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """The shipped tokenizer, without transformers around it."""
    return Tokenizer.from_file(str(SAFETENSORS / "tokenizer.json"))
