"""Outlines of label images."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPointF
from PySide6.QtGui import QPainterPath

from app.ui.overlay import outline_path


def blocks() -> np.ndarray:
    """A cavity within a myocardium, as on an apical view."""
    labels = np.zeros((100, 120), np.uint8)
    labels[20:80, 30:90] = 2
    labels[30:70, 40:80] = 1
    return labels


def test_an_outline_follows_the_border_within_a_pixel() -> None:
    box = outline_path(blocks(), 1).boundingRect()
    assert (box.left(), box.top(), box.right(), box.bottom()) == pytest.approx((40, 30, 80, 70), abs=1)


def test_a_class_that_is_not_there_has_no_outline() -> None:
    assert outline_path(blocks(), 9).isEmpty()
    assert outline_path(np.zeros((5, 5), np.uint8), 1).isEmpty()


def test_a_single_pixel_and_a_filled_frame_have_one() -> None:
    speck = np.zeros((9, 9), np.uint8)
    speck[4, 6] = 1
    assert outline_path(speck, 1).contains(QPointF(6.5, 4.5))
    assert outline_path(np.ones((9, 9), np.uint8), 1).boundingRect().width() == pytest.approx(8, abs=1)


def test_a_shared_border_is_drawn_once() -> None:
    alone, beside = outline_path(blocks(), 2), outline_path(blocks(), 2, drawn=[1])
    assert beside.length() < alone.length() - 120  # the hole's border is the cavity's
    assert beside.boundingRect() == alone.boundingRect()  # the outer one is all there


def lines(path: QPainterPath) -> int:
    """How many pieces of line are drawn."""
    return sum(path.elementAt(i).isLineTo() for i in range(path.elementCount()))


def test_a_common_border_that_wavers_leaves_no_crumbs_of_a_line() -> None:
    labels = blocks()
    labels[56:66, 80:84] = 0  # a gap between cavity and wall, too short to see
    assert lines(outline_path(labels, 2, drawn=[1])) == lines(outline_path(blocks(), 2, drawn=[1]))
