"""Edits of a frame: the annotation that results from a tool or command."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from app.domain.gaps import close_gap, fill_released, remove_slivers
from app.domain.labels import LabelSet
from app.domain.provenance import Provenance, States
from app.domain.shown_mask import FrameMasks
from vjepa_core.label_image import (
    UNLABELLED,
    LabelImage,
    Mask,
    has_unlabelled,
    structure_mask,
    structures_in,
    values_mask,
)

ENCLOSED = 0.9
"""Minimum share of a structure's pixels inside an outline for the structure to count as enclosed."""


@dataclass(frozen=True, eq=False)
class Shape:
    """Pixels that a tool covered, and the tool's effect on them.

    Attributes
    ----------
    mask : ndarray of bool, shape (height, width)
        Pixels under the tool.
    value : int
        Structure to draw; 0 erases.
    outline : bool
        True if the mask is the whole structure, not an addition to it.
    behind : bool
        True if other structures keep their pixels.
    active : int
        The only structure to erase if `behind` is set.
    """

    mask: Mask
    value: int
    outline: bool = False
    behind: bool = False
    active: int = 0


def apply_shape(masks: FrameMasks, shape: Shape, labels: LabelSet, *, scribbles: bool = False) -> FrameMasks:
    """Return the masks of a frame after a stroke; the same object if the stroke changes no pixel.

    Only the affected structures become drawn: the one that the stroke draws, or those that it erases from.
    They start from the shown mask, so that a stroke corrects a prediction.

    Parameters
    ----------
    masks : FrameMasks
        The frame when the stroke began.
    shape : Shape
        Pixels that the stroke covered.
    labels : LabelSet
    scribbles : bool
        True if the first stroke on a frame leaves all other pixels unlabelled.
    """
    shown, annotation = masks.shown, masks.annotation
    background = UNLABELLED if scribbles else 0
    drawn = np.full(masks.shape, background, np.uint8) if annotation is None else annotation.copy()
    is_scribble = has_unlabelled(drawn)
    affected = affected_structures(shown, shape)
    states = dict(masks.states) | dict.fromkeys(affected, Provenance.DRAWN)
    if not is_scribble:
        copy_structures(drawn, shown, [value for value in affected if value not in masks.states])
    if shape.value:
        released = _draw(drawn, shown, shape, labels, is_scribble)
        if not is_scribble:
            drawn = _close_wall_gaps(drawn, released, shape.value, states, labels)
    elif is_scribble:
        drawn[shape.mask] = 0
    else:
        erased = shape.mask & values_mask(shown, affected)
        drawn[erased] = 0
        drawn = remove_slivers(drawn, erased, affected)
    result = replace(masks, annotation=drawn, states=states)
    if is_scribble:
        before = np.full_like(drawn, UNLABELLED) if annotation is None else annotation
        return masks if np.array_equal(before, drawn) else result
    return masks if np.array_equal(result.shown, shown) else result


def accept_predicted(masks: FrameMasks) -> FrameMasks:
    """Return the masks of a frame with its predicted structures accepted; stated ones are unchanged.

    The same object is returned if nothing is predicted.
    """
    predicted = masks.predicted
    if predicted is None or not predicted.any():
        return masks
    drawn = np.zeros(masks.shape, np.uint8) if masks.annotation is None else masks.annotation
    after = np.where(structure_mask(drawn), drawn, predicted).astype(np.uint8)
    states = dict.fromkeys(structures_in(predicted), Provenance.ACCEPTED) | dict(masks.states)
    return replace(masks, annotation=after, states=states)


def mark_empty(masks: FrameMasks, values: Collection[int]) -> FrameMasks:
    """Return the masks of a frame on which all these structures are stated to be absent."""
    return replace(
        masks, annotation=np.zeros(masks.shape, np.uint8), states=dict.fromkeys(values, Provenance.DRAWN)
    )


def remove_pixels(masks: FrameMasks, removed: Mask) -> FrameMasks:
    """Return the masks of a frame without these pixels.

    A predicted structure that loses pixels becomes accepted, not drawn: nobody has drawn what remains.
    """
    after = apply_shape(masks, Shape(removed, 0), LabelSet("", ()))
    if after is masks:
        return masks
    new = dict.fromkeys(set(after.states) - set(masks.states), Provenance.ACCEPTED)
    return replace(after, states=dict(after.states) | new)


def affected_structures(shown: LabelImage, shape: Shape) -> list[int]:
    """Return the structures that a stroke draws or erases from."""
    if shape.value:
        return [shape.value] if shape.mask.any() else []
    covered = structures_in(shown[shape.mask])
    return [value for value in covered if not shape.behind or value == shape.active]


def copy_structures(drawn: LabelImage, shown: LabelImage, values: Collection[int]) -> None:
    """Copy structures from the shown mask into a drawn one, in place, where no structure is drawn yet."""
    if values:
        predicted = values_mask(shown, values) & ~structure_mask(drawn)
        drawn[predicted] = shown[predicted]


def covered_pixels(
    shown: LabelImage, shape: Shape, *, keep_enclosed: bool, walls: tuple[tuple[int, int], ...] = ()
) -> Mask:
    """Return the pixels of a shape that become its structure, (height, width) bool.

    With `keep_enclosed`, structures inside an outline keep their pixels; a cavity always keeps those inside
    the outline of its wall.
    """
    if shape.behind:
        return shape.mask & values_mask(shown, (0, UNLABELLED, shape.value))
    covered = shape.mask.copy()
    if shape.outline and keep_enclosed:
        for other in structures_in(shown):
            pixels = shown == other
            is_inside = (pixels & shape.mask).sum() >= ENCLOSED * pixels.sum()
            if other != shape.value and (is_inside or (shape.value, other) in walls):
                covered &= ~pixels
    return covered


def _draw(drawn: LabelImage, shown: LabelImage, shape: Shape, labels: LabelSet, is_scribble: bool) -> Mask:
    """Draw a structure in place and return the pixels that it lost."""
    covered = covered_pixels(shown, shape, keep_enclosed=labels.keep_enclosed, walls=labels.walls)
    before = drawn == shape.value
    if shape.outline and covered.any():
        drawn[before] = UNLABELLED if is_scribble else 0
    drawn[covered] = shape.value
    return np.asarray(before & (drawn != shape.value))


def _close_wall_gaps(
    drawn: LabelImage, released: Mask, value: int, states: States, labels: LabelSet
) -> LabelImage:
    """Close gaps between a cavity and its wall if both are stated."""
    for wall, cavity in labels.walls:
        if value in (wall, cavity) and wall in states and cavity in states:
            if value == cavity and released.any():
                drawn = fill_released(drawn, drawn, released, wall, cavity)
            drawn = close_gap(drawn, wall, cavity)
    return drawn
