"""Packing: text removed, downscaled, subsampled in time."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vjepa_core.pretraining.errors import PretrainingError
from vjepa_core.pretraining.pack import (
    GroupLimit,
    RawCine,
    downscale,
    isolate_ultrasound,
    pack_cines,
    sector_mask,
    subsample_frames,
)
from vjepa_core.pretraining.shards import PackedSet


def fan(frames: int = 12, height: int = 240, width: int = 320) -> np.ndarray:
    """Return a sector of changing speckle with its apex at the top."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    inside = (np.abs(x - width / 2) < 0.8 * (y - 10)) & (np.hypot(x - width / 2, y - 10) < 180)
    grain = rng.integers(20, 200, (frames, height, width))
    smooth = np.stack([cv2.GaussianBlur(f.astype(np.float32), (0, 0), 1.5) for f in grain])
    return (smooth * inside).astype(np.uint8)


def marked(frames: np.ndarray) -> np.ndarray:
    """Add text, a scale, a colour bar and a trace next to the sector."""
    out = frames.copy()
    for t, frame in enumerate(out):
        cv2.putText(frame, "NAME 80 bpm", (5, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1)
        frame[30:200, 310:316] = np.linspace(255, 0, 170)[:, None].astype(np.uint8)
        for y in range(20, 220, 20):
            frame[y : y + 2, 300:304] = 255
        cv2.line(frame, (20 + 5 * t, 225), (25 + 5 * t, 215 + t % 3 * 5), 255, 1)
    return out


def test_text_scales_and_traces_are_removed() -> None:
    clean = fan()
    found = isolate_ultrasound(marked(clean))
    assert found.shape[1] < 230
    assert found.shape[2] < 300
    # The result is the same with and without marks, so that nothing of them is left.
    reference = isolate_ultrasound(clean)
    assert abs(found.shape[1] - reference.shape[1]) <= 4
    assert abs(found.shape[2] - reference.shape[2]) <= 4
    assert abs(float(found.mean()) - float(reference.mean())) < 3
    assert found.max() < 230


def test_static_text_inside_the_hull_is_removed() -> None:
    frames = fan()
    frames[:, :, 160:220] = 0  # beams without an echo
    lettered = frames.copy()
    lettered[:, 120:126, 186:194] = 255
    found = isolate_ultrasound(lettered)
    assert (found == 255).sum() == 0
    np.testing.assert_array_equal(found, isolate_ultrasound(frames))


def test_still_images_and_images_without_a_sector_are_cleaned() -> None:
    assert isolate_ultrasound(marked(fan(1))).shape[2] < 310
    black = np.zeros((5, 64, 64), np.uint8)
    np.testing.assert_array_equal(isolate_ultrasound(black), black)


def test_the_sector_of_a_still_image_is_found() -> None:
    found = sector_mask(fan(1)[0])
    assert found[120, 160] == 1
    assert found[5, 5] == 0
    assert sector_mask(np.zeros((32, 32), np.uint8)).all()


def test_frames_are_subsampled_to_the_given_rate() -> None:
    kept, fps = subsample_frames(100, 25.0, GroupLimit(fps=13, frames=0))
    assert fps == 12.5
    assert list(kept[:3]) == [0, 2, 4]
    kept, fps = subsample_frames(100, 25.0, GroupLimit(fps=13, frames=10))
    assert len(kept) == 10
    assert kept[0] > 0
    assert subsample_frames(7, 0.0, GroupLimit(fps=13))[0].tolist() == list(range(7))
    assert subsample_frames(7, 10.0, GroupLimit())[1] == 10.0


def test_downscale_keeps_the_aspect_ratio_and_never_enlarges() -> None:
    assert downscale(np.zeros((2, 300, 600), np.uint8), 256).shape == (2, 128, 256)
    assert downscale(np.zeros((2, 30, 60), np.uint8), 256).shape == (2, 30, 60)
    labels = np.zeros((1, 400, 400), np.uint8)
    labels[:, 200:] = 3
    assert set(np.unique(downscale(labels, 100, labels=True))) == {0, 3}


def test_cines_are_packed_with_their_groups_and_labels(tmp_path: Path) -> None:
    masks = (fan(1) > 60).astype(np.uint8)
    cines = [
        RawCine("one", fan(6), 30.0, "echo"),
        RawCine("two", fan(60), 25.0, "lung"),
        RawCine("three", fan(1), 0.0, "still", masks),
    ]
    summary = pack_cines(cines, tmp_path / "set", size=128)
    assert summary.cines == {"echo": 1, "lung": 1, "still": 1}
    assert summary.frames == {"echo": 6, "lung": 30, "still": 1}
    assert summary.n_bytes == sum(f.stat().st_size for f in (tmp_path / "set").iterdir())
    packed = PackedSet(tmp_path / "set")
    assert [c.fps for c in packed.cines] == [30.0, 12.5, 0.0]
    assert max(max(c.height, c.width) for c in packed.cines) == 128


@pytest.mark.parametrize(
    "cine",
    [
        RawCine("float", np.zeros((2, 32, 32)), 30.0, "echo"),  # type: ignore[arg-type]
        RawCine("flat", np.zeros((32, 32), np.uint8), 30.0, "echo"),
        RawCine("none", np.zeros((0, 32, 32), np.uint8), 30.0, "echo"),
        RawCine("tiny", np.zeros((2, 8, 32), np.uint8), 30.0, "echo"),
        RawCine("masks", np.zeros((2, 32, 32), np.uint8), 30.0, "echo", np.zeros((1, 32, 32), np.uint8)),
    ],
)
def test_invalid_cines_are_rejected(tmp_path: Path, cine: RawCine) -> None:
    with pytest.raises(ValueError, match=cine.name):
        pack_cines([cine], tmp_path / "set")
    assert not PackedSet.is_packed(tmp_path / "set")


def test_plain_tuples_are_accepted_as_cines(tmp_path: Path) -> None:
    assert pack_cines([("one", fan(2), 30.0, "echo")], tmp_path / "set").cines == {"echo": 1}


def test_packing_without_cines_gives_an_error(tmp_path: Path) -> None:
    with pytest.raises(PretrainingError, match="no cine"):
        pack_cines([], tmp_path / "set")
    assert not PackedSet.is_packed(tmp_path / "set")
