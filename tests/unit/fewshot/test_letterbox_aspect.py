"""Non-square pixels are resampled to true proportions; square pixels are unchanged."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.fewshot.beating import beating
from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.fewshot.compare import LabelledCine
from vjepa_core.fewshot.pipeline import prepare_cine
from vjepa_core.letterbox import Letterbox
from vjepa_core.pretraining.pack import downscale
from vjepa_core.service.cine_state import CineState
from vjepa_core.service.messages import OpenCine, SetLabels, SharedArray

ASPECTS = [0.15 / 0.31, 0.23 / 0.29, 1.9]


def disk(height: int, width: int, aspect: float, radius: float = 0.3) -> NDArray[np.uint8]:
    """Return a disk that is round in millimetres, with the radius as a fraction of the shorter side."""
    y, x = np.mgrid[:height, :width] + 0.5
    true = min(height * aspect, width) * radius
    return (np.hypot((y - height / 2) * aspect, x - width / 2) < true).astype(np.uint8)


@pytest.mark.parametrize(
    ("height", "width"),
    [(600, 800), (240, 320), (96, 120), (224, 224), (225, 224), (31, 411), (708, 1016), (1, 300)],
)
def test_results_for_square_pixels_are_unchanged(height: int, width: int) -> None:
    rng = np.random.default_rng(height)
    frames = rng.integers(0, 256, (2, height, width)).astype(np.uint8)
    box = Letterbox.for_image(height, width, pixel_aspect=1.0)
    assert box == Letterbox.for_image(height, width)
    scale = 224 / max(height, width)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    how = cv2.INTER_AREA if inner[0] * inner[1] < height * width else cv2.INTER_LINEAR
    top, left = (224 - inner[1]) // 2, (224 - inner[0]) // 2
    for square, frame in zip(box.apply(frames), frames, strict=True):
        expected = np.zeros((224, 224), np.uint8)
        resized = cv2.resize(frame, inner, interpolation=how)
        expected[top : top + inner[1], left : left + inner[0]] = resized.reshape(inner[::-1])
        assert np.array_equal(square, expected)


@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize(("height", "width"), [(600, 800), (90, 200), (500, 120)])
def test_a_disk_is_round_in_the_square(height: int, width: int, aspect: float) -> None:
    box = Letterbox.for_image(height, width, pixel_aspect=aspect)
    assert max(box.inner_height, box.inner_width) == 224
    assert box.inner_height / box.inner_width == pytest.approx(height * aspect / width, rel=0.02)
    round_one = disk(height, width, aspect)
    labels = box.apply_labels(round_one)
    rows, columns = np.nonzero(labels)
    assert np.ptp(rows) == pytest.approx(np.ptp(columns), abs=2)
    back = box.invert(labels[None].astype(np.float32))[0] > 0.5
    assert 2 * (back & (round_one > 0)).sum() / (back.sum() + round_one.sum()) > 0.97


def test_no_aliasing_if_one_axis_shrinks_and_the_other_grows() -> None:
    stripes = np.zeros((1, 400, 100), np.uint8)
    stripes[:, ::2] = 200
    box = Letterbox.for_image(400, 100, pixel_aspect=0.25)
    assert box.inner_height < 400
    assert box.inner_width > 100
    assert np.ptp(box.apply(stripes)[0][box.inner]) < 60


def test_an_aspect_must_be_positive() -> None:
    for aspect in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="aspect"):
            Letterbox.for_image(30, 40, pixel_aspect=aspect)


def test_a_squeezed_cine_is_segmented_like_the_original(small_encoder: LoadedEncoder) -> None:
    frames, _ = beating(4, 192, 240)
    squeezed = np.stack([cv2.resize(f, (240, 96), interpolation=cv2.INTER_AREA) for f in frames])
    true = prepare_cine(0, frames, *small_encoder, fps=30)
    seen = prepare_cine(0, squeezed, *small_encoder, fps=30, pixel_aspect=2.0)
    distorted = prepare_cine(0, squeezed, *small_encoder, fps=30)
    assert seen.box.inner == true.box.inner

    def apart(one: NDArray[np.uint8]) -> float:
        return float(np.abs(one.astype(float) - true.frames).mean())

    assert apart(seen.frames) < 4 < apart(distorted.frames)


def test_the_engine_uses_the_aspect_of_the_message(tmp_path: Path) -> None:
    height, width = 60, 120
    frames = SharedArray.create(tmp_path / "frames", (2, 224, 224))
    masks = SharedArray.create(tmp_path / "masks", (2, height, width))
    request = OpenCine(1, frames, masks, height, width, 30.0, (1,), pixel_aspect=2.0)
    work = CineState(request, frames.open())
    labels = SharedArray.create(tmp_path / "labels", (1, height, width))
    labels.open(writable=True)[0] = disk(height, width, 2.0)
    work.set_labels(SetLabels(1, 1, (0,), labels), labels.open())
    rows, columns = np.nonzero(work.pipeline.labels[0].target[..., 1] > 0.5)
    assert np.ptp(rows) == pytest.approx(np.ptp(columns), abs=2)


@pytest.mark.parametrize(
    ("shape", "aspect", "expected"),
    [
        ((100, 200), 1.0, (100, 200)),
        ((100, 200), 0.5, (50, 200)),
        ((100, 200), 2.0, (100, 100)),
        ((400, 300), 0.5, (171, 256)),
        ((600, 300), 2.0, (256, 64)),
    ],
)
def test_packed_images_have_square_pixels(
    shape: tuple[int, int], aspect: float, expected: tuple[int, int]
) -> None:
    frames = np.zeros((2, *shape), np.uint8)
    assert downscale(frames, 256, pixel_aspect=aspect).shape == (2, *expected)
    assert downscale(frames, 256, pixel_aspect=aspect, labels=True).shape == (2, *expected)


def test_a_labelled_cine_has_square_pixels_by_default() -> None:
    frames = np.zeros((1, 4, 4), np.uint8)
    assert LabelledCine(frames, 0.0, {}).pixel_aspect == 1.0
