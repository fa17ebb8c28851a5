"""`apical encoders`: keep, choose, remove and compare."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from app import cli
from app.commands.benches.user_cines import project_cines
from app.commands.labelled_cines import from_project
from app.domain.labels import LEFT_HEART
from app.encoders import registry
from app.readers.open import open_cine
from app.storage.labels_io import read_labels
from app.storage.project import Project
from app.storage.recorder import Recorder
from tests.conftest import ROOT
from tests.unit.fewshot.beating import beating
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER, UNTRAINED_ENCODER, EncoderCard
from vjepa_core.encoder.models import create_encoder
from vjepa_core.fewshot import compare as core
from vjepa_core.fewshot.compare import EncoderResult, LabelledCine, Prediction
from vjepa_core.fewshot.fit import FitConfig
from vjepa_core.fewshot.held_out import Target

pytestmark = pytest.mark.slow

NAMES = ["LV cavity", "LV myocardium"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Cards of two tiny encoders from two runs of pre-training, both named "run"."""
    cards = []
    for seed in (1, 2):
        folder = tmp_path_factory.mktemp("run")
        torch.manual_seed(seed)
        weights = {k: v.half() for k, v in create_encoder("vit_tiny_patch16_224_t2").state_dict().items()}
        save_file(weights, folder / "run.safetensors")
        checksum = hashlib.sha256((folder / "run.safetensors").read_bytes()).hexdigest()
        card: dict[str, Any] = {"name": "run", "family": "V-JEPA 2.1"}
        card |= {"architecture": "vit_tiny_patch16_224_t2", "parameters": 5783040}
        card |= {"licence": "Research: no sale", "description": "Hardly trained."}
        card |= {"trained": True, "checksum": checksum, "file": "run.safetensors", "fps": 30.0}
        (folder / "run.json").write_text(json.dumps(card | {"depths": [5, 11]}), encoding="utf-8")
        cards.append(folder / "run.json")
    return cards


@pytest.fixture(scope="module")
def heart(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A cine of ten frames, and a folder with the labels of two of them."""
    folder = tmp_path_factory.mktemp("heart")
    frames, masks = beating(10)
    nib.save(nib.Nifti1Image(frames.transpose(2, 1, 0), np.eye(4)), folder / "heart.nii")
    (folder / "labels").mkdir()
    for frame in (2, 6):
        Image.fromarray(masks[frame]).save(folder / "labels" / f"frame_{frame:04d}.png")
    return folder / "heart.nii", folder / "labels"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit fits to two steps."""
    monkeypatch.setattr(core, "FitConfig", lambda: FitConfig(steps=2))
    torch.set_num_threads(1)


@pytest.fixture
def project(tmp_path: Path, heart: tuple[Path, Path]) -> Iterator[Project]:
    """A project with two outlined frames, open as in the window."""
    with Project.create(tmp_path / "heart.apical") as opened:
        cine = open_cine(heart[0])
        recorder = Recorder(opened, opened.add_cine(cine).id)
        shape = (cine.n_frames, cine.height, cine.width)
        for frame, label in read_labels(heart[1], shape, LEFT_HEART).items():
            recorder.draw(frame, label, "brush", "somebody")
        cine.source.close()
        yield opened


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = cli.main(["encoders", *map(str, words)])
    output = capsys.readouterr()
    return code, output.out, output.err


def report(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    code, out, err = run(capsys, *words, "--json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def test_keep_choose_list_and_remove(capsys: pytest.CaptureFixture[str], runs: list[Path]) -> None:
    assert report(capsys, "keep", runs[0], "mine")["chosen"] is False
    assert report(capsys, "choose", "mine") == {"chosen": "mine"}
    listed = report(capsys, "list")["encoders"]
    output = [(e["name"], e["chosen"], e["own"], e["default"]) for e in listed if e["own"] or e["default"]]
    assert output == [(DEFAULT_ENCODER, False, False, True), ("mine", True, True, False)]
    _, text, _ = run(capsys, "list")
    (line,) = [line for line in text.splitlines() if line.startswith("*  ")]
    assert "mine" in line
    assert report(capsys, "check", "mine")["ok"] is True
    report(capsys, "remove", "mine")
    assert report(capsys, "check", DEFAULT_ENCODER)["chosen"] is True


def test_compare_on_files(
    capsys: pytest.CaptureFixture[str],
    runs: list[Path],
    heart: tuple[Path, Path],
    tmp_path: Path,
    quick: None,
) -> None:
    registry.keep(runs[0], "mine")
    out = tmp_path / "out"
    code, text, err = run(
        capsys, "compare", "mine", *runs, "--cine", heart[0], "--labels", heart[1], "--out", out, "--json"
    )
    assert code == 0, err
    found = json.loads(text)
    one, other, third = found["encoders"]
    assert [e["name"] for e in found["encoders"]] == ["mine", "run", "run (2)"]
    assert found["classes"] == NAMES
    assert set(one["per_class"]) == set(NAMES)
    assert (one["frames"], found["labelled_frames"]) == (2, 2)
    # The same weights under another name give the same figures.
    assert (one["mean_dice"], one["per_class"]) == (other["mean_dice"], other["per_class"])
    assert one["checksum"] == other["checksum"] != third["checksum"]
    assert "run and mine have the same weights." in found["note"]
    assert "2 left-out frames of 1 cine." in found["note"]
    assert "untrained head" not in found["note"]  # none of them has a starter head
    assert one["difference"] is None
    assert third["difference"]["low"] <= third["difference"]["mean"] <= third["difference"]["high"]
    assert [p["frame"] for p in found["pictures"]] == [2, 6]
    for image in found["pictures"]:
        assert set(image["files"]) == {"mine", "run", "run (2)"}
        truth = cv2.imread(image["truth"])
        drawn = cv2.imread(image["files"]["mine"])
        assert truth is not None
        assert drawn is not None
        assert truth.shape == drawn.shape
        for c in LEFT_HEART.structures[:2]:
            assert np.all(truth == c.colour[::-1], axis=-1).any()
            assert np.all(drawn == c.colour[::-1], axis=-1).any()
    assert len(list(out.iterdir())) == 8
    assert all(re.fullmatch(r"(Note: .*|.+ \d+/\d+)", line) for line in err.splitlines())
    assert "mine: fits 4/4" in err.splitlines()


def test_compare_on_a_project_that_is_open_in_the_window(
    capsys: pytest.CaptureFixture[str], runs: list[Path], project: Project, quick: None
) -> None:
    before = {f.name: f.read_bytes() for f in project.path.parent.iterdir() if f.suffix != ".apical-shm"}
    code, text, err = run(capsys, "compare", runs[0], runs[1], "--project", project.path)
    assert code == 0, err
    assert "LV MYOCARDIUM" in text
    assert "LEFT ATRIUM" not in text
    assert "run (2) against run: " in text
    after = {f.name: f.read_bytes() for f in project.path.parent.iterdir() if f.suffix != ".apical-shm"}
    assert before == after


def predict_the_truth(
    cines: Mapping[int, LabelledCine],
    classes: tuple[int, ...],
    cards: Sequence[EncoderCard],
    targets: Sequence[Target],
    **_: object,
) -> list[EncoderResult]:
    """Replace fits: every encoder predicts the truth, or nothing for unlabelled frames."""
    predictions = []
    for target in targets:
        cine = cines[target.cine]
        mask = cine.labels.get(target.frame, np.zeros(cine.frames.shape[1:], np.uint8))
        predictions.append(Prediction(target, mask, dict.fromkeys(target.scored, 1.0)))
    return [EncoderResult(card, predictions, 1.0) for card in cards]


def test_a_note_states_that_fits_do_not_start_from_the_bundled_head(
    capsys: pytest.CaptureFixture[str],
    runs: list[Path],
    heart: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(core, "compare", predict_the_truth)
    ships = {DEFAULT_ENCODER: object()}
    monkeypatch.setattr("vjepa_core.fewshot.starter.load_starter", lambda card: ships.get(card.name))
    words = ("compare", DEFAULT_ENCODER, runs[0], "--cine", heart[0], "--labels", heart[1])
    note = report(capsys, *words)["note"]
    assert "untrained head, the same for all encoders" in note
    assert f"in the window those over {DEFAULT_ENCODER} start from the starter head" in note


def test_scribbles_are_fitted_but_not_scored(
    capsys: pytest.CaptureFixture[str],
    runs: list[Path],
    heart: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[LabelledCine] = []

    def compared(cines: Mapping[int, LabelledCine], *more: Any, **_: object) -> list[EncoderResult]:
        seen.extend(cines.values())
        return predict_the_truth(cines, *more)

    monkeypatch.setattr(core, "compare", compared)
    labels = shutil.copytree(heart[1], tmp_path / "labels")
    scribble = np.array(Image.open(labels / "frame_0002.png"))
    scribble[:, 60:] = 255
    Image.fromarray(scribble).save(labels / "frame_0004.png")
    words = ("compare", runs[0], "--cine", heart[0], "--labels", labels)
    found = report(capsys, *words)
    assert (found["encoders"][0]["frames"], found["labelled_frames"]) == (2, 2)
    assert "1 scribbled frame is used in fits but not scored." in found["note"]
    assert [sorted(cine.labels) for cine in seen] == [[2, 4, 6]]
    (labels / "frame_0006.png").unlink()
    for frame in (1, 3, 5, 7, 8):
        shutil.copy(labels / "frame_0004.png", labels / f"frame_{frame:04d}.png")
    out = tmp_path / "out"
    images = report(capsys, *words, "--out", out)["pictures"]
    # Images show predictions, also of frames without a label.
    assert [image["frame"] for image in images] == [0, 6, 9]
    (labels / "frame_0002.png").unlink()
    refused(capsys, "contains only scribbles", *words)


def test_benchmarks_skip_scribbles_with_a_warning(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    (record,) = project.cines()
    scribble = np.full_like(next(iter(project.annotations(record.id).values())), 255)
    scribble[40:50, 50:60] = 1
    Recorder(project, record.id).draw(4, scribble, "brush", "somebody")
    (cine,) = project_cines(project.path, lambda *_: None)
    assert sorted(cine.labels) == [2, 6]
    assert "Scribbled frames of heart.apical are skipped: 1." in caplog.text
    with from_project(project.path) as annotated:
        assert sorted(annotated.cines[record.id].labels) == [2, 4, 6]


def test_one_labelled_frame_gives_images_and_a_note(
    capsys: pytest.CaptureFixture[str],
    runs: list[Path],
    heart: tuple[Path, Path],
    tmp_path: Path,
    quick: None,
) -> None:
    (tmp_path / "labels").mkdir()
    shutil.copy(heart[1] / "frame_0006.png", tmp_path / "labels")
    words = ("--cine", heart[0], "--labels", tmp_path / "labels", "--out", tmp_path / "out")
    found = report(capsys, "compare", runs[0], *words)
    (one,) = found["encoders"]
    assert (one["mean_dice"], one["per_class"], one["frames"]) == (None, {}, 0)
    assert found["note"].startswith("There is no result")
    assert len(found["pictures"]) == 3
    assert not any(p["labelled"] or p["frame"] == 6 for p in found["pictures"])
    assert all(Path(p["truth"]).is_file() for p in found["pictures"])
    assert found["classes"] == [c.name for c in LEFT_HEART.structures]


def test_a_project_without_labels_or_cines_is_rejected(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, heart: tuple[Path, Path], runs: list[Path]
) -> None:
    moved = tmp_path / "there" / "heart.nii"
    moved.parent.mkdir()
    shutil.copy(heart[0], moved)
    with Project.create(tmp_path / "heart.apical") as opened:
        cine = open_cine(moved)
        recorder = Recorder(opened, opened.add_cine(cine).id)
        refused(capsys, "outline a structure", "compare", runs[0], "--project", opened.path)
        recorder.draw(0, np.ones((cine.height, cine.width), np.uint8), "brush", "somebody")
        cine.source.close()
        moved.unlink()
        refused(capsys, "None of the labelled cines", "compare", runs[0], "--project", opened.path)


def test_moved_cines_are_found_next_to_the_project_or_skipped(
    tmp_path: Path, heart: tuple[Path, Path]
) -> None:
    cines = [tmp_path / "there" / f"heart-{i}.nii" for i in range(2)]
    cines[0].parent.mkdir()
    shutil.copy(heart[0], cines[0])
    nib.save(nib.Nifti1Image(beating(5)[0].transpose(2, 1, 0), np.eye(4)), cines[1])
    with Project.create(tmp_path / "here" / "heart.apical") as opened:
        for path in cines:
            cine = open_cine(path)
            label = np.ones((cine.height, cine.width), np.uint8)
            recorder = Recorder(opened, opened.add_cine(cine).id)
            recorder.draw(0, label, "brush", "somebody")
            recorder.draw(1, label, "brush", "somebody")
            recorder.draw(1, np.zeros_like(label), "clear", "somebody")
            cine.source.close()
        cines[0].rename(tmp_path / "here" / "renamed.nii")
        with from_project(opened.path) as annotated:
            assert (len(annotated.cines), annotated.missing, annotated.n_outlined) == (2, 0, 2)
            assert annotated.cines[1].cine.path.name == "renamed.nii"
        cines[1].unlink()
        with from_project(opened.path) as annotated:
            assert (list(annotated.cines), annotated.missing) == ([1], 1)


def refused(capsys: pytest.CaptureFixture[str], message: str, *words: object) -> None:
    code, out, err = run(capsys, *words)
    assert code == 2
    assert out == ""
    assert message in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compare"], "NAME_OR_CARD"),
        (["compare", DEFAULT_ENCODER], "--project FILE"),
        (["compare", DEFAULT_ENCODER, "--cine", "a.dcm"], "--labels DIR"),
        (["compare", DEFAULT_ENCODER, "--labels", "a"], "--labels DIR"),
        (["compare", DEFAULT_ENCODER, "--cine", "a", "--labels", "b", "--project", "c"], "--project FILE"),
        (["compare", "nobody", "--project", "c"], "There is no encoder called nobody"),
        (["compare", "gone.json", "--project", "c"], "gone.json cannot be read"),
        (["compare", DEFAULT_ENCODER, "--project", "gone.apical"], "no project at gone.apical"),
        (["compare", DEFAULT_ENCODER, "--project", "README.md"], "not an Apical project"),
        (["compare", DEFAULT_ENCODER, "--cine", "gone.dcm", "--labels", "b"], "does not exist"),
        (["compare", DEFAULT_ENCODER, "--project", "c", "--seed", "-1"], "--seed is -1"),
        (["compare", DEFAULT_ENCODER, "--project", "c", "--out", "README.md"], "is a file"),
        (["choose", "nobody"], "There is no encoder called nobody"),
        (["remove", DEFAULT_ENCODER], "ships with the program"),
        (["keep", "gone.json", "mine"], "cannot be read"),
        (["keep", "gone.json", "my name"], "not a valid name for an encoder"),
    ],
)
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(ROOT)
    refused(capsys, message, *words)


def test_damaged_weights_are_reported(
    capsys: pytest.CaptureFixture[str], runs: list[Path], heart: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(runs[0].parent, tmp_path / "bad")
    (tmp_path / "bad" / "run.safetensors").write_bytes(b"x")
    words = ("compare", tmp_path / "bad" / "run.json", "--cine", heart[0], "--labels", heart[1])
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert "is damaged" in err.splitlines()[-1]


def test_segment_uses_the_chosen_encoder_by_default(
    runs: list[Path], heart: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vjepa_core.fewshot import segmenter

    asked: list[str] = []

    def fake(*_: object, encoder: Any, **__: object) -> None:
        asked.append(encoder.name)
        raise KeyboardInterrupt

    monkeypatch.setattr(segmenter, "segment", fake)
    registry.keep(runs[0], "mine")
    registry.choose("mine")
    words = ["segment", str(heart[0]), "--labels", str(heart[1]), "--out", str(tmp_path / "out")]
    assert cli.main(words) == 130
    assert cli.main([*words, "--encoder", DEFAULT_ENCODER]) == 130
    assert asked == ["mine", DEFAULT_ENCODER]


def test_doctor_reports_a_bad_card(runs: list[Path]) -> None:
    from app import paths
    from app.commands import system_probes

    registry.keep(runs[0], "mine")
    registry.choose("mine")
    found, error = system_probes.encoders()
    assert [(e["name"], e["chosen"], e["sound"]) for e in found] == [
        (DEFAULT_ENCODER, False, True),
        (UNTRAINED_ENCODER, False, None),
        ("mine", True, True),
    ]
    assert error == ""
    (paths.encoders_dir() / "bad.json").write_text("{", encoding="utf-8")
    found, error = system_probes.encoders()
    assert [e["name"] for e in found] == [DEFAULT_ENCODER, UNTRAINED_ENCODER, "mine"]
    assert "bad.json cannot be read" in error
