"""Warnings about text outside the ultrasound region."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydicom.sequence import Sequence

from app.domain.cine import Cine
from app.readers.open import open_cine
from tests.unit.readers.dicom_oracle import dataset, region, write

ROWS, COLS = 240, 320


def cine(path: Path, *lines: tuple[str, int, int], bar: int = 0, **tags: Any) -> Cine:
    """A sector of speckle below row 50, lines of text at (column, row)."""
    rng = np.random.default_rng(0)
    frames = np.zeros((6, ROWS, COLS), np.uint8)
    frames[:, :44] = bar
    y, x = np.mgrid[:ROWS, :COLS]
    sector = (np.abs(x - 160) < 0.6 * (y - 50)) & (y < 225)
    for frame in frames:
        frame[sector] = np.clip(rng.rayleigh(60, int(sector.sum())), 0, 255)
        for text, column, row in lines:
            cv2.putText(frame, text, (column, row), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1)
    item = region(40, 50, 279, 224)
    ds = dataset(6, ROWS, COLS, "MONOCHROME2", SequenceOfUltrasoundRegions=Sequence([item]), **tags)
    return open_cine(write(path, ds, frames.tobytes()))


def warned(found: Cine) -> bool:
    return any("burned into the image" in w for w in found.warnings)


TITLE = ("12975-20-2 SMITH JOHN", 10, 20)


@pytest.mark.parametrize("bar", [0, 90])
def test_a_title_line_is_reported(tmp_path: Path, bar: int) -> None:
    assert warned(cine(tmp_path / "a.dcm", TITLE, bar=bar))


def test_the_attribute_of_the_file_takes_precedence(tmp_path: Path) -> None:
    assert not warned(cine(tmp_path / "a.dcm", TITLE, BurnedInAnnotation="NO"))
    assert warned(cine(tmp_path / "a.dcm", BurnedInAnnotation="YES"))


def test_short_lines_of_settings_are_not_reported(tmp_path: Path) -> None:
    assert not warned(cine(tmp_path / "a.dcm"))
    settings = (("S5-2", 2, 20), ("68Hz", 2, 34), ("Gn 47", 2, 80), ("TIS0.4", 260, 20), ("50 BPM", 260, 236))
    assert not warned(cine(tmp_path / "a.dcm", *settings))


def test_real_cines_with_text_are_reported_and_others_are_not(data_dir: Path) -> None:
    def found(name: str) -> bool:
        return warned(open_cine(data_dir / "dicom" / name))

    assert found("fo-dicom__DIRW0007.dcm")
    for quiet in ("mglev1n-echocv__Image-43.dcm", "orthanc-tests__Issue16.dcm"):
        assert not found(quiet)


def test_the_demo_cine_has_no_warning(demo_cine_path: Path) -> None:
    assert not warned(open_cine(demo_cine_path))
