"""The two networks of a head: the feature net on features and image, the image net on the image only.

The carried label of the frame is an input of both. Their output layers are initialised with zeros, so that an
untrained network predicts the carried label.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

IMAGE_CHANNELS = 3 * 4
"""Image channels of the first layers: three frames, four pixels of each per grid cell."""

PRIOR_FLOOR = 0.02
"""Minimum distance of carried probabilities from 0 and 1, so that the image can override them."""


def prior_logits(prior: Tensor) -> Tensor:
    """Compute finite logarithms of carried probabilities (B, K, h, w); zeros where they sum to zero."""
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


def _upsample(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class ImageUNet(nn.Module):
    """U-Net on image and carried label, deep enough to distinguish chambers by their surroundings.

    Parameters
    ----------
    width : int
        Number of channels at full resolution.
    n_outputs : int
        Number K of outputs, including background.
    """

    def __init__(self, width: int, n_outputs: int) -> None:
        super().__init__()
        w = width
        self.stem = _block(IMAGE_CHANNELS + n_outputs, w)
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
        """Compute logits (B, K, 112, 112); parameters as in `vjepa_core.fewshot.head.Head.forward`."""
        carried = prior_logits(prior)
        x0 = self.stem(torch.cat([functional.pixel_unshuffle(image, 2), carried], 1))
        x1 = self.down1(x0)
        x2 = self.down2(x1)
        x3 = self.down3(x2)
        x = self.up3(torch.cat([_upsample(self.down4(x3)), x3], 1))
        x = self.add_features(x, features)
        x = self.up2(torch.cat([_upsample(x), x2], 1))
        x = self.up1(torch.cat([_upsample(x), x1], 1))
        x = self.up0(torch.cat([_upsample(x), x0], 1))
        logits: Tensor = self.out(x) + carried
        return logits

    def add_features(self, x: Tensor, features: Tensor) -> Tensor:
        """Return the maps (B, 4 * width, 14, 14) unchanged; this network does not use features."""
        return x


class FeatureUNet(ImageUNet):
    """U-Net with features added to its maps at the resolution of the features.

    Features identify structures on a 16-pixel grid; the image defines the borders. The projection of the
    features is initialised with zeros, so that a fit can continue from the weights of an `ImageUNet`.

    Parameters
    ----------
    width : int
        Number of channels at full resolution.
    n_outputs : int
        Number K of outputs, including background.
    feature_dim, n_depths : int
        Width of the tokens and number of depths.
    """

    def __init__(self, width: int, n_outputs: int, *, feature_dim: int, n_depths: int) -> None:
        super().__init__(width, n_outputs)
        self.feature_norm = nn.LayerNorm(feature_dim, elementwise_affine=False)
        self.feature_proj = nn.Conv2d(feature_dim * n_depths, 4 * width, 1)
        nn.init.zeros_(self.feature_proj.weight)
        self.feature_proj.bias = nn.Parameter(torch.zeros(4 * width))
        # Strong dropout, because a few frames are easily overfitted.
        self.feature_drop = nn.Dropout2d(0.6)

    def copy_weights(self, net: ImageUNet) -> None:
        """Copy the weights of an image net."""
        self.load_state_dict({**self.state_dict(), **net.state_dict()})

    def add_features(self, x: Tensor, features: Tensor) -> Tensor:
        """Add projected tokens (B, depths, h, w, dim) to the maps (B, 4 * width, 14, 14)."""
        tokens: Tensor = self.feature_norm(features.float())
        tokens = tokens.permute(0, 1, 4, 2, 3).flatten(1, 2)
        tokens = self.feature_drop(self.feature_proj(tokens))
        if tokens.shape[-2:] != x.shape[-2:]:
            tokens = functional.interpolate(tokens, x.shape[-2:], mode="bilinear", align_corners=False)
        return x + tokens
