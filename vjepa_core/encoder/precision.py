"""Device and precision of encoders at inference."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from vjepa_core.encoder.speed import processor_settings

M = TypeVar("M", bound=nn.Module)


def inference_device() -> torch.device:
    """Return the GPU if there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def inference_dtype(device: str | torch.device) -> torch.dtype:
    """Return the fastest dtype for linear layers: float32 or bfloat16.

    On a GPU this is bfloat16 if the hardware supports it. On a CPU it is the result of a measurement; calling
    this function also applies the other settings of `vjepa_core.encoder.speed.processor_settings`.
    """
    device = torch.device(device)
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device.type == "cpu" and processor_settings().dtype == "bfloat16"
    return torch.bfloat16 if fast else torch.float32


def cast_matrices(model: M, dtype: torch.dtype) -> M:
    """Convert the parameters of linear layers and patch embeddings to `dtype` in place; return the model."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv3d):
            module.to(dtype)
    return model
