"""What may stand in a configuration file: every table, its keys, and what each key holds.

Keys are named as the dataclasses' fields that they become. `[[model]]` and `[[build]]` entries
are known by their id across files; `[[repository]]` is shorthand for many builds from one place;
`[family.NAME]` holds what models have in common (`like = "NAME"`). The tables of the router and of
clouds are in `routing_schema`.
"""

from __future__ import annotations

from collections.abc import Mapping

from server.catalogue import field, routing_schema
from server.catalogue.files import expand
from server.catalogue.model import BENCHMARKS, MODES, File, Repository
from server.catalogue.node import Dictionary, Entries, Node, Table, Whole
from server.catalogue.store import SOURCES
from server.units import GIB, KIB

_COUNT = field.integer(1, 1_000_000)
_FILE = Table({"path": field.file_path, "bytes": field.BYTES, "sha256": field.SHA256}, ("path",))
_PARTS = Table(
    {
        "path": field.file_path,
        "parts": field.integer(1, 9999),
        "bytes": field.BYTES,
        "sha256": field.SHA256,
        "part_bytes": field.list_of(field.BYTES, "bytes, one for each part"),
        "part_sha256": field.list_of(field.SHA256, "sha256 digests, one for each part"),
    },
    ("path",),
)
_FILES = Whole(_PARTS, expand, many=True)
_ONE_FILE = Whole(_FILE, lambda row: File(**row))  # type: ignore[arg-type]

SAMPLING = Table(
    {
        "temperature": field.number(0, 2),
        "top_p": field.number(0, 1, above=True),
        "top_k": field.integer(0, 1_000_000),
        "min_p": field.number(0, 1),
        "presence_penalty": field.number(-2, 2),
        "repetition_penalty": field.number(0, 2, above=True),
    }
)
VISION = Table(
    {
        "depth": _COUNT,
        "hidden": _COUNT,
        "heads": _COUNT,
        "ffn": _COUNT,
        "patch": _COUNT,
        "temporal_patch": _COUNT,
        "merge": _COUNT,
        "positions": _COUNT,
        "channels": _COUNT,
    },
    ("depth", "hidden", "heads", "ffn"),
)
ARCHITECTURE = Table(
    {
        "kind": field.choice("qwen3_5", "qwen3_5_moe"),
        "layers": field.integer(1, 10_000),
        "hidden": _COUNT,
        "heads": _COUNT,
        "kv_heads": _COUNT,
        "head_dim": _COUNT,
        "full_attention_interval": field.integer(1, 10_000),
        "linear_key_heads": _COUNT,
        "linear_key_head_dim": _COUNT,
        "linear_value_heads": _COUNT,
        "linear_value_head_dim": _COUNT,
        "conv_kernel": field.integer(1, 64),
        "vocab": field.integer(1, 100_000_000),
        "tied": field.boolean,
        "ffn": _COUNT,
        "experts": _COUNT,
        "experts_per_token": _COUNT,
        "moe_ffn": _COUNT,
        "shared_ffn": _COUNT,
        "mtp_layers": field.integer(0, 16),
        "vision": VISION,
    },
    (
        "kind", "layers", "hidden", "heads", "kv_heads", "head_dim", "full_attention_interval",
        "linear_key_heads", "linear_key_head_dim", "linear_value_heads", "linear_value_head_dim",
        "conv_kernel", "vocab", "tied",
    ),
)  # fmt: skip

INHERITED: Mapping[str, Node] = {
    "like": field.IDENTIFIER,
    "architecture": ARCHITECTURE,
    "context": field.integer(1, 100_000_000),
    "thinking_default": field.boolean,
    "sampling": Dictionary(field.one_of(MODES), SAMPLING),
    "licence": field.text(r"[A-Za-z0-9.+-]{1,64}", 'an SPDX identifier such as "apache-2.0"'),
    "small_files": _FILES,
}
"""What a model takes from the family or the model that it is `like`."""

FAMILY = Table(INHERITED)
MODEL = Table(
    {
        "id": field.IDENTIFIER,
        **INHERITED,
        "title": field.LINE,
        "released": field.date,
        "base": Whole(
            Table({"id": field.REPOSITORY, "revision": field.REVISION}, ("id",)),
            lambda row: Repository(**row),  # type: ignore[arg-type]
        ),
        "scores": Dictionary(field.one_of(BENCHMARKS), field.number(0, 100)),
    },
    ("id", "architecture", "context", "thinking_default", "sampling", "licence"),
)
_PLACE: Mapping[str, Node] = {
    "model": field.IDENTIFIER,
    "engine": field.choice("llama-server", "vllm"),
    "format": field.choice("gguf", "safetensors"),
    "revision": field.REVISION,
    "mmproj": _ONE_FILE,
    "licence_file": field.boolean,
    "modelscope": field.REPOSITORY,
}
_WEIGHTS: Mapping[str, Node] = {
    "id": field.IDENTIFIER,
    "quant": field.LINE,
    "files": _FILES,
    "bytes": field.BYTES,
    "tensor_bytes": field.BYTES,
}
BUILD = Table(
    {**_PLACE, **_WEIGHTS, "repository": field.REPOSITORY, "path": field.local_path},
    ("model", "id", "engine", "format", "quant"),
)
REPOSITORY = Table(
    {**_PLACE, "id": field.REPOSITORY, "builds": Entries(Table(_WEIGHTS, ("id",)))},
    ("id", "model", "builds"),
)
_NAME = field.text(
    r"[a-z0-9][a-z0-9._-]{0,63}(:[a-z0-9][a-z0-9._-]{0,63})?", 'a name such as "qwen3.5-9b:q4_k_m"'
)
_IDLE = field.duration_or_never(0, 30 * 86_400)
SERVED_MODEL = Table(
    {
        "name": _NAME,
        "weight": field.number(0, 1_000_000, above=True),
        "context": field.integer(1, 100_000_000),
        "slots": field.integer(1, 1024),
        "speed": field.number(0, 100_000),
        "pin": field.boolean,
        "ttl": _IDLE,
        "engines": field.list_of(field.choice("llama-server", "vllm"), "engines"),
        "embeddings": field.boolean,
    },
    ("name",),
)
SERVE = Table(
    {
        "host": field.text(r"[0-9A-Za-z.:%_-]{1,255}", "an address or host name"),
        "port": field.integer(0, 65_535),
        "models": field.list_or("auto", field.LINE, 'model names such as "qwen3.5-9b:q4_k_m"'),
        "model": Entries(SERVED_MODEL, key="name"),
        "context": field.integer(1, 100_000_000),
        "slots": field.integer(1, 1024),
        "keep_alive": _IDLE,
        "preload": field.list_of(_NAME, "model names"),
        "sleep": field.boolean,
        "queue": field.integer(0, 1_000_000),
        "queue_timeout": field.duration(0, 86_400),
        "drain_timeout": field.duration(0, 86_400),
        "load_timeout": field.duration(1, 86_400),
        "max_body": field.size(KIB, 4 * GIB),
    }
)
STORE = Table(
    {
        "copies": field.list_of(field.copy, "folders or buckets"),
        "min_copies": field.integer(1, 100),
        "jobs": field.integer(1, 64),
        "limit_rate": field.size(KIB, 1024 * GIB),
        "window": field.window,
        "reserve": field.size(0, 1024**2 * GIB),
        "sources": field.list_of(field.one_of(SOURCES), "sources"),
        "hub": field.endpoint,
    }
)

DOCUMENT = Table(
    {
        "family": Dictionary(field.IDENTIFIER, FAMILY),
        "model": Entries(MODEL),
        "repository": Entries(REPOSITORY, unique=False),
        "build": Entries(BUILD),
        "serve": SERVE,
        "store": STORE,
        **routing_schema.TABLES,
    }
)
