"""Cines whose pixels are not square, in the window."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import QLabel

from tests.ui.conftest import HEIGHT, WIDTH, WindowDriver
from tests.unit.readers.dicom_oracle import grey_cine, region


def test_every_cine_is_shown_in_its_own_proportions(empty_driver: WindowDriver, tmp_path: Path) -> None:
    def pixels(x_cm: float, y_cm: float) -> list[object]:
        return [region(0, 0, WIDTH - 1, HEIGHT - 1, x_cm, PhysicalDeltaY=y_cm)]

    flat = grey_cine(tmp_path / "flat.dcm", SequenceOfUltrasoundRegions=pixels(0.031, 0.015))
    square = grey_cine(tmp_path / "square.dcm", n=5, SequenceOfUltrasoundRegions=pixels(0.03, 0.03))
    empty_driver.open(flat, square, cines=2)
    canvas, shown = empty_driver.window.canvas, {}
    for opened in empty_driver.workspace.opened_cines:
        empty_driver.workspace.show(opened)
        origin, corner = canvas.map_from_image(0, 0), canvas.map_from_image(WIDTH, HEIGHT)
        shape = (corner.y() - origin.y()) / (corner.x() - origin.x())
        texts = [label.text() for label in empty_driver.window.statusBar().findChildren(QLabel)]
        shown[opened.cine.path.name] = shape, next(text for text in texts if "mm/px" in text)
    assert shown["flat.dcm"][0] == pytest.approx(HEIGHT * 0.15 / (WIDTH * 0.31))
    assert shown["flat.dcm"][1] == "0.310 x 0.150 mm/px"
    assert shown["square.dcm"][0] == pytest.approx(HEIGHT / WIDTH)
    assert shown["square.dcm"][1] == "0.300 mm/px"
