"""What the head learns from: a cine's frames, features, motion and the labels drawn on it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vjepa_core.fewshot.head import GRID_SIZE
from vjepa_core.fewshot.motion import Motion
from vjepa_core.fewshot.sector import find_sector, on_region
from vjepa_core.label_image import UNLABELLED
from vjepa_core.preprocessing import Letterbox

if TYPE_CHECKING:
    from vjepa_core.fewshot.features import CineFeatures

MOST_OUTSIDE = 0.25
"""Share of outlined pixels outside the sector from which on the sector is not believed.

Experts continue walls a little way beyond the fan: on CAMUS's training stills by 11 % of the pixels at most.
"""

_MOST_CARRIED = 200  # frames; 40 MB with three structures


@dataclass
class FrameLabel:
    """One annotated frame on the head's grid."""

    target: NDArray[np.float32]
    """(grid, grid, K) share of each pixel covered by background and each class."""
    weight: NDArray[np.float32]
    """(grid, grid) 0 where unlabelled."""
    drawn: NDArray[np.bool_]
    """(K,) which classes this frame says something about: outlined on it, or stated to be absent."""

    @property
    def outlined(self) -> NDArray[np.bool_]:
        """(K,) background, and which classes were outlined on this frame."""
        present = np.asarray(self.target.any((0, 1)))
        present[0] = True
        return np.asarray(self.drawn & present)


def frame_label(
    label: NDArray[np.uint8],
    box: Letterbox,
    classes: tuple[int, ...],
    stated: Collection[int] | None = None,
) -> FrameLabel:
    """Bring a label image to the head's grid, keeping partial coverage of pixels.

    Parameters
    ----------
    label : array
        (h, w) uint8 over the region: 0 background, 255 unlabelled.
    box : Letterbox
        Of the region.
    classes : tuple of int
        Label values of the head's outputs after background.
    stated : collection of int, optional
        Classes about which the label image says where they are, or that they are absent; default those that
        have a pixel, or all where the image is 0 throughout.
    """

    def shrink(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        boxed = box.apply((mask.astype(np.uint8) * 255)[None])[0]
        return (
            cv2.resize(boxed, (GRID_SIZE, GRID_SIZE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        )

    weight = 1.0 - shrink(label == UNLABELLED)
    # Of a pixel that is unlabelled in part, the labelled part says what it is.
    masks = [shrink(label == value) / np.maximum(weight, 1e-3) for value in classes]
    target = (
        np.stack([np.clip(1.0 - sum(masks), 0.0, 1.0), *masks], axis=-1).clip(0.0, 1.0).astype(np.float32)
    )
    said = np.unique(label) if stated is None else list(stated)
    drawn = np.isin(classes, said) | (stated is None and not label.any())
    return FrameLabel(target, weight, np.array([True, *drawn]))


@dataclass
class StudyCine:
    """One cine as the head sees it; labels may change, the rest does not."""

    cine_id: int
    box: Letterbox
    frames: NDArray[np.uint8]
    """(T, 224, 224) letterboxed."""
    features: CineFeatures | None
    motion: Motion
    labels: dict[int, FrameLabel] = field(default_factory=dict)
    _mean_std: tuple[float, float] | None = None
    _sector: NDArray[np.bool_] | None = None
    _inside: NDArray[np.bool_] | None = None
    _carried_of: dict[int, FrameLabel] = field(default_factory=dict)  # the labels that these were carried of
    _carried_to: dict[tuple[int, bool], NDArray[np.float32]] = field(default_factory=dict)

    @property
    def n_frames(self) -> int:
        return len(self.frames)

    def image(self, frames: Sequence[int]) -> Tensor:
        """Previous, current and next frame as channels, (B, 3, 224, 224), standardised over the cine."""
        if self._mean_std is None:
            sample = self.frames[:: max(1, self.n_frames // 16)]
            self._mean_std = (float(sample.mean()), max(1.0, float(sample.std())))
        last = self.n_frames - 1
        index = np.clip(np.array(frames)[:, None] + np.array([-1, 0, 1]), 0, last)
        mean, std = self._mean_std
        return (torch.from_numpy(self.frames[index]).float() - mean) / std

    @property
    def sector(self) -> NDArray[np.bool_]:
        """(224, 224) where the ultrasound picture lies; found once."""
        if self._sector is None:
            self._sector = find_sector(self.frames, self.box)
        return self._sector

    @property
    def inside(self) -> NDArray[np.bool_]:
        """(height, width) of the region: where predicted labels may lie.

        The whole region where outlines of this cine contradict the sector that was found.
        """
        if self._inside is None:
            self._inside = on_region(self.sector, self.box)
        if _contradicted(self.sector, self.labels.values()):
            return np.ones_like(self._inside)
        return self._inside

    def tokens(self, frames: Sequence[int]) -> Tensor:
        """Encoder tokens at these frames, (B, depths, h, w, dim)."""
        if self.features is None:
            raise ValueError("the features of this cine are not there yet")
        return self.features.at_many(frames)

    @property
    def drawn(self) -> Tensor:
        """(K,) bool: background, and the classes outlined on any frame of this cine, which must have one."""
        return torch.from_numpy(np.any([label.outlined for label in self.labels.values()], axis=0))

    def prior(self, frames: Sequence[int], n_outputs: int, *, leave_out: bool = False) -> Tensor:
        """Carried label probabilities, (B, K, grid, grid); zeros where no label of this cine says anything.

        Each structure is carried from the nearest frames on which it was outlined or that were annotated as
        empty: another frame without it does not say that it is not there.

        Parameters
        ----------
        frames : sequence of int
        n_outputs : int
            K, background included.
        leave_out : bool
            Leave out each frame's own label, as if it had not been drawn.
        """
        out = np.zeros((len(frames), GRID_SIZE, GRID_SIZE, n_outputs), np.float32)
        for row, frame in zip(out, frames, strict=True):
            left_out = leave_out and frame in self.labels
            if len(self.labels) > left_out:
                row[:] = self._carried_once(frame, left_out=left_out)
        return torch.from_numpy(out).permute(0, 3, 1, 2).contiguous()

    def there_and_back(self, prior: Tensor, frame: int, turn: int) -> Tensor:
        """Carry a prior (1, K, grid, grid) of `frame` to frame `turn` and back: it then errs as flow does."""
        maps = np.ascontiguousarray(prior[0].permute(1, 2, 0).numpy())
        carried = self.motion.there_and_back(maps, frame, turn)
        return torch.from_numpy(carried).permute(2, 0, 1)[None].contiguous()

    def _carried_once(self, frame: int, *, left_out: bool) -> NDArray[np.float32]:
        """Fits ask for the same frames again and again: what was carried is kept until labels change."""
        now, then = self.labels, self._carried_of
        if now.keys() != then.keys() or any(now[f] is not then[f] for f in now):
            self._carried_of, self._carried_to = dict(now), {}
        key = frame, left_out
        if key not in self._carried_to:
            if len(self._carried_to) >= _MOST_CARRIED:
                self._carried_to.clear()
            labels = {f: label for f, label in now.items() if not (left_out and f == frame)}
            self._carried_to[key] = self._carried(labels, frame)
        return self._carried_to[key]

    def forget_carried(self) -> None:
        """Give the memory of carried labels back; they are carried anew when asked for."""
        self._carried_to = {}

    def _carried(self, labels: dict[int, FrameLabel], frame: int) -> NDArray[np.float32]:
        structures = {f: label.target[..., 1:] for f, label in labels.items()}
        known = {f: label.weight[..., None] * label.drawn[1:] for f, label in labels.items()}
        carried = self.motion.carry(structures, known, frame)
        nothing_known = np.isnan(carried).all(-1, keepdims=True)
        carried = np.nan_to_num(carried)
        total = carried.sum(-1, keepdims=True)
        carried = carried / np.maximum(total, 1.0)
        both = np.concatenate([np.maximum(1.0 - total, 0.0), carried], axis=-1)
        return np.where(nothing_known, np.float32(0), both).astype(np.float32)


def _contradicted(sector: NDArray[np.bool_], labels: Iterable[FrameLabel]) -> bool:
    """Whether much of what was outlined lies outside the sector."""
    outside = cv2.resize((~sector).astype(np.float32), (GRID_SIZE, GRID_SIZE), interpolation=cv2.INTER_AREA)
    drawn = [label.target[..., 1:].sum(-1) * label.weight for label in labels]
    total = sum(float(one.sum()) for one in drawn)
    return sum(float((one * outside).sum()) for one in drawn) > MOST_OUTSIDE * total > 0
