"""Features of still images that several rows of a benchmark share, with their computing time."""

from __future__ import annotations

import hashlib
import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vjepa_core.bench.frozen_features import features
from vjepa_core.encoder.architecture import Architecture
from vjepa_core.encoder.catalogue import EncoderCard
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.letterbox import INPUT_SIZE


class EncodedStills:
    """Computes and stores the tokens of images for one encoder.

    Parameters
    ----------
    encoder : VisionTransformer3D, optional
        If None, all tokens are zero.
    card : EncoderCard
        Card of the encoder, or of the encoder whose token shape is used for zeros.
    """

    def __init__(self, encoder: VisionTransformer3D | None, card: EncoderCard) -> None:
        self._encoder = encoder
        self.card = card
        self._known: dict[bytes, Tensor] = {}
        self._seconds = 0.0

    @property
    def name(self) -> str | None:
        """Name of the encoder; None without one."""
        return None if self._encoder is None else self.card.name

    def encode(self, images: NDArray[np.uint8]) -> list[bytes]:
        """Compute the features of images (N, H, W) uint8 that are not stored yet; return their keys."""
        keys = [hashlib.sha256(image.tobytes()).digest() for image in images]
        new = {key: i for i, key in enumerate(keys) if key not in self._known}
        if new and self._encoder is not None:
            start = time.perf_counter()
            tokens = features(self._encoder, images[list(new.values())])
            self._seconds += time.perf_counter() - start
            self._known.update(zip(new, tokens, strict=True))
        return keys

    def __call__(self, images: NDArray[np.uint8]) -> Tensor:
        """Return tokens (N, L, h, w, D), float16 on the CPU, of square images (N, H, W) uint8."""
        if self._encoder is None:
            architecture = Architecture.parse(self.card.architecture)
            side = INPUT_SIZE // architecture.patch_size
            shape = (1, len(self.card.depths), side, side, architecture.embed_dim)
            return torch.zeros(shape, dtype=torch.float16).expand(len(images), -1, -1, -1, -1)
        return torch.stack([self._known[key] for key in self.encode(images)])

    def cost(self, stills: int) -> float:
        """Return the encoding time of the given number of images in seconds, from previous images."""
        return stills * self._seconds / len(self._known) if self._known else 0.0
