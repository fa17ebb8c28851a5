"""Optical flow as a rival within a cine: an annotated frame's label image, carried to the others.

Plain dense flow (DIS: Kroeger et al., ECCV 2016) as OpenCV has it, at the pictures' own resolution: neither
refined nor averaged over time, as the program's own `Motion` is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from vjepa_core.errors import Cancelled
from vjepa_core.label_image import UNLABELLED

Labels = Mapping[int, NDArray[np.uint8]]
"""Annotated frames and their label images (h, w); 255, where nobody said, counts as background."""


def copied(
    frames: NDArray[np.uint8], labels: Labels, *, should_stop: Callable[[], bool] = lambda: False
) -> NDArray[np.uint8]:
    """The nearest annotated frame's label image, as it is, on every frame; of two as near, the earlier's.

    As `carried`, without flow; `should_stop` is not asked, it is done at once.
    """
    return np.stack([_said(labels[_nearest(labels, frame)]) for frame in range(len(frames))])


def carried(
    frames: NDArray[np.uint8],
    labels: Labels,
    *,
    both: bool = False,
    chained: bool = True,
    should_stop: Callable[[], bool] = lambda: False,
) -> NDArray[np.uint8]:
    """Label images carried along the flow.

    Parameters
    ----------
    frames : array
        (T, h, w) uint8.
    labels : mapping
        Annotated frames, at least one, and their label images.
    both : bool
        Blend what the annotated frames on either side say, the nearer one weighing more; else the nearest
        annotated frame alone has its say.
    chained : bool
        Follow the flow from frame to frame, which drifts; else one flow from frame to annotated frame, which
        slips where the two are far apart. Either way the label is sampled once, so that it does not blur.
    should_stop : callable
        Asked before every flow.

    Returns
    -------
    array
        (T, h, w) uint8; an annotated frame has its own label image.

    Raises
    ------
    Cancelled
        If `should_stop` said yes.
    """
    values = np.unique(np.stack([_said(label) for label in labels.values()]))
    votes = np.zeros((len(frames), len(values), *frames.shape[1:]), np.float32)
    for source, label in labels.items():
        shares = np.stack([_said(label) == value for value in values]).astype(np.float32)
        # A run of frames that holds the source.
        reached = [frame for frame in range(len(frames)) if source in _sources(labels, frame, both=both)]
        for frame, at in _positions(frames, source, reached, chained=chained, should_stop=should_stop):
            weight = 1.0 / (abs(frame - source) + 1e-3)
            votes[frame] += weight * np.stack([_sample(share, at) for share in shares])
    return np.asarray(values[votes.argmax(1)], np.uint8)


def _sources(labels: Labels, frame: int, *, both: bool) -> set[int]:
    """Annotated frames that have a say on a frame."""
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
    """Each frame reached, and where each of its pixels lies in frame `source`, (h, w, 2) of x and y."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    height, width = frames.shape[1:]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    own = np.stack([x, y], axis=-1)
    yield source, own
    for way, end in ((1, max(reached)), (-1, min(reached))):
        at = own
        for frame in range(source + way, end + way, way):
            if should_stop():
                raise Cancelled
            to = frame - way if chained else source
            there = own + flow.calc(frames[frame], frames[to], None)  # type: ignore[call-overload]
            at = _sample(at, there) if chained else there
            yield frame, at


def _sample(image: NDArray[np.float32], at: NDArray[np.float32]) -> NDArray[np.float32]:
    moved = cv2.remap(image, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)


def _said(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.where(label == UNLABELLED, 0, label).astype(np.uint8)
