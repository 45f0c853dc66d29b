"""One repository at one revision, and what a pull wants of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from server.catalogue import File


@dataclass(frozen=True, slots=True)
class Order:
    repository: str
    revision: str | None = None
    """None: the one held or begun, else what the hub's `main` is when it is asked."""
    weights: tuple[str, ...] | None = None
    """Paths of the weight files wanted; None: all that it has. Other files always come along."""
    quants: tuple[str, ...] = ()
    """Of the weight files of a repository that the catalogue does not know, only those named so."""
    known: tuple[File, ...] = ()
    """What the catalogue says of its files; it is believed before the hub is."""
    weights_bytes: int | None = None
    """Of the weights wanted; of their tensors alone where `exact` is false."""
    exact: bool = False
    licence: str | None = None
    modelscope: str | None = None
    builds: tuple[str, ...] = ()
    """Names of the builds in it that are wanted, for people."""

    def wants(self, path: str) -> bool:
        """Whether a file of the repository is to come along."""
        if not is_weights(path):
            return True
        if self.weights is not None:
            return path in self.weights
        # The image encoder is one file beside all quantizations, in several precisions.
        quants = ("F16",) if "mmproj" in path.lower() else self.quants
        return not self.quants or any(_is_of_quant(path, quant) for quant in quants)


def is_weights(path: str) -> bool:
    """Whether it is weights and not one of the small files beside them, by its name."""
    return path.lower().endswith((".safetensors", ".gguf"))


def _is_of_quant(path: str, quant: str) -> bool:
    """Whether a GGUF's name, or its folder's, tells of this quantization."""
    return re.search(rf"(?<![A-Za-z0-9]){re.escape(quant)}(?![A-Za-z0-9_])", path, re.I) is not None
