"""Every configuration that the README shows is one that Holdfast takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from server.catalogue import Catalogue

README = (Path(__file__).parents[2] / "README.md").read_text()
BLOCKS = re.findall(r"^```toml\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def test_there_are_some() -> None:
    assert BLOCKS


@pytest.mark.parametrize("block", BLOCKS, ids=[block.split("\n", 1)[0] for block in BLOCKS])
def test_an_example_of_the_readme(block: str, load_over: Callable[..., Catalogue]) -> None:
    assert load_over(block).sources
