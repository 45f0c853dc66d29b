"""A model of the family, and the builds in which its weights exist."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from server.catalogue.architecture import Architecture

EngineName = Literal["llama-server", "vllm"]
Format = Literal["gguf", "safetensors"]

FORMAT_OF_ENGINE: Mapping[EngineName, Format] = {"llama-server": "gguf", "vllm": "safetensors"}

MODES = (
    "thinking",
    "non_thinking",
    "thinking_coding",
    "thinking_vision",
    "non_thinking_vision",
    "non_thinking_reasoning",
)
"""Kinds of request for which a model card gives sampling settings; the first two always exist."""

BENCHMARKS = (
    "mmlu_pro",
    "mmlu_redux",
    "gpqa",
    "supergpqa",
    "ifeval",
    "aa_lcr",
    "bfcl_v4",
    "tau2",
    "mmmlu",
)
"""The benchmarks for which every size of Qwen3.5 has an official score (percent, thinking on)."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """What the engine is told when the client does not say; the defaults change nothing."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    """0: no limit."""
    min_p: float = 0.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0


@dataclass(frozen=True, slots=True)
class File:
    path: str
    """Relative to the repository's root, with forward slashes."""
    bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Repository:
    """A Hugging Face repository at a commit; None where the commit is not known yet."""

    id: str
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class Build:
    """One set of weight files of a model: a quantization, in a format, from one place.

    Either `repository` or `path` says where the weights come from. What is not known is None, and
    is filled in from the hub when the build is pulled; nothing here is an estimate.
    """

    model: str
    id: str
    engine: EngineName
    format: Format
    quant: str
    repository: str | None = None
    revision: str | None = None
    files: tuple[File, ...] = ()
    """The weight files, in order; empty where their names are not known."""
    bytes: int | None = None
    """Of all weight files together, without `mmproj`."""
    tensor_bytes: int | None = None
    """Of the tensors alone, from the index: the files are slightly larger by their headers."""
    mmproj: File | None = None
    """The image encoder of a GGUF build; without it the build takes text only."""
    path: Path | None = None
    """A local file (GGUF) or folder (safetensors), absolute."""
    licence_file: bool | None = None
    """Whether the repository holds the licence's text; a mirror adds it where it does not."""
    modelscope: str | None = None
    """The same files' id on ModelScope, whose commit ids differ: compare by sha256."""

    @property
    def name(self) -> str:
        return f"{self.model}:{self.id}"

    @property
    def weights_bytes(self) -> int | None:
        """The best exact figure for the weights' size: of the files, else of their tensors."""
        return self.bytes if self.bytes is not None else self.tensor_bytes

    @property
    def unknown(self) -> tuple[str, ...]:
        """What must be asked of the hub before a pull can be checked in full."""
        if self.path is not None:
            return ()
        files = (*self.files, *((self.mmproj,) if self.mmproj else ()))
        known = {
            "revision": self.revision is not None,
            "files": bool(self.files),
            "file sizes": all(file.bytes is not None for file in files),
            "sha256": all(file.sha256 is not None for file in files),
        }
        return tuple(fact for fact, is_known in known.items() if not is_known)

    @property
    def complete(self) -> bool:
        return not self.unknown


@dataclass(frozen=True, slots=True)
class Model:
    id: str
    title: str
    architecture: Architecture
    context: int
    """Tokens that the model was trained to handle, prompt and answer together."""
    thinking_default: bool
    """Whether the model thinks first when the request does not say."""
    sampling: Mapping[str, Sampling]
    """By mode, one of MODES."""
    scores: Mapping[str, float]
    """By benchmark, one of BENCHMARKS; for the unquantized model with thinking on."""
    licence: str
    builds: tuple[Build, ...]
    released: datetime.date | None = None
    base: Repository | None = None
    """The checkpoint before post-training, kept by mirrors; it is not served."""
    small_files: tuple[File, ...] = ()
    """Files beside the weights in the unquantized repository, as far as known."""

    def build(self, build_id: str) -> Build | None:
        return next((build for build in self.builds if build.id == build_id), None)
