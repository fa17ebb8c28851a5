"""Kill the whole program while somebody draws: at most the stroke in the air is lost."""

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
from tests.e2e.conftest import Desk
from tests.e2e.drawing_program import draw_stroke
from tests.ui.hand import dice

pytestmark = pytest.mark.slow

STROKES = 20
ROOT = Path(__file__).resolve().parents[2]


def test_kill_in_a_burst_of_strokes(
    open_desk: Callable[[Path], Desk],
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
    seen = 0
    try:
        assert program.stdout is not None
        while seen < STROKES:
            seen = int(program.stdout.readline())
    finally:
        program.kill()
        rest, _ = program.communicate()
    seen = max([seen, *map(int, rest.split())])  # it went on drawing until the blow fell

    (path,) = projects_in(home / "projects")
    with Project.open(path) as project:
        kept = project.layer(1)
        predictions = project.predictions(1)
    assert seen <= kept.revision <= seen + 1
    assert all(np.isfinite(p.confidence) for p in predictions.values())

    # Everything is there, the history included.
    survivor = open_desk(demo_cine_path)
    found = survivor.opened.recorder.layer
    assert found.revision == kept.revision
    labels = found.labels
    for _ in range(kept.revision):
        survivor.hand.keys("Ctrl+Z")
    assert found.annotated_frames == ()
    survivor.hand.keys(*["Ctrl+Y"] * kept.revision)
    assert found.annotated_frames == tuple(labels)
    assert all(np.array_equal(survivor.drawn(frame), label) for frame, label in labels.items())
    survivor.window.close()

    # And it is what was drawn: the same strokes once more look the same.
    monkeypatch.setenv("APICAL_HOME", str(tmp_path / "other-home"))
    again = open_desk(demo_cine_path)
    again.hand.keys("B")
    for number in range(kept.revision):
        draw_stroke(again.hand, number)
    assert again.opened.recorder.layer.annotated_frames == tuple(labels)
    for frame, label in labels.items():
        # Not to the pixel: the picture may have been a little larger on the screen.
        for value in np.unique(label)[1:]:
            assert dice(label, again.drawn(frame), value) > 0.8
