"""Convert grey frames to the encoder's input."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(frames: NDArray[np.uint8] | torch.Tensor) -> torch.Tensor:
    """Normalise grey frames with ImageNet's mean and standard deviation, as V-JEPA does.

    Parameters
    ----------
    frames : ndarray or Tensor of uint8
        Shape (..., T, H, W).

    Returns
    -------
    Tensor of float32
        Shape (..., 3, T, H, W), with the grey value in all three channels, on the device of the input.

    Raises
    ------
    ValueError
        If the input is not uint8 or has fewer than three axes.
    """
    grey = torch.as_tensor(frames)
    if grey.dtype != torch.uint8 or grey.ndim < 3:
        raise ValueError(f"expected uint8 frames (..., T, H, W), got {grey.dtype} {tuple(grey.shape)}")
    shape = (3, 1, 1, 1)
    mean = torch.tensor(IMAGENET_MEAN, device=grey.device).view(shape)
    std = torch.tensor(IMAGENET_STD, device=grey.device).view(shape)
    return (grey.unsqueeze(-4).float() / 255 - mean) / std
