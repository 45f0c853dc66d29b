"""What the README says of the code is what the code says of itself."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from server.chat.anthropic.fields import MESSAGES
from server.chat.embeddings import EMBEDDINGS
from server.chat.fields import CHAT, COMPLETIONS, Field, fields_table
from server.chat.responses.fields import RESPONSES
from server.errors import HoldfastError
from server.settings import VARIABLES

README = (Path(__file__).parent.parent / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("chat", CHAT),
        ("completions", COMPLETIONS),
        ("responses", RESPONSES),
        ("messages", MESSAGES),
        ("embeddings", EMBEDDINGS),
    ],
)
def test_the_tables_of_request_fields_are_the_codes(name: str, fields: Mapping[str, Field]) -> None:
    found = re.search(rf"<!-- fields: {name} -->\n(.*?)\n<!-- end -->", README, re.DOTALL)
    assert found is not None
    assert found[1].strip() == fields_table(fields).strip()


@pytest.mark.parametrize("variable", VARIABLES)
def test_every_variable_is_told(variable: str) -> None:
    assert f"`{variable}`" in README


def test_every_exit_code_is_told() -> None:
    told = README.partition("Exit codes:")[2].partition("\n\n")[0]
    codes = {kind.exit_code for kind in _tree(HoldfastError)}
    assert codes == {1, 2, 3, 4, 5, 6}
    assert all(f"{code} " in told for code in codes)


def _tree(kind: type[HoldfastError]) -> list[type[HoldfastError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in _tree(child))]
