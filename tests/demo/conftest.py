from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from server.demo import SAFETENSORS


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """The shipped tokenizer, without transformers around it."""
    return Tokenizer.from_file(str(SAFETENSORS / "tokenizer.json"))
