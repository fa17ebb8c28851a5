"""Repair of label images: gaps between a cavity and its wall, and slivers left by an eraser."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from vjepa_core.label_image import LabelImage, Mask

GAP = 2
"""Distance in pixels from a cavity and from its wall within which background between them is closed."""

_FOUR = ((0, 1), (0, -1), (1, 0), (-1, 0))
_EIGHT = (*_FOUR, (1, 1), (1, -1), (-1, 1), (-1, -1))


def fill_released(
    label: LabelImage, around: LabelImage, released: Mask, wall: int, cavity: int
) -> LabelImage:
    """Give the wall those pixels lost by its cavity that are nearer to it than to anything else.

    Parameters
    ----------
    label : ndarray of uint8, shape (height, width)
        Label image with the wall; it is copied.
    around : ndarray of uint8, shape (height, width)
        Label image with the cavity and all other structures; may be the same.
    released : ndarray of bool, shape (height, width)
        Pixels that the cavity covered before and no longer covers.
    wall, cavity : int
        Label values.

    Returns
    -------
    ndarray of uint8, shape (height, width)
    """
    rows, columns = np.nonzero(released)
    if not len(rows) or not (label == wall).any():
        return label
    box = (
        slice(max(rows.min() - 1, 0), rows.max() + 2),
        slice(max(columns.min() - 1, 0), columns.max() + 2),
    )
    unassigned = released[box].copy()
    # 1: wall, 2: anything else except the cavity, 0: cavity or not reached yet.
    near = np.where(label[box] > 0, label[box], around[box])
    source = np.where(near == wall, 1, np.where(near == cavity, 0, 2)).astype(np.uint8)
    source[unassigned] = 0
    for step in range(sum(unassigned.shape)):
        if not unassigned.any():
            break
        near_wall, near_other = (
            _neighbours(source == kind, _EIGHT if step % 2 else _FOUR) for kind in (1, 2)
        )
        reached = unassigned & (near_wall | near_other)
        if not reached.any() and step % 2:
            break
        source[reached] = np.where(near_wall[reached], 1, 2)
        unassigned &= ~reached
    out = label.copy()
    out[box][released[box] & (source == 1)] = wall
    return out


def close_gap(label: LabelImage, wall: int, cavity: int, width: int = GAP) -> LabelImage:
    """Give the wall the background between it and its cavity, within `width` pixels of both.

    Returns a copy, or the same array if there is no gap.
    """
    outer, inner = label == wall, label == cavity
    near = _dilated(outer, width) & _dilated(inner, width) & (label == 0)
    if not near.any():
        return label
    # Only between the two, not beyond the ends of the wall.
    between = np.zeros_like(near)
    for dy, dx in _EIGHT:
        between |= _swept(outer, dy, dx, 2 * width) & _swept(inner, -dy, -dx, 2 * width)
    out = label.copy()
    out[near & between] = wall
    return out


def remove_slivers(label: LabelImage, erased: Mask, values: Collection[int]) -> LabelImage:
    """Erase remains thinner than three pixels beside the path of an eraser.

    Parameters
    ----------
    label : ndarray of uint8, shape (height, width)
        Label image after erasing; it is copied.
    erased : ndarray of bool, shape (height, width)
        Pixels that lost their structure.
    values : collection of int
        Structures that were erased from.

    Returns
    -------
    ndarray of uint8, shape (height, width)
    """
    beside = _dilated(erased, 2)
    out = label.copy()
    for value in values:
        mask = label == value
        thick = _dilated(~_dilated(~mask, 1), 1) & mask
        out[mask & ~thick & beside] = 0
    return out


def _swept(mask: Mask, dy: int, dx: int, reach: int) -> Mask:
    """Return all pixels that the mask covers when it is moved by 1 to `reach` steps against (dy, dx)."""
    swept = np.zeros_like(mask)
    step = mask
    for _ in range(reach):
        step = _neighbours(step, ((dy, dx),))
        swept |= step
    return swept


def _dilated(mask: Mask, steps: int) -> Mask:
    """Dilate by a square of 3 x 3 pixels, `steps` times."""
    for _ in range(steps):
        mask = mask | _neighbours(mask, _EIGHT)
    return mask


def _neighbours(mask: Mask, offsets: Collection[tuple[int, int]]) -> Mask:
    """Return the pixels with a neighbour in the mask at one of these (row, column) offsets."""
    height, width = mask.shape
    padded = np.pad(mask, 1)
    out = np.zeros_like(mask)
    for dy, dx in offsets:
        out |= padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
    return out
