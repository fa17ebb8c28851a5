"""The pixel aspect follows from a plausible calibration."""

from __future__ import annotations

import dataclasses

import pytest

from app.domain.cine import Calibration
from tests.unit.engine.conftest import make_cine


@pytest.mark.parametrize(
    ("x", "y", "aspect"),
    [
        (0.31, 0.15, 0.15 / 0.31),
        (0.29, 0.23, 0.23 / 0.29),
        (0.2, 0.3, 1.5),
        (0.308, 0.30800001, 1.0),  # rounding
        (0.3, 3.0, 1.0),  # an error in the file
        (0.01, 0.002, 1.0),
    ],
)
def test_aspect_of_a_calibrated_cine(x: float, y: float, aspect: float) -> None:
    cine = dataclasses.replace(make_cine(), calibration=Calibration(x, y, "test"))
    assert cine.pixel_aspect == pytest.approx(aspect, abs=1e-12)
    assert cine.spacing_mm == (x, y)


def test_aspect_of_a_cine_without_a_calibration() -> None:
    assert make_cine().pixel_aspect == 1.0
    assert make_cine().spacing_mm is None
