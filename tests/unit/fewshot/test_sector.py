"""The ultrasound sector is found and limits the masks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.fewshot.assessment import label_image
from vjepa_core.fewshot.features import CineFeatures
from vjepa_core.fewshot.motion import Motion
from vjepa_core.fewshot.prepared_cine import PreparedCine, frame_label
from vjepa_core.fewshot.sector import find_sector, sector_on_region
from vjepa_core.fewshot.segmenter import segment
from vjepa_core.letterbox import Letterbox

HEIGHT, WIDTH = 300, 400


def fan(half_angle: float = 0.7, reach: float = 285.0) -> NDArray[np.bool_]:
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    dx, dy = x - WIDTH / 2, y - 5
    return (np.abs(np.arctan2(dx, dy)) < half_angle) & (np.hypot(dx, dy) < reach)


def speckled(inside: NDArray[np.bool_], frames: int = 6, seed: int = 0) -> NDArray[np.uint8]:
    """Return frames of a sector with a black cavity, coding noise around it and text next to it."""
    rng = np.random.default_rng(seed)
    made = np.hypot(*rng.normal(0, 40, (2, frames, HEIGHT, WIDTH)))
    made[:, 120:190, 180:230] = rng.uniform(0, 4, (frames, 70, 50))
    made = np.where(inside, made, rng.uniform(0, 5, made.shape))
    out = made.clip(0, 255).astype(np.uint8)
    for frame in out:
        cv2.putText(frame, "53 bpm", (4, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255,), 1)
    return out


@pytest.mark.parametrize("half_angle", [0.45, 0.7])
def test_a_sector_is_found_with_an_accuracy_of_about_a_pixel(half_angle: float) -> None:
    truth, box = fan(half_angle), Letterbox.for_image(HEIGHT, WIDTH)
    found = sector_on_region(find_sector(box.apply(speckled(truth)), box), box)
    kernel = np.ones((9, 9), np.uint8)
    assert not (found & ~cv2.dilate(truth.astype(np.uint8), kernel).astype(bool)).any()
    assert not (cv2.erode(truth.astype(np.uint8), kernel).astype(bool) & ~found).any()
    assert (found & ~truth).sum() < 0.003 * truth.sum()


@pytest.mark.parametrize("grey", [0, 3, 90])
def test_without_a_black_surround_or_an_image_it_is_the_whole_region(grey: int) -> None:
    box = Letterbox.for_image(HEIGHT, WIDTH)
    image = np.full((1, HEIGHT, WIDTH), grey, np.uint8)
    assert sector_on_region(find_sector(box.apply(image), box), box).all()
    lit = np.random.default_rng(1).integers(20, 200, (2, HEIGHT, WIDTH)).astype(np.uint8)
    assert sector_on_region(find_sector(box.apply(lit), box), box).all()


def test_the_bars_of_the_letterbox_are_excluded() -> None:
    box = Letterbox.for_image(HEIGHT, WIDTH)
    sector = find_sector(box.apply(np.full((1, HEIGHT, WIDTH), 90, np.uint8)), box)
    assert not sector[: box.top].any()
    assert sector[box.inner].all()


def test_labels_are_limited_to_the_sector() -> None:
    box = Letterbox.for_image(HEIGHT, WIDTH)
    everywhere = torch.zeros(2, 112, 112)
    everywhere[1] = 1
    assert label_image(everywhere, box, (7,)).all()
    inside = fan()
    np.testing.assert_array_equal(label_image(everywhere, box, (7,), inside) == 7, inside)


def test_segment_predicts_nothing_outside_the_sector(small_encoder: LoadedEncoder) -> None:
    """A wall outlined across the edge of the sector is not predicted outside it on other frames."""
    truth = fan()
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(label, (90, 160), 40, (1,), -1)  # crosses the edge of the sector
    assert ((label > 0) & ~truth).sum() > 0.1 * (label > 0).sum()
    found = segment(speckled(truth), {0: label}, (1,), fps=30, encoder=small_encoder, budget_s=0.0)
    predicted = found.masks[2] > 0
    assert predicted.any()
    assert (predicted & ~truth).sum() < 0.01 * predicted.sum()


def prepared(frames: NDArray[np.uint8]) -> PreparedCine:
    box = Letterbox.for_image(HEIGHT, WIDTH)
    boxed = box.apply(frames)
    features = CineFeatures(torch.zeros(1, 1, 14, 14, 4), torch.zeros(1, dtype=torch.float64))
    return PreparedCine(1, box, boxed, features, Motion(boxed, grid_size=112))


def test_a_sector_that_contradicts_outlines_is_not_used() -> None:
    cine = prepared(speckled(fan(), frames=2))
    assert not cine.inside.all()
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    label[20:120, 5:60] = 1  # next to the sector
    cine.labels = {0: frame_label(label, cine.box, (1,))}
    assert cine.inside.all()
