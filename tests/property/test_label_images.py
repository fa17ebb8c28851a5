"""Label images keep every value in memory, in a project and in files."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.cine import Frame
from app.domain.label_packing import pack_pixels, unpack_pixels
from app.domain.labels import LEFT_HEART
from app.domain.provenance import Provenance
from app.domain.shown_mask import FrameMasks
from app.domain.strokes import PackedStroke, stroke_between
from app.storage.labels_io import read_labels
from app.storage.mask_files import write_masks
from tests.property.label_images import label_images
from vjepa_core.label_image import has_unlabelled, structure_mask, structures_in, values_mask

sides = st.integers(1, 9)
any_label = label_images(sides, sides, values=range(256))


@given(any_label)
def test_packed_pixels_are_unpacked_unchanged(label: Frame) -> None:
    height, width = label.shape
    packed = pack_pixels(label)
    assert np.array_equal(unpack_pixels(packed, (height, width)), label)
    with pytest.raises(ValueError, match="do not fill"):
        unpack_pixels(packed, (height + 1, width))


@given(any_label, st.integers(0, 2**32 - 1))
def test_a_packed_stroke_turns_one_image_into_the_other(before: Frame, seed: int) -> None:
    after = before.copy()
    rng = np.random.default_rng(seed)
    y, x = (rng.integers(0, side, 2) for side in before.shape)
    after[y.min() : y.max() + 1, x.min() : x.max() + 1] = rng.integers(0, 256)
    stroke = stroke_between(0, before, after, "brush", "rater")
    if stroke is None:
        assert np.array_equal(before, after)
        return
    unpacked = PackedStroke.of(stroke).unpack()
    image = before.copy()
    assert np.array_equal(image[unpacked.slices], unpacked.before)
    image[unpacked.slices] = unpacked.after
    assert np.array_equal(image, after)
    assert (unpacked.states_before, unpacked.states_after) == (stroke.states_before, stroke.states_after)


@given(any_label, st.sets(st.integers(0, 255)))
def test_masks_of_an_image_agree_with_numpy(label: Frame, values: set[int]) -> None:
    structures = structures_in(label)
    assert structures == tuple(sorted(set(np.unique(label).tolist()) - {0, 255}))
    assert np.array_equal(structure_mask(label), np.isin(label, structures))
    assert np.array_equal(values_mask(label, values), np.isin(label, sorted(values)))
    assert has_unlabelled(label) == bool(np.any(label == 255))


@given(st.data(), st.sets(st.sampled_from((1, 2, 3))))
def test_shown_mask_holds_human_structures_over_predicted_ones(data: st.DataObject, stated: set[int]) -> None:
    annotation = data.draw(label_images(sides, sides, values=(0, *stated)))
    prediction = data.draw(label_images(*annotation.shape, values=(0, 1, 2, 3)))
    states = dict.fromkeys(stated, Provenance.DRAWN)
    masks = FrameMasks(
        (annotation.shape[0], annotation.shape[1]), annotation, states, prediction, walls=((2, 1),)
    )
    drawn = structure_mask(annotation)
    assert np.array_equal(masks.shown[drawn], annotation[drawn])
    assert not np.isin(masks.shown[~drawn], sorted(stated)).any()


@settings(max_examples=20)
@given(
    label_images(st.integers(1, 3), sides, sides).filter(lambda stack: structure_mask(stack).any()),
    st.sampled_from(("png", "nifti")),
    st.none() | st.just((0.3, 0.4)),
)
def test_label_files_are_read_as_they_were_written(
    stack: Frame, file_format: str, spacing_mm: tuple[float, float] | None
) -> None:
    n_frames, height, width = stack.shape
    with TemporaryDirectory() as folder:
        write_masks(Path(folder), stack, [file_format], spacing_mm, np.arange(n_frames, dtype=np.float64))
        source = Path(folder) / ("masks" if file_format == "png" else "masks.nii.gz")
        labels = read_labels(source, (n_frames, height, width), LEFT_HEART, spacing_mm=spacing_mm)
    assert set(labels) == {frame for frame in range(n_frames) if not (stack[frame] == 255).all()}
    for frame, label in labels.items():
        assert np.array_equal(label, stack[frame])
