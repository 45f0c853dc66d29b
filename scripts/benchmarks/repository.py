"""Repositories for the fake hub: of real weights' shape, and with digests that are known."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from server.units import MIB
from tests.fakes.hub_repositories import SIDECAR


def write(root: Path, name: str, *, files: int, file_bytes: int) -> int:
    """A model in `files` safetensors of `file_bytes` each; bytes of all of it."""
    folder = root / name
    folder.mkdir(parents=True)
    noise = os.urandom(MIB)
    shards = list(_names(files))
    digests = {}
    for number, shard in enumerate(shards):
        with (folder / shard).open("wb") as file:
            digests[shard] = {"sha256": _shard(file, number, file_bytes, noise)}
    _others(folder, shards)
    (folder / SIDECAR).write_text(json.dumps({"licence": "apache-2.0", "files": digests}))
    return sum(path.stat().st_size for path in folder.iterdir() if path.name != SIDECAR)


def _names(files: int) -> Iterator[str]:
    for number in range(1, files + 1):
        yield f"model-{number:05d}-of-{files:05d}.safetensors"


def _shard(file: BinaryIO, number: int, size: int, noise: bytes) -> str:
    """A safetensors file of one tensor, in exactly `size` bytes; its sha256."""
    header = _header(number, size - len(_header(number, size)))
    digest = hashlib.sha256(header)
    file.write(header)
    left = size - len(header)
    while left:
        piece = noise[: min(left, MIB)]
        digest.update(piece)
        file.write(piece)
        left -= len(piece)
    return digest.hexdigest()


def _header(number: int, data: int) -> bytes:
    tensor = {"dtype": "U8", "shape": [data], "data_offsets": [0, data]}
    # Padded, so that its length does not depend on the number in it.
    text = json.dumps({f"layer.{number}.weight": tensor}).encode().ljust(256)
    return len(text).to_bytes(8, "little") + text


def _others(folder: Path, shards: list[str]) -> None:
    weights = {f"layer.{number}.weight": shard for number, shard in enumerate(shards)}
    index = {"metadata": {}, "weight_map": weights}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3_5"}))
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\nFor a benchmark.\n")
