"""Random numbers for a batch of phantoms from one generator."""

from __future__ import annotations

import torch
from torch import Tensor


class RandomValues:
    """Draws one value per phantom, of shape (B, 1, 1, 1) for broadcasting over time, rows and columns.

    Parameters
    ----------
    n : int
        Number of phantoms B.
    generator : torch.Generator
        Source of random numbers. If it is on another device, it seeds a new generator on `device`.
    device : torch.device
        Device of the values.
    """

    def __init__(self, n: int, generator: torch.Generator, device: torch.device) -> None:
        self.n, self.device, self.generator = n, device, generator
        if generator.device.type != device.type:
            seed = torch.randint(2**62, (1,), generator=generator, device=generator.device)
            self.generator = torch.Generator(device).manual_seed(int(seed))

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Draw uniform values in [low, high), (B, 1, 1, 1) or (B, *shape)."""
        values = torch.rand(self.n, *(shape or (1, 1, 1)), generator=self.generator, device=self.device)
        return low + (high - low) * values

    def normal(self, mean: float, deviation: float, low: float, high: float) -> Tensor:
        """Draw normal values clamped to [low, high], (B, 1, 1, 1)."""
        return (mean + deviation * self.noise(1, 1, 1)).clamp(low, high)

    def noise(self, *shape: int) -> Tensor:
        """Draw standard normal values (B, *shape)."""
        return torch.randn(self.n, *shape, generator=self.generator, device=self.device)

    def chance(self, p: float) -> Tensor:
        """Draw 1.0 with probability `p`, else 0.0, (B, 1, 1, 1)."""
        return (self.uniform(0.0, 1.0) < p).float()


def smoothstep(x: Tensor) -> Tensor:
    """Return 0 below 0, 1 above 1, and the cubic 3x^2 - 2x^3 in between."""
    x = x.clamp(0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def bump(x: Tensor) -> Tensor:
    """Return exp(-x^2), a bell curve with height 1 at 0."""
    return torch.exp(-x * x)
