"""The main workflow on a clinical cine that is not part of the repository."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.e2e.conftest import ProgramDriver

pytestmark = pytest.mark.slow

CAVITY = 1
# Endocardial border of the left ventricle, outlined by eye, (x, y) in pixels.
BORDERS = {
    0: [(459, 132), (436, 170), (430, 250), (430, 335), (480, 325), (525, 315), (530, 245), (515, 170)],
    25: [(459, 138), (436, 190), (434, 250), (436, 335), (485, 338), (520, 318), (533, 240), (515, 165)],
}


@pytest.mark.data
def test_two_outlines_segment_a_whole_clinical_cine(
    open_program: Callable[[Path], ProgramDriver], data_dir: Path
) -> None:
    path = data_dir / "dicom" / "mglev1n-echocv__Image-43.dcm"
    if not path.exists():
        pytest.skip(f"{path.name} is not in the data folder")
    driver = open_program(path)
    for frame, border in BORDERS.items():
        driver.user.go_to(frame)
        driver.user.keys("P", "1")
        driver.user.drag([*border, border[0]])
    driver.wait_until_up_to_date()
    cine, drawn = driver.opened.cine, driver.drawn(0) == CAVITY
    for frame in range(0, cine.n_frames, 6):
        mask = driver.predicted(frame) == CAVITY
        assert 0.25 * drawn.sum() < mask.sum() < 1.5 * drawn.sum()
        # Blood is darker than the muscle around it.
        around = cv2.dilate(mask.astype(np.uint8), np.ones((41, 41), np.uint8)).astype(bool) & ~mask
        picture = cine.frame(frame)
        assert picture[mask].mean() < 0.8 * picture[around].mean()
        # Nothing outside the ultrasound region is labelled.
        outside = np.ones(mask.shape, bool)
        outside[cine.region.slices] = False
        assert not mask[outside].any()
