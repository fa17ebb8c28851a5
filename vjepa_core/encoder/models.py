"""Encoders by the name of their architecture."""

from __future__ import annotations

from vjepa_core.encoder.architecture import Architecture
from vjepa_core.encoder.vit import VisionTransformer3D


def create_encoder(name: str = "vit_small_patch16_224_t2") -> VisionTransformer3D:
    """An encoder with torch's own random weights, in the form that the name says; see `Architecture`.

    Raises
    ------
    EncoderError
        If there is no architecture of that name.
    """
    return VisionTransformer3D(Architecture.parse(name))
