"""Scribbles: strokes that leave the rest of the frame unlabelled."""

from __future__ import annotations

import numpy as np

from tests.ui.conftest import WindowDriver, square
from vjepa_core.label_image import UNLABELLED


def scribbling(driver: WindowDriver) -> None:
    driver.window.tools.scribbles.click()


def test_the_rest_of_the_frame_stays_unlabelled_and_the_eraser_labels_background(
    driver: WindowDriver,
) -> None:
    scribbling(driver)
    driver.user.click(20, 20)
    assert set(np.unique(driver.drawn(0))) == {1, UNLABELLED}
    driver.user.keys("E")
    driver.user.click(90, 60)
    drawn = driver.drawn(0)
    assert (drawn[20, 20], drawn[60, 90], drawn[80, 10]) == (1, 0, UNLABELLED)
    *_, (_, revision, labels, _) = driver.session.labels
    assert revision == 2
    assert np.array_equal(labels[0], drawn)


def test_it_is_undone_stroke_by_stroke_to_nothing(driver: WindowDriver) -> None:
    scribbling(driver)
    driver.user.click(20, 20)
    driver.user.click(90, 60)
    driver.user.keys("Ctrl+Z")
    assert driver.annotated == (0,)
    driver.user.keys("Ctrl+Z")
    assert driver.annotated == ()
    driver.user.keys("Ctrl+Shift+Z")
    assert set(np.unique(driver.drawn(0))) == {1, UNLABELLED}


def test_a_frame_that_has_outlines_keeps_its_background(driver: WindowDriver) -> None:
    driver.user.click(20, 20)
    scribbling(driver)
    driver.user.click(90, 60)
    assert set(np.unique(driver.drawn(0))) == {0, 1}


def test_a_scribble_does_not_start_from_the_prediction_which_fills_unlabelled_pixels(
    driver: WindowDriver,
) -> None:
    driver.user.click(100, 80)
    driver.predict({f: square(1) + square(2, x0=80) for f in range(12)})
    scribbling(driver)
    assert not driver.window.tools.correct.isEnabled()
    driver.user.keys("Right")
    driver.user.click(40, 40)
    assert set(np.unique(driver.drawn(1))) == {1, UNLABELLED}
    driver.predict({1: square(1) + square(2, x0=80)})
    shown = driver.window.canvas.predicted.labels
    assert shown is not None
    assert shown[40, 40] == 1  # it agrees: no hole with a border of its own
    assert set(np.unique(shown)) == {0, 1, 2}
    scribbling(driver)
    assert driver.window.tools.correct.isEnabled()


def test_accepting_fills_in_what_the_scribble_left_open(driver: WindowDriver) -> None:
    scribbling(driver)
    driver.user.click(40, 40)
    driver.predict({0: square(1) + square(2, x0=80)})
    driver.user.keys("Return")
    assert set(np.unique(driver.drawn(0))) == {0, 1, 2}


def test_scribbles_come_back_with_their_project(driver: WindowDriver) -> None:
    scribbling(driver)
    driver.user.click(20, 20)
    drawn = driver.drawn(0).copy()
    assert driver.workspace.project is not None
    path = driver.workspace.project.path
    driver.workspace.close_project()
    driver.open(path, cines=1)
    assert np.array_equal(driver.drawn(0), drawn)
