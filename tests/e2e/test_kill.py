"""Killing the program during drawing loses at most the unfinished stroke."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.storage.project import Project
from app.storage.project_lookup import projects_in
from tests.e2e.conftest import ProgramDriver
from tests.e2e.drawing_program import draw_stroke
from tests.ui.user_input import dice

pytestmark = pytest.mark.slow

STROKES = 20
ROOT = Path(__file__).resolve().parents[2]


def test_a_kill_during_drawing_loses_no_finished_stroke(
    open_program: Callable[[Path], ProgramDriver],
    demo_cine_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    home = Path(os.environ["APICAL_HOME"])
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.drawing_program", str(demo_cine_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    n_drawn = 0
    try:
        assert program.stdout is not None
        while n_drawn < STROKES:
            n_drawn = int(program.stdout.readline())
    finally:
        program.kill()
        rest, _ = program.communicate()
    n_drawn = max([n_drawn, *map(int, rest.split())])  # including strokes reported until the process ended

    (path,) = projects_in(home / "projects")
    with Project.open(path) as project:
        stored = project.layer(1)
        predictions = project.predictions(1)
    assert n_drawn <= stored.revision <= n_drawn + 1
    assert all(np.isfinite(p.expected_dice) for p in predictions.values())

    # Everything is restored, including the history.
    reopened = open_program(demo_cine_path)
    found = reopened.opened.recorder.layer
    assert found.revision == stored.revision
    labels = found.labels
    for _ in range(stored.revision):
        reopened.user.keys("Ctrl+Z")
    assert found.annotated_frames == ()
    reopened.user.keys(*["Ctrl+Y"] * stored.revision)
    assert found.annotated_frames == tuple(labels)
    assert all(np.array_equal(reopened.drawn(frame), label) for frame, label in labels.items())
    reopened.window.close()

    # Drawing the same strokes again gives the same masks.
    monkeypatch.setenv("APICAL_HOME", str(tmp_path / "other-home"))
    redrawn = open_program(demo_cine_path)
    redrawn.user.keys("B")
    for number in range(stored.revision):
        draw_stroke(redrawn.user, number)
    assert redrawn.opened.recorder.layer.annotated_frames == tuple(labels)
    for frame, label in labels.items():
        # Not pixel by pixel: the size of the displayed image may differ.
        for value in np.unique(label)[1:]:
            assert dice(label, redrawn.drawn(frame), value) > 0.8
