"""Encoders by name, as timm names them: size, patch, picture, tubelet."""

from __future__ import annotations

from typing import Any

from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.errors import EncoderError

# name: width, depth, heads
_SIZES: dict[str, tuple[int, int, int]] = {
    "vit_tiny_patch16_224_t2": (192, 12, 3),
    "vit_small_patch16_224_t2": (384, 12, 6),
    "vit_base_patch16_224_t2": (768, 12, 12),
    "vit_large_patch16_224_t2": (1024, 24, 16),
}


def architectures() -> tuple[str, ...]:
    """Names that `create_encoder` knows, smallest first."""
    return tuple(_SIZES)


def create_encoder(name: str = "vit_small_patch16_224_t2", **kwargs: Any) -> VisionTransformer3D:
    """An encoder with torch's own random weights; `kwargs` go to `VisionTransformer3D`.

    Raises
    ------
    EncoderError
        If there is no architecture of that name.
    """
    if name not in _SIZES:
        raise EncoderError(f"No encoder architecture is called {name}; there are {', '.join(_SIZES)}.")
    width, depth, heads = _SIZES[name]
    return VisionTransformer3D(width, depth, heads, **kwargs)
