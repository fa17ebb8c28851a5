"""What the head learns from: a cine's frames, features, motion and the labels drawn on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vjepa_core.fewshot.head import GRID_SIZE, INPUT_SIZE
from vjepa_core.fewshot.motion import Motion
from vjepa_core.preprocessing import Letterbox

if TYPE_CHECKING:
    from vjepa_core.fewshot.features import CineFeatures

UNLABELLED = 255


@dataclass
class FrameLabel:
    """One annotated frame on the head's grid."""

    target: NDArray[np.float32]
    """(grid, grid, K) share of each pixel covered by background and each class."""
    weight: NDArray[np.float32]
    """(grid, grid) 0 where unlabelled."""
    drawn: NDArray[np.bool_]
    """(K,) which classes were outlined on this frame."""


def frame_label(label: NDArray[np.uint8], box: Letterbox, classes: tuple[int, ...]) -> FrameLabel:
    """Bring a label image (h, w) of the region to the head's grid, keeping partial coverage of pixels."""

    def shrink(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        boxed = box.apply((mask.astype(np.uint8) * 255)[None])[0]
        return (
            cv2.resize(boxed, (GRID_SIZE, GRID_SIZE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        )

    masks = [shrink(label == value) for value in classes]
    target = np.stack([np.clip(1.0 - sum(masks), 0.0, 1.0), *masks], axis=-1).astype(np.float32)
    weight = 1.0 - shrink(label == UNLABELLED)
    drawn = np.array([True, *[bool((label == value).any()) for value in classes]])
    return FrameLabel(target, weight, drawn)


@dataclass
class StudyCine:
    """One cine as the head sees it; labels may change, the rest does not."""

    cine_id: int
    box: Letterbox
    frames: NDArray[np.uint8]
    """(T, 224, 224) letterboxed."""
    features: CineFeatures
    motion: Motion
    labels: dict[int, FrameLabel] = field(default_factory=dict)
    _mean_std: tuple[float, float] | None = None

    @property
    def n_frames(self) -> int:
        return len(self.frames)

    def image(self, frames: list[int]) -> Tensor:
        """Previous, current and next frame as three channels, (B, 3, 224, 224), standardised over the cine."""
        if self._mean_std is None:
            sample = self.frames[:: max(1, self.n_frames // 16)]
            self._mean_std = (float(sample.mean()), max(1.0, float(sample.std())))
        last = self.n_frames - 1
        index = np.clip(np.array(frames)[:, None] + np.array([-1, 0, 1]), 0, last)
        mean, std = self._mean_std
        return (torch.from_numpy(self.frames[index]).float() - mean) / std

    def tokens(self, frames: list[int]) -> Tensor:
        """Encoder tokens at these frames, (B, depths, h, w, dim)."""
        return self.features.at_many(frames)

    def prior(self, frames: list[int], n_outputs: int, *, leave_out: bool = False) -> Tensor:
        """Carried label probabilities, (B, K, grid, grid); zeros where this cine has no usable label."""
        if not self.labels or (leave_out and len(self.labels) < 2):
            return torch.zeros(len(frames), n_outputs, GRID_SIZE, GRID_SIZE)
        labels = {f: label.target for f, label in self.labels.items()}
        carried = self.motion.carry(labels, frames, leave_out=leave_out)
        return torch.from_numpy(carried).permute(0, 3, 1, 2).contiguous()


__all__ = ["INPUT_SIZE", "FrameLabel", "StudyCine", "frame_label"]
