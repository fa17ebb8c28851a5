"""`apical segment`: input, output and errors."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from app import cli
from app.domain.labels import LEFT_HEART as LEFT_HEART_SET
from app.readers.open import open_cine
from app.storage.label_set_json import label_set_to_json
from tests.unit.cli.test_measure_command import write_beats
from tests.unit.readers.dicom_oracle import grey_cine, region
from vjepa_core.encoder.catalogue import UNTRAINED_ENCODER
from vjepa_core.errors import Cancelled, CoreError
from vjepa_core.fewshot import segmenter
from vjepa_core.fewshot.starter import LEFT_HEART

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
LABELS = ROOT / "resources" / "demo"
Fake = Callable[..., segmenter.Segmentation]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Replace the segmentation by class 1 in the whole region, and record the arguments."""
    kept: list[dict[str, Any]] = []

    def fake(frames: Any, labels: Any, classes: Any, **options: Any) -> segmenter.Segmentation:
        kept.append({"frames": frames, "labels": labels, "classes": classes, **options})
        options["on_progress"]("fit", 0, 1)
        masks, confidence = np.ones(frames.shape, np.uint8), np.full(len(frames), 0.5, np.float32)
        masks[list(options["damaged"])] = 0
        confidence[list(options["damaged"])] = 0
        return segmenter.Segmentation(
            masks=masks,
            confidence=confidence,
            losses=[1.5, float("nan")],
            steps=2,
            stopped_by="steps" if options["budget_s"] is None else "budget",
            seconds={"features": 1.0, "motion": 1.0, "fit": 1.0, "predict": 1.0},
            encoder_name="some-encoder",
            encoder_checksum="abc",
            encoder_trained=False,
        )

    monkeypatch.setattr(segmenter, "segment", fake)
    return kept


def _segment(cine: Path, labels: Path, out: Path, *more: str) -> int:
    return cli.main(["segment", str(cine), "--labels", str(labels), "--out", str(out), *more])


def test_masks_have_the_size_of_the_cine_and_are_empty_outside_the_region(
    demo_cine_path: Path, tmp_path: Path, calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _segment(demo_cine_path, LABELS, tmp_path, "--json", "--seed", "7") == 0
    output = json.loads(capsys.readouterr().out)
    cine = open_cine(demo_cine_path)
    volume = np.asarray(nib.load(tmp_path / "masks.nii.gz").dataobj)  # type: ignore[attr-defined]
    assert volume.shape == (cine.width, cine.height, 1, cine.n_frames)
    expected = np.zeros((cine.height, cine.width), np.uint8)
    expected[cine.region.slices] = 1
    assert (volume[:, :, 0].transpose(2, 1, 0) == expected).all()
    with Image.open(tmp_path / "masks" / "frame_0029.png") as image:
        assert (np.asarray(image) == expected).all()
    assert (tmp_path / "areas.csv").read_text().startswith("frame,time_ms")
    assert sorted(calls[0]["labels"]) == [6, 24]
    assert calls[0]["frames"].shape == (30, cine.region.height, cine.region.width)
    assert calls[0]["seed"] == 7
    assert calls[0]["fps"] == pytest.approx(30, rel=1e-3)
    assert set(output["files"]) >= {"masks.nii.gz", "areas.csv", "summary.json", "masks/frame_0000.png"}


def test_the_summary_contains_the_settings_and_nothing_about_the_patient(
    demo_cine_path: Path, tmp_path: Path, calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _segment(demo_cine_path, LABELS, tmp_path) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["encoder"] == {"name": "some-encoder", "checksum": "abc", "trained": False}
    assert summary["repeatable"] is True
    assert summary["labelled_frames"] == [6, 24]
    assert summary["loss_first"] == 1.5
    assert summary["loss_last"] is None  # JSON has no NaN
    assert len(summary["confidence"]) == 30
    assert "Dice" in summary["confidence_is"]
    assert set(summary["seconds"]) >= {"decode", "features", "fit", "predict", "write"}
    assert "Research use only" in summary["notice"]
    assert "uid" not in summary
    assert demo_cine_path.name not in json.dumps(summary)
    out, err = capsys.readouterr()
    assert "not trained" in out
    assert "Research use only" in out
    assert "fit ..." in err


def test_the_fit_starts_from_the_starter_head_as_in_the_window(
    demo_cine_path: Path, tmp_path: Path, calls: list[dict[str, Any]]
) -> None:
    assert _segment(demo_cine_path, LABELS, tmp_path) == 0
    assert calls[0]["start"].head.config.classes == calls[0]["classes"] == LEFT_HEART
    assert calls[0]["start"].head.config.encoder_checksum == calls[0]["encoder"].checksum
    assert json.loads((tmp_path / "summary.json").read_text())["started_from"] == "left-heart"


def test_with_another_encoder_the_fit_starts_from_a_new_head(
    demo_cine_path: Path, tmp_path: Path, calls: list[dict[str, Any]]
) -> None:
    assert _segment(demo_cine_path, LABELS, tmp_path, "--encoder", UNTRAINED_ENCODER) == 0
    assert calls[0]["start"] is None
    assert json.loads((tmp_path / "summary.json").read_text())["started_from"] is None


def test_formats_are_chosen(demo_cine_path: Path, tmp_path: Path, calls: list[dict[str, Any]]) -> None:
    assert _segment(demo_cine_path, LABELS, tmp_path, "--formats", "csv") == 0
    assert {file.name for file in tmp_path.iterdir()} == {
        "areas.csv",
        "summary.json",
        "measurements.json",
        "measurements.csv",
    }


def test_measurements_beside_the_masks_are_those_of_apical_measure(
    tmp_path: Path,
    calls: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cine, labels = write_beats(tmp_path, view="A2C")
    fake = segmenter.segment

    def segment(frames: Any, given: Any, classes: Any, **options: Any) -> segmenter.Segmentation:
        found = fake(frames, given, classes, **options)
        masks = np.stack([given[frame] for frame in range(len(frames))])
        return replace(found, masks=masks, structure_dice=[{1: 0.95}] * len(frames))

    monkeypatch.setattr(segmenter, "segment", segment)
    out = tmp_path / "out"
    assert _segment(cine, labels, out) == 0
    written = json.loads((out / "measurements.json").read_text())
    capsys.readouterr()
    assert cli.main(["measure", str(cine), "--labels", str(out / "masks"), "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert written["views"] == measured["views"]
    assert written["views"]["A2C"]["edv_ml"] > 50
    assert any("low" in text or "below 0.80" in text for text in written["warnings"])
    low, high = written["intervals"]["A2C.ef_percent"]
    assert low < written["views"]["A2C"]["ef_percent"] < high
    with (out / "measurements.csv").open() as file:
        rows = list(csv.DictReader(file))
    (shown,) = (row for row in rows if (row["beat"], row["quantity"]) == ("shown", "ef_percent"))
    assert float(shown["value"]) == written["views"]["A2C"]["ef_percent"]
    assert (float(shown["low_90"]), float(shown["high_90"])) == (low, high)


def test_structures_without_a_ventricle_are_not_measured(
    demo_cine_path: Path, tmp_path: Path, calls: list[dict[str, Any]]
) -> None:
    structures = tuple(replace(one, snomed="") for one in LEFT_HEART_SET.structures)
    file = tmp_path / "set.json"
    file.write_text(label_set_to_json(replace(LEFT_HEART_SET, structures=structures)))
    assert _segment(demo_cine_path, LABELS, tmp_path / "out", "--label-set", str(file)) == 0
    written = json.loads((tmp_path / "out" / "measurements.json").read_text())
    assert written["views"] == {}
    assert "no LV cavity" in written["warnings"][0]


def test_a_budget_that_ended_the_fit_is_reported(
    demo_cine_path: Path, tmp_path: Path, calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _segment(demo_cine_path, LABELS, tmp_path, "--budget", "5") == 0
    assert "not repeatable" in capsys.readouterr().err
    assert json.loads((tmp_path / "summary.json").read_text())["repeatable"] is False


def test_labels_outside_the_region_make_it_larger(
    demo_cine_path: Path, tmp_path: Path, calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    label = np.zeros((240, 320), np.uint8)
    label[230:, 310:] = 1
    (tmp_path / "labels").mkdir()
    Image.fromarray(label).save(tmp_path / "labels" / "frame_0003.png")
    assert _segment(demo_cine_path, tmp_path / "labels", tmp_path / "out") == 0
    assert "beyond the ultrasound region" in capsys.readouterr().err
    region = json.loads((tmp_path / "out" / "summary.json").read_text())["region"]
    assert (region["x1"], region["y1"]) == (320, 240)
    assert (calls[0]["labels"][3] == 1).sum() == 100


def test_masks_of_a_nifti_cine_have_its_affine(tmp_path: Path, calls: list[dict[str, Any]]) -> None:
    affine = np.array([[0.5, 0, 0, -40.0], [0, 0.5, 0, 25.0], [0, 0, 1, 3.0], [0, 0, 0, 1]])
    frames = np.random.default_rng(1).integers(0, 255, (4, 96, 128)).astype(np.uint8)
    label = np.full((4, 96, 128), 255, np.uint8)
    label[1], label[3] = 0, 0
    label[1, 40:60, 30:50] = 1
    nib.save(nib.Nifti1Image(frames.transpose(2, 1, 0), affine), tmp_path / "cine.nii.gz")
    image = nib.as_closest_canonical(nib.Nifti1Image(label.transpose(2, 1, 0), affine))
    turned = image.as_reoriented(np.array([[0, -1], [1, -1], [2, 1]]))
    nib.save(turned, tmp_path / "labels.nii.gz")
    out = tmp_path / "out"
    assert _segment(tmp_path / "cine.nii.gz", tmp_path / "labels.nii.gz", out) == 0
    masks: Any = nib.load(out / "masks.nii.gz")
    assert masks.affine == pytest.approx(affine)
    assert masks.shape == (128, 96, 1, 4)
    given = calls[0]["labels"]
    assert sorted(given) == [1, 3]
    assert (given[1] == 1).sum() == 400
    assert not given[3].any()  # annotated as empty
    x0, y0 = (json.loads((out / "summary.json").read_text())["region"][k] for k in ("x0", "y0"))
    assert np.argwhere(given[1] == 1).min(0).tolist() == [40 - y0, 30 - x0]


def test_non_square_pixels_are_used_and_stored(
    tmp_path: Path, calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    cine = tmp_path / "cine.dcm"
    grey_cine(cine, SequenceOfUltrasoundRegions=[region(0, 0, 127, 95, 0.031, PhysicalDeltaY=0.015)])
    assert cli.main(["info", str(cine)]) == 0
    assert "0.3100 x 0.1500 mm" in capsys.readouterr().out
    label = np.zeros((96, 128), np.uint8)
    label[40:60, 40:80] = 1
    (tmp_path / "labels").mkdir()
    Image.fromarray(label).save(tmp_path / "labels" / "frame_0003.png")
    assert _segment(cine, tmp_path / "labels", tmp_path / "out") == 0
    assert calls[0]["pixel_aspect"] == pytest.approx(0.15 / 0.31)
    masks: Any = nib.load(tmp_path / "out" / "masks.nii.gz")
    assert masks.header.get_zooms()[:2] == pytest.approx((0.31, 0.15))
    (row, *_) = list(csv.DictReader((tmp_path / "out" / "areas.csv").open()))
    assert float(row["area_mm2"]) == pytest.approx(int(row["pixels"]) * 0.31 * 0.15, abs=0.01)


def test_an_error_about_a_mask_of_0_and_255_mentions_no_damage(
    demo_cine_path: Path, tmp_path: Path, calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    label = np.zeros((240, 320), np.uint8)
    label[80:120, 100:160] = 255
    (tmp_path / "labels").mkdir()
    Image.fromarray(label).save(tmp_path / "labels" / "frame_0003.png")
    assert _segment(demo_cine_path, tmp_path / "labels", tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "255 means unlabelled" in line
    assert "damaged" not in line
    assert not calls


def test_label_files_that_are_not_used_are_named(
    demo_cine_path: Path, tmp_path: Path, calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    label = np.zeros((240, 320), np.uint8)
    label[80:120, 100:160] = 1
    (tmp_path / "labels").mkdir()
    for name in ("frame_0003.png", "frame_0006_mask.png", "frame-0009.png", "0012.png"):
        Image.fromarray(label).save(tmp_path / "labels" / name)
    assert _segment(demo_cine_path, tmp_path / "labels", tmp_path / "out") == 0
    assert sorted(calls[0]["labels"]) == [3, 6, 9]
    err = capsys.readouterr().err
    assert "frame-0009.png (frame 9), frame_0006_mask.png (frame 6)" in err
    assert "Not used as labels: 0012.png" in err


def test_files_of_a_longer_cine_are_reported_and_not_deleted(
    demo_cine_path: Path, tmp_path: Path, calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "masks" / "frame_0030.png"
    old.parent.mkdir()
    old.write_bytes(b"old")
    assert _segment(demo_cine_path, LABELS, tmp_path) == 0
    assert "longer cine" in capsys.readouterr().err
    assert old.read_bytes() == b"old"


def test_a_damaged_frame_has_an_empty_mask_and_is_reported(
    demo_cine_path: Path, tmp_path: Path, calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    from pydicom import dcmread
    from pydicom.encaps import encapsulate, generate_frames

    ds = dcmread(demo_cine_path)
    jpegs = list(generate_frames(ds.PixelData, number_of_frames=30))
    jpegs[6] = jpegs[6][:200]
    ds.PixelData = encapsulate(jpegs)
    ds.save_as(tmp_path / "damaged.dcm")
    out = tmp_path / "out"
    assert _segment(tmp_path / "damaged.dcm", LABELS, out) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["damaged_frames"] == [6]
    assert summary["labelled_frames"] == [24]
    assert summary["confidence"][6] == 0
    with Image.open(out / "masks" / "frame_0006.png") as image:
        assert not np.asarray(image).any()
    assert "label of frame 6 is left out" in capsys.readouterr().err


def test_an_unwritable_cache_does_not_prevent_the_segmentation(
    demo_cine_path: Path,
    tmp_path: Path,
    calls: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("APICAL_HOME", str(tmp_path / "file"))
    assert _segment(demo_cine_path, LABELS, tmp_path / "out") == 0
    assert calls[0]["cache"] is None
    assert "not cached" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["--formats", "seg"], "nifti, png, csv"),
        (["--formats", ","], "formats is empty"),
        (["--budget", "0"], "--budget"),
        (["--budget", "nan"], "--budget"),
        (["--seed", "-1"], "--seed"),
        (["--seed", "one"], "--seed"),
        (["--encoder", "nobody"], "nobody"),
    ],
)
def test_bad_options(
    more: list[str],
    word: str,
    demo_cine_path: Path,
    tmp_path: Path,
    calls: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _segment(demo_cine_path, LABELS, tmp_path / "out", *more) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert word in err
    assert err.count("\n") == 1
    assert not calls


def test_bad_files(
    demo_cine_path: Path, tmp_path: Path, calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    small = tmp_path / "small"
    small.mkdir()
    Image.new("L", (10, 10), 1).save(small / "frame_0000.png")
    (tmp_path / "a-file").write_text("")
    masks = tmp_path / "earlier" / "masks"
    masks.mkdir(parents=True)
    for cine, labels, out, word in [
        (tmp_path / "gone.dcm", LABELS, tmp_path / "o", "gone.dcm"),
        (demo_cine_path, tmp_path / "gone", tmp_path / "o", "no labels"),
        (demo_cine_path, empty, tmp_path / "o", "empty"),
        (demo_cine_path, small, tmp_path / "o", "10x10"),
        (demo_cine_path, LABELS, tmp_path / "a-file", "is a file"),
        (demo_cine_path, LABELS, tmp_path / "a-file" / "o", "cannot be written"),
        (demo_cine_path, masks, tmp_path / "earlier", "overwrite the labels"),
        (masks, LABELS, tmp_path / "earlier", "overwrite the cine"),
    ]:
        assert _segment(cine, labels, out) == 2
        err = capsys.readouterr().err
        (line,) = err.splitlines()
        assert word in line
    assert not calls


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [(CoreError("The weights are damaged."), 2, "damaged"), (Cancelled(), 130, "Stopped")],
)
def test_errors_of_the_core_are_reported(
    error: Exception,
    code: int,
    word: str,
    demo_cine_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(segmenter, "segment", fails)
    assert _segment(demo_cine_path, LABELS, tmp_path) == code
    assert word in capsys.readouterr().err.splitlines()[-1]


@pytest.fixture(scope="module")
def real(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """The command on the demo cine, in a process."""
    from pydicom import examples

    home, out = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("out")
    cine = str(examples.get_path("ybr_color"))
    command = [sys.executable, "-m", "app.cli", "segment", cine, "--labels", str(LABELS), "--out", str(out)]
    done = subprocess.run(
        [*command, "--budget", "2", "--json"],
        cwd=ROOT,
        env={**os.environ, "APICAL_HOME": str(home), "OMP_WAIT_POLICY": "PASSIVE"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, out


def test_the_demo_in_a_process(real: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, out = real
    assert done.returncode == 0, done.stderr
    output = json.loads(done.stdout)
    assert output["frames"] == 30
    assert output["steps"] >= 1
    volume = np.asarray(nib.load(out / "masks.nii.gz").dataobj)  # type: ignore[attr-defined]
    with Image.open(LABELS / "frame_0006.png") as image:
        human = np.asarray(image)
    found = volume[:, :, 0].transpose(2, 1, 0)[6]
    overlap = 2 * ((found == 1) & (human == 1)).sum() / ((found == 1).sum() + (human == 1).sum())
    assert overlap > 0.8
    assert (volume == 1).any(axis=(0, 1, 2)).all()  # the cavity is on every frame
