"""Where and in which number format an encoder is used, and not trained."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def inference_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def inference_dtype(device: str | torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies matrices of it in hardware, else float32.

    A processor without such units would take several times as long as with float32.
    """
    device = torch.device(device)
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # Older releases do not tell: float32 is right everywhere.
        able: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        fast = device.type == "cpu" and bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return torch.bfloat16 if fast else torch.float32


def with_matrices_in(model: M, dtype: torch.dtype) -> M:
    """Bring the weights of linear maps and patch embeddings to `dtype`, in place; all others stay."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv3d):
            module.to(dtype)
    return model
