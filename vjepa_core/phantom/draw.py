"""Random numbers for many phantoms at once, all from one generator."""

from __future__ import annotations

import torch
from torch import Tensor


class Draw:
    """Draws one value a phantom, shaped (B, 1, 1, 1) to broadcast over time, rows and columns.

    Parameters
    ----------
    n : int
        Phantoms, B.
    generator : torch.Generator
        On another device than `device`, it only seeds a generator there, so that nothing is copied later.
    device : torch.device
    """

    def __init__(self, n: int, generator: torch.Generator, device: torch.device) -> None:
        self.n, self.device, self.generator = n, device, generator
        if generator.device.type != device.type:
            seed = torch.randint(2**62, (1,), generator=generator, device=generator.device)
            self.generator = torch.Generator(device).manual_seed(int(seed))

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Uniform in [low, high); (B, 1, 1, 1), or (B, *shape)."""
        at = torch.rand(self.n, *(shape or (1, 1, 1)), generator=self.generator, device=self.device)
        return low + (high - low) * at

    def normal(self, mean: float, deviation: float, low: float, high: float) -> Tensor:
        """Normal, cut to [low, high]; (B, 1, 1, 1)."""
        return (mean + deviation * self.noise(1, 1, 1)).clamp(low, high)

    def noise(self, *shape: int) -> Tensor:
        """Standard normal, (B, *shape)."""
        return torch.randn(self.n, *shape, generator=self.generator, device=self.device)

    def chance(self, p: float) -> Tensor:
        """1.0 with probability `p`, else 0.0; (B, 1, 1, 1)."""
        return (self.uniform(0.0, 1.0) < p).float()


def smoothstep(x: Tensor) -> Tensor:
    """0 below 0, 1 above 1, and the cubic 3x^2 - 2x^3 between."""
    x = x.clamp(0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def bump(x: Tensor) -> Tensor:
    """Bell of height 1 at 0, exp(-x^2)."""
    return torch.exp(-x * x)
