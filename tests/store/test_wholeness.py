"""What is less than whole: shards, parts, headers and configurations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from server.store.wholeness import problems

Writer = Callable[..., Path]
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
INDEX = "model.safetensors.index.json"


def sharded(folder: Path) -> list[str]:
    """A model in two shards with its index."""
    folder.mkdir(exist_ok=True, parents=True)
    save_file({"a": np.zeros(2), "b": np.zeros(3)}, folder / SHARDS[0])
    save_file({"c": np.zeros(4)}, folder / SHARDS[1])
    weight_map = {"a": SHARDS[0], "b": SHARDS[0], "c": SHARDS[1]}
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    (folder / "config.json").write_text('{"model_type": "qwen3_5"}')
    (folder / "README.md").write_text("hello")
    return [*SHARDS, INDEX, "config.json", "README.md"]


def test_a_whole_model(tmp_path: Path) -> None:
    assert problems(tmp_path, sharded(tmp_path)) == ()
    assert problems(tmp_path, [f"sub/{name}" for name in sharded(tmp_path / "sub")]) == ()
    assert problems(tmp_path, []) == ()


@pytest.mark.parametrize("absent", [SHARDS[1], "README.md"])
def test_a_file_that_is_named_and_not_there(tmp_path: Path, absent: str) -> None:
    names = sharded(tmp_path)
    (tmp_path / absent).unlink()
    assert any(absent in text for text in problems(tmp_path, names))


def test_a_shard_that_is_not_named(tmp_path: Path) -> None:
    names = [name for name in sharded(tmp_path) if name != SHARDS[1]]
    assert problems(tmp_path, names) == (
        "model-#####-of-00002.safetensors: missing 00002",
        f"{INDEX} names '{SHARDS[1]}', which is missing",
    )


def test_shards_of_another_model(tmp_path: Path) -> None:
    names = sharded(tmp_path)
    save_file({"a": np.zeros(2), "x": np.zeros(3)}, tmp_path / SHARDS[0])
    assert problems(tmp_path, names) == (
        f"{SHARDS[0]} lacks 1 tensors of {INDEX}, such as b",
        f"{SHARDS[0]} has 1 tensors beyond {INDEX}, such as x",
    )


def test_a_shard_that_was_cut(tmp_path: Path) -> None:
    names = sharded(tmp_path)
    data = (tmp_path / SHARDS[0]).read_bytes()
    (tmp_path / SHARDS[0]).write_bytes(data[:-1])
    (found,) = problems(tmp_path, names)
    assert found.startswith(f"{SHARDS[0]}: its tensors end at byte {len(data)}")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {}}'])
def test_an_index_that_is_none(tmp_path: Path, text: str) -> None:
    names = sharded(tmp_path)
    (tmp_path / INDEX).write_text(text)
    assert problems(tmp_path, names) == (f"{INDEX} is no index: it has no weight_map",)


def test_an_index_that_leads_out(tmp_path: Path) -> None:
    names = sharded(tmp_path)
    (tmp_path / INDEX).write_text('{"weight_map": {"a": "../../x\\u001b.safetensors"}}')
    assert problems(tmp_path, names) == (
        f"{INDEX} names '../../x\\x1b.safetensors', which is missing",
    )


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "a/config.json"])
def test_code_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"auto_map": {"AutoModel": "modeling.Model"}}')
    assert "has auto_map" in problems(tmp_path, [name])[0]
    path.write_text("{")
    assert problems(tmp_path, [name]) == (f"{name} is no JSON table",)


def test_a_split_gguf(tmp_path: Path, write_gguf: Writer) -> None:
    folder = write_gguf("whole/m-00001-of-00002.gguf", split=(0, 2)).parent
    write_gguf("whole/m-00002-of-00002.gguf", split=(1, 2))
    names = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]
    assert problems(folder, names) == ()
    assert problems(folder, names[:1]) == ("m-#####-of-00002.gguf: missing 00002",)
    assert problems(folder, names[1:]) == ("m-#####-of-00002.gguf: missing 00001",)
    write_gguf("whole/m-00002-of-00002.gguf", split=(0, 2))
    assert problems(folder, names) == ("m-00002-of-00002.gguf says that it is another part",)


def test_a_split_gguf_that_lost_tensors(write_gguf: Writer) -> None:
    folder = write_gguf("lost/m-00001-of-00002.gguf", split=(0, 2)).parent
    # Each part holds three tensors; the announced sum is three for each of `count` parts.
    write_gguf("lost/other.gguf", split=(1, 2))
    data = (folder / "other.gguf").read_bytes()
    six, nine = (b"split.tensors.count" + b"\x05\0\0\0" + bytes([n, 0, 0, 0]) for n in (6, 9))
    assert six in data
    (folder / "m-00002-of-00002.gguf").write_bytes(data.replace(six, nine))
    found = problems(folder, ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"])
    assert found == ("m-#####-of-00002.gguf: 6 tensors, and 9 are announced",)


def test_a_lone_part_is_an_ordinary_file(write_gguf: Writer) -> None:
    path = write_gguf("lone/m-00001-of-00001.gguf")
    assert problems(path.parent, [path.name]) == ()


def test_a_damaged_gguf(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUX" + bytes(100))
    (found,) = problems(tmp_path, ["m.gguf"])
    assert found.startswith("m.gguf: ")
