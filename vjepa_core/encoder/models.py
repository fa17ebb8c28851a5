"""Create encoders by architecture name."""

from __future__ import annotations

from vjepa_core.encoder.architecture import Architecture
from vjepa_core.encoder.vit import VisionTransformer3D


def create_encoder(name: str = "vit_small_patch16_224_t2") -> VisionTransformer3D:
    """Create an encoder with torch's default random weights.

    Parameters
    ----------
    name : str
        Name of the architecture; see `Architecture.parse`.

    Raises
    ------
    EncoderError
        If there is no architecture of that name.
    """
    return VisionTransformer3D(Architecture.parse(name))
