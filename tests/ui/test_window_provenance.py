"""Drawn, accepted, predicted: who stated a structure, shown, stored and undone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtWidgets import QApplication, QLabel, QToolButton

from app.domain.provenance import Provenance
from tests.ui.conftest import Desk, square
from tests.unit.readers.dicom_oracle import grey_cine
from vjepa_core.service.messages import Progress, Stage

DRAWN, ACCEPTED = Provenance.DRAWN, Provenance.ACCEPTED


def three() -> np.ndarray:
    """A prediction of three structures."""
    return np.asarray(square(1) + square(2, x0=60) + square(3, x0=90))


def words(heart: Desk) -> list[str]:
    return [label.text() for label in heart.window.tools.classes.findChildren(QLabel, "state")]


def eyes(heart: Desk) -> dict[int, QToolButton]:
    """Buttons that hide a structure, by its value."""
    names = {c.name: c.value for c in heart.workspace.label_set.classes}
    buttons = heart.window.tools.classes.findChildren(QToolButton)
    return {
        names[b.accessibleName().removeprefix("Hide ")]: b
        for b in buttons
        if b.accessibleName().startswith("Hide ")
    }


def states(heart: Desk, frame: int) -> dict[int, Provenance]:
    return heart.opened.recorder.layer.states(frame)


def test_outlining_one_structure_leaves_the_rest_of_a_draft_predicted(heart: Desk) -> None:
    heart.predict({f: three() for f in range(12)})
    assert words(heart) == ["draft", "draft", "draft"]
    heart.hand.keys("P")
    heart.hand.drag([(26, 26), (54, 26), (54, 54), (26, 54), (26, 26)])
    assert states(heart, 0) == {1: DRAWN}
    assert words(heart) == ["drawn", "outdated", "outdated"]
    assert "Drawn: LV cavity." in heart.window.learning.frame_text.text()
    assert np.array_equal(heart.opened.masks(0).shown >= 2, three() >= 2)
    assert heart.session.stated == {0: (1,)}


def test_accepted_structures_are_told_apart_from_drawn_ones(heart: Desk) -> None:
    heart.hand.keys("2")
    heart.hand.click(70, 40)
    heart.predict({f: three() for f in range(12)})
    heart.hand.keys("Return")
    assert states(heart, 0) == {1: ACCEPTED, 2: DRAWN, 3: ACCEPTED}
    assert words(heart) == ["accepted", "drawn", "accepted"]
    canvas = heart.window.canvas
    assert set(np.unique(np.asarray(canvas.drawn.labels))) == {0, 2}
    assert set(np.unique(np.asarray(canvas.accepted.labels))) == {0, 1, 3}
    assert (
        heart.window.learning.frame_text.text() == "Drawn: LV myocardium. Accepted: LV cavity, Left atrium."
    )


def test_a_frame_that_is_only_accepted_has_a_mark_of_its_own(heart: Desk) -> None:
    heart.hand.click(20, 20)
    heart.predict({f: three() for f in range(12)})
    heart.hand.keys("Right", "Return")
    assert heart.window.player_bar.timeline.annotated == {0: True, 1: False}
    assert "accepted" in heart.window.player_bar.timeline.describe(1)


def test_states_come_back_with_the_project_and_undo_restores_them(heart: Desk) -> None:
    heart.hand.click(20, 20)
    heart.predict({f: three() for f in range(12)})
    heart.hand.keys("Right", "Return", "E")
    heart.hand.click(62, 32)
    assert states(heart, 1) == {1: ACCEPTED, 2: DRAWN, 3: ACCEPTED}
    assert heart.workspace.project is not None
    path = heart.workspace.project.path
    heart.workspace.close_project()
    heart.open(path, cines=1)
    assert states(heart, 1) == {1: ACCEPTED, 2: DRAWN, 3: ACCEPTED}
    heart.hand.keys("Ctrl+Z")
    assert states(heart, 1) == {1: ACCEPTED, 2: ACCEPTED, 3: ACCEPTED}
    heart.hand.keys("Ctrl+Z")
    assert states(heart, 1) == {}


def test_a_stray_click_is_undone_by_one_step(heart: Desk) -> None:
    heart.predict({f: three() for f in range(12)})
    heart.hand.click(52, 40)  # at the border of the cavity
    assert states(heart, 0) == {1: DRAWN}
    heart.hand.keys("Ctrl+Z")
    assert heart.annotated == ()
    assert states(heart, 0) == {}
    assert np.array_equal(heart.opened.masks(0).shown, three())


def test_undoing_the_first_stroke_brings_the_drafts_of_all_frames_back(heart: Desk) -> None:
    heart.predict({f: three() for f in range(12)})
    heart.hand.click(20, 60)
    heart.predict({f: square(1, y0=60) for f in range(12)}, final=False)
    heart.hand.keys("Ctrl+Z")
    assert heart.annotated == ()
    for frame in range(12):
        assert np.array_equal(heart.opened.masks(frame).shown, three())
    assert heart.opened.stale == set()
    heart.hand.keys("Ctrl+Y")
    assert heart.annotated == (0,)
    assert np.array_equal(heart.opened.masks(5).shown, square(1, y0=60))


def test_masks_older_than_the_newest_stroke_stay_and_look_different(heart: Desk) -> None:
    heart.hand.click(20, 20)
    heart.predict({f: three() for f in range(12)})
    predicted = heart.window.canvas.predicted
    heart.hand.keys("Right")
    current = predicted.style
    heart.hand.click(20, 60)
    heart.hand.keys("Right")
    assert heart.opened.frame == 2
    assert np.array_equal(heart.opened.masks(2).shown, three())
    assert predicted.style.dashes != current.dashes
    assert predicted.style.fill < current.fill
    assert "Outdated" in heart.window.learning.frame_text.text()
    heart.predict({2: three()})
    assert predicted.style is current


def test_a_frame_can_be_marked_as_empty(heart: Desk) -> None:
    heart.hand.click(20, 20)
    heart.predict({f: three() for f in range(12)})
    heart.hand.keys("Right", "Ctrl+Shift+E")
    assert heart.annotated == (0, 1)
    assert states(heart, 1) == dict.fromkeys((1, 2, 3), DRAWN)
    assert not heart.opened.masks(1).shown.any()
    assert words(heart) == ["absent", "absent", "absent"]
    assert "empty" in heart.window.learning.frame_text.text()
    assert heart.session.stated == {0: (1,), 1: (1, 2, 3)}
    revision = heart.opened.revision
    heart.hand.keys("Ctrl+Shift+E")
    assert heart.opened.revision == revision  # it is empty already
    heart.hand.keys("Ctrl+Z")
    assert heart.annotated == (0,)
    assert np.array_equal(heart.opened.masks(1).shown, three())


def test_a_structure_erased_whole_is_stated_to_be_absent(heart: Desk) -> None:
    heart.hand.click(20, 20)
    heart.predict({f: square(3) for f in range(12)})
    heart.hand.keys("Right", "E")
    heart.window.canvas.set_brush_radius(30)
    heart.hand.click(40, 40)
    assert states(heart, 1) == {3: DRAWN}
    heart.predict({1: square(3)})
    assert not heart.opened.masks(1).shown.any()
    heart.hand.keys("Ctrl+Del")
    assert heart.opened.masks(1).shown.any()


def test_the_tool_after_opening_a_cine_does_not_paint(heart: Desk, cine_file: object) -> None:
    heart.workspace.close_project()
    heart.workspace.open_paths([Path(str(cine_file))])
    heart.settle()
    heart.hand.click(40, 40)
    heart.hand.drag([(40, 40), (60, 60)])
    assert heart.window.canvas.tool() == "pan"
    assert heart.annotated == ()


@pytest.mark.parametrize(("tool", "hidden"), [("B", 1), ("P", 1), ("E", 3)])
def test_a_stroke_shows_hidden_structures_first(heart: Desk, tool: str, hidden: int) -> None:
    heart.predict({f: three() for f in range(12)})
    classes = heart.window.tools.classes
    eyes(heart)[hidden].click()
    assert classes.hidden_classes() == {hidden}
    heart.hand.keys(tool)
    heart.hand.press(95, 35)
    assert classes.hidden_classes() == set()
    heart.hand.release(95, 35)


def test_drawing_behind_turns_itself_off_where_it_can_change_nothing(heart: Desk) -> None:
    heart.predict({f: three() for f in range(12)})
    heart.hand.keys("D", "2")
    heart.hand.click(40, 40)
    assert heart.annotated == ()
    assert not heart.window.tools.behind.isChecked()
    assert any("Draw behind" in text for _, text in heart.window.banner.messages())
    heart.hand.click(40, 40)
    assert states(heart, 0) == {2: DRAWN}


def test_small_islands_are_offered_for_removal_and_removed_by_one_undoable_act(heart: Desk) -> None:
    mask = square(1) + square(1, x0=100, y0=70, size=3)
    heart.hand.click(20, 80)
    heart.predict({1: mask})
    heart.hand.keys("Right")
    button = heart.window.learning.remove_islands
    assert button.isVisible()
    assert "1 small island" in button.text()
    assert np.array_equal(heart.opened.masks(1).shown, mask)  # nothing is removed silently
    button.click()
    assert np.array_equal(heart.opened.masks(1).shown, square(1))
    assert not button.isVisible()
    heart.hand.keys("Ctrl+Z")
    assert np.array_equal(heart.opened.masks(1).shown, mask)


def test_closing_with_an_unfinished_outline_asks_first(heart: Desk) -> None:
    heart.hand.keys("P")
    for x, y in ((40, 30), (70, 30), (70, 60)):
        heart.hand.click(x, y)
    heart.window.close()
    assert heart.window.isVisible()
    assert any("not finished" in text for _, text in heart.window.banner.messages())
    heart.hand.keys("Return")
    assert heart.annotated == (0,)


def test_nothing_is_drawn_on_another_frame_while_an_outline_waits(heart: Desk) -> None:
    heart.hand.keys("P")
    for x, y in ((40, 30), (70, 30), (70, 60)):
        heart.hand.click(x, y)
    heart.hand.keys("Right", "B")
    heart.hand.click(40, 40)
    assert heart.annotated == ()
    ((_, text), *_) = heart.window.banner.messages()
    assert "frame 0 of heart.dcm is not finished" in text
    QApplication.processEvents()
    heart.hand.keys("Escape")
    heart.hand.click(40, 40)
    assert heart.annotated == (1,)


def test_undo_takes_points_of_an_unfinished_outline_back(heart: Desk) -> None:
    heart.hand.click(20, 20)
    heart.hand.keys("P")
    for x, y in ((40, 30), (70, 30), (70, 60)):
        heart.hand.click(x, y)
    heart.hand.keys("Ctrl+Z", "Ctrl+Z", "Ctrl+Z")
    assert heart.annotated == (0,)
    assert heart.window.canvas.unfinished_outline() is None
    heart.hand.keys("Ctrl+Z")
    assert heart.annotated == ()


def test_enter_after_a_freehand_outline_accepts_nothing(heart: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    heart.predict({f: three() for f in range(12)})
    heart.hand.keys("P")
    heart.hand.drag([(26, 26), (54, 26), (54, 54), (26, 54), (26, 26)])
    heart.hand.keys("Return")
    assert states(heart, 0) == {1: DRAWN}
    monkeypatch.setattr("app.ui.canvas.ENTER_GRACE_S", 0.0)  # as if some time had passed
    heart.hand.keys("Return")
    assert states(heart, 0) == {1: DRAWN, 2: ACCEPTED, 3: ACCEPTED}


def test_a_hidden_structure_that_a_stroke_changes_is_shown(heart: Desk) -> None:
    heart.predict({f: three() for f in range(12)})
    classes = heart.window.tools.classes
    eyes(heart)[2].click()
    eyes(heart)[3].click()
    heart.hand.click(58, 40)  # the cavity, into the wall
    assert classes.hidden_classes() == {3}


def test_nothing_is_said_of_frames_that_fly_past(heart: Desk) -> None:
    heart.hand.click(20, 20)
    assert "Drawn" in heart.window.learning.frame_text.text()
    heart.hand.keys("Space")
    heart.qtbot.waitUntil(lambda: heart.opened.frame > 2)
    assert heart.window.learning.frame_text.text() == ""
    assert words(heart) == ["", "", ""]
    heart.hand.keys("Space")
    assert heart.window.learning.frame_text.text() != ""


def test_work_on_another_cine_is_not_told_as_work_on_this_one(heart: Desk, tmp_path: Path) -> None:
    heart.open(grey_cine(tmp_path / "other.dcm", n=5, seed=3), cines=2)
    other = next(o for o in heart.workspace.opened_cines if o is not heart.opened)
    heart.tell(Progress(other.id, 0, Stage.MOTION, 4, 5))
    name = other.cine.path.name
    assert heart.window.status.engine.text() == f"{name}: Analysing the motion, 80 %"
    heart.tell(Progress(heart.opened.id, 0, Stage.MOTION, 4, 5))
    assert heart.window.status.engine.text() == "Analysing the motion, 80 %"
