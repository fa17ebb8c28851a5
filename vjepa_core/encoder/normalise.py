"""Grey frames as the encoder wants them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(frames: NDArray[np.uint8] | torch.Tensor) -> torch.Tensor:
    """Grey frames (..., T, H, W) uint8 as the encoder wants them: (..., 3, T, H, W) float32.

    The grey value stands in all three channels, less ImageNet's mean and over its standard deviation, as in
    V-JEPA's own preparation. The result is on the device of the input.
    """
    grey = torch.as_tensor(frames)
    if grey.dtype != torch.uint8 or grey.ndim < 3:
        raise ValueError(f"expected uint8 frames (..., T, H, W), got {grey.dtype} {tuple(grey.shape)}")
    shape = (3, 1, 1, 1)
    mean = torch.tensor(IMAGENET_MEAN, device=grey.device).view(shape)
    std = torch.tensor(IMAGENET_STD, device=grey.device).view(shape)
    return (grey.unsqueeze(-4).float() / 255 - mean) / std
