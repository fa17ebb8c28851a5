"""Completion of scribbled frames: estimated labels of low weight for unlabelled pixels.

Without a target around a scribble, a head would predict arbitrary shapes there.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vjepa_core.fewshot.fit import predict
from vjepa_core.fewshot.head import GRID_SIZE, Head
from vjepa_core.fewshot.prepared_cine import FrameLabel, PreparedCine
from vjepa_core.letterbox import Letterbox

ESTIMATE_WEIGHT = 0.3
"""Weight of an estimated pixel relative to a labelled one."""

_BLUR_PX = 1.5  # grid pixels; the borders of the estimate are uncertain


def is_open(label: FrameLabel) -> bool:
    """Return True if some pixels have neither a label nor an estimate."""
    return float(label.weight.min()) < ESTIMATE_WEIGHT


def complete_labels(cine: PreparedCine, draft_head: Head | None = None) -> dict[int, FrameLabel]:
    """Return the labels of a cine with estimates of low weight for unlabelled pixels.

    The estimate is the prediction of `draft_head`. Without it, the labels are grown until they meet
    (watershed on grey levels). Structures that were not outlined on a frame are not estimated there.

    Parameters
    ----------
    cine : PreparedCine
        Its labels are not changed.
    draft_head : Head, optional
        A head that predicts these classes and applies to this cine, such as the starter head.

    Returns
    -------
    dict
        Labels by frame. Complete labels are returned unchanged, and also labels with a single class, which
        would grow over the whole frame.
    """
    return {
        frame: _complete(cine, frame, label, draft_head) if is_open(label) else label
        for frame, label in cine.labels.items()
    }


def _complete(cine: PreparedCine, frame: int, label: FrameLabel, draft_head: Head | None) -> FrameLabel:
    if draft_head is not None:
        estimate = _predict(cine, frame, draft_head)
    elif len(np.unique((seeds := _seeds(label))[_inside(cine.box)])) > 2:  # unlabelled, and two classes
        estimate = _grow(cine.frames[frame], seeds, len(label.stated))
    else:
        return label
    estimate[..., 0] += estimate[..., ~label.stated].sum(-1)
    estimate[..., ~label.stated] = 0
    weight = label.weight[..., None]
    target = (weight * label.target + (1 - weight) * estimate).astype(np.float32)
    return replace(label, target=target, weight=np.maximum(label.weight, np.float32(ESTIMATE_WEIGHT)))


def _predict(cine: PreparedCine, frame: int, head: Head) -> NDArray[np.float32]:
    """Predict a frame without its labels, (grid, grid, K)."""
    maps = predict(head, replace(cine, labels={}), [frame])[0]
    return np.asarray(maps.permute(1, 2, 0).contiguous().numpy(), np.float32)


def _seeds(label: FrameLabel) -> NDArray[np.int32]:
    """Return the class plus 1, or 0 where unlabelled, (grid, grid)."""
    return np.where(label.weight > 0.5, 1 + label.target.argmax(-1), 0).astype(np.int32)


def _inside(box: Letterbox) -> tuple[slice, slice]:
    """Return the rows and columns of the grid between the bars of the letterbox."""
    step = box.size // GRID_SIZE
    rows, columns = (slice(-(-part.start // step), part.stop // step) for part in box.inner)
    return rows, columns


def _grow(image: NDArray[np.uint8], seeds: NDArray[np.int32], n_outputs: int) -> NDArray[np.float32]:
    """Grow labels over a letterboxed frame and blur them, (grid, grid, K)."""
    small = cv2.resize(image, (GRID_SIZE, GRID_SIZE), interpolation=cv2.INTER_AREA)
    smooth = cv2.cvtColor(cv2.GaussianBlur(small, (0, 0), 1.0), cv2.COLOR_GRAY2BGR)
    basins = cv2.watershed(smooth, seeds) - 1
    # The line between two basins belongs to neither.
    shares = np.stack([basins == value for value in range(n_outputs)], -1).astype(np.float32)
    blurred = np.asarray(cv2.GaussianBlur(shares, (0, 0), _BLUR_PX), np.float32)
    return np.asarray(blurred / np.maximum(blurred.sum(-1, keepdims=True), 1e-6), np.float32)
