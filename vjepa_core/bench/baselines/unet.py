"""U-Net trained from scratch with strong augmentation, the common choice for few labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vjepa_core.bench.baselines.base import Stopwatch, count_outputs, labels_from_probabilities, resize_images
from vjepa_core.bench.baselines.strong_augmentation import augment, standardise
from vjepa_core.bench.camus import BenchError
from vjepa_core.encoder.precision import inference_device
from vjepa_core.errors import Cancelled
from vjepa_core.label_image import UNLABELLED

BATCH = 8
LEARNING_RATE = 2e-3
_WARM_STEPS = 5
_PREDICT_BATCH = 32


def converged_steps(stills: int) -> int:
    """Return the number of steps until convergence: 2,100 for four images, 9,500 for 1,600."""
    steps: int = round(1500 * stills**0.25)
    return steps


@dataclass(frozen=True)
class UNet:
    """MONAI's BasicUNet at 112 pixels: batches of 8, Dice and cross-entropy loss, AdamW, cosine schedule.

    The schedule ends with the fit: at its number of steps or its budget, whichever comes first.

    Attributes
    ----------
    name : str
        Name for the rows.
    steps : int, optional
        Number of steps; default: `converged_steps` of the number of images.
    channels : tuple of int
        Channels of the six stages.
    """

    name: str = "U-Net"
    steps: int | None = None
    channels: tuple[int, ...] = (16, 32, 64, 128, 256, 16)

    def fit(
        self,
        images: NDArray[np.uint8],
        masks: NDArray[np.uint8],
        *,
        seed: int,
        budget_s: float | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> UNetModel:
        """Train from scratch; see `vjepa_core.bench.baselines.base.Baseline`."""
        build = _basic_unet()
        device, n_outputs = inference_device(), count_outputs(masks)
        total = self.steps or converged_steps(len(images))
        watch = Stopwatch(budget_s)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net: nn.Module = build(2, 1, n_outputs, self.channels, dropout=0.1).to(device)
            inputs = torch.from_numpy(resize_images(images)).to(device)[:, None].float() / 255
            targets = torch.from_numpy(resize_images(masks, labels=True)).to(device).long()
            generator = torch.Generator().manual_seed(seed)
            adam = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
            order, step = Tensor(), 0
            while step < total and (not step or watch.share < 1):
                if should_stop():
                    raise Cancelled
                rate = LEARNING_RATE * _rate_factor(step, max(step / total, watch.share))
                for group in adam.param_groups:
                    group["lr"] = rate
                if len(order) < BATCH:  # each image once per epoch
                    rounds = [torch.randperm(len(images), generator=generator) for _ in range(BATCH)]
                    order = torch.cat((order.long(), *rounds))
                rows, order = order[:BATCH], order[BATCH:]
                x, y = augment(inputs[rows], targets[rows], generator)
                loss = dice_and_cross_entropy(net(x), y)
                adam.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                adam.step()
                step += 1
        ended = "all steps" if step >= total else "stopped by time"
        return UNetModel(net.eval(), step, watch.seconds, f"{ended}, {_size(net)} weights")


def _rate_factor(step: int, progress: float) -> float:
    warm = min(1.0, (1 + step) / _WARM_STEPS)
    return warm * (0.01 + 0.99 * (1 + math.cos(math.pi * min(1.0, progress))) / 2)


@dataclass
class UNetModel:
    """Fitted U-Net."""

    net: nn.Module
    steps: int
    seconds: float
    note: str

    @torch.inference_mode()
    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Predict label images (N, H, W)."""
        device, drawn = next(self.net.parameters()).device, []
        for start in range(0, len(images), _PREDICT_BATCH):
            part = torch.from_numpy(resize_images(images[start : start + _PREDICT_BATCH])).to(device)
            maps = self.net(standardise(part[:, None].float() / 255)).softmax(1).cpu().numpy()
            drawn += [labels_from_probabilities(one, images.shape[1:]) for one in maps]
        return np.stack(drawn)


def dice_and_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute the sum of cross-entropy and soft Dice loss; Dice is computed over the batch.

    Parameters
    ----------
    logits : Tensor
        Shape (B, K, h, w).
    labels : Tensor
        Shape (B, h, w), int64; unlabelled pixels are ignored.
    """
    known = labels != UNLABELLED
    entropy = functional.cross_entropy(logits, labels, ignore_index=UNLABELLED, reduction="sum")
    truth = functional.one_hot(labels.where(known, 0), logits.shape[1]).movedim(-1, 1) * known[:, None]
    drawn = logits.softmax(1) * known[:, None]
    overlap, total = (drawn * truth).sum((0, 2, 3))[1:], (drawn + truth).sum((0, 2, 3))[1:]
    dice = (2 * overlap + 1) / (total + 1)
    return entropy / known.sum().clamp_min(1) + 1 - dice.mean()


def _size(net: nn.Module) -> str:
    return f"{sum(weight.numel() for weight in net.parameters()) / 1e6:.1f} M"


def _basic_unet() -> Any:
    try:
        from monai.networks.nets.basic_unet import BasicUNet
    except ImportError as error:
        raise BenchError(
            "The U-Net needs MONAI, which is not installed: pip install 'apical[bench]', "
            "or choose other rows."
        ) from error
    return BasicUNet
