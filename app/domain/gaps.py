"""Gaps and slivers of label images: the pixels that a hand leaves between two structures."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from app.domain.cine import Frame

Mask = NDArray[np.bool_]

GAP = 2
"""Widest gap between a cavity and its wall that is closed, in pixels from either side."""

_FOUR = ((0, 1), (0, -1), (1, 0), (-1, 0))
_EIGHT = (*_FOUR, (1, 1), (1, -1), (-1, 1), (-1, -1))


def fill_released(label: Frame, around: Frame, released: Mask, wall: int, cavity: int) -> Frame:
    """Give the wall those pixels that its cavity gave up and that are nearer to it than to anything else.

    Parameters
    ----------
    label
        Label image (height, width) uint8 that holds the wall; it is copied.
    around
        Label image that holds the cavity and any other structure there; may be the same.
    released
        Pixels that the cavity covered before and covers no longer, bool.
    wall, cavity
        Values of the two.

    Returns
    -------
    ndarray
        (height, width) uint8.
    """
    rows, columns = np.nonzero(released)
    if not len(rows) or not (label == wall).any():
        return label
    box = (
        slice(max(rows.min() - 1, 0), rows.max() + 2),
        slice(max(columns.min() - 1, 0), columns.max() + 2),
    )
    waiting = released[box].copy()
    # 1 is the wall, 2 anything else but the cavity; 0 is not reached yet.
    near = np.where(label[box] > 0, label[box], around[box])
    source = np.where(near == wall, 1, np.where(near == cavity, 0, 2)).astype(np.uint8)
    source[waiting] = 0
    for step in range(sum(waiting.shape)):
        if not waiting.any():
            break
        near_wall, near_other = (
            _neighbours(source == kind, _EIGHT if step % 2 else _FOUR) for kind in (1, 2)
        )
        reached = waiting & (near_wall | near_other)
        if not reached.any() and step % 2:
            break
        source[reached] = np.where(near_wall[reached], 1, 2)
        waiting &= ~reached
    out = label.copy()
    out[box][released[box] & (source == 1)] = wall
    return out


def close_gap(label: Frame, wall: int, cavity: int, width: int = GAP) -> Frame:
    """Give the wall the background between it and its cavity, within `width` pixels of both; copies."""
    outer, inner = label == wall, label == cavity
    near = _grown(outer, width) & _grown(inner, width) & (label == 0)
    if not near.any():
        return label
    # Between them, and not beside both of them where they end.
    between = np.zeros_like(near)
    for dy, dx in _EIGHT:
        between |= _seen(outer, dy, dx, 2 * width) & _seen(inner, -dy, -dx, 2 * width)
    out = label.copy()
    out[near & between] = wall
    return out


def _seen(mask: Mask, dy: int, dx: int, reach: int) -> Mask:
    """True where the mask lies within `reach` pixels in one direction."""
    seen = np.zeros_like(mask)
    step = mask
    for _ in range(reach):
        step = _neighbours(step, ((dy, dx),))
        seen |= step
    return seen


def remove_slivers(label: Frame, erased: Mask, values: Collection[int]) -> Frame:
    """Erase remains thinner than three pixels that an eraser left beside its path; returns a copy.

    Parameters
    ----------
    label
        Label image (height, width) uint8 after erasing.
    erased
        Pixels that lost their structure, bool.
    values
        Structures that were erased from.
    """
    beside = _grown(erased, 2)
    out = label.copy()
    for value in values:
        mask = label == value
        thick = _grown(~_grown(~mask, 1), 1) & mask
        out[mask & ~thick & beside] = 0
    return out


def _grown(mask: Mask, steps: int) -> Mask:
    """Dilate by a square of 3 x 3 pixels, `steps` times."""
    for _ in range(steps):
        mask = mask | _neighbours(mask, _EIGHT)
    return mask


def _neighbours(mask: Mask, offsets: Collection[tuple[int, int]]) -> Mask:
    """True where a neighbour at one of these (row, column) offsets is."""
    height, width = mask.shape
    padded = np.pad(mask, 1)
    out = np.zeros_like(mask)
    for dy, dx in offsets:
        out |= padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
    return out
