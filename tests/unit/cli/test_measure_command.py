"""`apical measure` on phantoms and on label images with known volumes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app import cli
from app.bench.phantom_dicom import write_phantom_dicom
from tests.unit.measure.test_geometry import LENGTH, RADIUS, VOLUME, half_ellipse

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
