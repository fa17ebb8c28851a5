"""Outlines of label images."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPointF
from PySide6.QtGui import QPainterPath

from app.ui.overlay import outline_path


def blocks() -> np.ndarray:
    """Return a cavity within a myocardium, as in an apical view."""
    labels = np.zeros((100, 120), np.uint8)
    labels[20:80, 30:90] = 2
    labels[30:70, 40:80] = 1
    return labels


def test_an_outline_follows_the_border_within_a_pixel() -> None:
    box = outline_path(blocks(), 1).boundingRect()
    assert (box.left(), box.top(), box.right(), box.bottom()) == pytest.approx((40, 30, 80, 70), abs=1)


def test_a_structure_that_does_not_occur_has_no_outline() -> None:
    assert outline_path(blocks(), 9).isEmpty()
    assert outline_path(np.zeros((5, 5), np.uint8), 1).isEmpty()


def test_a_single_pixel_and_a_filled_frame_have_an_outline() -> None:
    speck = np.zeros((9, 9), np.uint8)
    speck[4, 6] = 1
    assert outline_path(speck, 1).contains(QPointF(6.5, 4.5))
    assert outline_path(np.ones((9, 9), np.uint8), 1).boundingRect().width() == pytest.approx(8, abs=1)


def test_a_shared_border_is_drawn_once() -> None:
    alone, shared = outline_path(blocks(), 2), outline_path(blocks(), 2, drawn=[1])
    assert shared.length() < alone.length() - 120  # without the border of the cavity
    assert shared.boundingRect() == alone.boundingRect()  # the outer border is complete


def n_segments(path: QPainterPath) -> int:
    """Return the number of line segments."""
    return sum(path.elementAt(i).isLineTo() for i in range(path.elementCount()))


def test_an_uneven_shared_border_leaves_no_fragments() -> None:
    labels = blocks()
    labels[56:66, 80:84] = 0  # a gap between cavity and wall that is too small to see
    assert n_segments(outline_path(labels, 2, drawn=[1])) == n_segments(outline_path(blocks(), 2, drawn=[1]))
