"""The segmentation head: frozen video features, the image, and labels carried by motion, in one small net.

Features say *what* is where on a 16-pixel grid; the image path draws the border between grid cells; the
carried label says where the structure was a moment ago. The last layer starts at zero, so that before any
training the head answers with the carried label.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

GRID_SIZE = 112
"""Edge of the grid on which the head answers; logits are interpolated from it to the cine's own pixels."""

IMAGE_CHANNELS = 3 * 4
"""What the head's first layer reads of the picture: three frames, four pixels of each to one of the grid."""

PRIOR_FLOOR = 0.02
"""Carried probabilities are kept off 0 and 1 by this much, so that the image can overrule them."""


@dataclass(frozen=True)
class HeadConfig:
    """Shape of a head: what it reads and which label values it draws."""

    classes: tuple[int, ...]
    encoder: str
    encoder_checksum: str
    feature_dim: int
    n_depths: int
    width: int = 16

    @property
    def n_outputs(self) -> int:
        """Background and the classes."""
        return 1 + len(self.classes)


def _block(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False),
        nn.GroupNorm(8, channels_out),
        nn.SiLU(inplace=True),
    )


def prior_logits(prior: Tensor) -> Tensor:
    """Log of carried probabilities (B, K, h, w), kept finite; a sum of zero (no prior) gives zeros."""
    has_prior = prior.sum(1, keepdim=True) > 0.5
    logits = torch.log(prior.clamp(PRIOR_FLOOR, 1 - PRIOR_FLOOR))
    return torch.where(has_prior, logits, torch.zeros_like(logits))


class Head(nn.Module):
    """Reads features, image and carried label of a frame and gives logits on a 112-pixel grid."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        w, k = config.width, config.n_outputs
        self.stem = _block(IMAGE_CHANNELS + k, w)
        self.down1 = nn.Sequential(_block(w, 2 * w, 2), _block(2 * w, 2 * w))
        self.down2 = nn.Sequential(_block(2 * w, 3 * w, 2), _block(3 * w, 3 * w))
        self.down3 = _block(3 * w, 4 * w, 2)
        self.feature_norm = nn.LayerNorm(config.feature_dim, elementwise_affine=False)
        self.feature_proj = nn.Conv2d(config.feature_dim * config.n_depths, 4 * w, 1)
        # Of a few frames, tokens are easily learnt by heart: most of them are hidden at every step.
        self.feature_drop = nn.Dropout2d(0.6)
        self.fuse = _block(8 * w, 4 * w)
        self.up2 = _block(7 * w, 3 * w)
        self.up1 = _block(5 * w, 2 * w)
        self.up0 = _block(3 * w, w)
        self.out = nn.Conv2d(w, k, 1)
        self.active: Tensor
        """(K,) bool: the outputs that somebody has drawn; the others are left out of every answer."""
        self.register_buffer("active", torch.ones(k, dtype=torch.bool))
        nn.init.zeros_(self.out.weight)
        self.out.bias = nn.Parameter(torch.zeros(k))

    def forward(self, image: Tensor, features: Tensor, prior: Tensor) -> Tensor:
        """Logits of background and classes.

        Parameters
        ----------
        image : (B, 3, 224, 224) float
            The frame between its neighbours in time, about zero mean and unit deviation.
        features : (B, depths, 14, 14, dim)
            Encoder tokens at the frame's time.
        prior : (B, K, 112, 112) float
            Carried probabilities of background and classes; all zero where there is none.

        Returns
        -------
        (B, K, 112, 112) float
        """
        carried = prior_logits(prior)
        x0 = self.stem(torch.cat([functional.pixel_unshuffle(image, 2), carried], 1))
        x1 = self.down1(x0)
        x2 = self.down2(x1)
        x3 = self.down3(x2)
        tokens = self.feature_norm(features.float())
        tokens = tokens.permute(0, 1, 4, 2, 3).flatten(1, 2)
        tokens = self.feature_drop(self.feature_proj(tokens))
        if tokens.shape[-2:] != x3.shape[-2:]:
            tokens = functional.interpolate(tokens, x3.shape[-2:], mode="bilinear", align_corners=False)
        x = self.fuse(torch.cat([x3, tokens], 1))
        x = self.up2(torch.cat([_twice(x), x2], 1))
        x = self.up1(torch.cat([_twice(x), x1], 1))
        x = self.up0(torch.cat([_twice(x), x0], 1))
        inactive = ~self.active[None, :, None, None]
        return (self.out(x) + carried).masked_fill(inactive, -30.0)


@torch.no_grad()
def for_other_classes(head: Head, classes: tuple[int, ...], *, seed: int = 0) -> Head:
    """A head for other classes that sees what `head` has learnt to see.

    What `head` learnt of its own classes stays behind: how it reads their carried labels, and its last layer.
    So the new one draws nothing but what is carried until it is fitted, as an untrained head does.

    Parameters
    ----------
    head : Head
    classes : tuple of int
        Label values of the new one.
    seed : int
        Of the weights that are new.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        new = Head(replace(head.config, classes=classes))
    weights = new.state_dict()
    for name, value in head.state_dict().items():
        if name == "stem.0.weight":
            weights[name][:, :IMAGE_CHANNELS] = value[:, :IMAGE_CHANNELS]
        elif name != "active" and not name.startswith("out."):
            weights[name].copy_(value)
    return new


def _twice(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class HeadFileError(ValueError):
    """The file is not a head of ours; the text says why."""


def save_head(head: Head, path: Path, more: Mapping[str, str] | None = None) -> None:
    """Write weights and configuration as safetensors, and `more` beside the configuration."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in head.state_dict().items()}
    metadata = {"format": "apical-head-1", "config": json.dumps(asdict(head.config))}
    save_file(tensors, str(path), metadata={**(more or {}), **metadata})


def load_head(path: Path) -> Head:
    """Read a head; raises `HeadFileError` where the file is damaged or something else."""
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != "apical-head-1":
                raise HeadFileError(f"{path.name} is not a head written by Apical")
            fields = json.loads(metadata["config"])
            fields["classes"] = tuple(fields["classes"])
            head = Head(HeadConfig(**fields))
            head.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise HeadFileError(f"{path.name} is damaged and cannot be read as a head") from error
    return head.eval()
