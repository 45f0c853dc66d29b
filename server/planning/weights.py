"""The bytes of a build's tensors, by where an engine may put them."""

from __future__ import annotations

from dataclasses import dataclass

from server.catalogue import Build, Model
from server.planning.parameters import layer_parameters, parameters


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """Bytes of one layer."""

    dense: int
    """All but the routed experts: attention or gated delta net, norms, router, shared expert."""
    experts: int = 0


@dataclass(frozen=True, slots=True)
class WeightMap:
    """Bytes of tensors."""

    embeddings: int
    output: int
    """The output head and the norm before it; of a tied head, which is the embeddings, the norm."""
    layers: tuple[LayerWeights, ...]
    mtp: int = 0
    """The multi-token-prediction block, where the build has one."""
    vision: int = 0
    """The image encoder, where the build has one: the mmproj of a GGUF build."""
    exact: bool = False
    """Whether the bytes were read from the files' headers."""

    @property
    def total(self) -> int:
        layers = sum(layer.dense + layer.experts for layer in self.layers)
        return self.embeddings + self.output + layers + self.mtp + self.vision


def from_catalogue(model: Model, build: Build) -> WeightMap | None:
    """The weights of a build that need not be on disk; None where nothing is known of its size.

    The parameters of each part are exact, the bytes of each are in proportion to them.
    """
    size = build.weights_bytes
    if size is None:
        return None
    a = model.architecture
    count = parameters(a)
    gguf = build.format == "gguf"
    scale = size / (count.text if gguf else count.total)
    per_layer = [layer_parameters(a, number) for number in range(a.layers)]
    layers = tuple(LayerWeights(round(d * scale), round(e * scale)) for d, e in per_layer)
    vision = ((build.mmproj.bytes or 0) if build.mmproj else 0) if gguf else count.vision * scale
    return WeightMap(
        embeddings=round(a.vocab * a.hidden * scale),
        output=round((a.hidden + (0 if a.tied else a.vocab * a.hidden)) * scale),
        layers=layers,
        mtp=0 if gguf else round(count.mtp * scale),
        vision=round(vision),
    )
