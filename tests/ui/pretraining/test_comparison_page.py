"""Third step: table, pictures, keep or discard."""

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
from tests.ui.pretraining.conftest import Trainer, left_behind


def _answer(tmp_path: Path, *, dice: bool = True) -> dict[str, Any]:
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
def comparing(open_trainer: Callable[[], Trainer]) -> tuple[Trainer, Run]:
    run = left_behind(steps=5, done=5)
    trainer = open_trainer()
    trainer.dialog.unfinished.go_on.click()
    return trainer, run


def _cell(comparison: ComparisonView, row: int, column: int) -> str:
    item = comparison.table.item(row, column)
    assert item is not None
    return item.text()


def test_before_and_after_are_measured_on_the_open_project(
    comparing: tuple[Trainer, Run], tmp_path: Path
) -> None:
    trainer, run = comparing
    project = trainer.empty_driver.workspace.project
    assert project is not None
    words = trainer.child.words
    assert words[2:5] == [registry.chosen(), str(run.card), "--project"]
    assert words[5] == str(project.path)
    trainer.child.said = ["fitting new 3/8"]
    trainer.settle()
    assert "fitting new, 3 of 8" in trainer.dialog.comparison.state.text()
    trainer.end(0, _answer(tmp_path))
    comparison = trainer.dialog.comparison.comparison
    assert [_cell(comparison, 0, column) for column in range(3)] == ["0.800", "0.850", "+0.050"]
    assert comparison.table.rowCount() == 2
    assert "left-out" in comparison.note.text()
    assert comparison.pictures.isVisible()


def test_with_too_few_labels_there_are_pictures_only(comparing: tuple[Trainer, Run], tmp_path: Path) -> None:
    trainer, _ = comparing
    trainer.end(0, _answer(tmp_path, dice=False))
    compare = trainer.dialog.comparison
    assert "Too few frames" in compare.state.text()
    assert not compare.comparison.table.isVisible()
    assert compare.comparison.pictures.isVisible()


def test_a_comparison_that_fails_leaves_the_choice(comparing: tuple[Trainer, Run]) -> None:
    trainer, _ = comparing
    trainer.child.sentence = "Nothing is outlined yet: outline a structure on two frames."
    trainer.end(2)
    assert trainer.dialog.comparison.state.text() == trainer.child.sentence
    assert trainer.errors == []
    assert trainer.dialog.comparison.keep.isEnabled()
    trainer.dialog.comparison.again.click()
    assert len(trainer.children) == 2
    trainer.end(-9)
    assert "comparison failed" in trainer.errors[0]


def test_without_a_project_the_page_asks_to_open_a_cine(comparing: tuple[Trainer, Run]) -> None:
    trainer, run = comparing
    trainer.empty_driver.workspace.close_project()
    begun = len(trainer.children)
    trainer.dialog.show_comparison(run)
    assert "open a cine" in trainer.dialog.comparison.state.text()
    assert len(trainer.children) == begun


def test_a_kept_encoder_is_used_from_then_on(
    comparing: tuple[Trainer, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, run = comparing
    trainer.end(0, _answer(tmp_path))
    kept: list[tuple[Path, str]] = []
    used: list[str] = []
    monkeypatch.setattr("app.encoders.registry.keep", lambda card, name: kept.append((card, name)))
    monkeypatch.setattr(trainer.empty_driver.workspace, "change_encoder", used.append)
    card = run.card
    trainer.dialog.comparison.name.setText("  ours ")
    trainer.dialog.comparison.keep.click()
    assert kept == [(card, "ours")]
    assert used == ["ours"]
    assert pending_runs() == []
    assert trainer.dialog.cines.isVisible()
    assert "ours was kept" in trainer.errors[0]


def test_a_bad_name_is_refused_and_nothing_is_lost(comparing: tuple[Trainer, Run], tmp_path: Path) -> None:
    trainer, run = comparing
    trainer.end(0, _answer(tmp_path))
    trainer.dialog.comparison.name.setText("my driver/2")
    trainer.dialog.comparison.keep.click()
    assert "not a valid name for an encoder" in trainer.errors[0]
    assert trainer.dialog.comparison.isVisible()
    assert run.has_checkpoint


def test_an_encoder_is_discarded_after_a_question(comparing: tuple[Trainer, Run]) -> None:
    trainer, run = comparing
    trainer.dialog.comparison.discard.click()
    trainer.answer("Cancel")
    assert run.folder.exists()
    trainer.dialog.comparison.discard.click()
    trainer.answer("Discard")
    assert not run.folder.exists()
    assert trainer.child.asked == ["kill"]
    assert trainer.dialog.cines.isVisible()
