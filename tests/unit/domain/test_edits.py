"""Strokes start from the shown mask and change the structures that they affect."""

from __future__ import annotations

import numpy as np
import pytest

from app.domain.cine import Frame
from app.domain.edits import Shape, accept_predicted, apply_shape, mark_empty
from app.domain.labels import LEFT_HEART
from app.domain.provenance import Provenance
from app.domain.shown_mask import FrameMasks
from vjepa_core.label_image import UNLABELLED, Mask

H, W = 120, 160
CAVITY, WALL, ATRIUM = 1, 2, 3
DRAWN, ACCEPTED = Provenance.DRAWN, Provenance.ACCEPTED


def ellipse(cx: float, cy: float, rx: float, ry: float) -> Mask:
    y, x = np.mgrid[:H, :W] + 0.5
    return np.asarray(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1)


def heart(shrink: float = 0.0) -> Frame:
    """A cavity with its wall above, open to an atrium below."""
    label = np.zeros((H, W), np.uint8)
    label[ellipse(80, 55, 38, 48)] = WALL
    label[ellipse(80, 55, 28 - shrink, 38 - shrink)] = CAVITY
    label[85:] = 0
    label[85:110, 60:100] = ATRIUM
    return label


def predicted(label: Frame | None = None, **more: object) -> FrameMasks:
    mask = heart() if label is None else label
    return FrameMasks((H, W), prediction=mask, walls=LEFT_HEART.walls, **more)  # type: ignore[arg-type]


def outline(mask: Mask, value: int, **more: bool) -> Shape:
    return Shape(mask, value, outline=True, **more)


def test_outlining_one_structure_leaves_the_others_predicted() -> None:
    masks = predicted()
    after = apply_shape(masks, outline(ellipse(80, 55, 30, 40) & (heart() != ATRIUM), CAVITY), LEFT_HEART)
    assert dict(after.states) == {CAVITY: DRAWN}
    assert after.annotation is not None
    assert set(np.unique(after.annotation)) == {0, CAVITY}
    assert set(np.unique(after.shown)) == {0, CAVITY, WALL, ATRIUM}


def test_a_brush_stroke_corrects_the_predicted_structure() -> None:
    masks = predicted()
    dab = ellipse(80, 20, 5, 5)
    after = apply_shape(masks, Shape(dab, CAVITY), LEFT_HEART)
    assert after.annotation is not None
    expected = (heart() == CAVITY) | dab
    assert np.array_equal(after.annotation == CAVITY, expected)
    assert dict(after.states) == {CAVITY: DRAWN}
    assert (after.shown[~dab] == masks.shown[~dab]).all()


def test_erasing_affects_only_the_covered_structures() -> None:
    masks = predicted()
    after = apply_shape(masks, Shape(ellipse(80, 100, 8, 8), 0), LEFT_HEART)
    assert dict(after.states) == {ATRIUM: DRAWN}
    assert after.shown[55, 80] == CAVITY
    assert after.shown[100, 80] == 0


def test_a_structure_that_is_erased_completely_is_absent_and_no_longer_predicted() -> None:
    after = apply_shape(predicted(), Shape(heart() == ATRIUM, 0), LEFT_HEART)
    assert dict(after.states) == {ATRIUM: DRAWN}
    assert set(np.unique(after.shown)) == {0, CAVITY, WALL}


@pytest.mark.parametrize("shape", [Shape(ellipse(80, 55, 10, 10), CAVITY), Shape(ellipse(5, 5, 3, 3), 0)])
def test_a_stroke_that_changes_no_pixel_changes_nothing(shape: Shape) -> None:
    masks = predicted()
    assert apply_shape(masks, shape, LEFT_HEART) is masks


def test_a_second_outline_replaces_the_first() -> None:
    empty = FrameMasks((H, W), walls=LEFT_HEART.walls)
    first = apply_shape(empty, outline(ellipse(80, 55, 30, 40), CAVITY), LEFT_HEART)
    smaller = ellipse(80, 55, 20, 30)
    second = apply_shape(first, outline(smaller, CAVITY), LEFT_HEART)
    assert np.array_equal(second.shown == CAVITY, smaller)
    assert not (second.shown == WALL).any()


@pytest.mark.parametrize("drawn", [True, False])
def test_an_epicardial_outline_keeps_the_cavity_inside(drawn: bool) -> None:
    cavity = np.where(heart() == CAVITY, CAVITY, 0).astype(np.uint8)
    states = {CAVITY: DRAWN} if drawn else {}
    masks = FrameMasks(
        (H, W), cavity if drawn else None, states, None if drawn else cavity, walls=LEFT_HEART.walls
    )
    epicardium = (heart() == CAVITY) | (heart() == WALL)
    after = apply_shape(masks, outline(epicardium, WALL), LEFT_HEART)
    assert np.array_equal(after.shown == CAVITY, heart() == CAVITY)
    assert np.array_equal(after.shown == WALL, heart() == WALL)
    assert after.states[WALL] is DRAWN


def test_the_outline_of_a_wall_never_covers_its_cavity() -> None:
    cavity = np.where(heart() == CAVITY, CAVITY, 0).astype(np.uint8)
    masks = FrameMasks((H, W), cavity, {CAVITY: DRAWN}, walls=LEFT_HEART.walls)
    epicardium = ((heart() == CAVITY) | (heart() == WALL)) & (
        np.arange(H)[:, None] < 60
    )  # its base is too high
    after = apply_shape(masks, outline(epicardium, WALL), LEFT_HEART)
    assert np.array_equal(after.shown == CAVITY, heart() == CAVITY)


def test_with_another_label_set_outlines_cover_enclosed_structures() -> None:
    from dataclasses import replace

    cavity = np.where(heart() == CAVITY, CAVITY, 0).astype(np.uint8)
    masks = FrameMasks((H, W), cavity, {CAVITY: DRAWN}, walls=LEFT_HEART.walls)
    epicardium = (heart() == CAVITY) | (heart() == WALL)
    after = apply_shape(masks, outline(epicardium, WALL), replace(LEFT_HEART, keep_enclosed=False))
    assert not (after.shown == CAVITY).any()


@pytest.mark.parametrize("wall_drawn", [True, False])
def test_a_smaller_cavity_leaves_no_rim_between_it_and_its_wall(wall_drawn: bool) -> None:
    states = {CAVITY: DRAWN, WALL: DRAWN} if wall_drawn else {}
    masks = FrameMasks(
        (H, W), heart() if wall_drawn else None, states, None if wall_drawn else heart(), LEFT_HEART.walls
    )
    smaller = (heart(shrink=8) == CAVITY) & (np.arange(H)[:, None] < 80)
    after = apply_shape(masks, outline(smaller, CAVITY), LEFT_HEART)
    shown = after.shown
    assert np.array_equal(shown == CAVITY, smaller)
    assert shown[20, 80] == WALL  # between the old and the new border, at the apex
    assert shown[55, 55] == WALL  # and at the side
    assert shown[83, 80] == 0  # the base is open: nothing is filled there
    assert set(np.unique(shown[:70, 52:108])) <= {0, CAVITY, WALL}
    inside = ellipse(80, 55, 28, 38) & (np.arange(H)[:, None] < 70)
    assert (shown[inside] != 0).all()


def test_a_wall_painted_next_to_its_cavity_leaves_no_rim() -> None:
    cavity = ellipse(80, 55, 28, 38)
    label = np.where(cavity, CAVITY, 0).astype(np.uint8)
    masks = FrameMasks((H, W), label, {CAVITY: DRAWN}, walls=LEFT_HEART.walls)
    ring = ellipse(80, 55, 40, 50) & ~ellipse(80, 55, 30, 40)  # two pixels from the cavity
    after = apply_shape(masks, Shape(ring, WALL), LEFT_HEART).shown
    gap = ellipse(80, 55, 30, 40) & ~cavity
    assert (after[gap] == WALL).all()
    assert np.array_equal(after == CAVITY, cavity)


def test_an_eraser_leaves_no_slivers() -> None:
    label = np.zeros((H, W), np.uint8)
    label[40:80, 40:80] = CAVITY
    masks = FrameMasks((H, W), label, {CAVITY: DRAWN})
    erased = np.zeros((H, W), bool)
    erased[40:80, 41:50] = True  # misses the first column
    after = apply_shape(masks, Shape(erased, 0), LEFT_HEART).shown
    assert not after[:, :50].any()
    assert (after[40:80, 52:80] == CAVITY).all()


def test_drawing_behind_leaves_predicted_structures_unchanged() -> None:
    masks = predicted()
    after = apply_shape(masks, Shape(ellipse(80, 97, 30, 20), CAVITY, behind=True), LEFT_HEART)
    assert np.array_equal(after.shown == ATRIUM, heart() == ATRIUM)
    assert after.shown[105, 55] == CAVITY


def test_accepting_leaves_drawn_structures_unchanged() -> None:
    drawn = np.where(heart(4) == CAVITY, CAVITY, 0).astype(np.uint8)
    masks = FrameMasks((H, W), drawn, {CAVITY: DRAWN}, heart(), LEFT_HEART.walls)
    after = accept_predicted(masks)
    assert dict(after.states) == {CAVITY: DRAWN, WALL: ACCEPTED, ATRIUM: ACCEPTED}
    assert after.annotation is not None
    assert np.array_equal(after.annotation, masks.shown)
    assert accept_predicted(after) is after


def test_a_correction_of_an_accepted_structure_makes_it_drawn() -> None:
    after = apply_shape(accept_predicted(predicted()), Shape(ellipse(80, 100, 8, 8), 0), LEFT_HEART)
    assert dict(after.states) == {CAVITY: ACCEPTED, WALL: ACCEPTED, ATRIUM: DRAWN}


def test_an_empty_frame_shows_no_prediction() -> None:
    after = mark_empty(predicted(), LEFT_HEART.values)
    assert not after.shown.any()
    assert dict(after.states) == dict.fromkeys(LEFT_HEART.values, DRAWN)


def test_a_scribble_leaves_other_pixels_unlabelled() -> None:
    masks = predicted()
    after = apply_shape(masks, Shape(ellipse(80, 55, 5, 5), CAVITY), LEFT_HEART, scribbles=True)
    assert after.annotation is not None
    assert set(np.unique(after.annotation)) == {CAVITY, UNLABELLED}
    assert np.array_equal(after.shown == WALL, heart() == WALL)
    erased = apply_shape(after, Shape(ellipse(10, 10, 5, 5), 0), LEFT_HEART, scribbles=True)
    assert erased.annotation is not None
    assert erased.annotation[10, 10] == 0
    assert dict(erased.states) == {CAVITY: DRAWN}


def test_provenance_of_shown_structures() -> None:
    assert predicted().provenance(()) == dict.fromkeys((CAVITY, WALL, ATRIUM), Provenance.DRAFT)
    assert predicted().provenance({WALL})[WALL] == Provenance.PREDICTED
    after = apply_shape(predicted(), Shape(ellipse(80, 100, 8, 8), 0), LEFT_HEART)
    assert after.provenance({ATRIUM}) == {CAVITY: Provenance.DRAFT, WALL: Provenance.DRAFT, ATRIUM: DRAWN}
    assert accept_predicted(after).provenance({ATRIUM}) == {CAVITY: ACCEPTED, WALL: ACCEPTED, ATRIUM: DRAWN}


def test_an_absent_structure_has_no_provenance() -> None:
    assert mark_empty(predicted(), LEFT_HEART.values).provenance(LEFT_HEART.values) == {}
