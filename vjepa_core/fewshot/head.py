"""Segmentation head on frozen video features, the image, and labels carried by motion.

A head has two small networks: the feature net uses the features and the image, the image net the image only.
On cines without labels, the mean of both is better than either, because their errors differ.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vjepa_core.fewshot.nets import IMAGE_CHANNELS, FeatureUNet, ImageUNet

GRID_SIZE = 112
"""Side of the grid of the logits, which are interpolated to the pixels of the cine."""

_WEIGHTS = (1 / 3, 2 / 3)
# Weights of the feature net and the image net. The image net generalises better from few labels: its input
# can be augmented to imitate other scanners, whereas features are cached.

_FORMATS = ("apical-head-1", "apical-head-2", "apical-head-3")  # the last one is written


@dataclass(frozen=True)
class HeadConfig:
    """Input sizes of a head and the label values that it predicts."""

    classes: tuple[int, ...]
    encoder: str
    encoder_checksum: str
    feature_dim: int
    n_depths: int
    width: int = 16

    @property
    def n_outputs(self) -> int:
        """Number of outputs: background and the classes."""
        return 1 + len(self.classes)


class Head(nn.Module):
    """Computes logits on a 112 x 112 grid from features, image and carried label of a frame.

    Attributes
    ----------
    active : Tensor
        Outputs for which there are labels, (K,) bool; the others are never predicted.
    heard : Tensor
        True for the feature net and the image net if it is in use, (2,) bool. The name is that of the stored
        buffer; use `in_use` and `active_nets`.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        k = config.n_outputs
        self.feature_net = FeatureUNet(
            config.width, k, feature_dim=config.feature_dim, n_depths=config.n_depths
        )
        self.picture_net = ImageUNet(config.width, k)
        self.active: Tensor
        self.heard: Tensor
        self.register_buffer("active", torch.ones(k, dtype=torch.bool))
        self.register_buffer("heard", torch.tensor([True, False]))

    @property
    def in_use(self) -> Tensor:
        """True for the feature net and the image net if it is in use, (2,) bool; may be changed in place."""
        return self.heard

    @property
    def image_net(self) -> ImageUNet:
        """The image net, stored as `picture_net`."""
        return self.picture_net

    @property
    def active_nets(self) -> list[nn.Module]:
        """Networks in use."""
        pairs = zip((self.feature_net, self.image_net), self.in_use.tolist(), strict=True)
        return [net for net, in_use in pairs if in_use]

    @property
    def net_weights(self) -> tuple[float, ...]:
        """Weight of each network in `active_nets`; they sum to 1."""
        return _WEIGHTS if all(self.in_use.tolist()) else (1.0,)

    def forward_nets(self, image: Tensor, features: Tensor, prior: Tensor) -> list[Tensor]:
        """Compute the logits of each network in use; parameters as in `forward`."""
        inactive = ~self.active[None, :, None, None]
        return [net(image, features, prior).masked_fill(inactive, -30.0) for net in self.active_nets]

    def forward(self, image: Tensor, features: Tensor, prior: Tensor) -> Tensor:
        """Compute logits of background and classes from the weighted mean probability of the networks.

        Parameters
        ----------
        image : Tensor
            The previous, this and the next frame, standardised, shape (B, 3, 224, 224).
        features : Tensor
            Encoder tokens at the time of the frame, shape (B, depths, 14, 14, dim).
        prior : Tensor
            Carried probabilities of background and classes, shape (B, K, 112, 112); all zero without carried
            labels.

        Returns
        -------
        Tensor
            Logits, shape (B, K, 112, 112).
        """
        logits = self.forward_nets(image, features, prior)
        if len(logits) == 1:
            return logits[0]
        pairs = zip(logits, self.net_weights, strict=True)
        return torch.stack([one.log_softmax(1) + math.log(weight) for one, weight in pairs]).logsumexp(0)


@torch.no_grad()
def with_new_classes(head: Head, classes: tuple[int, ...], *, seed: int = 0) -> Head:
    """Create a head for other classes with the class-independent weights of `head`.

    The weights for the carried labels and the output layers are new. Until it is fitted, the new head
    therefore predicts the carried labels only, like an untrained head.

    Parameters
    ----------
    head : Head
        Source of the weights.
    classes : tuple of int
        Label values of the new head.
    seed : int
        Seed of the new weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        new = Head(replace(head.config, classes=classes))
    weights = new.state_dict()
    for name, value in head.state_dict().items():
        if name.endswith("_net.stem.0.weight"):
            weights[name][:, :IMAGE_CHANNELS] = value[:, :IMAGE_CHANNELS]
        elif name != "active" and "_net.out." not in name:
            weights[name].copy_(value)
    return new


class HeadFileError(ValueError):
    """The file is not a valid head; the message gives the reason."""


def save_head(head: Head, path: Path, more: Mapping[str, str] | None = None) -> None:
    """Write weights and configuration as safetensors, with `more` as additional metadata."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in head.state_dict().items()}
    metadata = {"format": _FORMATS[-1], "config": json.dumps(asdict(head.config))}
    save_file(tensors, str(path), metadata={**(more or {}), **metadata})


def load_head(path: Path) -> Head:
    """Read a head.

    Raises
    ------
    HeadFileError
        If the file is damaged, not a head, or from an older version of the program.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") in _FORMATS[:-1]:
                raise HeadFileError(f"{path.name} was written by an older version of Apical: fit it again")
            if metadata.get("format") != _FORMATS[-1]:
                raise HeadFileError(f"{path.name} is not a head written by Apical")
            fields = json.loads(metadata["config"])
            fields["classes"] = tuple(fields["classes"])
            head = Head(HeadConfig(**fields))
            head.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise HeadFileError(f"{path.name} is damaged and cannot be read as a head") from error
    return head.eval()
