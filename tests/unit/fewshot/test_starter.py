"""The starter head: its encoder, the cines to which it applies, and its accuracy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from app.readers.open import open_cine
from vjepa_core.bench.camus import dice, load_camus
from vjepa_core.bench.frozen_features import as_prepared_cines, features, predict_head
from vjepa_core.bench.representation import phantom_stills
from vjepa_core.encoder.catalogue import card
from vjepa_core.encoder.load import load_encoder
from vjepa_core.fewshot.overlap import agreement
from vjepa_core.fewshot.pipeline import prepare_cine
from vjepa_core.fewshot.prepared_cine import PreparedCine
from vjepa_core.fewshot.recogniser import Evidence
from vjepa_core.fewshot.starter import LEFT_HEART, Starter, load_starter, save_starter
from vjepa_core.resources import resource_path

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def starter() -> Starter:
    found = load_starter(card())
    assert found is not None
    return found


def test_the_starter_head_belongs_to_the_bundled_encoder(starter: Starter) -> None:
    assert starter.head.config.classes == LEFT_HEART
    assert starter.head.config.encoder_checksum == card().checksum
    assert bool(starter.head.active.all())
    assert load_starter(replace(card(), checksum="another")) is None
    assert load_starter(replace(card(), depths=(11,))) is None
    assert load_starter(replace(card(), architecture="vit_tiny_patch16_224_t2")) is None


def test_fits_of_the_left_heart_start_from_a_copy_and_others_from_its_features(starter: Starter) -> None:
    same = starter.initial_head(LEFT_HEART, left_heart=True)
    assert same is not starter.head
    assert torch.equal(same.feature_net.out.weight, starter.head.feature_net.out.weight)
    for other in (
        starter.initial_head(LEFT_HEART, left_heart=False),
        starter.initial_head((1,), left_heart=False),
    ):
        assert not other.feature_net.out.weight.any()
        assert torch.equal(
            other.feature_net.feature_proj.weight, starter.head.feature_net.feature_proj.weight
        )


def test_a_damaged_or_missing_file_gives_no_starter(tmp_path: Path) -> None:
    assert load_starter(card(), tmp_path / "missing.safetensors") is None
    whole = resource_path("heads", "left-heart.safetensors").read_bytes()
    for name, content in (("half", whole[: len(whole) // 2]), ("text", b"no head"), ("empty", b"")):
        tmp_path.joinpath(name).write_bytes(content)
        assert load_starter(card(), tmp_path / name) is None


def test_a_starter_is_saved_and_loaded(starter: Starter, tmp_path: Path) -> None:
    save_starter(starter, tmp_path / "again.safetensors")
    again = load_starter(card(), tmp_path / "again.safetensors")
    assert again is not None
    np.testing.assert_array_equal(again.shapes.precision, starter.shapes.precision)
    assert again.shapes.limit == starter.shapes.limit


def cine_of(path: Path) -> PreparedCine:
    cine = open_cine(path)
    pixels = np.stack([cine.frame(i)[cine.region.slices] for i in range(16)])
    cine.source.close()
    encoder, found = load_encoder()
    return prepare_cine(1, pixels, encoder, found, fps=cine.timing.fps)


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "apical"),
    [
        ("dicom/mglev1n-echocv__Image-41.dcm", True),  # two chambers
        ("dicom/mglev1n-echocv__Image-43.dcm", True),
        ("clips/unity-a4c__echo.mp4", True),
        ("dicom/mglev1n-echocv__Image-20.dcm", False),  # short axis
        ("clips/unity-plax__01-22744671.mp4", False),  # parasternal long axis
        ("lung/lung_145.mp4", False),  # each prediction is plausible, but the two nets disagree
    ],
)
def test_the_starter_head_applies_to_apical_views_only(
    starter: Starter, data_dir: Path, file: str, apical: bool
) -> None:
    assert starter.applies(cine_of(data_dir / file)) is apical


@pytest.mark.data
def test_the_starter_head_segments_unseen_patients(starter: Starter, data_dir: Path) -> None:
    _, scored = load_camus(data_dir / "camus" / "camus_trainval_224.npz")
    encoder, _ = load_encoder()
    images, masks = scored.images[:24], scored.masks[:24]
    predicted = predict_head(starter.head, images, features(encoder, images))
    assert dice(predicted, masks)["mean"] > 0.86


def test_agreement_compares_structures() -> None:
    one = np.zeros((8, 8), np.uint8)
    one[2:6, 2:6] = 1
    moved = np.roll(one, 2, 1)
    assert agreement(one, one) == 1
    assert agreement(one, moved) == 0.5
    assert agreement(one, 2 * one) == 0
    assert agreement(np.zeros_like(one), np.zeros_like(one)) == 0


@pytest.mark.parametrize(("agreement", "applies"), [(0.93, True), (0.3, False)])
@pytest.mark.parametrize("shipped", [True, False])
def test_the_starter_head_does_not_apply_if_its_nets_disagree(
    starter: Starter, monkeypatch: pytest.MonkeyPatch, agreement: float, applies: bool, shipped: bool
) -> None:
    """If the nets disagree, the prediction is not stable under rotation either."""
    evidence = Evidence(agreement, 0.96 if applies else 0.7, 0.91, 0.5, 0.0, 1.2)
    monkeypatch.setattr("vjepa_core.fewshot.starter.gather_evidence", lambda *_, **__: evidence)
    images = phantom_stills(1, 224, seed=3).images
    (prepared,) = as_prepared_cines(images, torch.zeros(1, 4, 14, 14, 384))
    tried = starter if shipped else replace(starter, recogniser=None)
    assert tried.applies(prepared) is applies
