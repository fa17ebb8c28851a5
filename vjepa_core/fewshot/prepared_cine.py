"""Input of the segmentation head: frames, features, motion and labels of a cine."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vjepa_core.fewshot.head import GRID_SIZE
from vjepa_core.fewshot.motion import Motion
from vjepa_core.fewshot.sector import find_sector, sector_on_region
from vjepa_core.label_image import UNLABELLED
from vjepa_core.letterbox import Letterbox

if TYPE_CHECKING:
    from vjepa_core.fewshot.features import CineFeatures

MAX_OUTSIDE = 0.25
"""The detected sector is rejected if more than this fraction of the outlined pixels lies outside it.

Experts continue walls slightly beyond the sector: at most 11 % of the pixels in CAMUS training images.
"""

_MAX_CARRIED_FRAMES = 200  # 40 MB with three structures


@dataclass
class FrameLabel:
    """Label of one annotated frame on the head's grid.

    Attributes
    ----------
    target : array
        (grid, grid, K) float32, share of each pixel covered by background and each class.
    weight : array
        (grid, grid) float32, 0 where unlabelled.
    stated : array
        (K,) bool, the classes for which this frame is annotated: outlined, or stated to be absent.
    """

    target: NDArray[np.float32]
    weight: NDArray[np.float32]
    stated: NDArray[np.bool_]

    @cached_property
    def outlined(self) -> NDArray[np.bool_]:
        """(K,) bool, background and the classes outlined on this frame."""
        present = np.asarray(self.target.any((0, 1)))
        present[0] = True
        return np.asarray(self.stated & present)


def frame_label(
    label: NDArray[np.uint8],
    box: Letterbox,
    classes: tuple[int, ...],
    stated: Collection[int] | None = None,
) -> FrameLabel:
    """Resample a label image to the head's grid, keeping the partial coverage of pixels.

    Parameters
    ----------
    label : array
        (h, w) uint8 over the region: 0 background, 255 unlabelled.
    box : Letterbox
        Letterbox of the region.
    classes : tuple of int
        Label values of the head's outputs after background.
    stated : collection of int, optional
        Label values for which the frame is annotated. Default: those that occur in the image, or all
        classes if the image contains only 0.

    Returns
    -------
    FrameLabel
    """

    def shrink(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        boxed = box.apply((mask.astype(np.uint8) * 255)[None])[0]
        return (
            cv2.resize(boxed, (GRID_SIZE, GRID_SIZE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        )

    weight = 1.0 - shrink(label == UNLABELLED)
    # The labelled part of a partly labelled pixel determines its class.
    masks = [shrink(label == value) / np.maximum(weight, 1e-3) for value in classes]
    target = (
        np.stack([np.clip(1.0 - sum(masks), 0.0, 1.0), *masks], axis=-1).clip(0.0, 1.0).astype(np.float32)
    )
    values = np.unique(label) if stated is None else list(stated)
    is_stated = np.isin(classes, values) | (stated is None and not label.any())
    return FrameLabel(target, weight, np.array([True, *is_stated]))


@dataclass
class PreparedCine:
    """One cine as input of a head. Only features and labels may change.

    Attributes
    ----------
    cine_id : int
        Identifier chosen by the caller.
    box : Letterbox
        Letterbox of the region.
    frames : array
        (T, 224, 224) uint8, letterboxed.
    features : CineFeatures or None
        None until they are computed.
    motion : Motion
        Optical flow along which labels are carried.
    labels : dict
        Label of each annotated frame.
    """

    cine_id: int
    box: Letterbox
    frames: NDArray[np.uint8]
    features: CineFeatures | None
    motion: Motion
    labels: dict[int, FrameLabel] = field(default_factory=dict)
    _mean_std: tuple[float, float] | None = None
    _sector: NDArray[np.bool_] | None = None
    _inside: NDArray[np.bool_] | None = None
    _carried_labels: dict[int, FrameLabel] = field(default_factory=dict)  # the labels `_carried` belongs to
    _carried: dict[tuple[int, bool], NDArray[np.float32]] = field(default_factory=dict)

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.frames)

    def image(self, frames: Sequence[int]) -> Tensor:
        """Return the previous, current and next frame as channels, standardised over the cine.

        Returns
        -------
        (B, 3, 224, 224) float
        """
        if self._mean_std is None:
            sample = self.frames[:: max(1, self.n_frames // 16)]
            self._mean_std = (float(sample.mean()), max(1.0, float(sample.std())))
        last = self.n_frames - 1
        index = np.clip(np.array(frames)[:, None] + np.array([-1, 0, 1]), 0, last)
        mean, std = self._mean_std
        return (torch.from_numpy(self.frames[index]).float() - mean) / std

    @property
    def sector(self) -> NDArray[np.bool_]:
        """Ultrasound sector in the letterboxed frame, (224, 224) bool."""
        if self._sector is None:
            self._sector = find_sector(self.frames, self.box)
        return self._sector

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Pixels of the region that predicted structures may cover, (height, width) bool.

        These are the ultrasound sector, or the whole region if the outlines of this cine contradict it.
        """
        if self._inside is None:
            self._inside = sector_on_region(self.sector, self.box)
        if _contradicted(self.sector, self.labels.values()):
            return np.ones_like(self._inside)
        return self._inside

    def tokens(self, frames: Sequence[int]) -> Tensor:
        """Return the encoder tokens at these frames, (B, depths, h, w, dim)."""
        return self.computed_features.at_many(frames)

    @property
    def computed_features(self) -> CineFeatures:
        """The features; raises ValueError before they are computed."""
        if self.features is None:
            raise ValueError("the features of this cine have not been computed")
        return self.features

    @property
    def outlined_classes(self) -> Tensor:
        """(K,) bool, background and the classes outlined on any frame; the cine must have a label."""
        return torch.from_numpy(np.any([label.outlined for label in self.labels.values()], axis=0))

    def prior(self, frames: Sequence[int], n_outputs: int, *, leave_out: bool = False) -> Tensor:
        """Return label probabilities carried along the motion; zero where no label is available.

        Each structure is carried from the nearest frames that are annotated for it. A frame with outlines of
        other structures only does not imply that it is absent.

        Parameters
        ----------
        frames : sequence of int
        n_outputs : int
            Number of outputs K, background included.
        leave_out : bool
            Ignore the label of the frame itself.

        Returns
        -------
        (B, K, grid, grid) float
        """
        out = np.zeros((len(frames), GRID_SIZE, GRID_SIZE, n_outputs), np.float32)
        for row, frame in zip(out, frames, strict=True):
            left_out = leave_out and frame in self.labels
            if len(self.labels) > left_out:
                row[:] = self._cached_carried(frame, left_out=left_out)
        return torch.from_numpy(out).permute(0, 3, 1, 2).contiguous()

    def there_and_back(self, prior: Tensor, frame: int, turn: int) -> Tensor:
        """Carry a prior (1, K, grid, grid) of `frame` to frame `turn` and back, including flow errors."""
        maps = np.ascontiguousarray(prior[0].permute(1, 2, 0).numpy())
        carried = self.motion.there_and_back(maps, frame, turn)
        return torch.from_numpy(carried).permute(2, 0, 1)[None].contiguous()

    def _cached_carried(self, frame: int, *, left_out: bool) -> NDArray[np.float32]:
        """Return carried labels of a frame, cached because a fit needs the same frames repeatedly."""
        labels, previous = self.labels, self._carried_labels
        if labels.keys() != previous.keys() or any(labels[f] is not previous[f] for f in labels):
            self._carried_labels, self._carried = dict(labels), {}
        key = frame, left_out
        if key not in self._carried:
            if len(self._carried) >= _MAX_CARRIED_FRAMES:
                self._carried.clear()
            used = {f: label for f, label in labels.items() if not (left_out and f == frame)}
            self._carried[key] = self._carry(used, frame)
        return self._carried[key]

    def free_carried(self) -> None:
        """Free the memory of carried labels; they are computed again when needed."""
        self._carried = {}

    def _carry(self, labels: dict[int, FrameLabel], frame: int) -> NDArray[np.float32]:
        structures = {f: label.target[..., 1:] for f, label in labels.items()}
        weights = {f: label.weight[..., None] * label.stated[1:] for f, label in labels.items()}
        carried = self.motion.carry(structures, weights, frame)
        is_unknown = np.isnan(carried).all(-1, keepdims=True)
        carried = np.nan_to_num(carried)
        total = carried.sum(-1, keepdims=True)
        carried = carried / np.maximum(total, 1.0)
        both = np.concatenate([np.maximum(1.0 - total, 0.0), carried], axis=-1)
        return np.where(is_unknown, np.float32(0), both).astype(np.float32)


def _contradicted(sector: NDArray[np.bool_], labels: Iterable[FrameLabel]) -> bool:
    """Return True if a large part of the outlined area lies outside the sector."""
    outside = cv2.resize((~sector).astype(np.float32), (GRID_SIZE, GRID_SIZE), interpolation=cv2.INTER_AREA)
    outlined = [label.target[..., 1:].sum(-1) * label.weight for label in labels]
    total = sum(float(one.sum()) for one in outlined)
    return sum(float((one * outside).sum()) for one in outlined) > MAX_OUTSIDE * total > 0
