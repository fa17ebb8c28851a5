"""Small runs for tests."""

from __future__ import annotations

import torch

from vjepa_core.pretraining.config import PretrainConfig, small_config, with_values
from vjepa_core.pretraining.source import MemorySource


def tiny(**values: object) -> PretrainConfig:
    """Return a configuration with clips of four frames of 64 pixels (32 tokens) and two clips per step."""
    config: PretrainConfig = with_values(
        small_config(),
        {
            "frames": 4,
            "size": 64,
            "batch": 2,
            "steps": 6,
            "checkpoint_every": 2,
            "precision": "fp32",
            **values,
        },
    )
    return config


def clips(n: int = 6) -> torch.Tensor:
    """Return moving smooth noise, (n, 4, 64, 64) uint8."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand((n, 1, 6, 12, 12), generator=generator)
    fine = torch.nn.functional.interpolate(coarse, (4, 64, 64), mode="trilinear", align_corners=False)
    return (fine[:, 0] * 255).to(torch.uint8)


def source() -> MemorySource:
    """Return a source of `clips`."""
    return MemorySource(clips())
