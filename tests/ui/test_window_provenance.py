"""Provenance of structures: displayed, stored and undone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtWidgets import QApplication, QLabel, QToolButton

from app.domain.provenance import Provenance
from tests.ui.conftest import WindowDriver, square
from tests.unit.readers.dicom_oracle import grey_cine
from vjepa_core.service.messages import Progress, Stage

DRAWN, ACCEPTED = Provenance.DRAWN, Provenance.ACCEPTED


def three_structures() -> np.ndarray:
    """Return a label image of three structures."""
    return np.asarray(square(1) + square(2, x0=60) + square(3, x0=90))


def state_texts(driver: WindowDriver) -> list[str]:
    return [label.text() for label in driver.window.tools.structures.findChildren(QLabel, "state")]


def hide_buttons(driver: WindowDriver) -> dict[int, QToolButton]:
    """Return the buttons that hide structures, by structure value."""
    names = {c.name: c.value for c in driver.workspace.label_set.structures}
    buttons = driver.window.tools.structures.findChildren(QToolButton)
    return {
        names[b.accessibleName().removeprefix("Hide ")]: b
        for b in buttons
        if b.accessibleName().startswith("Hide ")
    }


def states(driver: WindowDriver, frame: int) -> dict[int, Provenance]:
    return driver.opened.recorder.layer.states(frame)


def test_outlining_one_structure_leaves_the_rest_of_a_draft_predicted(driver: WindowDriver) -> None:
    driver.predict({f: three_structures() for f in range(12)})
    assert state_texts(driver) == ["draft", "draft", "draft"]
    driver.user.keys("P")
    driver.user.drag([(26, 26), (54, 26), (54, 54), (26, 54), (26, 26)])
    assert states(driver, 0) == {1: DRAWN}
    assert state_texts(driver) == ["drawn", "outdated", "outdated"]
    assert "Drawn: LV cavity." in driver.window.learning.frame_text.text()
    assert np.array_equal(driver.opened.masks(0).shown >= 2, three_structures() >= 2)
    assert driver.session.stated == {0: (1,)}


def test_accepted_and_drawn_structures_are_distinguished(driver: WindowDriver) -> None:
    driver.user.keys("2")
    driver.user.click(70, 40)
    driver.predict({f: three_structures() for f in range(12)})
    driver.user.keys("Return")
    assert states(driver, 0) == {1: ACCEPTED, 2: DRAWN, 3: ACCEPTED}
    assert state_texts(driver) == ["accepted", "drawn", "accepted"]
    canvas = driver.window.canvas
    assert set(np.unique(np.asarray(canvas.drawn.labels))) == {0, 2}
    assert set(np.unique(np.asarray(canvas.accepted.labels))) == {0, 1, 3}
    assert (
        driver.window.learning.frame_text.text() == "Drawn: LV myocardium. Accepted: LV cavity, Left atrium."
    )


def test_a_frame_with_only_accepted_structures_has_a_different_mark(driver: WindowDriver) -> None:
    driver.user.click(20, 20)
    driver.predict({f: three_structures() for f in range(12)})
    driver.user.keys("Right", "Return")
    assert driver.window.player_bar.timeline.annotated == {0: True, 1: False}
    assert "accepted" in driver.window.player_bar.timeline.describe(1)


def test_provenance_is_restored_with_the_project_and_by_undo(driver: WindowDriver) -> None:
    driver.user.click(20, 20)
    driver.predict({f: three_structures() for f in range(12)})
    driver.user.keys("Right", "Return", "E")
    driver.user.click(62, 32)
    assert states(driver, 1) == {1: ACCEPTED, 2: DRAWN, 3: ACCEPTED}
    assert driver.workspace.project is not None
    path = driver.workspace.project.path
    driver.workspace.close_project()
    driver.open(path, cines=1)
    assert states(driver, 1) == {1: ACCEPTED, 2: DRAWN, 3: ACCEPTED}
    driver.user.keys("Ctrl+Z")
    assert states(driver, 1) == {1: ACCEPTED, 2: ACCEPTED, 3: ACCEPTED}
    driver.user.keys("Ctrl+Z")
    assert states(driver, 1) == {}


def test_an_accidental_click_is_undone_in_one_step(driver: WindowDriver) -> None:
    driver.predict({f: three_structures() for f in range(12)})
    driver.user.click(52, 40)  # at the border of the cavity
    assert states(driver, 0) == {1: DRAWN}
    driver.user.keys("Ctrl+Z")
    assert driver.annotated == ()
    assert states(driver, 0) == {}
    assert np.array_equal(driver.opened.masks(0).shown, three_structures())


def test_undoing_the_first_stroke_restores_the_drafts_of_all_frames(driver: WindowDriver) -> None:
    driver.predict({f: three_structures() for f in range(12)})
    driver.user.click(20, 60)
    driver.predict({f: square(1, y0=60) for f in range(12)}, final=False)
    driver.user.keys("Ctrl+Z")
    assert driver.annotated == ()
    for frame in range(12):
        assert np.array_equal(driver.opened.masks(frame).shown, three_structures())
    assert driver.opened.outdated == set()
    driver.user.keys("Ctrl+Y")
    assert driver.annotated == (0,)
    assert np.array_equal(driver.opened.masks(5).shown, square(1, y0=60))


def test_outdated_predictions_stay_visible_and_look_different(driver: WindowDriver) -> None:
    driver.user.click(20, 20)
    driver.predict({f: three_structures() for f in range(12)})
    predicted = driver.window.canvas.predicted
    driver.user.keys("Right")
    current = predicted.style
    driver.user.click(20, 60)
    driver.user.keys("Right")
    assert driver.opened.frame == 2
    assert np.array_equal(driver.opened.masks(2).shown, three_structures())
    assert predicted.style.dashes != current.dashes
    assert predicted.style.fill < current.fill
    assert "Outdated" in driver.window.learning.frame_text.text()
    driver.predict({2: three_structures()})
    assert predicted.style is current


def test_a_frame_can_be_marked_as_empty(driver: WindowDriver) -> None:
    driver.user.click(20, 20)
    driver.predict({f: three_structures() for f in range(12)})
    driver.user.keys("Right", "Ctrl+Shift+E")
    assert driver.annotated == (0, 1)
    assert states(driver, 1) == dict.fromkeys((1, 2, 3), DRAWN)
    assert not driver.opened.masks(1).shown.any()
    assert state_texts(driver) == ["absent", "absent", "absent"]
    assert "empty" in driver.window.learning.frame_text.text()
    assert driver.session.stated == {0: (1,), 1: (1, 2, 3)}
    revision = driver.opened.revision
    driver.user.keys("Ctrl+Shift+E")
    assert driver.opened.revision == revision  # it is already empty
    driver.user.keys("Ctrl+Z")
    assert driver.annotated == (0,)
    assert np.array_equal(driver.opened.masks(1).shown, three_structures())


def test_a_completely_erased_structure_is_absent(driver: WindowDriver) -> None:
    driver.user.click(20, 20)
    driver.predict({f: square(3) for f in range(12)})
    driver.user.keys("Right", "E")
    driver.window.canvas.set_brush_radius(30)
    driver.user.click(40, 40)
    assert states(driver, 1) == {3: DRAWN}
    driver.predict({1: square(3)})
    assert not driver.opened.masks(1).shown.any()
    driver.user.keys("Ctrl+Del")
    assert driver.opened.masks(1).shown.any()


def test_the_tool_after_opening_a_cine_does_not_paint(driver: WindowDriver, cine_file: Path) -> None:
    driver.workspace.close_project()
    driver.workspace.open_paths([cine_file])
    driver.settle()
    driver.user.click(40, 40)
    driver.user.drag([(40, 40), (60, 60)])
    assert driver.window.canvas.tool() == "pan"
    assert driver.annotated == ()


@pytest.mark.parametrize(("tool", "hidden"), [("B", 1), ("P", 1), ("E", 3)])
def test_starting_a_stroke_shows_hidden_structures(driver: WindowDriver, tool: str, hidden: int) -> None:
    driver.predict({f: three_structures() for f in range(12)})
    structures = driver.window.tools.structures
    hide_buttons(driver)[hidden].click()
    assert structures.hidden_structures() == {hidden}
    driver.user.keys(tool)
    driver.user.press(95, 35)
    assert structures.hidden_structures() == set()
    driver.user.release(95, 35)


def test_drawing_behind_is_switched_off_where_it_changes_nothing(driver: WindowDriver) -> None:
    driver.predict({f: three_structures() for f in range(12)})
    driver.user.keys("D", "2")
    driver.user.click(40, 40)
    assert driver.annotated == ()
    assert not driver.window.tools.behind.isChecked()
    assert any("Draw behind" in text for _, text in driver.window.banner.messages())
    driver.user.click(40, 40)
    assert states(driver, 0) == {2: DRAWN}


def test_small_islands_are_offered_for_removal_and_removed_in_one_undoable_step(driver: WindowDriver) -> None:
    mask = square(1) + square(1, x0=100, y0=70, size=3)
    driver.user.click(20, 80)
    driver.predict({1: mask})
    driver.user.keys("Right")
    button = driver.window.learning.remove_islands
    assert button.isVisible()
    assert "1 small island" in button.text()
    assert np.array_equal(driver.opened.masks(1).shown, mask)  # nothing is removed silently
    button.click()
    assert np.array_equal(driver.opened.masks(1).shown, square(1))
    assert states(driver, 1) == {1: ACCEPTED}  # nobody has drawn what remains
    assert not button.isVisible()
    driver.user.keys("Ctrl+Z")
    assert np.array_equal(driver.opened.masks(1).shown, mask)


def test_closing_with_an_unfinished_outline_asks_first(driver: WindowDriver) -> None:
    driver.user.keys("P")
    for x, y in ((40, 30), (70, 30), (70, 60)):
        driver.user.click(x, y)
    driver.window.close()
    assert driver.window.isVisible()
    assert any("not finished" in text for _, text in driver.window.banner.messages())
    driver.user.keys("Return")
    assert driver.annotated == (0,)


def test_nothing_is_drawn_on_another_frame_while_an_outline_is_unfinished(driver: WindowDriver) -> None:
    driver.user.keys("P")
    for x, y in ((40, 30), (70, 30), (70, 60)):
        driver.user.click(x, y)
    driver.user.keys("Right", "B")
    driver.user.click(40, 40)
    assert driver.annotated == ()
    ((_, text), *_) = driver.window.banner.messages()
    assert "frame 0 of heart.dcm is not finished" in text
    QApplication.processEvents()
    driver.user.keys("Escape")
    driver.user.click(40, 40)
    assert driver.annotated == (1,)


def test_undo_removes_points_of_an_unfinished_outline(driver: WindowDriver) -> None:
    driver.user.click(20, 20)
    driver.user.keys("P")
    for x, y in ((40, 30), (70, 30), (70, 60)):
        driver.user.click(x, y)
    driver.user.keys("Ctrl+Z", "Ctrl+Z", "Ctrl+Z")
    assert driver.annotated == (0,)
    assert driver.window.canvas.unfinished_outline() is None
    driver.user.keys("Ctrl+Z")
    assert driver.annotated == ()


def test_enter_after_a_freehand_outline_accepts_nothing(
    driver: WindowDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.predict({f: three_structures() for f in range(12)})
    driver.user.keys("P")
    driver.user.drag([(26, 26), (54, 26), (54, 54), (26, 54), (26, 26)])
    driver.user.keys("Return")
    assert states(driver, 0) == {1: DRAWN}
    monkeypatch.setattr("app.ui.canvas.ENTER_GRACE_S", 0.0)  # as if some time had passed
    driver.user.keys("Return")
    assert states(driver, 0) == {1: DRAWN, 2: ACCEPTED, 3: ACCEPTED}


def test_a_hidden_structure_that_a_stroke_changes_is_shown(driver: WindowDriver) -> None:
    driver.predict({f: three_structures() for f in range(12)})
    structures = driver.window.tools.structures
    hide_buttons(driver)[2].click()
    hide_buttons(driver)[3].click()
    driver.user.click(58, 40)  # extends the cavity into the wall
    assert structures.hidden_structures() == {3}


def test_frames_are_not_described_during_playback(driver: WindowDriver) -> None:
    driver.user.click(20, 20)
    assert "Drawn" in driver.window.learning.frame_text.text()
    driver.user.keys("Space")
    driver.qtbot.waitUntil(lambda: driver.opened.frame > 2)
    assert driver.window.learning.frame_text.text() == ""
    assert state_texts(driver) == ["", "", ""]
    driver.user.keys("Space")
    assert driver.window.learning.frame_text.text() != ""


def test_progress_on_another_cine_names_that_cine(driver: WindowDriver, tmp_path: Path) -> None:
    driver.open(grey_cine(tmp_path / "other.dcm", n=5, seed=3), cines=2)
    other = next(o for o in driver.workspace.opened_cines if o is not driver.opened)
    driver.emit(Progress(other.id, 0, Stage.MOTION, 4, 5))
    name = other.cine.path.name
    assert driver.window.status.engine.text() == f"{name}: Analysing the motion, 80 %"
    driver.emit(Progress(driver.opened.id, 0, Stage.MOTION, 4, 5))
    assert driver.window.status.engine.text() == "Analysing the motion, 80 %"
