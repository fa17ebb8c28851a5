"""Scores of both phases after one annotated frame."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from app.cli import main
from app.commands.benches.fewshot_text import text
from tests.unit.fewshot.beating import beating
from vjepa_core.bench import single_phase
from vjepa_core.bench.camus import BenchError
from vjepa_core.bench.scored_cines import ScoredCine
from vjepa_core.bench.single_phase import (
    ALONE,
    CARRIED,
    DRAFT,
    ED,
    ES,
    OURS,
    Phases,
    run_phases,
    summary_phases,
)
from vjepa_core.encoder.architecture import Architecture
from vjepa_core.encoder.catalogue import EncoderCard
from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.fewshot.fit import FitConfig
from vjepa_core.fewshot.heart_shape import N_DESCRIPTORS, ShapeModel
from vjepa_core.fewshot.starter import LEFT_HEART, Starter, new_head

FRAMES, MASKS = beating(8)


@pytest.fixture
def encoder() -> LoadedEncoder:
    """An encoder with the width of its card, but only two blocks."""
    torch.manual_seed(0)
    module = VisionTransformer3D(Architecture(192, 2, 3)).eval().requires_grad_(False)
    name = "vit_tiny_patch16_224_t2"
    return module, EncoderCard(
        "small", "V-JEPA 2.1", name, 1, "MIT", "", False, "0" * 64, None, 0, 30.0, (0, 1)
    )


def _areas(*areas: int) -> dict[int, NDArray[np.uint8]]:
    return {i: (np.arange(100) < area).astype(np.uint8).reshape(10, 10) for i, area in enumerate(areas)}


def test_a_phase_is_the_quarter_with_the_largest_or_smallest_ventricle() -> None:
    phases = Phases.of(_areas(50, 40, 20, 10, 15, 30, 48, 49))
    assert phases.diastole == (0, 7)
    assert phases.systole == (3, 4)
    assert (phases.annotated(ED), phases.annotated(ES)) == (0, 3)
    assert phases.scored(ED) == ([3, 4], [7])
    assert phases.scored(ES) == ([0, 7], [4])
    assert Phases.of(_areas(9, 0, 4)).scored(ED) == ([2], [])  # an empty frame is no end-systole
    with pytest.raises(BenchError, match="two labelled frames"):
        Phases.of(_areas(9, 0))


def test_every_row_is_scored_on_both_phases(encoder: LoadedEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_phase, "FitConfig", partial(FitConfig, steps=1))
    monkeypatch.setattr(Starter, "applies", lambda self, cine: True)
    starter = Starter(
        new_head(encoder[1], LEFT_HEART), ShapeModel(np.zeros(N_DESCRIPTORS), np.eye(N_DESCRIPTORS), 1.0)
    )
    progress: list[tuple[int, int]] = []
    rows = run_phases(
        [ScoredCine(FRAMES, 30.0, dict(enumerate(MASKS)), mm=0.5)],
        encoder,
        starter,
        seeds=(3,),
        on_progress=lambda _, done, total: progress.append((done, total)),
    )
    assert [(row["phase"], row["what"]) for row in rows] == [
        (phase, what) for phase in (ED, ES) for what in (DRAFT, CARRIED, OURS, ALONE)
    ]
    assert progress[0] == (0, 8)
    assert progress[-1] == (8, 8)
    assert [row["seed"] for row in rows] == 2 * [None, None, 3, 3]
    for row in rows:
        assert row["applies"]
        assert row["annotated"] == (0 if row["phase"] == ED else 4)
        if row["what"] == DRAFT:
            assert row["other"]["LV"] == 0  # an untrained head predicts no structure without a label
        else:
            assert row["other"]["LV"] > 0.5
            assert row["same"]["LV"] > 0.8
    assert {row["fit_s"] > 0 for row in rows if row["what"] in (OURS, ALONE)} == {True}


def _row(
    what: str, cine: int, dice: float, *, seed: int | None = None, applies: bool = True
) -> dict[str, Any]:
    scores = {"mean": dice, "hd95_px": {"mean": 100 * (1 - dice)}}
    about = {"kind": "pseudo", "phase": ED, "applies": applies, "cine": cine, "seed": seed}
    return {"what": what, **about, "other": scores, "same": None if cine else scores}


def test_the_table_has_the_worst_cine_and_excludes_those_without_a_draft() -> None:
    rows = [_row(DRAFT, 0, 0.9), _row(OURS, 0, 0.95, seed=0), _row(OURS, 0, 0.93, seed=1)]
    rows += [_row(DRAFT, 1, 0.8), _row(OURS, 1, 0.79, seed=0), _row(OURS, 1, 0.79, seed=1)]
    rows += [_row(DRAFT, 2, 0.1, applies=False), _row(OURS, 2, 0.9, seed=0, applies=False)]
    draft, ours = summary_phases(rows)
    assert (draft["what"], draft["cines"], draft["other"]) == (DRAFT, 2, pytest.approx(0.85))
    assert draft["over_draft"] == 0
    assert ours["other"] == pytest.approx((0.94 + 0.79) / 2)
    assert ours["same"] == pytest.approx(0.94)
    assert ours["over_draft"] == pytest.approx((0.04 - 0.01) / 2)
    assert ours["worst"] == pytest.approx(-0.01)
    machine = {"cores": 2, "cpu": "a", "threads": 1, "gpu": "none"}
    said = text({"machine": machine, "stopped": False, "phases": [draft, ours], "rows": rows})
    assert "OTHER PHASE" in said
    assert "-1.0" in said


def test_phases_require_cines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "fewshot", "--phases", "--data", "camus.npz"]) == 2
    assert "give --cines too" in capsys.readouterr().err


def test_phases_from_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from vjepa_core.bench import scored_cines

    small = scored_cines.phantom_cines(1, frames=4, size=64)[0]
    monkeypatch.setattr(scored_cines, "phantom_cines", lambda n: [small])
    monkeypatch.setattr(single_phase, "FitConfig", partial(FitConfig, steps=1))
    assert main(["bench", "fewshot", "--cines", "--phases", "--phantom", "1", "--seeds", "1"]) == 0
    said = capsys.readouterr().out
    assert "OVER DRAFT" in said
