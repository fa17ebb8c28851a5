"""Agreement of measurements: statistics, phantoms with known values, CAMUS stills."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.bench import measure as bench
from app.bench.agreement import MeasuredHeart, agreements
from app.bench.bland_altman import plot
from app.bench.measured_views import measure, values_of, view_input
from vjepa_core.bench import phantom_beats
from vjepa_core.bench.camus import BenchError, Stills
from vjepa_core.bench.camus_hearts import PIXEL_MM, CamusHearts, PredictedStills, complete_hearts, load_hearts
from vjepa_core.bench.kept_arrays import kept_arrays
from vjepa_core.bench.phantom_beats import Outlined, PhantomCine, TrueBeat, true_beats

EF = [("ef", "A4C.ef_percent", "points")]


def quiet(_stage: str, _done: int, _total: int) -> None:
    pass


def heart(measured: float | None, reference: float | None, *interval: float) -> MeasuredHeart:
    key = "A4C.ef_percent"
    return MeasuredHeart({key: measured}, {key: reference}, {key: interval} if interval else {})  # type: ignore[dict-item]


def test_statistics_of_errors() -> None:
    hearts = [heart(50, 52, 45, 55), heart(60, 61, 55, 60.5), heart(40, 37, 30, 40), heart(None, 20)]
    (found,) = agreements("test", hearts, EF)
    row = found.row
    assert (row["what"], row["unit"], row["n"], row["missing"]) == ("test ef", "points", 3, 1)
    assert row["bias"] == pytest.approx(0.0)
    assert row["mae"] == pytest.approx(2.0)
    assert row["sd"] == pytest.approx(np.std([-2, -1, 3], ddof=1))
    assert row["r"] == pytest.approx(np.corrcoef([50, 60, 40], [52, 61, 37])[0, 1])
    assert row["coverage"] == pytest.approx(2 / 3)
    assert found.over_guess == pytest.approx((2 + 11 + 13) / 3 / 2.0)


def test_the_scale_of_intervals_is_a_conformal_quantile() -> None:
    # Intervals that are symmetric in log(100 - EF): half-width log(1.1), errors 0.1 to 1.5 times that.
    hearts = [heart(50.0, 100 - 50 * 1.1**t, 100 - 50 * 1.1, 100 - 50 / 1.1) for t in np.arange(1, 16) / 10]
    (found,) = agreements("test", hearts, EF)
    assert found.row["interval_scale"] == pytest.approx(1.5)  # the 15th of 15
    assert found.row["coverage"] == pytest.approx(10 / 15)
    (few,) = agreements("test", hearts[:5], EF)
    assert few.row["interval_scale"] is None


def test_statistics_that_too_few_values_cannot_give_are_absent() -> None:
    (one,) = agreements("test", [heart(50, 52)], EF)
    assert one.row["bias"] == -2
    assert (one.row["sd"], one.row["r"], one.row["coverage"], one.over_guess) == (None, None, None, None)
    (none,) = agreements("test", [heart(None, 52)], EF)
    assert (none.row["n"], none.row["missing"], none.row["bias"]) == (0, 1, None)
    (constant,) = agreements("test", [heart(50, value) for value in (50, 51, 52)], EF)
    assert constant.row["r"] is None
    assert agreements("test", [heart(50, None), heart(50, float("nan"))], EF) == []


def test_true_masks_of_phantoms_give_the_true_values() -> None:
    group = bench.phantom_truth(8, quiet)
    rows = {row["what"]: row for row in group.rows}
    for view in ("biplane", "A4C", "A2C"):
        row = rows[f"phantom truth {view} ef"]
        assert (row["n"], row["missing"]) == (8, 0)
        assert abs(row["bias"]) < 0.5
        assert row["sd"] < 1.0
        assert abs(rows[f"phantom truth {view} edv"]["bias"]) < 0.02 * row["reference_mean"] * 3
    assert rows["phantom truth A4C length ed"]["mae"] < 1.0
    assert rows["phantom truth A2C endocardial strain"]["mae"] < 1.0
    assert group.ratios == {}  # nothing was predicted


def test_true_values_of_a_line() -> None:
    """A triangle 30 mm wide and 40 mm high, halved in both directions."""
    ed = np.array([[40.0, -15.0], [0.0, 0.0], [40.0, 15.0]])
    found = bench.true_values("A4C", np.array([80.0, 20.0]), np.stack([ed, ed / 2]))
    assert found == {
        "A4C.edv_ml": 80.0,
        "A4C.esv_ml": 20.0,
        "A4C.ef_percent": 75.0,
        "A4C.length_ed_mm": 40.0,
        "A4C.length_es_mm": 20.0,
        "A4C.gls_endo_percent": pytest.approx(-50.0),
    }


def test_beats_need_both_phases_on_the_cine() -> None:
    t = np.arange(52)
    phase = (t + 8) % 20 / 20.0  # beats begin at 12 and 32; a third one at 52 is beyond the cine
    volume = 80.0 + 20.0 * np.cos(2 * np.pi * phase)
    assert true_beats(phase, volume) == (TrueBeat(12, 22), TrueBeat(32, 42))
    assert true_beats(phase[:43], volume[:43]) == (TrueBeat(12, 22),)


def truth_as_prediction(
    frames: NDArray[np.uint8], labels: dict[int, NDArray[np.uint8]], classes: tuple[int, ...], **_: Any
) -> Any:
    """Replace a fit by masks that are as small as the smallest outlined ventricle."""
    smallest = min(labels.values(), key=lambda label: int((label == 1).sum()))
    masks = np.repeat(smallest[None], len(frames), 0)
    ones = np.ones(len(frames), np.float32)
    return SimpleNamespace(masks=masks, confidence=ones, structure_dice=[{1: 0.9}] * len(frames))


def small_cine(seed: int) -> PhantomCine | None:
    """A phantom of one second for odd seeds, with the same beat twice."""
    if seed % 2 == 0:
        return None
    batch = phantom_beats.make_cines(
        1, frames=8, fps=(8.0, 8.0), generator=phantom_beats.torch.Generator().manual_seed(seed)
    )
    volume = batch.volume[0].double().numpy()
    es = int(volume.argmin())
    return PhantomCine(
        seed,
        "A4C",
        batch.frames[0].numpy(),
        batch.masks[0].numpy(),
        (float(batch.mm_per_px[0, 0]), float(batch.mm_per_px[0, 1])),
        8.0,
        volume,
        batch.endocardium[0].double().numpy(),
        (TrueBeat(int(volume.argmax()), es), TrueBeat(int(volume.argmax()), es)),
    )


def test_predicted_masks_are_measured_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(phantom_beats, "segment", truth_as_prediction)
    monkeypatch.setattr(bench, "phantom_cine", small_cine)
    encoder: Any = (None, None)

    def groups() -> list[bench.Group]:
        return list(
            bench.phantom_predicted(2, Outlined.PHASES, encoder, None, keep=tmp_path, on_progress=quiet)
        )

    *_, at_frames, proposed = groups()
    row = at_frames.rows[0]
    assert row["what"] == "phantom predicted, ED and ES outlined, other beat ef"
    assert (row["n"], row["missing"]) == (2, 0)
    assert row["bias"] < -20  # every frame shows the end-systolic mask
    assert at_frames.rows[2]["what"].endswith(" esv")
    assert at_frames.rows[2]["mae"] < 2.0
    assert proposed.rows[0]["missing"] == 2  # a curve without beats
    titles = [group.title.removeprefix("phantom predicted, ED and ES outlined, ") for group in groups()]
    assert titles[-4:] == ["outlined beat", "outlined beat proposed", "other beat", "other beat proposed"]
    assert len(list(tmp_path.glob("phantom_*_phases_*.npz"))) == 2
    monkeypatch.setattr(phantom_beats, "segment", None)  # nothing is computed again
    assert groups()[-2].rows == at_frames.rows


def test_a_damaged_kept_file_is_computed_again(tmp_path: Path) -> None:
    file = tmp_path / "new" / "kept.npz"
    assert kept_arrays(file, lambda: {"a": np.arange(3)})["a"].tolist() == [0, 1, 2]
    file.write_bytes(b"damaged")
    assert kept_arrays(file, lambda: {"a": np.arange(2)})["a"].tolist() == [0, 1]
    assert kept_arrays(file, dict)["a"].tolist() == [0, 1]
    assert kept_arrays(None, lambda: {"a": np.arange(4)})["a"].tolist() == [0, 1, 2, 3]


def ventricle(scale: float, side: int = 224) -> NDArray[np.uint8]:
    """Half-ellipse within a wall, above an atrium."""
    y, x = np.mgrid[:side, :side]
    across = ((x - 112) / (40.0 * scale)) ** 2
    cavity = (((y - 140) / (100.0 * scale)) ** 2 + across < 1) & (y < 140)
    wall = (((y - 140) / (100.0 * scale + 14)) ** 2 + ((x - 112) / (40.0 * scale + 14)) ** 2 < 1) & (y < 140)
    atrium = (((y - 140) / 50.0) ** 2 + across < 1) & (y >= 140)
    return (cavity * 1 + (wall & ~cavity) * 2 + atrium * 3).astype(np.uint8)


def camus() -> CamusHearts:
    """Four patients with ejection fractions from 27 to 66 percent."""
    masks, names = [], []
    for patient, es in enumerate((0.9, 0.8, 0.75, 0.7)):
        for view in ("2CH", "4CH"):
            for phase, scale in (("ED", 1.0), ("ES", es)):
                names.append(f"patient{patient:04d}_{view}_{phase}")
                masks.append(ventricle(scale))
    stills = Stills(np.stack(masks) * 50, np.stack(masks), np.array([name[:11] for name in names]))
    return CamusHearts(stills, stills, complete_hearts(names))


def test_predicted_stills_are_compared_with_the_experts() -> None:
    hearts = camus()
    n = len(hearts.scored)
    perfect = PredictedStills(hearts.scored.masks, np.ones(n, np.float32), np.full(n, 0.95, np.float32))
    found = bench.compare(hearts, perfect)
    assert [one.measured for one in found] == [one.reference for one in found]
    expected = [100 * (1 - es**3) for es in (0.9, 0.8, 0.75, 0.7)]
    assert [one.measured["biplane.ef_percent"] for one in found] == pytest.approx(expected, abs=1.0)
    edv = 2 / 3 * np.pi * (40 * PIXEL_MM[1]) ** 2 * 100 * PIXEL_MM[0] / 1000
    assert found[0].measured["A2C.edv_ml"] == pytest.approx(edv, rel=0.02)


def test_the_camus_method_reads_lower_than_ase() -> None:
    """With all disks over the ED length, EF is 1 - (1 - EF) / shortening of the axis."""
    rows = bench.camus_experts(camus()).rows
    expected = np.mean([100 * (es**3 - es**2) for es in (0.9, 0.8, 0.75, 0.7)])
    assert rows[0]["bias"] == pytest.approx(expected, abs=1.0)


def test_patients_without_all_four_stills_are_left_out(tmp_path: Path) -> None:
    four = [f"patient0001_{view}_{phase}" for view in ("2CH", "4CH") for phase in ("ED", "ES")]
    assert complete_hearts([*four, "patient0002_4CH_ED", "other"]) == {
        "patient0001": {("A2C", "ED"): 0, ("A2C", "ES"): 1, ("A4C", "ED"): 2, ("A4C", "ES"): 3}
    }
    images = np.zeros((2, 32, 32), np.uint8)
    file = tmp_path / "camus.npz"
    names = {"train_name": ["patient0001_4CH_ED"] * 2, "val_name": ["patient0002_4CH_ED"] * 2}
    parts = {f"{split}_{field}": images for split in ("train", "val") for field in ("img", "mask")}
    np.savez(file, **parts, **names)  # type: ignore[arg-type]
    with pytest.raises(BenchError, match="no scored patient with both views"):
        load_hearts(file)


def test_a_view_without_a_ventricle_has_no_number() -> None:
    masks = np.zeros((2, 64, 64), np.uint8)
    found = values_of(measure([view_input("A4C", masks, (1.0, 1.0))]))
    assert found["A4C.ef_percent"] is None
    with pytest.raises(LookupError, match="not needed"):
        view_input("A4C", masks, (1.0, 1.0)).cine.frame(0)


def test_a_bland_altman_plot(tmp_path: Path) -> None:
    hearts = [heart(50, 52), heart(60, 61), heart(40, 37)]
    file = plot(tmp_path, "Some group, of rows", agreements("test", hearts, EF))
    assert file.name == "some-group-of-rows.png"
    assert file.read_bytes().startswith(b"\x89PNG")
    plot(tmp_path, "one heart", agreements("test", hearts[:1], EF))
