"""Scratch space of the image encoder."""

from __future__ import annotations

from server.catalogue import Vision

LARGEST_IMAGE = 4096
"""Tokens, for Qwen's vision towers (llama.cpp's tools/mtmd/clip.cpp)."""
_F32 = 4


def image_bytes(vision: Vision, tokens: int = LARGEST_IMAGE) -> int:
    """Scratch space in llama-server for an image of `tokens`, estimated: 0 to 8 % too much.

    Fitted to what llama-server logs for the towers of 0.8B, 4B and 27B (CPU, flash attention): six
    activations of a patch beside its pixels. One image is encoded at a time.
    """
    patches = tokens * vision.merge**2
    pixels = vision.channels * vision.patch**2
    return patches * (6 * vision.hidden + pixels + 4) * _F32
