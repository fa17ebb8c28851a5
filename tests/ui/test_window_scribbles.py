"""Scribbles: strokes that say what lies under them, and nothing of the rest."""

from __future__ import annotations

import numpy as np

from tests.ui.conftest import Desk, square
from vjepa_core.label_image import UNLABELLED


def scribbling(heart: Desk) -> None:
    heart.window.tools.scribbles.click()


def test_the_rest_of_the_frame_stays_unlabelled_and_the_eraser_says_that_nothing_is_there(
    heart: Desk,
) -> None:
    scribbling(heart)
    heart.hand.click(20, 20)
    assert set(np.unique(heart.drawn(0))) == {1, UNLABELLED}
    heart.hand.keys("E")
    heart.hand.click(90, 60)
    drawn = heart.drawn(0)
    assert (drawn[20, 20], drawn[60, 90], drawn[80, 10]) == (1, 0, UNLABELLED)
    *_, (_, revision, labels, _) = heart.session.labels
    assert revision == 2
    assert np.array_equal(labels[0], drawn)


def test_it_is_undone_stroke_by_stroke_to_nothing(heart: Desk) -> None:
    scribbling(heart)
    heart.hand.click(20, 20)
    heart.hand.click(90, 60)
    heart.hand.keys("Ctrl+Z")
    assert heart.annotated == (0,)
    heart.hand.keys("Ctrl+Z")
    assert heart.annotated == ()
    heart.hand.keys("Ctrl+Shift+Z")
    assert set(np.unique(heart.drawn(0))) == {1, UNLABELLED}


def test_a_frame_that_has_outlines_keeps_its_background(heart: Desk) -> None:
    heart.hand.click(20, 20)
    scribbling(heart)
    heart.hand.click(90, 60)
    assert set(np.unique(heart.drawn(0))) == {0, 1}


def test_a_scribble_does_not_start_from_the_prediction_which_shows_where_nothing_was_said(
    heart: Desk,
) -> None:
    heart.hand.click(100, 80)
    heart.predict({f: square(1) + square(2, x0=80) for f in range(12)})
    scribbling(heart)
    assert not heart.window.tools.correct.isEnabled()
    heart.hand.keys("Right")
    heart.hand.click(40, 40)
    assert set(np.unique(heart.drawn(1))) == {1, UNLABELLED}
    heart.predict({1: square(1) + square(2, x0=80)})
    shown = heart.window.canvas.predicted.labels
    assert shown is not None
    assert shown[40, 40] == 1  # it agrees: no hole with a border of its own
    assert set(np.unique(shown)) == {0, 1, 2}
    scribbling(heart)
    assert heart.window.tools.correct.isEnabled()


def test_accepting_fills_in_what_the_scribble_left_open(heart: Desk) -> None:
    scribbling(heart)
    heart.hand.click(40, 40)
    heart.predict({0: square(1) + square(2, x0=80)})
    heart.hand.keys("Return")
    assert set(np.unique(heart.drawn(0))) == {0, 1, 2}


def test_scribbles_come_back_with_their_project(heart: Desk) -> None:
    scribbling(heart)
    heart.hand.click(20, 20)
    drawn = heart.drawn(0).copy()
    assert heart.workspace.project is not None
    path = heart.workspace.project.path
    heart.workspace.close_project()
    heart.open(path, cines=1)
    assert np.array_equal(heart.drawn(0), drawn)
