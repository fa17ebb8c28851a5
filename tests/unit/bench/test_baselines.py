"""The baselines: training, time budget and unlabelled pixels."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from vjepa_core.bench.baselines.base import (
    Baseline,
    Stopwatch,
    count_outputs,
    labels_from_probabilities,
    resize_images,
)
from vjepa_core.bench.baselines.forest import Forest, filters, pixel_features
from vjepa_core.bench.baselines.strong_augmentation import augment
from vjepa_core.bench.baselines.unet import UNet, converged_steps, dice_and_cross_entropy
from vjepa_core.bench.camus import BenchError
from vjepa_core.errors import Cancelled
from vjepa_core.label_image import UNLABELLED

SMALL = (8, 8, 8, 16, 16, 8)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Use one thread, because small nets gain nothing from more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _images(n: int = 4, h: int = 96, w: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """A bright block of class 2 and a grey block of class 1 at random positions on black."""
    random = np.random.default_rng(0)
    images = random.integers(0, 25, (n, h, w)).astype(np.uint8)
    masks = np.zeros_like(images)
    for image, mask in zip(images, masks, strict=True):
        y, x = random.integers(10, 30, 2)
        image[y : y + 50, x : x + 40] += 90
        image[y : y + 50, x + 40 : x + 80] += 190
        mask[y : y + 50, x : x + 40], mask[y : y + 50, x + 40 : x + 80] = 1, 2
    return images, masks


def _agree(found: np.ndarray, truth: np.ndarray) -> float:
    return float((found == truth).mean())


def test_augmentation_moves_labels_with_their_images() -> None:
    images = torch.zeros(16, 1, 64, 64)
    images[:, :, 20:44, 20:44] = 1.0
    masks = (images[:, 0] > 0.5).long()
    x, y = augment(images, masks, torch.Generator().manual_seed(0))
    assert x.shape == images.shape
    assert y.shape == masks.shape
    torch.testing.assert_close(x.mean((1, 2, 3)), torch.zeros(16), atol=1e-4, rtol=0)
    bright = torch.stack([x[i, 0][y[i] == 1].mean() - x[i, 0][y[i] == 0].mean() for i in range(16)])
    assert (bright > 0.5).all()
    assert set(y.unique().tolist()) == {0, 1, UNLABELLED}  # pixels from outside are not background
    assert not torch.equal(x[0], x[1])


def test_the_loss_excludes_unlabelled_pixels() -> None:
    logits = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(2, 8, 8, dtype=torch.long)
    labels[:, :4], labels[:, 4:6] = 1, 2
    labels[:, 6:] = UNLABELLED
    before = dice_and_cross_entropy(logits, labels)
    logits[:, :, 6:] += 5 * torch.randn(2, 3, 2, 8)
    torch.testing.assert_close(dice_and_cross_entropy(logits, labels), before)
    sure = torch.nn.functional.one_hot(labels.clamp_max(2), 3).movedim(-1, 1) * 50.0
    assert dice_and_cross_entropy(sure, labels) < 0.01


def test_a_unet_fits_its_images_and_is_reproducible() -> None:
    images, masks = _images()
    method: Baseline = UNet(steps=24, channels=SMALL)
    model = method.fit(images, masks, seed=0)
    prediction = model.predict(images)
    assert prediction.shape == masks.shape
    assert prediction.dtype == np.uint8
    assert _agree(prediction, masks) > 0.8
    assert model.steps == 24
    assert "all steps" in model.note

    short = UNet(steps=2, channels=SMALL)
    first, again = (short.fit(images, masks, seed=0).predict(images[:1]) for _ in range(2))
    assert np.array_equal(first, again)


def test_a_time_budget_stops_a_unet_after_at_least_one_step() -> None:
    images, masks = _images(2)
    model = UNet(channels=SMALL).fit(images, masks, seed=0, budget_s=0.0)
    assert model.steps == 1
    assert "stopped by time" in model.note
    with pytest.raises(Cancelled):
        UNet(channels=SMALL).fit(images, masks, seed=0, should_stop=lambda: True)


def test_more_labels_need_more_steps() -> None:
    counts = [converged_steps(4 * patients) for patients in (1, 5, 40, 400)]
    assert counts == sorted(counts)
    assert counts[0] > 2000


def test_a_forest_on_filters_separates_grey_from_bright() -> None:
    images, masks = _images(2)
    some = masks.copy()
    some[:, :20] = UNLABELLED
    model = Forest("filters", filters, trees=10).fit(images, some, seed=0)
    prediction = model.predict(images)
    assert prediction.shape == masks.shape
    assert _agree(prediction, masks) > 0.9
    assert model.steps == 10


def test_a_forest_on_features_reads_tokens_and_grey() -> None:
    images, masks = _images(2, 112, 112)

    def tokens_of(images: np.ndarray) -> torch.Tensor:
        cells = torch.from_numpy(images).float().unflatten(1, (14, 8)).unflatten(3, (14, 8)).mean((2, 4))
        return cells[:, None, :, :, None].repeat(1, 2, 1, 1, 3).half()

    describe = pixel_features(tokens_of)
    assert describe(images[0]).shape == (112, 112, 2 * 3 + 1)
    np.testing.assert_allclose(describe(images[0])[..., -1], images[0] / 255, rtol=1e-6)
    model = Forest("features", describe, trees=10).fit(images, masks, seed=0)
    assert _agree(model.predict(images), masks) > 0.9


def test_classes_may_be_missing_from_some_images() -> None:
    images, masks = _images(2)
    masks[0][masks[0] == 1] = 0
    masks[1][masks[1] == 2] = 0
    found = Forest("filters", filters, trees=5).fit(images, masks, seed=0).predict(images[:1])
    assert set(np.unique(found)) <= {0, 1, 2}
    assert count_outputs(masks) == 3
    assert count_outputs(np.full((1, 4, 4), UNLABELLED, np.uint8)) == 1


def test_images_are_mapped_to_the_grid_and_back() -> None:
    _, masks = _images(1)
    small = resize_images(masks, labels=True)
    assert small.shape == (1, 112, 112)
    assert set(np.unique(small)) == set(np.unique(masks))
    maps = np.stack([(small[0] == value).astype(np.float32) for value in range(3)])
    assert _agree(labels_from_probabilities(maps, (96, 128)), masks[0]) > 0.97


def test_a_stopwatch_without_a_budget_never_expires() -> None:
    assert Stopwatch().share == 0
    assert Stopwatch(0.0).share > 1


@pytest.mark.parametrize(
    ("library", "fit"),
    [
        ("monai.networks.nets.basic_unet", lambda i, m: UNet().fit(i, m, seed=0)),
        ("sklearn.ensemble", lambda i, m: Forest("f", filters).fit(i, m, seed=0)),
        ("skimage.feature", lambda i, m: Forest("f", filters).fit(i, m, seed=0)),
    ],
)
def test_a_missing_library_is_one_sentence(
    library: str, fit: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(BenchError, match=r"pip install 'apical\[bench\]'"):
        fit(*_images(1))  # type: ignore[operator]
