"""The suggested frame and the suggested cine."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.ui.suggestion_line import suggestion_html
from tests.ui.conftest import WindowDriver
from tests.unit.readers.dicom_oracle import grey_cine
from vjepa_core.service.messages import Progress, Stage, Suggested


def suggest(
    driver: WindowDriver, frame: int | None, *, cine: int | None = None, revision: int | None = None
) -> None:
    current = driver.opened.revision if revision is None else revision
    driver.emit(Suggested(driver.opened.id, current, frame, cine))


def suggestion_text(driver: WindowDriver) -> str:
    label = driver.window.learning.suggestion
    return label.text() if label.isVisible() else ""


def marked_rows(driver: WindowDriver) -> list[int]:
    rows = driver.window.cine_list.rows
    return [row for row in range(rows.count()) if not rows.item(row).icon().isNull()]


@pytest.fixture
def two_cines(driver: WindowDriver, tmp_path: Path) -> WindowDriver:
    """Return a window with two cines, of which only the first has been shown."""
    driver.workspace.open_paths([grey_cine(tmp_path / "another.dcm")], lambda _opened: None)
    driver.settle()
    return driver


def test_a_first_frame_is_suggested_but_not_shown_before_anything_is_annotated(driver: WindowDriver) -> None:
    assert suggestion_text(driver) == ""
    suggest(driver, 7)
    assert driver.window.player_bar.timeline.suggested == 7
    assert "first" in suggestion_text(driver)
    assert "frame 7" in suggestion_text(driver)
    assert driver.opened.frame == 0
    driver.user.keys("N")
    assert driver.opened.frame == 7
    assert "This frame" in suggestion_text(driver)


def test_a_stroke_removes_the_suggestion_until_the_engine_sends_another(driver: WindowDriver) -> None:
    suggest(driver, 7)
    driver.user.click(50, 50)
    assert suggestion_text(driver) == ""
    assert driver.window.player_bar.timeline.suggested is None
    driver.user.keys("N")
    assert driver.opened.frame == 0
    suggest(driver, 4, revision=0)  # late, for an earlier revision
    assert suggestion_text(driver) == ""
    suggest(driver, 9)
    assert "next" in suggestion_text(driver)
    assert driver.window.player_bar.timeline.suggested == 9


def test_a_click_on_the_suggestion_shows_its_frame_and_stops_playback(driver: WindowDriver) -> None:
    suggest(driver, 5)
    driver.user.keys("Space")
    driver.window.learning.suggestion.linkActivated.emit("frame")
    assert driver.opened.frame == 5
    assert not driver.window.player_bar.player.is_playing()


def test_a_cine_that_needs_no_further_annotation_is_reported(driver: WindowDriver) -> None:
    suggest(driver, None)
    assert suggestion_text(driver) == ""  # nothing is annotated, so no head was fitted
    driver.user.click(50, 50)
    suggest(driver, None)
    assert "more outlines would help little" in suggestion_text(driver)
    assert not driver.window.actions_by_id["suggested_frame"].isEnabled()


def test_nothing_is_suggested_for_a_cine_that_is_not_recognised(two_cines: WindowDriver) -> None:
    suggest(two_cines, None)
    assert marked_rows(two_cines) == [1]
    two_cines.emit(Progress(two_cines.opened.id, two_cines.opened.revision, Stage.NOT_RECOGNISED))
    assert suggestion_text(two_cines) == ""
    assert marked_rows(two_cines) == []


def test_the_suggested_cine_is_marked_and_reached_by_key(two_cines: WindowDriver) -> None:
    other = two_cines.workspace.opened_cines[1]
    suggest(two_cines, 3, cine=other.id)
    assert marked_rows(two_cines) == [1]
    assert "another.dcm" in suggestion_text(two_cines)
    assert two_cines.opened is two_cines.workspace.opened_cines[0]
    two_cines.user.keys("Shift+N")
    assert two_cines.opened is other
    assert marked_rows(two_cines) == []  # nothing has been suggested for it yet
    assert suggestion_text(two_cines) == ""


def test_a_cine_not_shown_yet_is_suggested_when_no_frame_is(two_cines: WindowDriver) -> None:
    two_cines.user.click(50, 50)
    suggest(two_cines, 3)
    assert marked_rows(two_cines) == []
    suggest(two_cines, None)
    assert marked_rows(two_cines) == [1]
    two_cines.window.learning.suggestion.linkActivated.emit("cine")
    assert two_cines.opened is two_cines.workspace.opened_cines[1]
    two_cines.window.navigation.show_cine(two_cines.workspace.opened_cines[0])
    assert marked_rows(two_cines) == []  # it has now been shown


def test_a_suggested_cine_that_is_not_open_is_ignored(two_cines: WindowDriver) -> None:
    suggest(two_cines, 3, cine=99)
    assert marked_rows(two_cines) == []
    two_cines.user.keys("Shift+N")
    assert two_cines.opened is two_cines.workspace.opened_cines[0]


def test_closing_a_project_removes_its_suggestions(driver: WindowDriver) -> None:
    suggest(driver, 7)
    driver.workspace.close_project()
    assert suggestion_text(driver) == ""
    assert driver.window.player_bar.timeline.suggested is None
    driver.user.keys("N", "Shift+N")


def test_long_names_are_shortened_and_their_markup_is_escaped(driver: WindowDriver) -> None:
    text = suggestion_html(None, 0, "<b>" + "x" * 60 + ".dcm", outlined=True)
    assert "<b>" not in text
    assert "…" in text
