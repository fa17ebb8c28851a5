"""Frames of which only some pixels were labelled: what the rest may be, said softly.

A head that is told nothing of a scribble's surroundings may draw anything there, and does. So the rest
carries a guess, of little weight.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vjepa_core.fewshot.fit import predict
from vjepa_core.fewshot.head import GRID_SIZE, Head
from vjepa_core.fewshot.prepared_cine import FrameLabel, PreparedCine
from vjepa_core.preprocessing import Letterbox

GUESS_WEIGHT = 0.3
"""Of a guessed pixel against one that somebody labelled."""

_SOFT_PX = 1.5  # of the grid: borders of a guess are not where they seem


def is_open(label: FrameLabel) -> bool:
    """Whether some pixels carry neither a label nor a guess."""
    return float(label.weight.min()) < GUESS_WEIGHT


def completed(cine: PreparedCine, teacher: Head | None = None) -> dict[int, FrameLabel]:
    """Labels of a cine in which pixels that nobody labelled carry a guess of little weight.

    The guess is the teacher's answer where there is a teacher, else the labels grown along the grey levels of
    the frame until they meet (watershed). Structures that were not drawn on a frame are not guessed there:
    they stay what they are, not outlined. On a phantom with 8 % of the pixels of two frames scribbled the
    Dice of the rest of the cine is .49 without guesses, .92 with those of the draft's head; without a head
    .15 and .85.

    Parameters
    ----------
    cine : PreparedCine
        Its labels are left alone.
    teacher : Head, optional
        One that draws these classes in this cine, such as the starter's where that applies.

    Returns
    -------
    dict
        By frame; a label that says, or guesses, something of every pixel is the same object, and so is one
        that names a single thing only, which would be grown over everything.
    """
    return {
        frame: _completed(cine, frame, label, teacher) if is_open(label) else label
        for frame, label in cine.labels.items()
    }


def _completed(cine: PreparedCine, frame: int, label: FrameLabel, teacher: Head | None) -> FrameLabel:
    if teacher is not None:
        guess = _drawn(cine, frame, teacher)
    elif len(np.unique((seeds := _seeds(label))[_inside(cine.box)])) > 2:  # nothing, and two things
        guess = _grown(cine.frames[frame], seeds, len(label.stated))
    else:
        return label
    guess[..., 0] += guess[..., ~label.stated].sum(-1)
    guess[..., ~label.stated] = 0
    known = label.weight[..., None]
    target = (known * label.target + (1 - known) * guess).astype(np.float32)
    return replace(label, target=target, weight=np.maximum(label.weight, np.float32(GUESS_WEIGHT)))


def _drawn(cine: PreparedCine, frame: int, teacher: Head) -> NDArray[np.float32]:
    """The teacher's answer (grid, grid, K); it is not shown the labels."""
    answer = predict(teacher, replace(cine, labels={}), [frame])[0]
    return np.asarray(answer.permute(1, 2, 0).contiguous().numpy(), np.float32)


def _seeds(label: FrameLabel) -> NDArray[np.int32]:
    """0 where nobody said what is there, else one more than the label (grid, grid)."""
    return np.where(label.weight > 0.5, 1 + label.target.argmax(-1), 0).astype(np.int32)


def _inside(box: Letterbox) -> tuple[slice, slice]:
    """Where the picture lies on the grid: the bars are background that nobody said."""
    step = box.size // GRID_SIZE
    rows, columns = (slice(-(-part.start // step), part.stop // step) for part in box.inner)
    return rows, columns


def _grown(picture: NDArray[np.uint8], seeds: NDArray[np.int32], n_outputs: int) -> NDArray[np.float32]:
    """Labels (grid, grid, K) grown over a letterboxed frame, softened."""
    small = cv2.resize(picture, (GRID_SIZE, GRID_SIZE), interpolation=cv2.INTER_AREA)
    smooth = cv2.cvtColor(cv2.GaussianBlur(small, (0, 0), 1.0), cv2.COLOR_GRAY2BGR)
    basins = cv2.watershed(smooth, seeds) - 1
    # Between two basins runs a line that belongs to neither.
    shares = np.stack([basins == value for value in range(n_outputs)], -1).astype(np.float32)
    soft = np.asarray(cv2.GaussianBlur(shares, (0, 0), _SOFT_PX), np.float32)
    return np.asarray(soft / np.maximum(soft.sum(-1, keepdims=True), 1e-6), np.float32)
