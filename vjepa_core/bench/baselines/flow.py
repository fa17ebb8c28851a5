"""Baseline within a cine: label images of annotated frames are carried to the others by optical flow.

It uses OpenCV's dense optical flow (DIS: Kroeger et al., ECCV 2016) at the resolution of the images, without
the refinement and temporal averaging of the program's `Motion`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from vjepa_core.errors import Cancelled
from vjepa_core.label_image import UNLABELLED

Labels = Mapping[int, NDArray[np.uint8]]
"""Label images (h, w) by frame; unlabelled pixels (255) count as background."""


def copied(
    frames: NDArray[np.uint8], labels: Labels, *, should_stop: Callable[[], bool] = lambda: False
) -> NDArray[np.uint8]:
    """Copy the label image of the nearest annotated frame to every frame; the earlier one of two.

    Parameters and result as for `carried`; `should_stop` is not called.
    """
    return np.stack([_labelled(labels[_nearest(labels, frame)]) for frame in range(len(frames))])


def carried(
    frames: NDArray[np.uint8],
    labels: Labels,
    *,
    both: bool = False,
    chained: bool = True,
    should_stop: Callable[[], bool] = lambda: False,
) -> NDArray[np.uint8]:
    """Carry label images by optical flow.

    Parameters
    ----------
    frames : ndarray of uint8
        Shape (T, h, w).
    labels : mapping of int to ndarray
        Label images of at least one annotated frame.
    both : bool
        Blend the labels of the annotated frames on both sides, weighted by proximity; otherwise use the
        nearest annotated frame.
    chained : bool
        Accumulate the flow from frame to frame, which drifts; otherwise compute one flow to the annotated
        frame, which fails for distant frames. In both cases the label is sampled once, so that it is not
        blurred.
    should_stop : callable
        Called before every flow.

    Returns
    -------
    ndarray of uint8
        Shape (T, h, w); annotated frames keep their label image.

    Raises
    ------
    Cancelled
        If `should_stop` returned True.
    """
    values = np.unique(np.stack([_labelled(label) for label in labels.values()]))
    votes = np.zeros((len(frames), len(values), *frames.shape[1:]), np.float32)
    for source, label in labels.items():
        shares = np.stack([_labelled(label) == value for value in values]).astype(np.float32)
        # Consecutive frames that include the source.
        reached = [frame for frame in range(len(frames)) if source in _sources(labels, frame, both=both)]
        for frame, at in _positions(frames, source, reached, chained=chained, should_stop=should_stop):
            weight = 1.0 / (abs(frame - source) + 1e-3)
            votes[frame] += weight * np.stack([_sample(share, at) for share in shares])
    return np.asarray(values[votes.argmax(1)], np.uint8)


def _sources(labels: Labels, frame: int, *, both: bool) -> set[int]:
    """Return the annotated frames that contribute to a frame."""
    if not both or frame in labels:
        return {_nearest(labels, frame)}
    before, after = [f for f in labels if f < frame], [f for f in labels if f > frame]
    return {*sorted(before)[-1:], *sorted(after)[:1]}


def _nearest(labels: Labels, frame: int) -> int:
    return min(sorted(labels), key=lambda source: abs(source - frame))


def _positions(
    frames: NDArray[np.uint8],
    source: int,
    reached: Sequence[int],
    *,
    chained: bool,
    should_stop: Callable[[], bool],
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield each reached frame and the positions (h, w, 2), x and y, of its pixels in frame `source`."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    height, width = frames.shape[1:]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    identity = np.stack([x, y], axis=-1)
    yield source, identity
    for step, end in ((1, max(reached)), (-1, min(reached))):
        at = identity
        for frame in range(source + step, end + step, step):
            if should_stop():
                raise Cancelled
            to = frame - step if chained else source
            moved = identity + flow.calc(frames[frame], frames[to], None)  # type: ignore[call-overload]
            at = _sample(at, moved) if chained else moved
            yield frame, at


def _sample(image: NDArray[np.float32], at: NDArray[np.float32]) -> NDArray[np.float32]:
    moved = cv2.remap(image, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)


def _labelled(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Replace unlabelled pixels by background."""
    return np.where(label == UNLABELLED, 0, label).astype(np.uint8)
