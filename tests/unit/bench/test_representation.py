"""Measurement of frozen encoders on stills."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vjepa_core.bench.camus import BenchError, Stills, dice, load_camus, sample_patients
from vjepa_core.bench.frozen_features import LinearHead, features, fit_on_tokens, predict_on_tokens
from vjepa_core.bench.representation import PHANTOM, Protocol, measure, phantom_stills, summary
from vjepa_core.encoder.initialise import initialise
from vjepa_core.encoder.models import create_encoder
from vjepa_core.encoder.vit import VisionTransformer3D


@pytest.fixture(scope="module")
def encoder() -> VisionTransformer3D:
    encoder = create_encoder("vit_tiny_patch16_224_t2")
    initialise(encoder, 0)
    return encoder.eval()


def _stills(n: int = 8, side: int = 64) -> Stills:
    """Bright squares at random positions in stripes of class 1, 2 and 3, two stills per patient."""
    random = np.random.default_rng(0)
    images = random.integers(0, 30, (n, side, side)).astype(np.uint8)
    masks = np.zeros_like(images)
    for image, mask in zip(images, masks, strict=True):
        y, x = random.integers(0, side // 2, 2)
        image[y : y + 32, x : x + 32] += 150
        for stripe, left in enumerate((x, x + 12, x + 22), start=1):
            mask[y : y + 32, left : left + 12] = stripe
    return Stills(images, masks, np.array([f"patient{i // 2:04d}" for i in range(n)]))


def _write(path: Path, stills: Stills, scored: str, *, apart: bool = True) -> Path:
    arrays = {}
    for split in ("train", scored):
        other = "x" if apart and split == scored else ""
        names = np.array([f"{patient}{other}_4CH_ED" for patient in stills.patients])
        for what, value in (("img", stills.images), ("mask", stills.masks), ("name", names)):
            arrays[f"{split}_{what}"] = value
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def test_dice_equals_values_computed_by_hand() -> None:
    truth = np.zeros((2, 4, 4), np.uint8)
    truth[0, :2], truth[1, :1], truth[0, 3] = 1, 1, 2
    prediction = truth.copy()
    prediction[0, 1], prediction[0, 3] = 0, 3
    found = dice(prediction, truth)
    assert found["LV"] == pytest.approx((2 * 4 / 12 + 1) / 2)
    assert found["MYO"] == 0
    assert np.isnan(found["LA"])  # not in the truth
    assert found["mean"] == pytest.approx((found["LV"] + 0) / 2)


def test_patients_in_both_sets_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="both the training and the scored"):
        load_camus(_write(tmp_path / "camus.npz", _stills(), "val", apart=False))


@pytest.mark.parametrize("scored", ["val", "test"])
def test_camus_is_scored_on_test_if_available(tmp_path: Path, scored: str) -> None:
    train, other = load_camus(_write(tmp_path / "camus.npz", _stills(), scored))
    assert len(train) == len(other) == 8
    assert train.patients[0] == "patient0000"


def test_a_file_that_is_not_camus_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"nothing")
    np.savez(tmp_path / "b.npz", x=np.zeros(3))
    for name in ("a.npz", "b.npz", "none.npz"):
        with pytest.raises(BenchError, match="is not a CAMUS file"):
            load_camus(tmp_path / name)


def test_fractions_are_of_patients_and_reproducible() -> None:
    stills = _stills(40)
    few = sample_patients(stills, 0.1, seed=1)
    assert len(set(few.patients.tolist())) == 2
    assert len(few) == 4
    assert np.array_equal(few.patients, sample_patients(stills, 0.1, seed=1).patients)
    assert len(sample_patients(stills, 1.0, seed=1)) == 40


def test_features_equal_those_of_the_encoder(encoder: VisionTransformer3D) -> None:
    from vjepa_core.encoder.normalise import normalise

    images = _stills(2).images
    found = features(encoder, images, frames=2, size=64)
    assert found.shape == (2, 4, 4, 4, 192)
    clips = torch.from_numpy(images)[:, None].expand(-1, 2, -1, -1)
    with torch.inference_mode():
        grids = encoder.forward_intermediates(normalise(clips), encoder.depths)
    wanted = torch.stack([grid[:, 0] for grid in grids if isinstance(grid, torch.Tensor)], 1)
    torch.testing.assert_close(found.float(), wanted, atol=5e-3, rtol=5e-3)


def test_a_linear_head_can_be_fitted_to_tokens() -> None:
    cells = np.random.default_rng(0).integers(0, 4, (32, 2, 2)).astype(np.uint8)
    masks = cells.repeat(32, 1).repeat(32, 2)
    tokens = torch.nn.functional.one_hot(torch.from_numpy(masks[:, 8::16, 8::16]).long(), 4)
    head = fit_on_tokens(LinearHead, tokens.half(), masks, seed=0, steps=100)
    assert dice(predict_on_tokens(head, tokens.half(), 64), masks)["mean"] > 0.9


def test_rows_for_every_head_share_and_seed(encoder: VisionTransformer3D) -> None:
    stills = _stills()
    protocol = Protocol(shares=(0.5, 1.0), seeds=(0, 1), size=64, linear_steps=3, default_steps=2, phantom=2)
    rows = measure("mine", encoder, stills, stills, protocol)
    assert len(rows) == 2 * 3 * 2
    assert {row["patients"] for row in rows if row["share"] == 0.5} == {2}
    assert {row["patients"] for row in rows if row["share"] == PHANTOM} == {0}
    short = summary(rows)
    assert [row["seeds"] for row in short] == [2] * 6
    assert all(0 <= row["mean"] <= 1 for row in short)


def test_phantom_stills_have_label_images() -> None:
    made = phantom_stills(3, 64)
    assert made.images.shape == made.masks.shape == (3, 64, 64)
    assert set(np.unique(made.masks)) == {0, 1, 2, 3}
