"""Third step: the table, the pictures, and keeping or discarding the encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from app.encoders import registry
from app.pretraining.runs import Run, pending_runs
from app.ui.pretraining.comparison_view import ComparisonView
from tests.ui.pretraining.conftest import PretrainingDriver, create_unfinished_run


def _comparison(tmp_path: Path, *, dice: bool = True) -> dict[str, Any]:
    picture = tmp_path / "picture.png"
    cv2.imwrite(str(picture), np.full((60, 80, 3), 90, np.uint8))
    return {
        "encoders": [
            {"name": "old", "mean_dice": 0.8 if dice else None, "per_class": {"LV": 0.8}, "frames": 3},
            {"name": "new", "mean_dice": 0.85 if dice else None, "per_class": {"LV": 0.85}, "frames": 3},
        ],
        "classes": ["LV"],
        "labelled_frames": 4 if dice else 1,
        "note": "3 left-out frames of 1 cine.",
        "pictures": [
            {"cine": 1, "frame": 4, "files": {"old": str(picture), "new": "gone.png"}, "truth": str(picture)}
        ],
    }


@pytest.fixture
def comparing(open_pretraining: Callable[[], PretrainingDriver]) -> tuple[PretrainingDriver, Run]:
    run = create_unfinished_run(steps=5, done=5)
    pretraining = open_pretraining()
    pretraining.dialog.unfinished.go_on.click()
    return pretraining, run


def _cell(comparison: ComparisonView, row: int, column: int) -> str:
    item = comparison.table.item(row, column)
    assert item is not None
    return item.text()


def test_both_encoders_are_compared_on_the_open_project(
    comparing: tuple[PretrainingDriver, Run], tmp_path: Path
) -> None:
    pretraining, run = comparing
    project = pretraining.driver.workspace.project
    assert project is not None
    arguments = pretraining.child.arguments
    assert arguments[2:5] == [registry.chosen(), str(run.card), "--project"]
    assert arguments[5] == str(project.path)
    pretraining.child.lines = ["fitting new 3/8"]
    pretraining.settle()
    assert "fitting new, 3 of 8" in pretraining.dialog.comparison.state.text()
    pretraining.end(0, _comparison(tmp_path))
    comparison = pretraining.dialog.comparison.comparison
    assert [_cell(comparison, 0, column) for column in range(3)] == ["0.800", "0.850", "+0.050"]
    assert comparison.table.rowCount() == 2
    assert "left-out" in comparison.note.text()
    assert comparison.pictures.isVisible()


def test_with_too_few_labels_only_pictures_are_shown(
    comparing: tuple[PretrainingDriver, Run], tmp_path: Path
) -> None:
    pretraining, _ = comparing
    pretraining.end(0, _comparison(tmp_path, dice=False))
    compare = pretraining.dialog.comparison
    assert "Too few frames" in compare.state.text()
    assert not compare.comparison.table.isVisible()
    assert compare.comparison.pictures.isVisible()


def test_after_a_failed_comparison_the_encoder_can_still_be_kept(
    comparing: tuple[PretrainingDriver, Run],
) -> None:
    pretraining, _ = comparing
    pretraining.child.error = "Nothing is outlined yet: outline a structure on two frames."
    pretraining.end(2)
    assert pretraining.dialog.comparison.state.text() == pretraining.child.error
    assert pretraining.messages == []
    assert pretraining.dialog.comparison.keep.isEnabled()
    pretraining.dialog.comparison.again.click()
    assert len(pretraining.children) == 2
    pretraining.end(-9)
    assert "comparison failed" in pretraining.messages[0]


def test_without_a_project_the_page_asks_to_open_a_cine(comparing: tuple[PretrainingDriver, Run]) -> None:
    pretraining, run = comparing
    pretraining.driver.workspace.close_project()
    n_children = len(pretraining.children)
    pretraining.dialog.show_comparison(run)
    assert "open a cine" in pretraining.dialog.comparison.state.text()
    assert len(pretraining.children) == n_children


def test_a_kept_encoder_is_used_from_then_on(
    comparing: tuple[PretrainingDriver, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretraining, run = comparing
    pretraining.end(0, _comparison(tmp_path))
    kept: list[tuple[Path, str]] = []
    used: list[str] = []
    monkeypatch.setattr("app.encoders.registry.keep", lambda card, name: kept.append((card, name)))
    monkeypatch.setattr(pretraining.driver.workspace, "change_encoder", used.append)
    card = run.card
    pretraining.dialog.comparison.name.setText("  ours ")
    pretraining.dialog.comparison.keep.click()
    assert kept == [(card, "ours")]
    assert used == ["ours"]
    assert pending_runs() == []
    assert pretraining.dialog.cines.isVisible()
    assert "ours was kept" in pretraining.messages[0]


def test_an_invalid_name_is_rejected_and_the_run_is_kept(
    comparing: tuple[PretrainingDriver, Run], tmp_path: Path
) -> None:
    pretraining, run = comparing
    pretraining.end(0, _comparison(tmp_path))
    pretraining.dialog.comparison.name.setText("my encoder/2")
    pretraining.dialog.comparison.keep.click()
    assert "not a valid name for an encoder" in pretraining.messages[0]
    assert pretraining.dialog.comparison.isVisible()
    assert run.has_checkpoint


def test_an_encoder_is_discarded_after_confirmation(comparing: tuple[PretrainingDriver, Run]) -> None:
    pretraining, run = comparing
    pretraining.dialog.comparison.discard.click()
    pretraining.press_button("Cancel")
    assert run.folder.exists()
    pretraining.dialog.comparison.discard.click()
    pretraining.press_button("Discard")
    assert not run.folder.exists()
    assert pretraining.child.requests == ["kill"]
    assert pretraining.dialog.cines.isVisible()
