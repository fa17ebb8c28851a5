"""Strokes that the disk refuses are kept, reported and written later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.domain.errors import ProjectError
from app.workspace.notice import NotSaved, ProjectNotOpened
from tests.unit.readers.dicom_oracle import grey_cine
from tests.unit.workspace.conftest import Harness


@pytest.fixture
def drawn(harness: Harness, tmp_path: Path) -> Harness:
    harness.open(grey_cine(tmp_path / "heart.dcm", n=4))
    return harness


def refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    def commit(*_: object) -> None:
        raise ProjectError("The disk is full.")

    monkeypatch.setattr("app.storage.project.Project.commit", commit)


def draw(harness: Harness) -> None:
    label = np.zeros((harness.visible_cine.cine.height, harness.visible_cine.cine.width), np.uint8)
    label[30:50, 30:50] = 1
    harness.workspace.editor.draw(harness.visible_cine, 1, label, "brush")


def test_a_refused_stroke_is_written_again_automatically(
    drawn: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.workspace.saving.RETRY_MS", 1)
    with monkeypatch.context() as patch:
        refuse(patch)
        draw(drawn)
        assert drawn.workspace.saving.pending == 1
        assert NotSaved("The disk is full.") in drawn.notices
    drawn.dispatcher.run_until(lambda: drawn.workspace.saving.pending == 0, timeout_s=10)
    assert NotSaved("The disk is full.") not in drawn.notices
    assert not drawn.workspace.saving.is_retrying


def test_another_project_is_not_opened_before_all_strokes_are_saved(
    drawn: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = drawn.workspace.project
    refuse(monkeypatch)
    draw(drawn)
    drawn.open(tmp_path / "other.apical")
    assert drawn.workspace.project is before
    assert ProjectNotOpened("other.apical", 1) in drawn.notices
