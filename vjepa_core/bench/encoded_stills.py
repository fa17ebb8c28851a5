"""Features of stills that several rows of a benchmark read, computed once and their time kept."""

from __future__ import annotations

import hashlib
import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vjepa_core.bench.frozen import features
from vjepa_core.encoder.architecture import Architecture
from vjepa_core.encoder.catalogue import EncoderCard
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.preprocessing import INPUT_SIZE


class EncodedStills:
    """Pictures to the tokens of one encoder.

    Parameters
    ----------
    encoder : VisionTransformer3D, optional
        None: nothing sees the pictures, their tokens are zeros.
    card : EncoderCard
        Of the encoder, or of the one whose tokens' shape the zeros have.
    """

    def __init__(self, encoder: VisionTransformer3D | None, card: EncoderCard) -> None:
        self._encoder = encoder
        self.card = card
        self._known: dict[bytes, Tensor] = {}
        self._seconds = 0.0

    @property
    def name(self) -> str | None:
        """Of the encoder; None without one."""
        return None if self._encoder is None else self.card.name

    def encode(self, images: NDArray[np.uint8]) -> list[bytes]:
        """Have the features of these pictures (N, H, W) uint8 ready; returns what they are kept by."""
        keys = [hashlib.sha256(image.tobytes()).digest() for image in images]
        new = {key: i for i, key in enumerate(keys) if key not in self._known}
        if new and self._encoder is not None:
            began = time.perf_counter()
            found = features(self._encoder, images[list(new.values())])
            self._seconds += time.perf_counter() - began
            self._known.update(zip(new, found, strict=True))
        return keys

    def __call__(self, images: NDArray[np.uint8]) -> Tensor:
        """Tokens (N, L, h, w, D) float16 on the CPU, of pictures (N, H, W) uint8 whose sides are equal."""
        if self._encoder is None:
            built = Architecture.parse(self.card.architecture)
            side = INPUT_SIZE // built.patch_size
            nothing = torch.zeros(1, len(self.card.depths), side, side, built.embed_dim, dtype=torch.float16)
            return nothing.expand(len(images), -1, -1, -1, -1)
        return torch.stack([self._known[key] for key in self.encode(images)])

    def cost(self, stills: int) -> float:
        """Seconds that the encoder takes for so many pictures, from those that it was given so far."""
        return stills * self._seconds / len(self._known) if self._known else 0.0
