"""The few-shot benchmark within cines: data, scores and rows."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.unit.fewshot.beating import beating
from vjepa_core.bench.camus import BenchError
from vjepa_core.bench.cine_rows import CARRIED, EncoderRow, without_encoder
from vjepa_core.bench.fewshot import Entry
from vjepa_core.bench.fewshot_cines import differences_cines, ratios_cines, run_cines, summary_cines
from vjepa_core.bench.scored_cines import ScoredCine, annotated_frames, phantom_cines, pseudo_cines
from vjepa_core.encoder.architecture import Architecture
from vjepa_core.encoder.catalogue import EncoderCard, card
from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.fewshot.fit import FitConfig
from vjepa_core.fewshot.segmenter import segment

FRAMES, MASKS = beating(8)


def _cine(labelled: range = range(8), **more: Any) -> ScoredCine:
    return ScoredCine(FRAMES, 30.0, {frame: MASKS[frame] for frame in labelled}, **more)


@pytest.fixture(scope="module")
def encoder() -> LoadedEncoder:
    """An encoder with the width of its card, but only two blocks."""
    torch.manual_seed(0)
    module = VisionTransformer3D(Architecture(192, 2, 3)).eval().requires_grad_(False)
    name = "vit_tiny_patch16_224_t2"
    return module, EncoderCard(
        "small", "V-JEPA 2.1", name, 1, "MIT", "", False, "0" * 64, None, 0, 30.0, (0, 1)
    )


@dataclass
class Oracle:
    """A baseline that records its data and predicts the truth."""

    name: str = "oracle"
    steps: int = 7
    seconds: float = 0.5
    note: str = "cheats"

    def __post_init__(self) -> None:
        self.given: list[tuple[NDArray[np.uint8], NDArray[np.uint8], int, float | None]] = []

    def fit(
        self,
        images: NDArray[np.uint8],
        masks: NDArray[np.uint8],
        *,
        seed: int,
        budget_s: float | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Oracle:
        self.given.append((images, masks, seed, budget_s))
        return self

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return MASKS


def test_annotated_frames_are_spread_evenly() -> None:
    assert annotated_frames(range(40), 1) == [20]
    assert annotated_frames(range(40), 2) == [10, 30]
    assert annotated_frames(range(40), 3) == [6, 20, 33]
    assert annotated_frames([30, 4, 9], 3) == [4, 9, 30]
    assert annotated_frames([30, 4, 9], 1) == [9]
    for labelled, count in itertools.product(range(1, 12), range(1, 12)):
        if count <= labelled:
            assert len(set(annotated_frames(range(labelled), count))) == count


def test_rows_are_measured_once_per_seed_and_rows_without_a_seed_only_once(encoder: LoadedEncoder) -> None:
    nothing = without_encoder(encoder[1])
    ours = [EncoderRow("ours", encoder), EncoderRow("no encoder", nothing, note="zeros")]
    progress: list[tuple[int, int]] = []
    rows = run_cines(
        [_cine(mm=0.5)],
        ours=ours,
        learners=[Entry("oracle", Oracle(), note="a test")],
        counts=(2,),
        seeds=(0, 1),
        budget_s=0.01,
        on_progress=lambda _, done, total: progress.append((done, total)),
    )
    assert [row["what"] for row in rows] == [*CARRIED, *(2 * ["ours", "no encoder", "oracle"])]
    assert [row["seed"] for row in rows] == [None] * len(CARRIED) + [0, 0, 0, 1, 1, 1]
    assert progress[0] == (0, len(rows))
    assert progress[-1] == (len(rows), len(rows))
    by_name = {row["what"]: row for row in rows}
    with_encoder, blind, oracle = (by_name[what] for what in ("ours", "no encoder", "oracle"))
    assert with_encoder["encoder"] == "small"
    assert with_encoder["steps"] >= 1
    assert with_encoder["features_s"] > 0
    assert with_encoder["fit_s"] > 0
    assert blind["encoder"] is None
    assert blind["note"] == "head from scratch; zeros"
    assert oracle["note"] == "a test; cheats"
    assert oracle["mean"] == 1.0
    assert oracle["steps"] == 7
    for row in rows:
        assert (row["kind"], row["cine"], row["frames"], row["annotated"]) == ("given", 0, 2, [2, 6])
        assert row["scored"] == 6
        assert 0 < row["LV"] <= 1
        assert np.isnan(row["LA"])
        assert row["hd95_mm"]["LV"] == pytest.approx(0.5 * row["hd95_px"]["LV"])
        assert row["predict_s"] > 0 or row["what"] == "oracle"


def test_without_an_encoder_all_features_are_zeros_of_the_same_shape(encoder: LoadedEncoder) -> None:
    module, card = without_encoder(encoder[1])
    clip = torch.rand(1, 3, 4, 64, 96)
    both = [
        encoder[0].forward_intermediates(clip, card.depths),
        module.forward_intermediates(clip, card.depths),
    ]
    seen, blind = (torch.stack([grid for grid in grids if isinstance(grid, torch.Tensor)]) for grids in both)
    assert seen.shape == blind.shape
    assert seen.any()
    assert not blind.any()


def test_a_baseline_sees_only_the_annotated_frames_and_gets_our_time_or_its_own_budget(
    encoder: LoadedEncoder,
) -> None:
    at_ours, free, fixed = Oracle(), Oracle(), Oracle()
    learners = [
        Entry("a", at_ours, budget_s="ours"),
        Entry("b", free),
        Entry("c", fixed, budget_s=9.0),
    ]
    run_cines([_cine()], learners=learners, carried=(), counts=(1,), seeds=(5,), budget_s=2.0)
    for method, budget in ((at_ours, 2.0), (free, None), (fixed, 9.0)):
        ((images, masks, seed, budget_s),) = method.given
        assert (images == FRAMES[[4]]).all()
        assert (masks == MASKS[[4]]).all()
        assert (seed, budget_s) == (5, budget)


@pytest.mark.parametrize(
    ("kind", "words"), [("given", "shipped head"), ("phantom", "phantoms"), ("pseudo", "no human label")]
)
def test_fits_start_as_in_the_window_or_on_synthetic_cines_from_a_head_without_patient_data(
    kind: str, words: str, encoder: LoadedEncoder
) -> None:
    start, note = EncoderRow("ours", (encoder[0], card())).start(kind)
    assert start is not None
    assert start.head.config.encoder_checksum == card().checksum
    assert words in note
    assert EncoderRow("ours", without_encoder(card())).start(kind) == (None, "head from scratch")


def test_without_a_budget_a_baseline_gets_the_time_of_our_first_row(
    encoder: LoadedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = functools.partial(segment, config=FitConfig(steps=1))
    monkeypatch.setattr("vjepa_core.bench.fewshot_cines.segment", quick)
    method = Oracle()
    rows = run_cines(
        [_cine()],
        ours=[EncoderRow("ours", encoder), EncoderRow("again", encoder)],
        learners=[Entry("baseline", method, budget_s="ours")],
        carried=(),
        counts=(1,),
    )
    duration = rows[0]["features_s"] + rows[0]["fit_s"]
    assert rows[2]["what"] == "baseline"
    assert rows[2]["budget_s"] == method.given[0][3] == duration
    assert rows[0]["budget_s"] is None
    assert rows[0]["mean"] == rows[1]["mean"]  # the same seed, the same masks


def test_a_partly_labelled_frame_is_scored_only_where_it_is_labelled() -> None:
    labels = {frame: MASKS[frame].copy() for frame in range(3)}
    labels[2][:, 60:] = 255
    copied_then_moved = ScoredCine(np.tile(FRAMES[0], (3, 1, 1)), 0.0, labels)
    (row,) = run_cines([copied_then_moved], carried=("nearest mask",), counts=(1,))
    half = MASKS[2].copy()
    half[:, 60:] = 0
    said = MASKS[1].copy()
    said[:, 60:] = 0
    both = 2 * ((half == 1) & (said == 1)).sum() / ((half == 1).sum() + (said == 1).sum())
    whole = 2 * ((MASKS[0] == 1) & (MASKS[1] == 1)).sum() / ((MASKS[0] == 1).sum() + (MASKS[1] == 1).sum())
    assert row["LV"] == pytest.approx((both + whole) / 2)


def test_cines_with_too_few_labels_are_skipped() -> None:
    few, many = _cine(range(2)), _cine()
    rows = run_cines([few, many], carried=("nearest mask",), counts=(1, 2))
    assert [(row["cine"], row["frames"]) for row in rows] == [(0, 1), (1, 1), (1, 2)]
    with pytest.raises(BenchError, match="No frame is left to score"):
        run_cines([few], carried=("nearest mask",), counts=(2, 3))
    with pytest.raises(BenchError, match="time of ours"):
        run_cines([many], learners=[Entry("a", Oracle(), budget_s="ours")])


def test_a_stopped_run_returns_the_rows_so_far() -> None:
    asked = itertools.count()
    rows = run_cines(
        [_cine()], carried=("nearest mask", "flow"), counts=(1, 2), should_stop=lambda: next(asked) >= 8
    )
    assert [(row["what"], row["frames"]) for row in rows] == [
        ("nearest mask", 1),
        ("flow", 1),
        ("nearest mask", 2),
    ]


def test_intervals_are_over_cines_and_kinds_are_separate() -> None:
    scores = {"LV": 0.9, "MYO": 0.8, "LA": 0.7, "hd95_px": {"mean": 2.0}, "hd95_mm": None, "steps": 1}
    times = {"features_s": 0.0, "fit_s": 1.0, "predict_s": 1.0, "note": ""}

    def row(what: str, kind: str, cine: int, seed: int | None, mean: float) -> dict[str, Any]:
        where = {"what": what, "encoder": None, "kind": kind, "frames": 1, "cine": cine, "seed": seed}
        return {**where, **scores, **times, "mean": mean}

    rows = [row("ours", "phantom", cine, seed, 0.9 + 0.02 * cine) for cine in (0, 1) for seed in (0, 1)]
    rows += [row("flow", "phantom", cine, None, 0.8) for cine in (0, 1)]
    rows += [row("nearest mask", "phantom", cine, None, 0.6) for cine in (0, 1)]
    rows += [row("U-Net", "phantom", cine, 0, 0.5) for cine in (0, 1)]
    rows += [row("ours", "given", 2, 0, 0.5)]
    table = summary_cines(rows)
    assert [(one["kind"], one["what"], one["cines"]) for one in table] == [
        ("phantom", "ours", 2),
        ("phantom", "flow", 2),
        ("phantom", "nearest mask", 2),
        ("phantom", "U-Net", 2),
        ("given", "ours", 1),
    ]
    assert table[0]["mean"] == pytest.approx(0.91)
    assert table[0]["mean_95"] == pytest.approx(12.71 * 0.01, rel=0.01)  # from two cines, not from four rows
    assert table[0]["hd95_px"] == 2.0
    assert table[0]["hd95_mm"] is None
    assert ratios_cines(table) == {
        "phantom cines, 1 frame: error (1 - Dice) of the best labels carried along over ours": pytest.approx(
            0.2 / 0.09
        ),
        "phantom cines, 1 frame: error (1 - Dice) of U-Net over ours": pytest.approx(0.5 / 0.09),
    }
    ahead = {(one["kind"], one["over"]): one for one in differences_cines(rows)}
    assert set(ahead) == {("phantom", "flow"), ("phantom", "nearest mask"), ("phantom", "U-Net")}
    assert ahead["phantom", "flow"]["ahead"] == pytest.approx(0.11)
    assert ahead["phantom", "flow"]["ahead_95"] == pytest.approx(0.127, rel=0.01)


def test_each_seed_gives_one_phantom_cine_with_a_pixel_size() -> None:
    two = phantom_cines(2, frames=2, size=64)
    (again,) = phantom_cines(1, frames=2, size=64, first=1)
    assert (two[1].frames == again.frames).all()
    assert (two[0].frames != two[1].frames).any()
    assert sorted(two[0].labels) == [0, 1]
    assert two[0].kind == "phantom"
    assert two[0].mm is not None
    assert 1 < two[0].mm < 5
    with pytest.raises(BenchError, match="Phantom"):
        phantom_cines(1, frames=0)


def _camus(path: Path, names: list[str]) -> Path:
    """A synthetic file: a round heart that is smaller at end-systole."""
    y, x = np.mgrid[:224, :224]
    radius = np.hypot(y - 110, x - 112)
    images, masks = [], []
    for name in names:
        size = 30 if name.endswith("ES") else 40
        masks.append(np.select([radius < size, radius < size + 15], [1, 2], 0).astype(np.uint8))
        images.append(np.where(radius < 105, 60 + 60 * masks[-1], 0).astype(np.uint8))
    np.savez(
        path,
        val_img=np.stack(images),
        val_mask=np.stack(masks),
        val_name=names,
        train_img=images[0][None],
        train_mask=masks[0][None],
        train_name=["other_4CH_ED"],
    )
    return path


def test_each_patient_gives_one_pseudo_cine(tmp_path: Path) -> None:
    names = [f"p{i}_{view}_{end}" for i in range(3) for view in ("2CH", "4CH") for end in ("ED", "ES")]
    cines = pseudo_cines(_camus(tmp_path / "a.npz", names), 2, frames=4)
    assert [cine.kind for cine in cines] == ["pseudo", "pseudo"]
    assert cines[0].frames.shape == (4, 224, 224)
    assert sorted(cines[0].labels) == [0, 1, 2, 3]
    with pytest.raises(BenchError, match="no patient"):
        pseudo_cines(_camus(tmp_path / "b.npz", ["p0_2CH_ED", "p1_2CH_ES"]), 2)
    with pytest.raises(BenchError, match="is not a CAMUS file"):
        pseudo_cines(tmp_path / "none.npz", 2)
