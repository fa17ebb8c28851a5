"""Recognition of A4C and A2C: decisions, the shipped file, and files that cannot be used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from vjepa_core.encoder.architecture import Architecture
from vjepa_core.encoder.catalogue import card
from vjepa_core.fewshot.prepared_cine import PreparedCine
from vjepa_core.fewshot.view_recogniser import (
    CELLS,
    NEITHER,
    RecognisedView,
    ViewRecogniser,
    load_view_recogniser,
    recognise_view,
    view_features,
)

DIM = CELLS * CELLS * Architecture.parse(card().architecture).embed_dim


@pytest.fixture
def recogniser() -> ViewRecogniser:
    """A recogniser that looks at the first feature only."""
    weights = np.zeros(DIM, np.float32)
    weights[0] = 1
    return ViewRecogniser(weights, 0.0, 0.9)


def features(score: float) -> np.ndarray:
    return np.full(DIM, score, np.float32)


def test_the_sign_of_the_score_gives_the_view(recogniser: ViewRecogniser) -> None:
    for score, view in ((4, "A4C"), (-4, "A2C")):
        found = recogniser.recognise(features(score))
        assert found.view == view
        assert found.probability == pytest.approx(0.982, abs=1e-3)


def test_a_low_probability_is_undecided(recogniser: ViewRecogniser) -> None:
    found = recogniser.recognise(features(1))
    assert found.view is None
    assert found.probability == pytest.approx(0.731, abs=1e-3)


def test_an_extreme_score_overflows_nothing(recogniser: ViewRecogniser) -> None:
    assert recogniser.recognise(features(-1e6)) == RecognisedView("A2C", 1.0)


class StubStarter:
    """A starter that applies or not, as specified."""

    def __init__(self, applies: bool) -> None:
        self._applies = applies

    def applies(self, cine: object) -> bool:
        return self._applies


def test_an_apical_cine_is_classified_by_its_tokens(
    prepared: PreparedCine, recogniser: ViewRecogniser
) -> None:
    of_size = replace(recogniser, weights=view_features(prepared))
    found = recognise_view(prepared, of_size, StubStarter(True))  # type: ignore[arg-type]
    assert found == of_size.recognise(view_features(prepared))
    assert found.view == "A4C"
    assert recognise_view(prepared, of_size, StubStarter(False)) == NEITHER  # type: ignore[arg-type]


def test_a_stored_recogniser_answers_the_same(recogniser: ViewRecogniser, tmp_path: Path) -> None:
    recogniser.save(tmp_path / "view", card().checksum)
    again = load_view_recogniser(card(), tmp_path / "view")
    assert again is not None
    assert again.recognise(features(2.5)) == recogniser.recognise(features(2.5))


def test_the_shipped_file_belongs_to_the_bundled_encoder_only() -> None:
    assert load_view_recogniser(card()) is not None
    assert load_view_recogniser(replace(card(), checksum="another")) is None


@pytest.mark.parametrize(
    "problem", ["missing", "no safetensors", "other keys", "other size", "not finite", "limit"]
)
def test_a_file_that_cannot_be_used_gives_no_recogniser(
    recogniser: ViewRecogniser, tmp_path: Path, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "view"
    match problem:
        case "no safetensors":
            path.write_bytes(b"not a head")
        case "other keys":
            save_file({"other": np.zeros(1)}, str(path), metadata={"encoder": card().checksum})
        case "other size":
            replace(recogniser, weights=np.zeros(7, np.float32)).save(path, card().checksum)
        case "not finite":
            replace(recogniser, bias=float("nan")).save(path, card().checksum)
        case "limit":
            replace(recogniser, limit=1.5).save(path, card().checksum)
    assert load_view_recogniser(card(), path) is None
    assert "A4C and A2C cannot be distinguished" in caplog.text
