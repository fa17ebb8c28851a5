"""What a stroke makes of a frame: which structures it states, and which pixels they have then."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.domain.cine import Frame
from app.domain.gaps import close_gap, fill_released, remove_slivers
from app.domain.labels import LabelSet
from app.domain.provenance import Provenance, States
from app.domain.shown_mask import FrameMasks
from vjepa_core.label_image import UNLABELLED, has_unlabelled, structure_mask, structures_in, values_mask

Mask = NDArray[np.bool_]

ENCLOSED = 0.9
"""Share of a structure's pixels inside an outline from which on the structure counts as enclosed."""


@dataclass(frozen=True, eq=False)
class Shape:
    """What a tool covered, and what it does there.

    Attributes
    ----------
    mask
        Pixels under the tool, shape (height, width), bool.
    value
        Structure to draw; 0 erases.
    outline
        The mask is the whole structure, not an addition to it.
    behind
        Leave other structures alone.
    active
        The only structure to erase where `behind` is set.
    """

    mask: Mask
    value: int
    outline: bool = False
    behind: bool = False
    active: int = 0


def apply_shape(masks: FrameMasks, shape: Shape, labels: LabelSet, *, scribbles: bool = False) -> FrameMasks:
    """Return what a frame holds after a stroke; the same object where the stroke changes no pixel.

    Only structures that the stroke is about become drawn: the active one, or those that were erased from.
    They start from what is shown, so that a stroke corrects a prediction.

    Parameters
    ----------
    masks
        The frame when the stroke began.
    shape
        What the stroke covered.
    labels
        The label set.
    scribbles
        A first stroke on a frame leaves every other pixel unlabelled.
    """
    shown = masks.shown
    first_scribble = scribbles and masks.annotation is None
    fill = UNLABELLED if first_scribble else 0
    drawn = np.full(masks.shape, fill, np.uint8) if masks.annotation is None else masks.annotation.copy()
    open_pixels = has_unlabelled(drawn)
    touched = affected_structures(shown, shape)
    states = dict(masks.states) | dict.fromkeys(touched, Provenance.DRAWN)
    if not open_pixels:
        copy_structures(drawn, shown, [value for value in touched if value not in masks.states])
    if shape.value:
        released = _draw(drawn, shown, shape, labels, open_pixels)
        if not open_pixels:
            drawn = _without_rims(drawn, released, shape.value, states, labels)
    elif open_pixels:
        drawn[shape.mask] = 0
    else:
        erased = shape.mask & values_mask(shown, touched)
        drawn[erased] = 0
        drawn = remove_slivers(drawn, erased, touched)
    result = replace(masks, annotation=drawn, states=states)
    if open_pixels:
        before = np.full_like(drawn, UNLABELLED) if masks.annotation is None else masks.annotation
        return masks if np.array_equal(before, drawn) else result
    return masks if np.array_equal(result.shown, shown) else result


def accepted(masks: FrameMasks) -> FrameMasks:
    """Return a frame whose predicted structures are accepted; those that a human stated stay as they are.

    The same object where nothing is predicted.
    """
    predicted = masks.predicted
    if predicted is None or not predicted.any():
        return masks
    drawn = np.zeros(masks.shape, np.uint8) if masks.annotation is None else masks.annotation
    after = np.where(structure_mask(drawn), drawn, predicted).astype(np.uint8)
    states = dict.fromkeys(structures_in(predicted), Provenance.ACCEPTED) | dict(masks.states)
    return replace(masks, annotation=after, states=states)


def emptied(masks: FrameMasks, values: Collection[int]) -> FrameMasks:
    """Return a frame on which every one of these structures is stated to be absent."""
    return replace(
        masks, annotation=np.zeros(masks.shape, np.uint8), states=dict.fromkeys(values, Provenance.DRAWN)
    )


def remove_pixels(masks: FrameMasks, removed: Mask) -> FrameMasks:
    """Return a frame without some pixels of its shown structures, which become drawn by that."""
    return apply_shape(masks, Shape(removed, 0), LabelSet("", ()))


def affected_structures(shown: Frame, shape: Shape) -> list[int]:
    """Structures that a stroke is about."""
    if shape.value:
        return [shape.value] if shape.mask.any() else []
    under = structures_in(shown[shape.mask])
    return [value for value in under if not shape.behind or value == shape.active]


def copy_structures(drawn: Frame, shown: Frame, values: Collection[int]) -> None:
    """Copy structures from the shown mask into a drawn one, in place."""
    if values:
        predicted = values_mask(shown, values) & ~structure_mask(drawn)
        drawn[predicted] = shown[predicted]


def covered_pixels(
    shown: Frame, shape: Shape, *, keep_enclosed: bool, walls: tuple[tuple[int, int], ...] = ()
) -> Mask:
    """Pixels of a shape that get its structure, (height, width) bool.

    With `keep_enclosed`, an outline leaves the structures inside it as they are, and the outline of a wall
    always its cavity.
    """
    if shape.behind:
        return shape.mask & values_mask(shown, (0, UNLABELLED, shape.value))
    covered = shape.mask.copy()
    if shape.outline and keep_enclosed:
        for other in structures_in(shown):
            pixels = shown == other
            inside = (pixels & shape.mask).sum() >= ENCLOSED * pixels.sum()
            if other != shape.value and (inside or (shape.value, other) in walls):
                covered &= ~pixels
    return covered


def _draw(drawn: Frame, shown: Frame, shape: Shape, labels: LabelSet, open_pixels: bool) -> Mask:
    """Draw a structure in place; returns the pixels that it no longer has."""
    covered = covered_pixels(shown, shape, keep_enclosed=labels.keep_enclosed, walls=labels.walls)
    before = drawn == shape.value
    if shape.outline and covered.any():
        drawn[before] = UNLABELLED if open_pixels else 0
    drawn[covered] = shape.value
    return np.asarray(before & (drawn != shape.value))


def _without_rims(drawn: Frame, released: Mask, value: int, states: States, labels: LabelSet) -> Frame:
    """Leave no unlabelled pixels between a cavity and its wall where both are drawn."""
    for wall, cavity in labels.walls:
        if value in (wall, cavity) and wall in states and cavity in states:
            if value == cavity and released.any():
                drawn = fill_released(drawn, drawn, released, wall, cavity)
            drawn = close_gap(drawn, wall, cavity)
    return drawn
