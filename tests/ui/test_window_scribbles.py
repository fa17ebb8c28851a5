"""Scribbles: strokes that leave the rest of the frame unlabelled."""

from __future__ import annotations

import numpy as np

from tests.ui.conftest import WindowDriver, square
from vjepa_core.label_image import UNLABELLED


def toggle_scribbles(driver: WindowDriver) -> None:
    driver.window.tools.scribbles.click()


def test_the_rest_of_the_frame_stays_unlabelled_and_the_eraser_labels_background(
    driver: WindowDriver,
) -> None:
    toggle_scribbles(driver)
    driver.user.click(20, 20)
    assert set(np.unique(driver.drawn(0))) == {1, UNLABELLED}
    driver.user.keys("E")
    driver.user.click(90, 60)
    drawn = driver.drawn(0)
    assert (drawn[20, 20], drawn[60, 90], drawn[80, 10]) == (1, 0, UNLABELLED)
    *_, (_, revision, labels, _) = driver.session.labels
    assert revision == 2
    assert np.array_equal(labels[0], drawn)


def test_scribbles_are_undone_stroke_by_stroke(driver: WindowDriver) -> None:
    toggle_scribbles(driver)
    driver.user.click(20, 20)
    driver.user.click(90, 60)
    driver.user.keys("Ctrl+Z")
    assert driver.annotated == (0,)
    driver.user.keys("Ctrl+Z")
    assert driver.annotated == ()
    driver.user.keys("Ctrl+Shift+Z")
    assert set(np.unique(driver.drawn(0))) == {1, UNLABELLED}


def test_a_scribble_on_a_fully_labelled_frame_keeps_its_background(driver: WindowDriver) -> None:
    driver.user.click(20, 20)
    toggle_scribbles(driver)
    driver.user.click(90, 60)
    assert set(np.unique(driver.drawn(0))) == {0, 1}


def test_a_scribble_leaves_the_prediction_visible_without_starting_from_it(
    driver: WindowDriver,
) -> None:
    driver.user.click(100, 80)
    driver.predict({f: square(1) + square(2, x0=80) for f in range(12)})
    toggle_scribbles(driver)
    assert not driver.window.tools.correct.isEnabled()
    driver.user.keys("Right")
    driver.user.click(40, 40)
    assert set(np.unique(driver.drawn(1))) == {1, UNLABELLED}
    driver.predict({1: square(1) + square(2, x0=80)})
    shown = driver.window.canvas.predicted.labels
    assert shown is not None
    assert shown[40, 40] == 1  # prediction and scribble agree, so there is no hole
    assert set(np.unique(shown)) == {0, 1, 2}
    toggle_scribbles(driver)
    assert driver.window.tools.correct.isEnabled()


def test_accepting_fills_the_unlabelled_pixels(driver: WindowDriver) -> None:
    toggle_scribbles(driver)
    driver.user.click(40, 40)
    driver.predict({0: square(1) + square(2, x0=80)})
    driver.user.keys("Return")
    assert set(np.unique(driver.drawn(0))) == {0, 1, 2}


def test_scribbles_are_restored_with_their_project(driver: WindowDriver) -> None:
    toggle_scribbles(driver)
    driver.user.click(20, 20)
    drawn = driver.drawn(0).copy()
    assert driver.workspace.project is not None
    path = driver.workspace.project.path
    driver.workspace.close_project()
    driver.open(path, cines=1)
    assert np.array_equal(driver.drawn(0), drawn)
