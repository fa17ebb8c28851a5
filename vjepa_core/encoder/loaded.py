"""An encoder in memory together with its card."""

from __future__ import annotations

from vjepa_core.encoder import catalogue
from vjepa_core.encoder.catalogue import EncoderCard
from vjepa_core.encoder.load import load_card
from vjepa_core.encoder.precision import inference_device, inference_dtype
from vjepa_core.encoder.vit import VisionTransformer3D

LoadedEncoder = tuple[VisionTransformer3D, EncoderCard]


def resolve_encoder(encoder: str | EncoderCard | LoadedEncoder) -> LoadedEncoder:
    """Load a shipped encoder by name, or an encoder by its card, on the inference device.

    An encoder that is already loaded is returned unchanged.
    """
    if isinstance(encoder, tuple):
        return encoder
    card = catalogue.card(encoder) if isinstance(encoder, str) else encoder
    device = inference_device()
    return load_card(card, device, matrices=inference_dtype(device)), card
