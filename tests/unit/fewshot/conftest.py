"""A small encoder and a small cine for tests of the head."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.unit.fewshot.beating import beating
from vjepa_core.encoder.architecture import Architecture
from vjepa_core.encoder.catalogue import EncoderCard
from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.fewshot.pipeline import prepare_cine
from vjepa_core.fewshot.prepared_cine import PreparedCine, frame_label

CLASSES = (1, 2)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small_encoder() -> LoadedEncoder:
    """Return an encoder with the width of its architecture, but two blocks only."""
    torch.manual_seed(0)
    module = VisionTransformer3D(Architecture(192, 2, 3)).eval().requires_grad_(False)
    card = EncoderCard(
        "small", "V-JEPA 2.1", "vit_tiny_patch16_224_t2", 1, "MIT", "", False, "0" * 64, None, 0, 30.0, (0, 1)
    )
    return module, card


@pytest.fixture(scope="session")
def heart() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return beating()


@pytest.fixture
def prepared(
    heart: tuple[NDArray[np.uint8], NDArray[np.uint8]], small_encoder: LoadedEncoder
) -> PreparedCine:
    """Return the beating heart with frames 0 and 6 annotated."""
    frames, masks = heart
    cine = prepare_cine(0, frames, *small_encoder, fps=30)
    cine.labels = {frame: frame_label(masks[frame], cine.box, CLASSES) for frame in (0, 6)}
    return cine
