"""The segmentation head: frozen video features, the picture, and labels carried by motion.

Two small nets answer: one reads the features, the other the picture alone. Where cines that nobody has
outlined are to be drawn, a mean of both is better than either: they err in different places.
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

from vjepa_core.fewshot.nets import PICTURE_CHANNELS, FeatureNet, PictureNet

GRID_SIZE = 112
"""Edge of the grid on which the head answers; logits are interpolated from it to the cine's own pixels."""

_SHARES = (1 / 3, 2 / 3)
# Of the net that reads features and of the other in an answer of both. From few labels the net of the picture
# learns more: its pictures can be varied as if from another scanner, stored features cannot.

_FORMATS = ("apical-head-1", "apical-head-2", "apical-head-3")  # the last is written


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


class Head(nn.Module):
    """Reads features, picture and carried label of a frame and gives logits on a 112-pixel grid.

    Attributes
    ----------
    active : Tensor
        (K,) bool: the outputs that somebody has drawn; the others are left out of every answer.
    heard : Tensor
        (2,) bool: whether the net that reads features has a say, and the one that reads the picture alone.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        k = config.n_outputs
        self.feature_net = FeatureNet(
            config.width, k, feature_dim=config.feature_dim, n_depths=config.n_depths
        )
        self.picture_net = PictureNet(config.width, k)
        self.active: Tensor
        self.heard: Tensor
        self.register_buffer("active", torch.ones(k, dtype=torch.bool))
        self.register_buffer("heard", torch.tensor([True, False]))

    @property
    def nets(self) -> list[nn.Module]:
        """Those that have a say."""
        pairs = zip((self.feature_net, self.picture_net), self.heard.tolist(), strict=True)
        return [net for net, heard in pairs if heard]

    @property
    def shares(self) -> tuple[float, ...]:
        """What each of `nets` counts for in an answer of all; they sum to 1."""
        return _SHARES if all(self.heard.tolist()) else (1.0,)

    def answers(self, image: Tensor, features: Tensor, prior: Tensor) -> list[Tensor]:
        """Logits of each net that has a say; shapes as for `forward`."""
        inactive = ~self.active[None, :, None, None]
        return [net(image, features, prior).masked_fill(inactive, -30.0) for net in self.nets]

    def forward(self, image: Tensor, features: Tensor, prior: Tensor) -> Tensor:
        """Logits of background and classes; of two nets, those of a weighted mean of their probabilities.

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
        answers = self.answers(image, features, prior)
        if len(answers) == 1:
            return answers[0]
        pairs = zip(answers, self.shares, strict=True)
        return torch.stack([one.log_softmax(1) + math.log(share) for one, share in pairs]).logsumexp(0)


@torch.no_grad()
def for_other_classes(head: Head, classes: tuple[int, ...], *, seed: int = 0) -> Head:
    """A head for other classes that sees what `head` has learnt to see.

    What `head` learnt of its own classes stays behind: how it reads their carried labels, its last layers.
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
        if name.endswith("_net.stem.0.weight"):
            weights[name][:, :PICTURE_CHANNELS] = value[:, :PICTURE_CHANNELS]
        elif name != "active" and "_net.out." not in name:
            weights[name].copy_(value)
    return new


class HeadFileError(ValueError):
    """The file is not a head of ours; the text says why."""


class OlderHeadError(HeadFileError):
    """A head of an older version of the program, whose weights have no place in the head of today."""


def save_head(head: Head, path: Path, more: Mapping[str, str] | None = None) -> None:
    """Write weights and configuration as safetensors, and `more` beside the configuration."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in head.state_dict().items()}
    metadata = {"format": _FORMATS[-1], "config": json.dumps(asdict(head.config))}
    save_file(tensors, str(path), metadata={**(more or {}), **metadata})


def load_head(path: Path) -> Head:
    """Read a head; raises `HeadFileError` where the file is damaged, something else, or too old."""
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") in _FORMATS[:-1]:
                raise OlderHeadError(f"{path.name} was written by an older version of Apical; fit it again")
            if metadata.get("format") != _FORMATS[-1]:
                raise HeadFileError(f"{path.name} is not a head written by Apical")
            fields = json.loads(metadata["config"])
            fields["classes"] = tuple(fields["classes"])
            head = Head(HeadConfig(**fields))
            head.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise HeadFileError(f"{path.name} is damaged and cannot be read as a head") from error
    return head.eval()
