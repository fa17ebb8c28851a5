"""Partial labels: some structures on some frames, or some pixels of a frame."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.fewshot.beating import CAVITY, WALL, beating, dice
from tests.unit.fewshot.conftest import CLASSES
from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.fewshot.fit import Fit, FitConfig, predict
from vjepa_core.fewshot.prepared_cine import PreparedCine, frame_label
from vjepa_core.fewshot.scribbles import ESTIMATE_WEIGHT, complete_labels
from vjepa_core.fewshot.segmenter import segment
from vjepa_core.fewshot.starter import new_head
from vjepa_core.label_image import UNLABELLED

Heart = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def scribbled(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The innermost part of every structure, and a band of background around; the rest is unlabelled."""
    out = np.full_like(mask, UNLABELLED)
    for value in (CAVITY, WALL):
        inside = cv2.distanceTransform((mask == value).astype(np.uint8), cv2.DIST_L2, 5)
        out[inside > 0.6 * inside.max()] = value
    outside = cv2.distanceTransform((mask == 0).astype(np.uint8), cv2.DIST_L2, 5)
    out[(outside > 4) & (outside < 7)] = 0
    return out


def test_structures_outlined_on_different_frames_are_predicted_on_all(
    heart: Heart, small_encoder: LoadedEncoder
) -> None:
    frames, masks = heart
    labels = {
        frame: np.where(masks[frame] == value, value, 0).astype(np.uint8)
        for frame, value in ((0, CAVITY), (6, WALL))
    }
    found = segment(frames, labels, CLASSES, fps=30, encoder=small_encoder, config=FitConfig(steps=12)).masks
    for value in CLASSES:
        assert np.mean([dice(found[t], masks[t], value) for t in range(12)]) > 0.7
        assert all((mask == value).any() for mask in found)


def test_unlabelled_pixels_carry_no_label(prepared: PreparedCine, heart: Heart) -> None:
    _, masks = heart
    label = frame_label(scribbled(masks[3]), prepared.box, CLASSES)
    prepared.labels = {3: label}
    silent = label.weight == 0
    assert 0.5 < silent.mean() < 1
    prior = prepared.prior([3], 3)[0].sum(0).numpy()
    assert (prior[silent] == 0).all()
    assert prior[label.weight == 1] == pytest.approx(1)


def test_a_partly_labelled_pixel_has_the_class_of_its_labelled_part(prepared: PreparedCine) -> None:
    part = np.full((96, 120), UNLABELLED, np.uint8)
    part[20:60, 21:60] = WALL  # its border runs through pixels of the grid
    label = frame_label(part, prepared.box, CLASSES)
    mixed = (label.weight > 0.1) & (label.weight < 0.9)
    mixed &= label.target[..., WALL] > 0.1
    assert mixed.any()
    assert label.target[mixed][:, WALL].min() > 0.95
    assert label.target[mixed][:, 0].max() < 0.05


def test_completion_fills_unlabelled_pixels_only(prepared: PreparedCine, heart: Heart) -> None:
    _, masks = heart
    whole = prepared.labels[6]
    label = frame_label(scribbled(masks[0]), prepared.box, CLASSES)
    prepared.labels = {0: label, 6: whole}
    full = complete_labels(prepared)
    assert full[6] is whole
    assert prepared.labels[0] is label
    said = label.weight == 1
    np.testing.assert_allclose(full[0].target[said], label.target[said])
    assert (full[0].weight[said] == 1).all()
    assert full[0].weight[label.weight == 0] == pytest.approx(ESTIMATE_WEIGHT)
    np.testing.assert_allclose(full[0].target.sum(-1), 1, atol=1e-5)
    truth = frame_label(masks[0], prepared.box, CLASSES).target.argmax(-1)
    assert (full[0].target.argmax(-1) == truth).mean() > 0.9
    again = PreparedCine(0, prepared.box, prepared.frames, prepared.features, prepared.motion, full)
    assert complete_labels(again)[6] is whole


def test_a_structure_that_was_not_outlined_is_not_completed(
    prepared: PreparedCine, heart: Heart, small_encoder: LoadedEncoder
) -> None:
    _, masks = heart
    part = scribbled(masks[0])
    part[part == WALL] = UNLABELLED
    prepared.labels = {0: frame_label(part, prepared.box, CLASSES)}
    teacher = new_head(small_encoder[1], CLASSES)
    for one in (None, teacher.eval()):
        (full,) = complete_labels(prepared, one).values()
        assert not full.target[..., WALL].any()
        np.testing.assert_allclose(full.target.sum(-1), 1, atol=1e-5)


def test_unlabelled_pixels_are_completed_by_the_draft_head(
    prepared: PreparedCine, heart: Heart, small_encoder: LoadedEncoder
) -> None:
    _, masks = heart
    teacher = new_head(small_encoder[1], CLASSES)
    for name, value in teacher.state_dict().items():
        if name.endswith("out.bias"):
            value[WALL] += 9  # predicts wall everywhere
    prepared.labels = {0: frame_label(scribbled(masks[0]), prepared.box, CLASSES)}
    (full,) = complete_labels(prepared, teacher.eval()).values()
    assert full.target[prepared.labels[0].weight == 0][:, WALL].min() > 0.9


def test_a_single_class_is_not_extended(prepared: PreparedCine, heart: Heart) -> None:
    silent = np.full((96, 120), UNLABELLED, np.uint8)
    cavity = np.where(heart[1][4] == CAVITY, CAVITY, UNLABELLED).astype(np.uint8)
    labels = {2: frame_label(silent, prepared.box, CLASSES), 4: frame_label(cavity, prepared.box, CLASSES)}
    prepared.labels = labels
    assert all(label is labels[frame] for frame, label in complete_labels(prepared).items())


def test_scribbles_suffice(prepared: PreparedCine, small_encoder: LoadedEncoder) -> None:
    _, masks = beating()
    prepared.labels = {t: frame_label(scribbled(masks[t]), prepared.box, CLASSES) for t in (0, 6)}
    prepared.labels = complete_labels(prepared)
    fit = Fit(new_head(small_encoder[1], CLASSES), [prepared], FitConfig(steps=10), warm=False)
    while not fit.done:
        fit.step()
    values = np.array([0, *CLASSES], np.uint8)
    drawn = values[predict(fit.averaged, prepared, range(12)).argmax(1).numpy()]
    for t in range(12):
        truth = values[frame_label(masks[t], prepared.box, CLASSES).target.argmax(-1)]
        assert min(dice(drawn[t], truth, value) for value in CLASSES) > 0.6
