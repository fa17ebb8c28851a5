"""Which frame and which cine the window marks as worth outlining next, and how to get there."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.ui.suggestion_line import suggestion_html
from tests.ui.conftest import Desk
from tests.unit.readers.dicom_oracle import grey_cine
from vjepa_core.service.messages import Progress, Stage, Suggested


def suggest(desk: Desk, frame: int | None, *, cine: int | None = None, revision: int | None = None) -> None:
    now = desk.opened.revision if revision is None else revision
    desk.tell(Suggested(desk.opened.id, now, frame, cine))


def said(desk: Desk) -> str:
    label = desk.window.learning.suggestion
    return label.text() if label.isVisible() else ""


def marked(desk: Desk) -> list[int]:
    rows = desk.window.cine_list.rows
    return [row for row in range(rows.count()) if not rows.item(row).icon().isNull()]


@pytest.fixture
def two(heart: Desk, tmp_path: Path) -> Desk:
    """Two cines on the table; the engine knows the first."""
    heart.workspace.open_paths([grey_cine(tmp_path / "another.dcm")], lambda _opened: None)
    heart.settle()
    return heart


def test_before_any_outline_a_frame_to_begin_with_is_marked_and_nothing_moves(heart: Desk) -> None:
    assert said(heart) == ""
    suggest(heart, 7)
    assert heart.window.player_bar.timeline.suggested == 7
    assert "first" in said(heart)
    assert "frame 7" in said(heart)
    assert heart.opened.frame == 0
    heart.hand.keys("N")
    assert heart.opened.frame == 7
    assert "This frame" in said(heart)


def test_a_stroke_takes_the_suggestion_away_until_the_engine_has_another(heart: Desk) -> None:
    suggest(heart, 7)
    heart.hand.click(50, 50)
    assert said(heart) == ""
    assert heart.window.player_bar.timeline.suggested is None
    heart.hand.keys("N")
    assert heart.opened.frame == 0
    suggest(heart, 4, revision=0)  # late, for what was drawn before
    assert said(heart) == ""
    suggest(heart, 9)
    assert "next" in said(heart)
    assert heart.window.player_bar.timeline.suggested == 9


def test_the_sentence_is_clickable_and_stops_the_playing(heart: Desk) -> None:
    suggest(heart, 5)
    heart.hand.keys("Space")
    heart.window.learning.suggestion.linkActivated.emit("frame")
    assert heart.opened.frame == 5
    assert not heart.window.player_bar.player.is_playing()


def test_a_cine_that_is_learnt_well_is_said(heart: Desk) -> None:
    suggest(heart, None)
    assert said(heart) == ""  # nothing is outlined: nothing is learnt
    heart.hand.click(50, 50)
    suggest(heart, None)
    assert "learned well" in said(heart)
    assert not heart.window.actions_by_id["suggested_frame"].isEnabled()


def test_nothing_is_suggested_about_a_picture_that_is_not_recognised(two: Desk) -> None:
    suggest(two, None)
    assert marked(two) == [1]
    two.tell(Progress(two.opened.id, two.opened.revision, Stage.NOT_RECOGNISED))
    assert said(two) == ""
    assert marked(two) == []


def test_the_cine_where_more_is_learnt_is_marked_and_gone_to(two: Desk) -> None:
    other = two.workspace.opened_cines[1]
    suggest(two, 3, cine=other.id)
    assert marked(two) == [1]
    assert "another.dcm" in said(two)
    assert two.opened is two.workspace.opened_cines[0]
    two.hand.keys("Shift+N")
    assert two.opened is other
    assert marked(two) == []  # nothing is known of it yet
    assert said(two) == ""


def test_a_cine_that_nobody_has_seen_follows_one_that_is_learnt(two: Desk) -> None:
    two.hand.click(50, 50)
    suggest(two, 3)
    assert marked(two) == []
    suggest(two, None)
    assert marked(two) == [1]
    two.window.learning.suggestion.linkActivated.emit("cine")
    assert two.opened is two.workspace.opened_cines[1]
    two.window.navigation.show_cine(two.workspace.opened_cines[0])
    assert marked(two) == []  # seen now


def test_a_suggested_cine_that_is_not_there_is_passed_over(two: Desk) -> None:
    suggest(two, 3, cine=99)
    assert marked(two) == []
    two.hand.keys("Shift+N")
    assert two.opened is two.workspace.opened_cines[0]


def test_another_project_knows_nothing_of_the_last_one(heart: Desk) -> None:
    suggest(heart, 7)
    heart.workspace.close_project()
    assert said(heart) == ""
    assert heart.window.player_bar.timeline.suggested is None
    heart.hand.keys("N", "Shift+N")


def test_long_names_are_shortened_and_never_markup(heart: Desk) -> None:
    text = suggestion_html(None, 0, "<b>" + "x" * 60 + ".dcm", outlined=True)
    assert "<b>" not in text
    assert "…" in text
