"""Applicability of heads: distances between views, evidence, reference cines in the file of a head."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.unit.fewshot.test_sector import fan, speckled
from vjepa_core.bench.scored_cines import phantom_cines
from vjepa_core.bench.synthetic_images import textures
from vjepa_core.encoder.catalogue import card
from vjepa_core.encoder.load import load_encoder
from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.fewshot.applicability import cine_embedding, gather_evidence, predicts_as_well
from vjepa_core.fewshot.head import save_head
from vjepa_core.fewshot.pipeline import prepare_cine
from vjepa_core.fewshot.recogniser import (
    REFERENCE_KEY,
    Evidence,
    Recogniser,
    ReferenceCines,
    ViewSpace,
    load_recogniser,
    resembles,
    rule_score,
)
from vjepa_core.fewshot.starter import Starter, load_starter, new_head

GOOD = Evidence(0.93, 0.96, 0.91, 0.5, 0.0, 1.2)


@pytest.fixture(scope="module")
def encoder() -> LoadedEncoder:
    torch.set_num_threads(1)
    return load_encoder()


@pytest.fixture(scope="module")
def starter() -> Starter:
    found = load_starter(card())
    assert found is not None
    return found


def space(seed: int = 0) -> tuple[ViewSpace, NDArray[np.float64]]:
    rows = np.random.default_rng(seed).normal(3, 1, (200, 20)) * np.linspace(0.5, 2, 20)
    return ViewSpace.of(rows, n_axes=8), rows


def test_images_of_one_view_have_a_distance_of_about_one() -> None:
    views, rows = space()
    to_mean = [views.to_mean(row) for row in rows]
    between = [views.between(rows[i], rows[i + 1]) for i in range(100)]
    assert np.mean(to_mean) == pytest.approx(1.0, abs=0.1)
    assert np.mean(between) == pytest.approx(1.0, abs=0.1)
    assert views.to_mean(rows[0] + 10) > 3


def test_a_recogniser_is_saved_and_loaded(tmp_path: Path) -> None:
    views, rows = space()
    one = Recogniser(views, np.arange(5.0), -2.5, 1.3)
    one.save(tmp_path / "views", "abc")
    again = load_recogniser("abc", tmp_path / "views")
    assert again is not None
    assert (again.bias, again.reach) == (-2.5, 1.3)
    assert again.score(GOOD) == pytest.approx(one.score(GOOD))
    assert again.views.to_mean(rows[0]) == pytest.approx(views.to_mean(rows[0]), rel=0.01)
    assert load_recogniser("another", tmp_path / "views") is None
    half = (tmp_path / "views").read_bytes()[:-400]
    (tmp_path / "half").write_bytes(half)
    assert load_recogniser("abc", tmp_path / "half") is None
    assert load_recogniser("abc", tmp_path / "missing") is None


def test_the_bundled_recogniser_rejects_bad_evidence() -> None:
    found = load_recogniser(card().checksum)
    assert found is not None
    assert (found.weights >= 0).all()
    assert found.score(GOOD) > 0
    assert found.score(replace(GOOD, agreement=0.5, consistency=0.75, certainty=0.75)) < 0
    assert found.score(replace(GOOD, view=4.5)) < 0
    assert found.score(replace(GOOD, outside=0.6)) < 0


@pytest.mark.parametrize(
    "change", [{"agreement": 0.6}, {"consistency": 0.6}, {"certainty": 0.6}, {"shape": 3.0}, {"outside": 0.5}]
)
def test_without_a_recogniser_any_bad_evidence_rejects(change: dict[str, float]) -> None:
    assert rule_score(GOOD) > 0
    assert rule_score(replace(GOOD, **change)) < 0


def test_the_file_of_a_head_contains_its_reference_cines(
    tmp_path: Path, small_encoder: LoadedEncoder
) -> None:
    rows = np.random.default_rng(0).normal(size=(2, 12)).astype(np.float32)
    reference = ReferenceCines(rows, (True, False))
    save_head(new_head(small_encoder[1], (1,)), tmp_path / "head", {REFERENCE_KEY: reference.to_text()})
    again = ReferenceCines.of_head(tmp_path / "head")
    assert again is not None
    assert again.apical == reference.apical
    np.testing.assert_allclose(again.embeddings, rows, atol=0.01)
    save_head(new_head(small_encoder[1], (1,)), tmp_path / "bare")
    assert ReferenceCines.of_head(tmp_path / "bare") is None
    assert ReferenceCines.of_head(tmp_path / "missing") is None


def test_a_cine_resembles_reference_cines_of_the_same_view() -> None:
    views, rows = space()
    recogniser = Recogniser(views, np.ones(5), 0.0, reach=1.3)
    apical, other = rows[0], rows[0] + 10
    of_apical, of_other = (
        ReferenceCines(row[None].astype(np.float32), (k,)) for row, k in ((apical, True), (other, False))
    )
    assert resembles(recogniser, of_apical, rows[0] + 0.1, apical=None)
    assert not resembles(recogniser, of_apical, other, apical=None)
    # An apical view of the left heart is predicted only by heads fitted to apical cines.
    assert resembles(recogniser, of_apical, rows[5], apical=True)
    assert not resembles(recogniser, of_apical, rows[0], apical=False)
    assert not resembles(recogniser, of_other, apical, apical=True)
    assert resembles(recogniser, of_other, other + 0.1, apical=False)


def test_a_fitted_head_must_predict_as_well_as_on_its_own_cine() -> None:
    weak = Evidence(float("nan"), 0.6, 0.5, float("nan"), 0.0, 1.0)
    assert predicts_as_well(weak, weak)
    assert not predicts_as_well(replace(weak, consistency=0.3), weak)
    assert not predicts_as_well(replace(weak, outside=0.9), weak)


def test_the_embedding_hardly_depends_on_the_phase(encoder: LoadedEncoder, starter: Starter) -> None:
    (cine,) = phantom_cines(1, frames=20, first=70)
    prepared = prepare_cine(0, cine.frames, *encoder, fps=cine.fps)
    assert starter.recogniser is not None
    views = starter.recogniser.views
    early, late = (cine_embedding(prepared, [frame]) for frame in (0, 12))
    assert views.between(early, late) < 0.5 * starter.recogniser.reach
    assert starter.applies(prepared)


@pytest.mark.parametrize("kind", range(11))
def test_textures_are_not_recognised(encoder: LoadedEncoder, starter: Starter, kind: int) -> None:
    image = textures(11, seed=31)[0][kind]
    prepared = prepare_cine(0, image[None], *encoder, fps=0)
    assert not starter.applies(prepared)


def test_an_empty_prediction_gives_no_evidence(small_encoder: LoadedEncoder) -> None:
    """An unfitted head predicts no structure without carried labels."""
    prepared = prepare_cine(0, speckled(fan(), frames=2), *small_encoder, fps=30)
    evidence = gather_evidence(new_head(small_encoder[1], (1, 2)), prepared)
    assert np.isnan(evidence.agreement)
    assert np.isnan(evidence.view)
    assert evidence.certainty == 0
    assert evidence.outside == 0
