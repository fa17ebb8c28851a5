"""Annotation layers in memory: strokes, undo and redo."""

from __future__ import annotations

import numpy as np
import pytest

from app.domain.annotation_layer import AnnotationLayer
from app.domain.cine import Frame
from app.domain.history import History
from app.domain.label_packing import pack_pixels, unpack_pixels
from app.domain.strokes import PackedStroke, Stroke, stroke_between

H, W = 40, 60


def painted(base: Frame | None, value: int, y: slice, x: slice) -> Frame:
    image = np.zeros((H, W), np.uint8) if base is None else base.copy()
    image[y, x] = value
    return image


def draw(cine: AnnotationLayer, frame: int, value: int, y: slice, x: slice) -> Stroke:
    after = painted(cine.label(frame), value, y, x)
    stroke = stroke_between(frame, cine.label(frame), after, "brush", "A")
    assert stroke is not None
    cine.apply(stroke)
    return stroke


@pytest.fixture
def cine() -> AnnotationLayer:
    return AnnotationLayer(10, H, W)


def test_a_stroke_is_the_smallest_box_of_changed_pixels() -> None:
    before = np.ones((H, W), np.uint8)
    after = before.copy()
    after[5, 7] = 2
    after[9, 20] = 3
    stroke = stroke_between(4, before, after, "polygon", "A")
    assert stroke is not None
    assert (stroke.frame, stroke.y0, stroke.x0, stroke.after.shape) == (4, 5, 7, (5, 14))
    assert np.array_equal(after[stroke.slices], stroke.after)
    assert np.array_equal(before[stroke.slices], stroke.before)
    assert (stroke.kind, stroke.rater) == ("polygon", "A")


def test_equal_images_give_no_stroke() -> None:
    image = np.ones((H, W), np.uint8)
    assert stroke_between(0, image, image.copy(), "brush", "A") is None
    assert stroke_between(0, None, np.zeros((H, W), np.uint8), "brush", "A") is None


def test_images_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="do not match"):
        stroke_between(0, np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8), "brush", "A")


def test_a_stroke_has_its_own_copy_of_pixels() -> None:
    after = painted(None, 1, slice(0, 5), slice(0, 5))
    stroke = stroke_between(0, None, after, "brush", "A")
    after[:] = 9
    assert stroke is not None
    assert (stroke.after == 1).all()
    with pytest.raises(ValueError, match="read-only"):
        stroke.after[0, 0] = 2


def test_a_frame_with_a_drawn_pixel_is_annotated(cine: AnnotationLayer) -> None:
    assert cine.label(3) is None
    draw(cine, 7, 1, slice(0, 5), slice(0, 5))
    draw(cine, 3, 2, slice(1, 9), slice(2, 8))
    assert cine.annotated_frames == (3, 7)
    draw(cine, 7, 0, slice(0, 5), slice(0, 5))
    assert cine.annotated_frames == (3,)
    assert cine.label(7) is None


def test_returned_labels_do_not_change(cine: AnnotationLayer) -> None:
    draw(cine, 0, 1, slice(0, 5), slice(0, 5))
    first = cine.label(0)
    assert first is not None
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 3
    draw(cine, 0, 2, slice(0, 5), slice(0, 5))
    assert first[0, 0] == 1


def test_undo_and_redo_step_through_strokes_on_several_frames(cine: AnnotationLayer) -> None:
    assert cine.undo() is None
    assert cine.redo() is None
    draw(cine, 2, 1, slice(0, 9), slice(0, 9))
    draw(cine, 5, 2, slice(3, 9), slice(3, 9))
    draw(cine, 2, 3, slice(4, 6), slice(0, 30))
    states = [cine.labels]
    frames = []
    while cine.can_undo:
        stroke = cine.undo()
        assert stroke is not None
        frames.append(stroke.frame)
        states.append(cine.labels)
    assert frames == [2, 5, 2]
    assert cine.annotated_frames == ()
    for expected in states[-2::-1]:
        assert cine.redo() is not None
        assert cine.labels.keys() == expected.keys()
        assert all(np.array_equal(cine.labels[f], expected[f]) for f in expected)
    assert not cine.can_redo


def test_a_new_stroke_drops_undone_strokes(cine: AnnotationLayer) -> None:
    draw(cine, 0, 1, slice(0, 5), slice(0, 5))
    cine.undo()
    draw(cine, 1, 1, slice(0, 5), slice(0, 5))
    assert not cine.can_redo
    assert cine.redo() is None
    assert cine.annotated_frames == (1,)


def test_every_change_raises_the_revision_by_one(cine: AnnotationLayer) -> None:
    seen = [cine.revision]
    draw(cine, 0, 1, slice(0, 5), slice(0, 5))
    seen.append(cine.revision)
    cine.undo()
    seen.append(cine.revision)
    cine.redo()
    seen.append(cine.revision)
    cine.redo()
    seen.append(cine.revision)
    assert seen == [0, 1, 2, 3, 3]


@pytest.mark.parametrize("frame", [-1, 10])
def test_missing_frames_are_refused(cine: AnnotationLayer, frame: int) -> None:
    with pytest.raises(IndexError, match="10 frames"):
        cine.label(frame)
    stroke = stroke_between(frame, None, painted(None, 1, slice(0, 2), slice(0, 2)), "brush", "A")
    assert stroke is not None
    with pytest.raises(IndexError):
        cine.apply(stroke)
    assert cine.revision == 0


def test_strokes_that_do_not_fit_change_nothing(cine: AnnotationLayer) -> None:
    outside = stroke_between(0, None, np.ones((H + 1, W), np.uint8), "brush", "A")
    assert outside is not None
    with pytest.raises(ValueError, match="leaves the image"):
        cine.apply(outside)
    mismatched = stroke_between(0, np.full((H, W), 2, np.uint8), np.ones((H, W), np.uint8), "brush", "A")
    assert mismatched is not None
    with pytest.raises(ValueError, match="present pixels"):
        cine.apply(mismatched)
    assert (cine.revision, cine.can_undo, cine.annotated_frames) == (0, False, ())


def test_initial_labels_must_fit_the_cine() -> None:
    with pytest.raises(ValueError, match="shape"):
        AnnotationLayer(3, H, W, labels={0: np.ones((H, W + 1), np.uint8)})
    with pytest.raises(IndexError):
        AnnotationLayer(3, H, W, labels={3: np.ones((H, W), np.uint8)})


def test_the_oldest_steps_are_dropped_first() -> None:
    cine = AnnotationLayer(10, H, W, max_steps=3)
    for row in range(5):
        draw(cine, row, 1, slice(row, row + 1), slice(0, 5))
    undone = 0
    while cine.undo() is not None:
        undone += 1
    assert undone == 3
    assert cine.annotated_frames == (0, 1)


def test_history_is_bounded_in_bytes_but_keeps_the_last_stroke() -> None:
    noise = np.random.default_rng(0).integers(1, 200, (H, W)).astype(np.uint8)
    stroke = stroke_between(0, None, noise, "accept", "A")
    assert stroke is not None
    one = PackedStroke.of(stroke).n_bytes
    history = History(max_bytes=2 * one + 10)
    for _ in range(4):
        history.push(stroke)
    assert len(history) == 2
    assert history.n_bytes <= 2 * one + 10
    tight = History(max_bytes=1)
    tight.push(stroke)
    assert tight.can_undo


def test_an_unpacked_stroke_equals_the_packed_one() -> None:
    stroke = stroke_between(3, None, np.arange(24, dtype=np.uint8).reshape(4, 6)[:, ::-1], "erase", "Dr B")
    assert stroke is not None
    back = PackedStroke.of(stroke).unpack()
    assert np.array_equal(back.before, stroke.before)
    assert np.array_equal(back.after, stroke.after)
    assert (back.frame, back.y0, back.x0, back.kind, back.rater) == (
        3, stroke.y0, stroke.x0, "erase", "Dr B",
    )  # fmt: skip


def test_damaged_pixels_are_refused() -> None:
    packed = pack_pixels(np.ones((8, 8), np.uint8))
    for bad in (b"", b"nonsense", packed[:-6], packed[:-1] + b"\0"):
        with pytest.raises(ValueError, match="label pixels"):
            unpack_pixels(bad, (8, 8))
    with pytest.raises(ValueError, match="8x9"):
        unpack_pixels(packed, (8, 9))
    with pytest.raises(ValueError, match="8x7"):
        unpack_pixels(packed, (8, 7))
