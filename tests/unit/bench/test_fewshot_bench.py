"""The few-shot benchmark on CAMUS stills: data, scores and summary."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from vjepa_core.bench.camus import BenchError, Stills
from vjepa_core.bench.encoded_stills import EncodedStills
from vjepa_core.bench.fewshot import (
    CONVERGED,
    OURS,
    Entry,
    choose_patients,
    differences,
    ratios,
    run,
    subsample,
    unlabelled_images,
)
from vjepa_core.bench.fewshot_rows import ROW_NAMES, ROWS, RowSelection, camus_note, start_note
from vjepa_core.bench.head_on_stills import HeadOnStills, for_stills, initial_head
from vjepa_core.bench.scores import hd95, interval, score, summary
from vjepa_core.encoder.catalogue import EncoderCard, card
from vjepa_core.encoder.initialise import initialise
from vjepa_core.encoder.models import create_encoder
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.errors import Cancelled
from vjepa_core.fewshot.head import load_head
from vjepa_core.fewshot.starter import PHANTOM_ONLY, SHIPPED
from vjepa_core.resources import resource_path

Loaded = tuple[VisionTransformer3D, EncoderCard]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Use one thread, because small nets gain nothing from more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _stills(patients: int = 4, each: int = 2, side: int = 64, first: int = 0) -> Stills:
    """Squares in three stripes of class 1, 2 and 3 with different grey levels."""
    n = patients * each
    random = np.random.default_rng(first)
    images = random.integers(0, 30, (n, side, side)).astype(np.uint8)
    masks = np.zeros_like(images)
    for mask in masks:
        y, x = random.integers(0, side // 2, 2)
        for stripe, left in enumerate((x, x + 10, x + 20), start=1):
            mask[y : y + 32, left : left + 10] = stripe
    images += masks * 60
    return Stills(images, masks, np.array([f"patient{first + i // each:04d}" for i in range(n)]))


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    encoder = create_encoder("vit_tiny_patch16_224_t2")
    initialise(encoder, 0)
    architecture = "vit_tiny_patch16_224_t2"
    tiny = replace(card(), architecture=architecture, name="tiny", checksum="-", depths=encoder.depths)
    return encoder.eval(), tiny


@dataclass
class _Copy:
    """A method that predicts its first label image and records its data."""

    name: str = "copy"
    seen: list[tuple[int, int, float | None]] = field(default_factory=list)
    seconds: float = 2.0

    def fit(
        self,
        images: np.ndarray,
        masks: np.ndarray,
        *,
        seed: int,
        budget_s: float | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> _Copied:
        if should_stop():
            raise Cancelled
        self.seen.append((len(images), seed, budget_s))
        return _Copied(masks[0], self.seconds)


@dataclass
class _Copied:
    mask: np.ndarray
    seconds: float
    steps: int = 1
    note: str = "a copy"

    def predict(self, images: np.ndarray) -> np.ndarray:
        return np.stack([self.mask] * len(images))


def test_hd95_equals_values_computed_by_hand() -> None:
    one, other = np.zeros((2, 40, 40), bool)
    one[10:20, 10:20], other[10:20, 13:23] = True, True
    assert hd95(one, one) == 0
    assert hd95(one, other) == pytest.approx(3)
    assert hd95(one, other) == hd95(other, one)
    one[35, 35] = True  # a single stray pixel is within the 5 %
    assert hd95(one, other) < 4
    nothing = np.zeros((40, 40), bool)
    assert hd95(nothing, other) == pytest.approx(math.hypot(40, 40))
    assert math.isnan(hd95(nothing, nothing))


def test_scores_exclude_structures_that_are_not_in_the_truth() -> None:
    truth = np.zeros((2, 40, 40), np.uint8)
    truth[:, 10:20, 10:20], truth[0, 25:30, 25:30] = 1, 2
    guess = truth.copy()
    guess[0][truth[0] == 2] = 0
    found = score(guess, truth, mm=0.5)
    assert found["LV"] == 1
    assert found["MYO"] == 0
    assert math.isnan(found["LA"])
    assert found["hd95_px"]["MYO"] == pytest.approx(math.hypot(40, 40))
    assert found["hd95_mm"]["mean"] == pytest.approx(math.hypot(40, 40) / 2 / 2)
    assert score(guess, truth)["hd95_mm"] is None


def test_an_interval_uses_the_t_distribution() -> None:
    assert interval([0.5]) == (0.5, None)
    mean, half = interval([0.4, 0.5, 0.6])
    assert mean == pytest.approx(0.5)
    assert half == pytest.approx(4.30 * 0.1 / math.sqrt(3))


def test_sets_of_patients_are_nested() -> None:
    stills = _stills(10)
    few, more = choose_patients(stills, 2, seed=1), choose_patients(stills, 5, seed=1)
    assert len(few) == 4
    assert set(few.patients.tolist()) < set(more.patients.tolist())
    assert set(choose_patients(stills, 2, seed=2).patients.tolist()) != set(few.patients.tolist())
    assert len(subsample(stills, 3)) == 3
    assert subsample(stills, 99) is stills


def test_rows_see_only_their_patients_and_baselines_get_our_time() -> None:
    ours, method = _Copy(), _Copy()
    stages: list[str] = []
    rows = run(
        _stills(4),
        _stills(2, first=50),
        [Entry(OURS, ours, note="synthetic"), Entry("baseline", method, budget_s="ours")],
        patients=(1, 3),
        seeds=(0, 1),
        on_progress=lambda stage, done, total: stages.append(stage),
    )
    assert [row["patients"] for row in rows] == [1] * 4 + [3] * 4
    assert ours.seen == [(2, 0, None), (2, 1, None), (6, 0, None), (6, 1, None)]
    assert [budget for _, _, budget in method.seen] == [2.0] * 4
    first = rows[0]
    assert first["note"] == "synthetic; a copy"
    assert first["kind"] == "camus"
    assert first["hd95_mm"] is None
    assert 0 <= first["mean"] <= 1
    assert stages[0] == "1 patient, seed 0: ours"


def test_a_stop_returns_the_rows_so_far() -> None:
    rows: list[dict[str, object]] = []
    found = run(
        _stills(2),
        _stills(2, first=50),
        [Entry(OURS, _Copy())],
        patients=(1,),
        seeds=range(5),
        on_row=rows.append,
        should_stop=lambda: len(rows) == 2,
    )
    assert found == rows
    assert len(rows) == 2


def test_bad_input_is_rejected() -> None:
    train, scored = _stills(2), _stills(1, first=50)
    one = [Entry(OURS, _Copy())]
    with pytest.raises(BenchError, match="has 2 training patients"):
        run(train, scored, one, patients=(3,), seeds=(0,))
    with pytest.raises(BenchError, match="time of ours"):
        run(train, scored, [Entry("U-Net", _Copy(), budget_s="ours")], patients=(1,), seeds=(0,))
    flat = Stills(scored.images[:, :32], scored.masks[:, :32], scored.patients)
    with pytest.raises(BenchError, match="not square"):
        run(train, flat, one, patients=(1,), seeds=(0,))
    with pytest.raises(BenchError, match="left to score"):
        run(train, subsample(scored, 0), one, patients=(1,), seeds=(0,))


def _row(what: str, seed: int, mean: float, fit_s: float = 1.0) -> dict[str, object]:
    times = {"features_s": 1.0 if what == OURS else 0.0, "fit_s": fit_s, "predict_s": 1.0, "steps": 10}
    dice = {"LV": mean, "MYO": mean, "LA": mean, "mean": mean, "hd95_px": {"mean": 4.0}, "hd95_mm": None}
    return {"what": what, "encoder": None, "kind": "camus", "patients": 5, "seed": seed, **dice, **times}


def test_rows_of_several_seeds_are_summarised() -> None:
    rows = [_row(OURS, 0, 0.9), _row(OURS, 1, 0.8), _row(CONVERGED, 0, 0.8, 40), _row(CONVERGED, 1, 0.7, 40)]
    short = summary(rows, ("patients", "what"))
    assert [one["seeds"] for one in short] == [2, 2]
    assert short[0]["mean"] == pytest.approx(0.85)
    assert short[0]["hd95_px"] == 4
    assert short[0]["hd95_mm"] is None
    (apart,) = differences(rows)
    assert apart["over"] == CONVERGED
    assert apart["ahead"] == pytest.approx(0.1)
    assert apart["ahead_95"] == pytest.approx(0, abs=1e-9)  # paired: both seeds agree
    found = ratios(short)
    assert found["5 patients: error (1 - Dice) of U-Net, converged over ours"] == pytest.approx(0.25 / 0.15)
    assert next(value for what, value in found.items() if "seconds" in what) == pytest.approx(40 / 2)


def test_features_are_computed_once(loaded: Loaded) -> None:
    tokens = EncodedStills(*loaded)
    images = _stills(2).images
    first = tokens(images)
    assert first.shape == (4, 4, 14, 14, 192)
    cost = tokens.cost(4)
    assert cost > 0
    assert torch.equal(tokens(images[:2]), first[:2])
    assert tokens.cost(4) == cost
    assert tokens.name == "tiny"
    blind = EncodedStills(None, loaded[1])
    assert blind.name is None
    assert blind(images).shape == first.shape
    assert not blind(images).any()
    assert blind.cost(4) == 0


def test_our_head_is_fitted_for_its_steps_or_its_time(loaded: Loaded) -> None:
    stills = _stills(1)
    ours = HeadOnStills("ours", EncodedStills(*loaded), replace(for_stills(), steps=3))
    model = ours.fit(stills.images, stills.masks, seed=0)
    assert model.steps == 3
    prediction = model.predict(stills.images)
    assert prediction.shape == stills.masks.shape
    assert np.array_equal(prediction, ours.fit(stills.images, stills.masks, seed=0).predict(stills.images))
    assert ours.fit(stills.images, stills.masks, seed=0, budget_s=0.0).steps == 1
    assert "alone" not in model.note
    many = replace(ours, config=replace(ours.config, both_from=1, both_steps=1.0, alone_from=1))
    assert many.fit(stills.images, stills.masks, seed=0).note == (
        "many labels, so image network only; all steps"
    )
    with pytest.raises(Cancelled):
        ours.fit(stills.images, stills.masks, seed=0, should_stop=lambda: True)


def test_unlabelled_stills_are_of_patients_without_labels() -> None:
    stills = _stills(8)
    few = choose_patients(stills, 3, seed=1)
    found = unlabelled_images(stills, few, seed=1)
    assert {image.tobytes() for image in found} == {
        image.tobytes()
        for image, patient in zip(stills.images, stills.patients, strict=True)
        if patient not in few.patients
    }
    assert not len(unlabelled_images(stills, stills, seed=1))


def test_our_row_uses_unlabelled_stills_and_their_features_count(loaded: Loaded) -> None:
    tokens = EncodedStills(*loaded)
    quick = replace(for_stills(), both_steps=1.0)
    rows = []
    for config in (quick, replace(quick, unlabelled_share=0.0)):
        ours = HeadOnStills("ours", tokens, config)
        rows += run(_stills(4), _stills(1, first=9), [Entry(OURS, ours, tokens)], patients=[2], seeds=[0])
    among, without = rows
    assert among["steps"] == without["steps"] == 1
    assert among["features_s"] == pytest.approx(2 * without["features_s"], rel=0.5)
    assert among["features_s"] > without["features_s"]
    assert "4 unlabelled stills of other training patients" in among["note"]
    assert "unlabelled" not in without["note"]


def test_unlabelled_stills_are_omitted_if_they_are_not_used(loaded: Loaded) -> None:
    ours = HeadOnStills("ours", EncodedStills(*loaded))
    images = _stills(2).images
    assert ours.with_unlabelled(images, 20).unlabelled is images
    assert ours.with_unlabelled(images, 3).unlabelled is None  # one net
    assert ours.with_unlabelled(images, 160).unlabelled is None
    assert ours.with_unlabelled(images[:0], 20).unlabelled is None


def test_a_selection_has_the_requested_rows(loaded: Loaded) -> None:
    asked: list[str] = []

    def encoder(which: str) -> Loaded:
        asked.append(which)
        return loaded

    selection = RowSelection(ROW_NAMES, encoder)
    assert [one.what for one in selection.on_stills()] == list(ROWS.values())
    assert [one.what for one in selection.within_cines()] == [
        ROWS[row] for row in ("ours", "ours-random", "ours-blind")
    ]
    assert selection.carried()
    ours, no_unlabelled, _, blind, quick, converged, _, forest = selection.on_stills()
    assert ours.tokens is forest.tokens is no_unlabelled.tokens
    assert blind.tokens is not None
    assert blind.tokens.name is None
    assert (quick.budget_s, converged.budget_s) == ("ours", 1800.0)

    asked.clear()
    method = RowSelection(("unet", "unet-converged"), encoder, budget_s=7.0, converged_s=0)
    assert [one.budget_s for one in method.on_stills()] == [7.0]
    assert not method.carried()
    assert not asked  # rows without an encoder load none
    with pytest.raises(BenchError, match="no row magic: choose from ours"):
        RowSelection(("magic",), encoder)


def test_a_row_states_the_start_of_its_head(loaded: Loaded) -> None:
    assert "CAMUS's training stills" in camus_note(card().name)
    assert not camus_note("tiny")
    assert start_note(EncodedStills(*loaded)) == "head from scratch"
    assert start_note(EncodedStills(None, card())) == "head from scratch"
    shipped = EncodedStills(loaded[0], card())  # the weights do not matter here
    assert start_note(shipped) == "head pre-trained on phantoms, no human label"


def test_no_row_starts_from_a_head_trained_on_camus() -> None:
    shipped = load_head(resource_path("heads", SHIPPED)).state_dict()
    phantom = load_head(resource_path("heads", PHANTOM_ONLY)).state_dict()
    first = initial_head(
        EncodedStills(create_encoder("vit_tiny_patch16_224_t2"), card()), seed=0
    ).state_dict()
    assert all(torch.equal(first[key], value) for key, value in phantom.items())
    assert not any(torch.equal(first[key], shipped[key]) for key in first if key.endswith("weight"))


@pytest.mark.parametrize(("n", "t"), [(3, 4.303), (18, 2.110), (31, 2.042)])
def test_intervals_match_tables_of_the_t_distribution(n: int, t: float) -> None:
    values = [float(i % 2) for i in range(n)]
    mean, half = interval(values)
    assert mean == pytest.approx(np.mean(values))
    assert half == pytest.approx(t * np.std(values, ddof=1) / math.sqrt(n), rel=0.01)


def test_a_cine_without_a_structure_to_score_is_not_compared() -> None:
    rows = [
        {"frames": 1, "what": what, "seed": 0, "cine": cine, "mean": mean}
        for cine, means in enumerate(((0.8, 0.7), (None, None)))
        for what, mean in zip((OURS, "flow"), means, strict=True)
    ]
    (difference,) = differences(rows, ("frames",))
    assert difference["ahead"] == pytest.approx(0.1)
