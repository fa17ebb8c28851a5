"""The two small nets of a head: one reads an encoder's features and the picture, one the picture alone.

Both are given the label that motion has carried to the frame, and their last layers start at zero, so that
before any training they answer with it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

PICTURE_CHANNELS = 3 * 4
"""What the first layers read of the picture: three frames, four pixels of each to one of the grid."""

PRIOR_FLOOR = 0.02
"""Carried probabilities are kept off 0 and 1 by this much, so that the picture can overrule them."""


def prior_logits(prior: Tensor) -> Tensor:
    """Log of carried probabilities (B, K, h, w), kept finite; a sum of zero (no prior) gives zeros."""
    has_prior = prior.sum(1, keepdim=True) > 0.5
    logits = torch.log(prior.clamp(PRIOR_FLOOR, 1 - PRIOR_FLOOR))
    return torch.where(has_prior, logits, torch.zeros_like(logits))


def _block(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False),
        nn.GroupNorm(8, channels_out),
        nn.SiLU(inplace=True),
    )


def _down(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(_block(channels_in, channels_out, 2), _block(channels_out, channels_out))


def _twice(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class PictureNet(nn.Module):
    """A U-Net over picture and carried label, deep enough to tell chambers apart by what lies around them.

    Parameters
    ----------
    width : int
        Channels on the grid.
    n_outputs : int
        K, background included.
    """

    def __init__(self, width: int, n_outputs: int) -> None:
        super().__init__()
        w = width
        self.stem = _block(PICTURE_CHANNELS + n_outputs, w)
        self.down1 = _down(w, 2 * w)
        self.down2 = _down(2 * w, 3 * w)
        self.down3 = _down(3 * w, 4 * w)
        self.down4 = _down(4 * w, 6 * w)
        self.up3 = _block(10 * w, 4 * w)
        self.up2 = _block(7 * w, 3 * w)
        self.up1 = _block(5 * w, 2 * w)
        self.up0 = _block(3 * w, w)
        self.out = nn.Conv2d(w, n_outputs, 1)
        nn.init.zeros_(self.out.weight)
        self.out.bias = nn.Parameter(torch.zeros(n_outputs))

    def forward(self, image: Tensor, features: Tensor, prior: Tensor) -> Tensor:
        """Logits (B, K, 112, 112); shapes as for `vjepa_core.fewshot.head.Head`."""
        carried = prior_logits(prior)
        x0 = self.stem(torch.cat([functional.pixel_unshuffle(image, 2), carried], 1))
        x1 = self.down1(x0)
        x2 = self.down2(x1)
        x3 = self.down3(x2)
        x = self.up3(torch.cat([_twice(self.down4(x3)), x3], 1))
        x = self.with_features(x, features)
        x = self.up2(torch.cat([_twice(x), x2], 1))
        x = self.up1(torch.cat([_twice(x), x1], 1))
        x = self.up0(torch.cat([_twice(x), x0], 1))
        return self.out(x) + carried

    def with_features(self, x: Tensor, features: Tensor) -> Tensor:
        """Maps (B, 4 w, 14, 14), the size of the features' grid; this net has no use for features."""
        return x


class FeatureNet(PictureNet):
    """The same, with features added where the maps are as coarse as they are.

    They say *what* is where on a 16-pixel grid, the picture draws the border between its cells. They add
    nothing before any training: it can go on from what a `PictureNet` has learnt.
    """

    def __init__(self, width: int, n_outputs: int, *, feature_dim: int, n_depths: int) -> None:
        super().__init__(width, n_outputs)
        self.feature_norm = nn.LayerNorm(feature_dim, elementwise_affine=False)
        self.feature_proj = nn.Conv2d(feature_dim * n_depths, 4 * width, 1)
        nn.init.zeros_(self.feature_proj.weight)
        self.feature_proj.bias = nn.Parameter(torch.zeros(4 * width))
        # Of a few frames, tokens are easily learnt by heart: most of them are hidden at every step.
        self.feature_drop = nn.Dropout2d(0.6)

    def go_on_from(self, net: PictureNet) -> None:
        """Take over what another net has learnt to see."""
        self.load_state_dict({**self.state_dict(), **net.state_dict()})

    def with_features(self, x: Tensor, features: Tensor) -> Tensor:
        """Maps (B, 4 w, 14, 14) and what tokens (B, depths, h, w, dim) add to them."""
        tokens = self.feature_norm(features.float())
        tokens = tokens.permute(0, 1, 4, 2, 3).flatten(1, 2)
        tokens = self.feature_drop(self.feature_proj(tokens))
        if tokens.shape[-2:] != x.shape[-2:]:
            tokens = functional.interpolate(tokens, x.shape[-2:], mode="bilinear", align_corners=False)
        return x + tokens
