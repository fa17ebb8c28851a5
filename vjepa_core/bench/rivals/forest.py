"""Forests that name each pixel: on classical filters as ilastik does, on our features as convpaint does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vjepa_core.bench.camus import BenchError
from vjepa_core.bench.rivals.base import SIDE, Stopwatch, grown, outputs, shrink
from vjepa_core.errors import Cancelled
from vjepa_core.label_image import UNLABELLED

TREES = 100
MOST_PIXELS = 30_000
"""That a forest learns from, in all pictures together; within a picture the classes have equal shares."""

Describe = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""One picture (H, W) uint8 to what is known of its pixels, (SIDE, SIDE, F) float32."""


@dataclass(frozen=True)
class Forest:
    """A scikit-learn forest over what `describe` says of each pixel, at 112 pixels.

    Attributes
    ----------
    name : str
    describe : callable
        See `Describe`.
    trees : int
    """

    name: str
    describe: Describe
    trees: int = TREES

    def fit(
        self,
        images: NDArray[np.uint8],
        masks: NDArray[np.uint8],
        *,
        seed: int,
        budget_s: float | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> ForestModel:
        """Grow a forest; takes no notice of a budget. See `vjepa_core.bench.rivals.base.Rival`."""
        classifier = _forest()(self.trees, n_jobs=-1, random_state=seed)
        watch, random = Stopwatch(), np.random.default_rng(seed)
        known, answers = [], []
        for image, mask in zip(images, shrink(masks, labels=True), strict=True):
            if should_stop():
                raise Cancelled
            rows = _some_pixels(mask.ravel(), MOST_PIXELS // len(images), random)
            described = self.describe(image)
            known.append(described.reshape(-1, described.shape[-1])[rows])
            answers.append(mask.ravel()[rows])
        classifier.fit(np.concatenate(known), np.concatenate(answers))
        return ForestModel(
            classifier, self.describe, outputs(masks), self.trees, watch.seconds, f"{self.trees} trees"
        )


@dataclass
class ForestModel:
    """A grown forest."""

    classifier: Any
    describe: Describe
    outputs: int
    steps: int
    seconds: float
    note: str

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Label images (N, H, W)."""
        drawn = []
        for image in images:
            described = self.describe(image)
            voted = self.classifier.predict_proba(described.reshape(-1, described.shape[-1]))
            maps = np.zeros((self.outputs, SIDE, SIDE), np.float32)
            maps[self.classifier.classes_] = voted.T.reshape(-1, SIDE, SIDE)
            drawn.append(grown(maps, images.shape[1:]))
        return np.stack(drawn)


def filters(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Intensity, edges and texture (Hessian eigenvalues) of a picture at six scales, (SIDE, SIDE, 24)."""
    try:
        from skimage.feature import multiscale_basic_features
    except ImportError as error:
        raise BenchError(
            "The filters are scikit-image's, which is not installed: pip install 'apical[bench]', "
            "or choose other rows."
        ) from error
    small = shrink(image[None])[0]
    found = multiscale_basic_features(small, sigma_min=0.5, sigma_max=16)
    return np.asarray(found, np.float32)


def upsampled(tokens_of: Callable[[NDArray[np.uint8]], Tensor]) -> Describe:
    """What an encoder says of each pixel: its tokens of all depths, bilinear, and the pixel's grey level.

    Parameters
    ----------
    tokens_of : callable
        Pictures (N, H, W) to tokens (N, L, h, w, D).
    """

    def describe(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        tokens = tokens_of(image[None])[0].float()
        maps = tokens.permute(0, 3, 1, 2).flatten(0, 1)[None]
        fine = functional.interpolate(maps, (SIDE, SIDE), mode="bilinear", align_corners=False)[0]
        grey = torch.from_numpy(shrink(image[None])).float() / 255
        return torch.cat((fine, grey)).movedim(0, -1).contiguous().numpy()

    return describe


def _some_pixels(labels: NDArray[np.uint8], most: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Numbers of pixels, at most `most` (at least one a class), every class as often where it has enough."""
    classes = [value for value in np.unique(labels) if value != UNLABELLED]
    share = max(1, most // max(1, len(classes)))
    chosen = [random.permutation(np.flatnonzero(labels == value))[:share] for value in classes]
    return np.concatenate(chosen) if chosen else np.zeros(0, np.int64)


def _forest() -> Any:
    try:
        from sklearn.ensemble import RandomForestClassifier
    except ImportError as error:
        raise BenchError(
            "The forests are scikit-learn's, which is not installed: pip install 'apical[bench]', "
            "or choose other rows."
        ) from error
    return RandomForestClassifier
