"""The benchmark of suggested frames: simulated annotation and numbers of labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.fewshot.beating import beating
from vjepa_core.bench import suggest
from vjepa_core.bench.camus import BenchError
from vjepa_core.bench.scored_cines import ScoredCine, annotated_frames
from vjepa_core.bench.suggest import EVEN, RANDOM, SUGGESTED, run_suggest
from vjepa_core.bench.suggest_labels import (
    ANY_CINE,
    IN_TURN,
    NEXT_CINE,
    curves,
    labels_needed,
    studies,
)
from vjepa_core.encoder.architecture import Architecture
from vjepa_core.encoder.catalogue import EncoderCard
from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.fewshot.fit import FitConfig

FRAMES, MASKS = beating(8)
Rows = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def encoder() -> LoadedEncoder:
    """An encoder with the width of its card, but only two blocks."""
    torch.manual_seed(0)
    module = VisionTransformer3D(Architecture(192, 2, 3)).eval().requires_grad_(False)
    name = "vit_tiny_patch16_224_t2"
    return module, EncoderCard(
        "small", "V-JEPA 2.1", name, 1, "MIT", "", False, "0" * 64, None, 0, 30.0, (0, 1)
    )


def cine(*labelled: int) -> ScoredCine:
    return ScoredCine(FRAMES, 30.0, {frame: MASKS[frame] for frame in labelled or range(8)})


@pytest.fixture(scope="module")
def rows(encoder: LoadedEncoder) -> Rows:
    """Cines with labels on all frames, on some, and on too few."""
    return run_suggest([cine(), cine(3), cine(0, 2, 5)], encoder, max_frames=3, draws=2)


def test_every_choice_is_scored_after_every_label(rows: Rows) -> None:
    first = [row for row in rows if row["cine"] == 0]
    assert {row["cine"] for row in rows} == {0, 2}
    assert [row["frames"] for row in first if row["what"] == SUGGESTED] == [1, 2, 3]
    assert len([row for row in first if row["what"] == RANDOM]) == 6
    even = [row["annotated"] for row in first if row["what"] == EVEN]
    assert even == [annotated_frames(range(8), count) for count in (1, 2, 3)]
    assert all(0.5 < row["mean"] <= 1 for row in first)
    assert all(len(set(row["annotated"])) == row["frames"] for row in rows)


def test_frames_are_added_one_by_one_and_only_with_known_truth(rows: Rows) -> None:
    for what in (SUGGESTED, RANDOM):
        ours = [row for row in rows if row["cine"] == 2 and row["what"] == what and row["draw"] == 0]
        assert [row["frames"] for row in ours] == [1, 2]  # one frame is left to score
        assert ours[0]["annotated"] == ours[1]["annotated"][:1]
        assert set(ours[1]["annotated"]) < {0, 2, 5}


def test_gain_is_given_only_for_suggestions(rows: Rows) -> None:
    assert all((row["gain"] is None) == (row["what"] != SUGGESTED) for row in rows)
    assert all(row["gain"] >= 0 for row in rows if row["gain"] is not None)


def test_with_a_fit_every_row_fits_a_head(encoder: LoadedEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[FitConfig] = []

    def short(**more: Any) -> FitConfig:
        fits.append(FitConfig(steps=2, **more))
        return fits[-1]

    monkeypatch.setattr(suggest, "FitConfig", short)
    found = run_suggest([cine()], encoder, max_frames=1, draws=1, fit=True, seed=5)
    assert len(found) == 3
    assert [config.seed for config in fits] == [5, 5, 5]


def test_a_stopped_run_returns_the_rows_so_far(encoder: LoadedEncoder) -> None:
    found: Rows = []
    returned = run_suggest(
        [cine()], encoder, max_frames=2, draws=1, on_row=found.append, should_stop=lambda: len(found) >= 3
    )
    assert returned == found
    assert len(returned) == 3
    assert curves(returned) == labels_needed(returned) == []  # no cine has all choices


@pytest.mark.parametrize(
    ("cines", "more"), [([], {}), ([cine(1)], {}), ([cine()], {"max_frames": 0}), ([cine()], {"draws": 0})]
)
def test_nothing_to_measure_is_rejected(
    encoder: LoadedEncoder, cines: list[ScoredCine], more: dict[str, int]
) -> None:
    with pytest.raises(BenchError):
        run_suggest(cines, encoder, **more)  # type: ignore[arg-type]


def synthetic_rows(by_what: dict[str, list[list[float]]], number: int = 0, gain: float = 0.01) -> Rows:
    """Create the rows of one cine from curves of Dice."""
    return [
        {
            "kind": "given",
            "cine": number,
            "what": what,
            "draw": draw,
            "frames": i + 1,
            "annotated": list(range(i + 1)),
            "mean": value,
            "gain": gain / (i + 1) if what == SUGGESTED else None,
        }
        for what, each in by_what.items()
        for draw, curve in enumerate(each)
        for i, value in enumerate(curve)
    ]


def test_labels_are_counted_until_the_target_is_first_reached() -> None:
    needed = labels_needed(
        synthetic_rows({SUGGESTED: [[0.8, 0.96]], EVEN: [[0.94, 0.92]], RANDOM: [[0.8, 0.9], [0.91, 0.95]]})
    )
    by = {(one["target"], one["what"]): one for one in needed}
    at90 = {what: by["Dice 0.90", what]["labels"] for what in (SUGGESTED, EVEN, RANDOM)}
    assert at90 == {SUGGESTED: 2, EVEN: 1, RANDOM: 1.5}
    assert by["Dice 0.95", EVEN]["labels"] == 3  # not reached, so one more than were tried
    assert by["Dice 0.95", EVEN]["reached"] == 0
    assert by["Dice 0.95", EVEN]["spared"] == pytest.approx(1 / 3)
    assert by["Dice 0.95", RANDOM]["reached"] == 0.5
    assert by["Dice 0.90", EVEN]["fewer"] == -1
    assert ("Dice 0.97", SUGGESTED) not in by  # not reached by any choice
    assert by["Dice of 2, evenly spaced", SUGGESTED]["labels"] == 2


def test_the_cine_with_the_largest_gain_is_suggested_next() -> None:
    flat, steep = [0.9] * 4, [0.3, 0.5, 0.7, 0.9]
    rows = []
    for number, (curve, gain) in enumerate(((flat, 0.0), (steep, 0.1), (flat, 0.0))):
        rows += synthetic_rows({SUGGESTED: [curve]}, number, gain)
    by = {one["what"]: one for one in studies(rows)}
    assert by[NEXT_CINE]["labels"] == 5  # one per cine, then two for the cine that needs them
    assert by[IN_TURN]["labels"] == 8  # the last label of the third turn is not needed
    assert 5 <= by[ANY_CINE]["labels"] <= 12
    assert by[IN_TURN]["spared"] == pytest.approx(3 / 8)
    assert studies(rows[:4]) == []  # one cine is not a study


def test_curves_are_means_over_cines() -> None:
    rows = synthetic_rows({what: [[0.8, 0.9]] for what in (SUGGESTED, EVEN, RANDOM)})
    rows += synthetic_rows({what: [[0.6]] for what in (SUGGESTED, EVEN, RANDOM)}, 1)
    even = [one for one in curves(rows) if one["what"] == EVEN]
    assert [one["mean"] for one in even] == pytest.approx([0.7, 0.9])
    assert [one["cines"] for one in even] == [2, 1]
    assert np.isfinite(even[0]["mean_95"])
    assert even[1]["mean_95"] is None
