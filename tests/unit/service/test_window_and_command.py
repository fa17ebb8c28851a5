"""The engine and the command line predict the same masks from the same labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.service.test_service import FRAMES, Driver, image
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER, card
from vjepa_core.fewshot.feature_cache import FeatureCache
from vjepa_core.fewshot.fit import FitConfig
from vjepa_core.fewshot.segmenter import segment
from vjepa_core.fewshot.starter import LEFT_HEART, load_starter
from vjepa_core.service import jobs
from vjepa_core.service.messages import SharedArray, Stage

pytestmark = pytest.mark.slow


def outlined(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return (frame > 100).astype(np.uint8)


def scribbled(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scribbles on an image that is not a heart, so that the starter head does not apply."""
    label = np.full_like(frame, 255)
    label[100:124, 90:134] = 1
    label[10:20, 10:214] = 0
    return label


@pytest.mark.parametrize("labelled", [outlined, scribbled])
def test_window_and_command_give_the_same_masks(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    labelled: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
) -> None:
    monkeypatch.setattr(jobs, "FitConfig", lambda: FitConfig(steps=4))
    driver = Driver(tmp_path, tmp_path / "features")
    try:
        frames = np.stack([image(index, 224) for index in range(FRAMES)])
        request = replace(driver.open(), frames=driver.share("frames", frames), left_heart=True)
        request = replace(request, region_height=224, region_width=224)
        request = replace(request, masks=SharedArray.create(tmp_path / "masks", (FRAMES, 224, 224)))
        labels = {frame: labelled(frames[frame]) for frame in (1, 4)}
        shared = driver.share("labels", np.stack(list(labels.values())))
        driver.send(request, replace(driver.labels(1, *labels), labels=shared))
        driver.wait_for(Stage.UP_TO_DATE, 1)
        predicted = np.array(request.masks.open())
    finally:
        driver.end()
    encoder = card(DEFAULT_ENCODER)
    starter = load_starter(encoder)
    assert starter is not None
    found = segment(
        frames,
        labels,
        LEFT_HEART,
        fps=30.0,
        encoder=encoder,
        start=starter,
        cache=FeatureCache(tmp_path / "features"),
        config=FitConfig(steps=4),
    )
    assert predicted.any()
    assert (predicted != found.masks).mean() < 1e-4  # frames are grouped differently, which affects rounding
