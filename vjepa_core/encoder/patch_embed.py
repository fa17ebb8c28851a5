"""Patch embedding: tubelets of pixels to tokens."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import linear

from vjepa_core.encoder.rope import Grid


class PatchEmbed3D(nn.Module):
    """Linear projection of each tubelet (tubelet x patch x patch pixels, 3 channels) to one token.

    The weights are stored as a Conv3d named `proj`, as in V-JEPA. They are applied as a matrix product, which
    is as fast on a CPU and avoids the slow low-precision Conv3d of some cuDNN releases on GPUs.
    """

    def __init__(self, dim: int, patch_size: int = 16, tubelet_size: int = 2) -> None:
        super().__init__()
        kernel = (tubelet_size, patch_size, patch_size)
        self.proj = nn.Conv3d(3, dim, kernel_size=kernel, stride=kernel)
        self.patch_size = patch_size
        self.tubelet_size = tubelet_size

    def grid(self, x: Tensor) -> Grid:
        """Return the tokens along time, height and width for a clip (B, 3, T, H, W).

        Raises
        ------
        ValueError
            If the clip does not divide into whole tubelets.
        """
        _, channels, t, h, w = x.shape
        p = self.patch_size
        if channels != 3 or t % self.tubelet_size or h % p or w % p or 0 in (t, h, w):
            raise ValueError(
                f"a clip must be (B, 3, T, H, W) with T a multiple of {self.tubelet_size} and H, W of {p}; "
                f"got {tuple(x.shape)}"
            )
        return t // self.tubelet_size, h // p, w // p

    def forward(self, x: Tensor) -> Tensor:
        """Embed a clip (B, 3, T, H, W) as tokens (B, N, D), ordered by time, height, width."""
        t, h, w = self.grid(x)
        p = self.patch_size
        weight = self.proj.weight.flatten(1)
        tubelets = (
            x.to(weight.dtype)
            .reshape(len(x), 3, t, self.tubelet_size, h, p, w, p)
            .permute(0, 2, 4, 6, 1, 3, 5, 7)
        )
        return linear(tubelets.reshape(len(x), t * h * w, -1), weight, self.proj.bias)
