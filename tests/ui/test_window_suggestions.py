"""Suggested frame and cine."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.ui.suggestion_line import suggestion_html
from tests.ui.conftest import WindowDriver
from tests.unit.readers.dicom_oracle import grey_cine
from vjepa_core.service.messages import Progress, Stage, Suggested


def suggest(
    empty_driver: WindowDriver, frame: int | None, *, cine: int | None = None, revision: int | None = None
) -> None:
    now = empty_driver.opened.revision if revision is None else revision
    empty_driver.emit(Suggested(empty_driver.opened.id, now, frame, cine))


def said(empty_driver: WindowDriver) -> str:
    label = empty_driver.window.learning.suggestion
    return label.text() if label.isVisible() else ""


def marked(empty_driver: WindowDriver) -> list[int]:
    rows = empty_driver.window.cine_list.rows
    return [row for row in range(rows.count()) if not rows.item(row).icon().isNull()]


@pytest.fixture
def two(driver: WindowDriver, tmp_path: Path) -> WindowDriver:
    """Two cines on the table; the engine knows the first."""
    driver.workspace.open_paths([grey_cine(tmp_path / "another.dcm")], lambda _opened: None)
    driver.settle()
    return driver


def test_before_any_outline_a_frame_to_begin_with_is_marked_and_nothing_moves(driver: WindowDriver) -> None:
    assert said(driver) == ""
    suggest(driver, 7)
    assert driver.window.player_bar.timeline.suggested == 7
    assert "first" in said(driver)
    assert "frame 7" in said(driver)
    assert driver.opened.frame == 0
    driver.user.keys("N")
    assert driver.opened.frame == 7
    assert "This frame" in said(driver)


def test_a_stroke_takes_the_suggestion_away_until_the_engine_has_another(driver: WindowDriver) -> None:
    suggest(driver, 7)
    driver.user.click(50, 50)
    assert said(driver) == ""
    assert driver.window.player_bar.timeline.suggested is None
    driver.user.keys("N")
    assert driver.opened.frame == 0
    suggest(driver, 4, revision=0)  # late, for what was drawn before
    assert said(driver) == ""
    suggest(driver, 9)
    assert "next" in said(driver)
    assert driver.window.player_bar.timeline.suggested == 9


def test_the_sentence_is_clickable_and_stops_the_playing(driver: WindowDriver) -> None:
    suggest(driver, 5)
    driver.user.keys("Space")
    driver.window.learning.suggestion.linkActivated.emit("frame")
    assert driver.opened.frame == 5
    assert not driver.window.player_bar.player.is_playing()


def test_a_well_learned_cine_is_reported(driver: WindowDriver) -> None:
    suggest(driver, None)
    assert said(driver) == ""  # nothing is outlined: nothing is learnt
    driver.user.click(50, 50)
    suggest(driver, None)
    assert "more outlines would help little" in said(driver)
    assert not driver.window.actions_by_id["suggested_frame"].isEnabled()


def test_nothing_is_suggested_about_a_picture_that_is_not_recognised(two: WindowDriver) -> None:
    suggest(two, None)
    assert marked(two) == [1]
    two.emit(Progress(two.opened.id, two.opened.revision, Stage.NOT_RECOGNISED))
    assert said(two) == ""
    assert marked(two) == []


def test_the_suggested_cine_is_marked_and_reached_by_key(two: WindowDriver) -> None:
    other = two.workspace.opened_cines[1]
    suggest(two, 3, cine=other.id)
    assert marked(two) == [1]
    assert "another.dcm" in said(two)
    assert two.opened is two.workspace.opened_cines[0]
    two.user.keys("Shift+N")
    assert two.opened is other
    assert marked(two) == []  # nothing is known of it yet
    assert said(two) == ""


def test_an_unseen_cine_is_suggested_after_a_well_learned_one(two: WindowDriver) -> None:
    two.user.click(50, 50)
    suggest(two, 3)
    assert marked(two) == []
    suggest(two, None)
    assert marked(two) == [1]
    two.window.learning.suggestion.linkActivated.emit("cine")
    assert two.opened is two.workspace.opened_cines[1]
    two.window.navigation.show_cine(two.workspace.opened_cines[0])
    assert marked(two) == []  # seen now


def test_a_suggested_cine_that_is_not_there_is_passed_over(two: WindowDriver) -> None:
    suggest(two, 3, cine=99)
    assert marked(two) == []
    two.user.keys("Shift+N")
    assert two.opened is two.workspace.opened_cines[0]


def test_closing_a_project_removes_its_suggestions(driver: WindowDriver) -> None:
    suggest(driver, 7)
    driver.workspace.close_project()
    assert said(driver) == ""
    assert driver.window.player_bar.timeline.suggested is None
    driver.user.keys("N", "Shift+N")


def test_long_names_are_shortened_and_never_markup(driver: WindowDriver) -> None:
    text = suggestion_html(None, 0, "<b>" + "x" * 60 + ".dcm", outlined=True)
    assert "<b>" not in text
    assert "…" in text
