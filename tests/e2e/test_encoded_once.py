"""A study is encoded only once, in the window and on the command line."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from app import cli
from app.bench.phantom_dicom import write_phantom_dicom
from app.domain.cine import Frame
from app.encoders import registry
from app.encoders.registry import encoder_folders
from app.readers.open import open_cine
from app.storage.project import Project
from app.workspace.cine_entry import CineEntry
from app.workspace.opened_cine import OpenedCine
from tests.e2e.conftest import ProgramDriver
from tests.unit.fewshot.beating import beating
from vjepa_core.encoder.models import create_encoder
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.fewshot.fit import FitConfig
from vjepa_core.service import engine
from vjepa_core.service.messages import Report, Request, Shutdown, Stage

pytestmark = pytest.mark.slow

CINES = 20
HEIGHT, WIDTH = 72, 100
DRAWN = {7: (2,), 13: (0, 3)}
"""Annotated frames by cine."""
WIDENED = 13
"""Number of the cine that is also annotated outside its region."""
QUICK = FitConfig(steps=1, warm_steps=1)


class EngineInThreads:
    """The engine in threads of this process, so that runs of the encoder can be counted."""

    pid, alive = 1, True

    def __init__(
        self,
        *,
        cache_folder: Path,
        scratch_folder: Path,
        encoder: str,
        on_report: Callable[[Report], None],
        on_death: object,
    ) -> None:
        self._pipe, engine_end = multiprocessing.Pipe()
        self._on_report = on_report
        served_engine = engine.Engine(
            engine_end,
            cache_folder=cache_folder,
            scratch_folder=scratch_folder,
            encoder=encoder,
            encoder_folders=encoder_folders(),
        )
        self._threads = [
            threading.Thread(target=served_engine.run, name="engine-here"),
            threading.Thread(target=self._read, name="engine-reader"),
        ]
        self._engine_end = engine_end
        for thread in self._threads:
            thread.start()

    def send(self, request: Request) -> None:
        self._pipe.send(request)

    def stop(self) -> None:
        self.send(Shutdown())
        self._threads[0].join(60)
        self._engine_end.close()
        self._threads[1].join(60)
        self._pipe.close()

    def _read(self) -> None:
        while True:
            try:
                report = self._pipe.recv()
            except (EOFError, OSError):
                return
            self._on_report(report)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """The number of clips in each run of the encoder, which is tiny; fits take one step."""
    torch.set_num_threads(1)
    monkeypatch.setattr("app.engine.session.EngineProcess", EngineInThreads)
    for module in ("service.jobs", "fewshot.segmenter", "fewshot.compare"):
        monkeypatch.setattr(f"vjepa_core.{module}.FitConfig", lambda: QUICK)
    runs: list[int] = []
    forward = VisionTransformer3D.forward_intermediates

    def counted(self: VisionTransformer3D, clips: torch.Tensor, *args: Any, **more: Any) -> Any:
        runs.append(len(clips))
        return forward(self, clips, *args, **more)

    monkeypatch.setattr(VisionTransformer3D, "forward_intermediates", counted)
    registry.keep(tiny_encoder(tmp_path), "tiny")
    registry.choose("tiny")
    return runs


def tiny_encoder(folder: Path) -> Path:
    architecture = "vit_w48d4h2m96_patch16_224_t2"
    torch.manual_seed(0)
    model = create_encoder(architecture)
    save_file(model.state_dict(), folder / "run.safetensors")
    card: dict[str, Any] = {"name": "run", "family": "V-JEPA 2.1", "architecture": architecture}
    card |= {"parameters": 1, "licence": "MIT", "description": "-", "trained": True, "fps": 30.0}
    card |= {"depths": list(model.depths), "file": "run.safetensors"}
    card |= {"checksum": hashlib.sha256((folder / "run.safetensors").read_bytes()).hexdigest()}
    path = folder / "run.json"
    path.write_text(json.dumps(card), encoding="utf-8")
    return path


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder of DICOM cines of several frame rates and lengths, and a NIfTI file without a region."""
    folder = tmp_path / "study"
    folder.mkdir()
    for i in range(CINES):
        frames, _ = beating(5 + i % 3, HEIGHT, WIDTH, seed=i)
        if i == WIDENED:
            still = np.zeros((len(frames), 2 * HEIGHT, 2 * WIDTH), np.uint8)
            still[:, 40 : 40 + HEIGHT, 50 : 50 + WIDTH] = frames
            nib.save(nib.Nifti1Image(still.transpose(2, 1, 0), np.eye(4)), folder / f"cine{i:02}.nii")
        else:
            fps, path = (30.0, 61.0, 45.0)[i % 3], folder / f"cine{i:02}.dcm"
            write_phantom_dicom(path, frames, fps=fps, mm_per_px=(0.5, 0.5), view="A4C", jpeg=i % 2 == 0)
    return folder


def number(opened: OpenedCine) -> int:
    """Return the number in the file name of a cine."""
    return int(opened.cine.path.stem[4:])


def label_image(opened: OpenedCine, frame: int, margin: int = 0) -> Frame:
    """Return a rectangle in the region, and with a margin another one that extends beyond it."""
    label = np.zeros((opened.cine.height, opened.cine.width), np.uint8)
    box = opened.cine.region
    label[(box.y0 + box.y1) // 2 :, (box.x0 + box.x1) // 2 :][:20, : 15 + frame] = 1
    if margin:
        label[box.y0 + 10 : box.y0 + 30, box.x1 - 5 : box.x1 + margin] = 2
    return label


def wait_until_open(driver: ProgramDriver, entry: CineEntry) -> None:
    driver.wait(lambda: entry.opened is not None)


def step_through(driver: ProgramDriver) -> None:
    """Show each cine until the engine is idle."""
    driver.wait(lambda: len(driver.workspace.entries) == CINES and driver.workspace.opening == 0)
    for entry in sorted(driver.workspace.entries, key=lambda entry: entry.name):
        driver.workspace.choose(entry)
        wait_until_open(driver, entry)
        wait_until_idle(driver, driver.opened)


def wait_until_idle(driver: ProgramDriver, opened: OpenedCine) -> None:
    def is_idle() -> bool:
        last = driver.workspace.learner.last_progress
        return (
            last is not None
            and last.stage in (Stage.WAITING, Stage.UP_TO_DATE, Stage.NOT_RECOGNISED)
            and (last.cine_id, last.revision) == (opened.id, opened.revision)
        )

    driver.wait(is_idle)


def draw(driver: ProgramDriver) -> None:
    for opened in driver.workspace.opened_cines:
        frames = DRAWN.get(number(opened), ())
        if frames:
            driver.workspace.show(opened)
        for frame in frames:
            driver.workspace.editor.draw(opened, frame, label_image(opened, frame), "brush")


def draw_outside(driver: ProgramDriver) -> None:
    """Annotate pixels outside the region, and correct them twice."""
    (opened,) = (o for o in driver.workspace.opened_cines if number(o) == WIDENED)
    original, frame = opened.cine.region, DRAWN[WIDENED][0]
    driver.workspace.show(opened)
    for label in [label_image(opened, frame, margin=margin) for margin in (9, 12, 10)]:
        driver.workspace.editor.draw(opened, frame, label, "brush")
        wait_until_idle(driver, opened)
    assert opened.cine.region.width > original.width


def labels_of(project: Path, path: Path, out: Path) -> Path:
    out.mkdir()
    with Project.open(project) as opened:
        (record,) = (r for r in opened.cines() if r.name == path.name)
        for frame, label in opened.annotations(record.id).items():
            Image.fromarray(label).save(out / f"frame_{frame:04d}.png")
    return out


def test_a_study_of_twenty_cines_is_encoded_once(
    open_program: Callable[[Path], ProgramDriver],
    encoded: list[int],
    study: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = open_program(study)
    step_through(first)
    draw(first)
    draw_outside(first)
    assert Stage.FEATURES in first.stages
    assert first.workspace.project is not None
    project = first.workspace.project.path
    cines = {number(o): o.cine.path for o in first.workspace.opened_cines}
    first.window.close()
    n_runs = len(encoded)
    assert n_runs == CINES + 1  # one clip per cine, and one more with the wider region

    second = open_program(project)
    step_through(second)
    assert Stage.FEATURES not in second.stages
    assert Stage.UP_TO_DATE in second.stages
    second.window.close()
    assert len(encoded) == n_runs

    # Another project with the same cines in another order.
    with Project.create(tmp_path / "other.apical") as other:
        for i in sorted(cines, reverse=True):
            cine = open_cine(cines[i])
            other.add_cine(cine)
            cine.source.close()
    third = open_program(tmp_path / "other.apical")
    step_through(third)
    assert Stage.FEATURES not in third.stages
    third.window.close()
    assert len(encoded) == n_runs

    # The command line, with and without labels outside the region.
    for i in (7, WIDENED, WIDENED):
        labels = labels_of(project, cines[i], tmp_path / f"labels{i}-{len(list(tmp_path.iterdir()))}")
        out = tmp_path / "out"
        assert cli.main(["segment", str(cines[i]), "--labels", str(labels), "--out", str(out)]) == 0
    assert cli.main(["encoders", "compare", "tiny", "--project", str(project)]) == 0
    assert len(encoded) == n_runs, capsys.readouterr()

    # After the cache is cleared the encoder runs again, so the counts above are meaningful.
    assert cli.main(["doctor", "--clear-cache"]) == 0
    assert f"{CINES + 1} entries" in capsys.readouterr().out
    assert cli.main(["encoders", "compare", "tiny", "--project", str(project)]) == 0
    assert len(encoded) > n_runs
