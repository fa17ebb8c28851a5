"""`apical measure` on phantoms and on label images with known volumes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app import cli
from app.bench.phantom_dicom import write_phantom_dicom
from app.commands.drafted import NOT_RECOGNISED, Drafted
from app.domain.cine import Cine
from app.domain.facts import AssignedView, ManualCalibration, Phase, PhaseMark
from app.domain.prediction import Prediction
from app.domain.views import FactSource, View
from app.readers.open import open_cine
from app.storage.project import Project
from app.storage.recorder import Recorder
from tests.unit.measure.test_geometry import LENGTH, RADIUS, VOLUME, half_ellipse
from tests.unit.measure.test_left_heart import beating

SPACING = (0.4, 0.4)
ES_VOLUME = 2.0 / 3.0 * np.pi * 18.0**2 * 70.0 / 1000.0
EF = 100.0 * (1.0 - ES_VOLUME / VOLUME)


def write_cine(folder: Path, name: str, *, view: str, calibrated: bool = True) -> Path:
    """Write a cine of two frames, as a DICOM file with calibration or as a GIF without."""
    frames = np.stack([40 + 100 * half_ellipse().astype(np.uint8), 50 + 90 * half_ellipse().astype(np.uint8)])
    if calibrated:
        path = folder / f"{name}.dcm"
        write_phantom_dicom(path, frames, fps=25.0, mm_per_px=SPACING, view=view)
        return path
    path = folder / f"{name}.gif"
    first, second = (Image.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=[second], duration=40)
    return path


def write_labels(folder: Path, name: str, *, radius: float = RADIUS) -> Path:
    """Write label images of end-diastole (frame 0) and end-systole (frame 1), with walls."""
    target = folder / name
    target.mkdir()
    for frame, (length, width) in enumerate(((LENGTH, radius), (70.0, 18.0 * radius / RADIUS))):
        label = half_ellipse(length=length + 9, radius=width + 9).astype(np.uint8) * 2
        label[half_ellipse(length=length, radius=width)] = 1
        Image.fromarray(label).save(target / f"frame_{frame:04d}.png")
    return target


def write_beats(folder: Path, name: str = "beats", *, view: str = "A4C") -> tuple[Path, Path]:
    """Write a cine of 61 frames with three beats, and label images of all frames."""
    path, labels = folder / f"{name}.dcm", folder / f"{name}-labels"
    images = beating(61, 20)
    frames = np.stack([40 + 50 * image for image in images.values()])
    frames[:, 0, 0] = sum(map(ord, name)) % 250  # cines of different names have different pixels
    write_phantom_dicom(path, frames, fps=25.0, mm_per_px=SPACING, view=view)
    labels.mkdir()
    for frame, image in images.items():
        Image.fromarray(image).save(labels / f"frame_{frame:04d}.png")
    return path, labels


def measure(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, object], str]:
    """Run the command; returns exit code, JSON and stderr."""
    code = cli.main(["measure", *map(str, arguments), "--json"])
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if captured.out else {}, captured.err


def test_one_view(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cine, labels = write_cine(tmp_path, "a", view="A4C"), write_labels(tmp_path, "labels")
    code, data, _ = measure(capsys, cine, "--labels", labels, "--ed", 0, "--es", 1)
    assert code == 0
    view = data["views"]["A4C"]  # type: ignore[index]
    assert view["edv_ml"] == pytest.approx(VOLUME, rel=0.01)
    assert view["esv_ml"] == pytest.approx(ES_VOLUME, rel=0.01)
    assert view["ef_percent"] == pytest.approx(EF, abs=0.5)
    assert view["length_ed_mm"] == pytest.approx(LENGTH, abs=0.3)
    assert view["gls_endo_percent"] < 0
    assert (view["ed_frame"], view["es_frame"], view["view_source"]) == (0, 1, "file")
    assert view["la_area_es_cm2"] is None
    assert data["warnings"] == []
    assert data["method"] == "ase"


def test_a_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = write_cine(tmp_path, "a", view="A4C"), write_cine(tmp_path, "b", view="A2C")
    labels, narrow = write_labels(tmp_path, "labels"), write_labels(tmp_path, "narrow", radius=20.0)
    arguments = [first, "--labels", labels, "--pair", second, "--labels2", narrow]
    phases = ["--ed", 0, "--es", 1, "--ed2", 0, "--es2", 1]
    _, data, _ = measure(capsys, *arguments, *phases)
    assert data["biplane"]["edv_ml"] == pytest.approx(0.8 * VOLUME, rel=0.01)  # type: ignore[index]
    assert data["biplane"]["ef_percent"] == pytest.approx(EF, abs=0.5)  # type: ignore[index]
    _, camus, _ = measure(capsys, *arguments, *phases, "--method", "camus")
    assert camus["biplane"]["ef_percent"] < data["biplane"]["ef_percent"] - 3  # type: ignore[index]


def test_without_pixel_size_there_are_ratios_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cine, labels = write_cine(tmp_path, "a", view="", calibrated=False), write_labels(tmp_path, "labels")
    code, data, _ = measure(capsys, cine, "--labels", labels, "--ed", 0, "--es", 1, "--view", "A2C")
    view = data["views"]["A2C"]  # type: ignore[index]
    assert code == 0
    assert view["ef_percent"] == pytest.approx(EF, abs=0.6)
    assert all(view[key] is None for key in ("edv_ml", "esv_ml", "sv_ml", "length_ed_mm", "mapse_left_mm"))
    assert any("no pixel size" in text for text in data["warnings"])  # type: ignore[attr-defined]


def test_swapped_frames_give_no_ejection_fraction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cine, labels = write_cine(tmp_path, "a", view="A4C"), write_labels(tmp_path, "labels")
    _, data, _ = measure(capsys, cine, "--labels", labels, "--ed", 1, "--es", 0)
    view = data["views"]["A4C"]  # type: ignore[index]
    assert view["ef_percent"] is None
    assert view["edv_ml"] < view["esv_ml"]
    assert any("larger at end-systole" in text for text in data["warnings"])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ((), "no complete beat"),
        (("--ed", 0, "--es", 0), "the same frame"),
    ],
)
def test_no_numbers_without_two_phases(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], frames: tuple[object, ...], reason: str
) -> None:
    cine, labels = write_cine(tmp_path, "a", view="A4C"), write_labels(tmp_path, "labels")
    code, data, _ = measure(capsys, cine, "--labels", labels, *frames)
    assert code == 0
    assert data["views"]["A4C"]["ef_percent"] is None  # type: ignore[index]
    assert any(reason in text for text in data["warnings"])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--ed", 0), "belong together"),
        (("--ed", 0, "--es", 7), "no frame 7"),
        (("--ed2", 0, "--es2", 1), "belong to --pair"),
        (("--pair", "x.dcm"), "belong together"),
        (("--height", 170), "belong together"),
        (("--height", 1.7, "--weight", 70), "not plausible"),
        (("--height", "nan", "--weight", 70), "not plausible"),
    ],
)
def test_bad_usage_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[object, ...], reason: str
) -> None:
    cine, labels = write_cine(tmp_path, "a", view="A4C"), write_labels(tmp_path, "labels")
    code, data, error = measure(capsys, cine, "--labels", labels, *arguments)
    assert (code, data) == (2, {})
    assert reason in error
    assert error.count("\n") == 1


def test_two_cines_of_one_view_are_no_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cine, labels = write_cine(tmp_path, "a", view="A4C"), write_labels(tmp_path, "labels")
    pair = ["--pair", cine, "--labels2", labels, "--ed", 0, "--es", 1, "--ed2", 0, "--es2", 1]
    code, _, error = measure(capsys, cine, "--labels", labels, *pair)
    assert code == 2
    assert "two different" in error


def test_the_text_names_the_notice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cine, labels = write_cine(tmp_path, "a", view="A4C"), write_labels(tmp_path, "labels")
    code = cli.main(["measure", str(cine), "--labels", str(labels), "--ed", "0", "--es", "1"])
    text = capsys.readouterr().out
    assert code == 0
    assert "EF: 54 %" in text or "EF: 55 %" in text
    assert "Research use only" in text


def test_beats_body_size_and_curves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cine, labels = write_beats(tmp_path)
    code, data, _ = measure(capsys, cine, "--labels", labels, "--height", 180, "--weight", 80)
    view = data["views"]["A4C"]  # type: ignore[index]
    assert code == 0
    assert len(view["beats"]) == 3
    assert view["heart_rate_bpm"] == pytest.approx(75, rel=0.02)
    assert view["edv_ml_m2"] == pytest.approx(view["edv_ml"] / 2)
    assert len(view["area_curve_cm2"]) == len(view["volume_curve_ml"]) == 61
    assert set(data["intervals"]) >= {"A4C.edv_ml", "A4C.esv_ml", "A4C.ef_percent"}  # type: ignore[call-overload]


class FakeDraft:
    """Replaces the prediction of masks by those of `beating`, or by none."""

    def __init__(self, view: View | None, reason: str = "") -> None:
        self.view, self.reason = view, reason

    def __call__(self, cine: Cine, progress: object) -> Drafted:
        labels = {} if self.reason else beating(61, 20)
        dice = {frame: {1: 0.95, 2: 0.9} for frame in labels}
        return Drafted(labels, dice, dict.fromkeys(labels, 0.7), None, self.view, self.reason)


def test_without_labels_the_masks_are_predicted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cine, labels = write_beats(tmp_path, view="")
    monkeypatch.setattr("app.commands.drafted.draft", FakeDraft(View.A2C))
    code, data, _ = measure(capsys, cine)
    _, given, _ = measure(capsys, cine, "--labels", labels, "--view", "A2C")
    view, drawn = data["views"]["A2C"], given["views"]["A2C"]  # type: ignore[index]
    assert code == 0
    assert view["view_source"] == "recognised"
    assert view["ef_percent"] == drawn["ef_percent"]
    assert any("expected Dice of the mask is 0.70" in text for text in data["warnings"])  # type: ignore[attr-defined]
    assert given["warnings"] == []


def test_a_picture_that_is_not_recognised_gives_a_sentence_and_no_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cine, _ = write_beats(tmp_path, view="")
    monkeypatch.setattr("app.commands.drafted.draft", FakeDraft(None, NOT_RECOGNISED))
    code, data, _ = measure(capsys, cine)
    (view,) = data["views"].values()  # type: ignore[attr-defined]
    assert code == 0
    assert view["ef_percent"] is view["edv_ml"] is view["ed_frame"] is None
    assert "No apical view of the left heart was recognised" in data["warnings"][0]  # type: ignore[index]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [(("--labels2", "x"), "needs --labels"), (("--label-set", "x"), "describes --labels")],
)
def test_options_of_labels_need_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], reason: str
) -> None:
    cine, _ = write_beats(tmp_path)
    code, _, error = measure(capsys, cine, *arguments)
    assert code == 2
    assert reason in error


def test_other_views_of_a_file_are_named_and_not_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cine, labels = write_beats(tmp_path, view="PLAX")
    _, data, _ = measure(capsys, cine, "--labels", labels)
    assert data["views"]["PLAX"]["ef_percent"] is None  # type: ignore[index]
    assert "not A4C, A2C or A3C" in data["warnings"][0]  # type: ignore[index]


def test_a_project_is_measured_in_pairs_with_its_facts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [
        write_beats(tmp_path, name, view=view)[0]
        for name, view in (("one", ""), ("two", "A2C"), ("three", ""))
    ]
    masks = beating(61, 20)
    with Project.create(tmp_path / "p.apical") as project:
        records = []
        for path in paths:
            cine = open_cine(path)
            cine.source.close()
            records.append(project.add_cine(replace(cine, study_uid="1.2.3")))
        for record in records[:2]:
            predictions = {
                frame: Prediction.of(mask, 0.9, 1, None, {1: 0.96}) for frame, mask in masks.items()
            }
            recorder = Recorder(project, record.id)
            recorder.draw(0, masks[0], "polygon", "A")
            project.save_predictions(record.id, predictions)
        recorder = Recorder(project, records[0].id)
        recorder.set_view(AssignedView(View.A4C, FactSource.MANUAL), "A")
        recorder.set_phase(20, PhaseMark(Phase.ED, FactSource.MANUAL), "A")
        recorder.set_phase(31, PhaseMark(Phase.ES, FactSource.MANUAL), "A")
        by_hand = ManualCalibration(((0.0, 0.0), (0.0, 100.0)), 40.0, 0.4, 0.4)
        Recorder(project, records[1].id).set_calibration(0, by_hand, "A")
    code, data, error = measure(capsys, tmp_path / "p.apical")
    assert (code, error) == (0, "")
    pairs: Any = data["measurements"]
    assert len(pairs) == 1
    pair = pairs[0]
    assert pair["cines"] == {"A4C": records[0].id, "A2C": records[1].id}
    assert (pair["views"]["A4C"]["ed_frame"], pair["views"]["A4C"]["es_frame"]) == (20, 31)
    assert pair["views"]["A4C"]["view_source"] == "manual"
    assert pair["biplane"]["ef_percent"] == pytest.approx(100 * (1 - 0.75**3), abs=2)
    assert any("nobody has checked" in text for text in pair["warnings"])
    assert any(text.startswith("A2C") and "calibrated by hand" in text for text in pair["warnings"])
    with Project.open(tmp_path / "p.apical") as project:
        project.save_result("measured_pairs", {str(records[0].id): 0})
    _, data, _ = measure(capsys, tmp_path / "p.apical")
    alone: Any = data["measurements"]
    assert [list(one["views"]) for one in alone] == [["A4C"], ["A2C"]]
    paths[1].unlink()
    code, data, _ = measure(capsys, tmp_path / "p.apical")
    assert code == 0
    assert "was not found" in data["warnings"][0]  # type: ignore[index]
    assert measure(capsys, tmp_path / "p.apical", "--ed", 1)[0] == 2


def test_a_project_without_masks_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Project.create(tmp_path / "p.apical").close()
    code, _, error = measure(capsys, tmp_path / "p.apical")
    assert code == 2
    assert "no masks yet" in error
