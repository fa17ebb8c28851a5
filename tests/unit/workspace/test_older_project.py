"""A project written by the previous version opens completely in the workspace."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.workspace.cine_entry import CineState
from app.workspace.notice import ProjectConverted
from tests.unit.workspace.conftest import Harness

FIXTURE = Path(__file__).resolve().parents[2] / "fixtures" / "project_v2"
EXPECTED: dict[str, Any] = json.loads((FIXTURE / "expected.json").read_text(encoding="utf-8"))
CINES = ("first.dcm", "second.gif")


@pytest.fixture
def older(harness: Harness, tmp_path: Path) -> Harness:
    """Open a copy of the project next to its cines."""
    folder = Path(shutil.copytree(FIXTURE, tmp_path / "copy"))
    harness.open(folder / "project_v2.apical")
    return harness


def digest(image: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()[:16]


def test_both_cines_next_to_the_project_are_found_and_opened(older: Harness) -> None:
    entries = older.workspace.entries
    assert [entry.name for entry in entries] == list(CINES)
    assert [entry.state for entry in entries] == [CineState.OPEN] * 2
    assert [entry.n_annotated for entry in entries] == [len(EXPECTED[name]["labels"]) for name in CINES]
    assert older.visible_cine.id == EXPECTED["view"]["cine"]
    frames = {str(opened.id): opened.frame for opened in older.workspace.opened_cines}
    assert frames == EXPECTED["view"]["frames"]


def test_the_user_is_told_of_the_conversion_and_of_the_backup(older: Harness) -> None:
    project = older.workspace.project
    assert project is not None
    assert project.backup is not None
    assert project.backup.is_file()
    assert ProjectConverted("project_v2.apical", project.backup) in older.notices
    older.workspace.close_project()
    older.open(project.path)
    assert sum(isinstance(notice, ProjectConverted) for notice in older.notices) == 1


@pytest.mark.parametrize("position", [0, 1])
def test_labels_and_predictions_are_complete(older: Harness, position: int) -> None:
    opened, expected = older.workspace.opened_cines[position], EXPECTED[CINES[position]]
    layer = opened.recorder.layer
    assert {str(frame): digest(label) for frame, label in layer.labels.items()} == expected["labels"]
    predictions = {
        str(frame): [digest(p.mask), p.expected_dice, p.revision] for frame, p in opened.predictions.items()
    }
    assert predictions == expected["predictions"]
    assert opened.outdated == set()


def test_every_stroke_can_be_undone_and_redone(older: Harness) -> None:
    editor = older.workspace.editor
    for position, name in enumerate(CINES):
        opened = older.workspace.opened_cines[position]
        older.workspace.show(opened)
        for _ in range(EXPECTED[name]["strokes"]):
            assert editor.undo() is not None
        assert editor.undo() is None
        assert opened.recorder.layer.annotated_frames == ()
        for _ in range(EXPECTED[name]["strokes"]):
            editor.redo()
        labels = opened.recorder.layer.labels
        assert {str(frame): digest(label) for frame, label in labels.items()} == EXPECTED[name]["labels"]
    assert older.workspace.saving.pending == 0


def test_the_engine_receives_the_labels_and_the_head(older: Harness) -> None:
    revisions = {cine_id: revision for cine_id, revision, *_ in older.session.labels}
    assert revisions == {
        opened.id: EXPECTED[name]["revision"]
        for opened, name in zip(older.workspace.opened_cines, CINES, strict=True)
    }
    assert "restore_head" in older.session.calls
