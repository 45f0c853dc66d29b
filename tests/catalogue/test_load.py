"""The built-in files with overlays: quick, and nothing but a Catalogue or a ConfigError."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.catalogue import Catalogue, builtin, load, routing_schema
from server.catalogue.assemble import assemble
from server.catalogue.document import read
from server.catalogue.node import Table
from server.errors import ConfigError
from server.settings import Settings
from tests.effort import cpu_seconds

LITERALS = st.one_of(
    st.sampled_from(["-1", "0", "1", "3", "1e400", "nan", "-inf", "1.5", "9" * 26, "true", "'"]),
    st.sampled_from(["[]", "[[1]]", "{}", "[{}]", "{a=1}", '["tiny"]', "1979-05-27", "07:32:00"]),
    st.sampled_from(['""', '"tiny"', '"../x"', '"tiny:q4"']),
    st.text(max_size=12).map(json.dumps),
    st.integers().map(str),
)


ROUTED = """
[router]
policy = "cheapest"
limits = { day = "5 USD" }
[[alias]]
name = "auto"
candidates = ["*", "mine"]
[[alias]]
name = "mine"
candidates = ["acme/*"]
task = "coding"
[task.coding]
benchmarks = { gpqa = 1, ifeval = 2 }
floor = 60
[[team]]
id = "research"
limits = { rpm = 5 }
[[provider]]
id = "acme"
kind = "openai"
url = "https://acme.example"
key = { env = "ACME_KEY" }
[[cloud]]
id = "acme/big"
context = 1000
max_output = 100
features = ["tools"]
efforts = ["low", "high"]
thinking_budget = [1, 2]
price.input = "1 USD/1M"
price.output = "2 USD/1M"
price.tiers = [{ above = 9, input = "2 USD/1M", output = "3 USD/1M" }]
[[route]]
id = "night"
when = { hours = "22:00-06:00", tasks = ["coding"], headers = { x-a = "1" }, models = ["a*"] }
policy = "weighted"
candidates = ["acme/*", "auto"]
weights = { "acme/*" = 1 }
canary = { model = "acme/big", percent = 1 }
shadow = { model = "acme/big", percent = 1, day = "1 USD" }
[[route]]
id = "rest"
local_only = true
fallbacks = ["local"]
"""


def test_the_builtin_files_come_first_and_overlays_after(
    load_over: Callable[..., Catalogue], tmp_path: Path
) -> None:
    catalogue = load_over("[serve]\nport = 1", "[serve]\nport = 2")
    assert catalogue.sources == (*builtin(), tmp_path / "0.toml", tmp_path / "1.toml")
    assert catalogue.serve.port == 2


def test_loading_takes_less_than_a_tenth_of_a_second(tmp_path: Path) -> None:
    """`holdfast serve` accepts connections within 1.5 s of its start, and this comes first."""
    assert cpu_seconds(lambda: load(Settings(home=tmp_path, configs=()))) < 0.1


@st.composite
def mutations(draw: st.DrawFn, whole: str) -> str:
    """The file with some lines dropped, doubled, swapped, given other values or other keys."""
    lines = whole.splitlines()
    for _ in range(draw(st.integers(1, 4))):
        index = draw(st.integers(0, len(lines) - 1))
        key, equals, _ = lines[index].partition("=")
        match draw(st.integers(0, 5)):
            case 0:
                lines[index] = ""
            case 1:
                lines.insert(index, lines[index])
            case 2:
                lines.append(lines[index])
            case 3 if equals:
                lines[index] = f"{key}= {draw(LITERALS)}"
            case 4 if equals:
                lines[index] = f"{draw(st.sampled_from(['x', 'id', 'path', 'like']))} = " + key
            case _:
                lines[index] += draw(st.sampled_from(["]", "}", '"', "#", "[[build]]", ", 3"]))
    return "\n".join(lines)


@given(data=st.data())
@settings(max_examples=300)
def test_a_changed_file_gives_a_catalogue_or_a_config_error(
    data: st.DataObject, whole: str, tmp_path: Path
) -> None:
    source = tmp_path / "mutated.toml"
    source.write_text(data.draw(mutations(data.draw(st.sampled_from([whole, ROUTED])))))
    document = read(source)
    try:
        catalogue = assemble([document])
    except ConfigError as caught:
        error = caught
    else:
        assert not document.problems
        assert all(catalogue.resolve(name) for name in catalogue.models)
        return
    assert error.problems
    assert all(problem.startswith(str(source)) for problem in error.problems)
    assert all("\n" not in problem and len(problem) < 1000 for problem in error.problems)


def keys_of(table: Table, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, node in table.fields.items():
        yield (*path, name)
        if isinstance(node, Table):
            yield from keys_of(node, (*path, name))


HEADS = {
    "router": "[router]",
    "alias": '[[alias]]\nname = "mine"',
    "task": "[task.coding]",
    "route": '[[route]]\nid = "night"',
    "team": '[[team]]\nid = "research"',
    "provider": '[[provider]]\nid = "acme"',
    "cloud": '[[cloud]]\nid = "acme/big"',
}


@pytest.mark.parametrize("section", routing_schema.TABLES)
def test_any_value_at_any_key_of_the_router_is_taken_or_told(section: str, tmp_path: Path) -> None:
    node = routing_schema.TABLES[section]
    table = (
        node if isinstance(node, Table) else getattr(node, "table", getattr(node, "value", None))
    )
    assert isinstance(table, Table)
    below, above = tmp_path / "0.toml", tmp_path / "1.toml"
    below.write_text(ROUTED)
    document = read(below)
    told: list[str] = []
    for path in keys_of(table):
        for literal in ("-1", "nan", '"x"', "[]", "{}", '["*"]'):
            above.write_text(f"{HEADS[section]}\n{'.'.join(path)} = {literal}\n")
            try:
                assemble([document, read(above)])
            except ConfigError as error:
                told += error.problems
    assert told
    assert [problem for problem in told if not problem.startswith(f"{tmp_path}/")] == []


@given(noise=st.binary(max_size=200))
@settings(max_examples=200)
def test_noise_gives_a_catalogue_or_a_config_error(noise: bytes, tmp_path: Path) -> None:
    source = tmp_path / "noise.toml"
    source.write_bytes(noise)
    document = read(source)
    if document.problems:
        with pytest.raises(ConfigError):
            assemble([document])
    else:
        assert not assemble([document]).models


def test_a_config_error_ends_the_command_line_with_2(tmp_path: Path) -> None:
    source = tmp_path / "bad.toml"
    source.write_text("[serve]\nprot = 1")
    with pytest.raises(ConfigError) as caught:
        load(Settings(home=tmp_path, configs=(source,)))
    assert caught.value.exit_code == 2
    assert caught.value.problems == (
        f'{source}: serve.prot is not a known key. Did you mean "port"?',
    )
