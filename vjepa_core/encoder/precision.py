"""Where and in which number format an encoder is used, and not trained."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from vjepa_core.encoder.speed import processor_settings

M = TypeVar("M", bound=nn.Module)


def inference_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def inference_dtype(device: str | torch.device) -> torch.dtype:
    """The format in which linear maps are fastest: float32, or bfloat16.

    On a GPU bfloat16 where it multiplies matrices of it in hardware. On a processor what was measured there,
    see `vjepa_core.encoder.speed.processor_settings`, whose other settings are in force from now on too.
    """
    device = torch.device(device)
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device.type == "cpu" and processor_settings().dtype == "bfloat16"
    return torch.bfloat16 if fast else torch.float32


def with_matrices_in(model: M, dtype: torch.dtype) -> M:
    """Bring the weights of linear maps and patch embeddings to `dtype`, in place; all others stay."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv3d):
            module.to(dtype)
    return model
