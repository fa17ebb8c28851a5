"""The region of a cine follows from the file and from what is outlined now, not from what once was."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from app.domain.cine import Box, Frame
from app.ui.opened_cine import OpenedCine
from tests.unit.engine.conftest import HEIGHT, WIDTH, make_cine


def opened(labels: dict[int, Frame]) -> OpenedCine:
    recorder: Any = SimpleNamespace(annotated=SimpleNamespace(labels=labels))
    record: Any = SimpleNamespace(id=1)
    return OpenedCine(make_cine(), record, recorder)


def drawn(right: int) -> Frame:
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    label[20:40, 50:right] = 1
    return label


def test_the_region_is_the_same_whenever_a_project_is_opened() -> None:
    labels = {0: drawn(right=60)}
    cine = opened(labels)
    found = Box(10, 5, 110, 85)
    assert not cine.fit_region()
    assert cine.cine.region == found

    labels[1] = drawn(right=WIDTH)
    assert cine.fit_region()
    assert cine.cine.region == Box(10, 5, WIDTH, 85)
    assert cine.cine.region_source == "widened to what was outlined"
    again = opened(labels)
    again.fit_region()
    assert again.cine.region == cine.cine.region

    del labels[1]  # undone
    assert cine.fit_region()
    assert (cine.cine.region, cine.cine.region_source) == (found, opened({}).cine.region_source)
    assert not cine.fit_region()
