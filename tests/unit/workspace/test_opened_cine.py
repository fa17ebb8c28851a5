"""Region and doubts of an open cine."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np

from app.domain.cine import Box, Calibration, Frame
from app.domain.prediction import Prediction
from app.workspace.opened_cine import OpenedCine
from tests.unit.engine.conftest import HEIGHT, WIDTH, make_cine
from vjepa_core.letterbox import Letterbox


def opened(labels: dict[int, Frame]) -> OpenedCine:
    layer = SimpleNamespace(labels=labels, label=labels.get, states=lambda frame: {})
    recorder: Any = SimpleNamespace(layer=layer)
    record: Any = SimpleNamespace(id=1)
    return OpenedCine(make_cine(), record, recorder)


def drawn(right: int) -> Frame:
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    label[20:40, 50:right] = 1
    return label


def test_doubts_cover_the_region_in_its_true_proportions() -> None:
    cine = opened({})
    cine.cine = dataclasses.replace(cine.cine, calibration=Calibration(0.2, 0.3, "test"))
    cine.predictions[0] = Prediction.of(np.ones((HEIGHT, WIDTH), np.uint8), 0.5, 0)
    box = Letterbox.for_image(80, 100, pixel_aspect=1.5)
    doubt = np.zeros((112, 112), np.uint8)
    doubt[56:, box.left // 2 + 1 : 56] = 200  # the lower left quarter of the region in the square
    cine.doubts[0] = doubt
    shown = cine.doubt(0)
    assert shown is not None
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[45:85, 10:60] = True
    assert np.mean((shown > 100) == expected) > 0.98


def test_the_region_depends_only_on_the_present_annotations() -> None:
    labels = {0: drawn(right=60)}
    cine = opened(labels)
    found = Box(10, 5, 110, 85)
    assert not cine.update_region()
    assert cine.cine.region == found

    labels[1] = drawn(right=WIDTH)
    assert cine.update_region()
    assert cine.cine.region == Box(10, 5, WIDTH, 85)
    assert cine.cine.region_source == "widened to contain the annotations"
    again = opened(labels)
    again.update_region()
    assert again.cine.region == cine.cine.region

    del labels[1]  # undone
    assert cine.update_region()
    assert (cine.cine.region, cine.cine.region_source) == (found, opened({}).cine.region_source)
    assert not cine.update_region()
