"""Process that fits a forest on cached features of a cine, as in convpaint."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vjepa_core.bench.baselines.forest import TREES, Forest, pixel_features
from vjepa_core.encoder.load import load_encoder
from vjepa_core.encoder.precision import inference_device, inference_dtype
from vjepa_core.errors import CoreError
from vjepa_core.fewshot.feature_cache import FeatureCache, cached_features
from vjepa_core.fewshot.features import CineFeatures
from vjepa_core.letterbox import Letterbox


@dataclass(frozen=True)
class Task:
    """Measurement of one process.

    Attributes
    ----------
    input_file : str
        Input file (.npz) with `frames` (T, h, w) uint8, `annotated` (N,) and their `labels` (N, h, w).
    output_file : str
        Output file (.npz) for the masks (T, h, w) after each annotation: `masks0`, `masks1`...
    features : str
        Folder of the feature cache.
    encoder : str
        Name of the encoder.
    encoder_folders : tuple of str
        Folders with encoder cards.
    fps : float
        Frame rate in Hz.
    annotations : tuple of dict
        ``annotated`` frames and the ``visible`` frame.
    seed, trees : int
        Seed and number of trees.
    pixel_aspect : float
        Height of a pixel divided by its width.
    """

    input_file: str
    output_file: str
    features: str
    encoder: str
    encoder_folders: tuple[str, ...]
    fps: float
    annotations: tuple[dict[str, Any], ...]
    seed: int = 0
    trees: int = TREES
    pixel_aspect: float = 1.0

    def to_json(self) -> str:
        """Return the argument of the process."""
        return json.dumps(asdict(self))


class _Tokens:
    """Returns the tokens (N, depths, h, w, dim) of letterboxed frames of a cine, identified by pixels."""

    def __init__(self, frames: NDArray[np.uint8], features: CineFeatures) -> None:
        self._at = {frame.tobytes(): index for index, frame in enumerate(frames)}
        self._features = features

    def __call__(self, images: NDArray[np.uint8]) -> Tensor:
        return self._features.at_many([self._at[image.tobytes()] for image in images])


def measure(task: Task) -> dict[str, Any]:
    """Load the features, then fit and predict for each annotation.

    Returns
    -------
    dict
        `responses`: ``fit_s, preview_s, whole_s`` for each annotation, in seconds.

    Raises
    ------
    BenchError
        If scikit-learn is not installed.
    """
    with np.load(task.input_file) as arrays:
        frames = arrays["frames"]
        labels = dict(zip(arrays["annotated"].tolist(), arrays["labels"], strict=True))
    box = Letterbox.for_image(*frames.shape[1:], pixel_aspect=task.pixel_aspect)
    boxed = box.apply(frames)
    device = inference_device()
    module, card = load_encoder(
        task.encoder,
        device,
        [Path(folder) for folder in task.encoder_folders],
        matrices=inference_dtype(device),
    )
    features = cached_features(boxed, module, card, fps=task.fps, cache=FeatureCache(Path(task.features)))
    forest = Forest("forest", pixel_features(_Tokens(boxed, features)), task.trees)
    # Warm-up: imports and first use do not count.
    _fit_and_predict(
        replace(forest, trees=1),
        box,
        boxed[:1],
        {0: np.eye(*frames.shape[1:], dtype=np.uint8)},
        visible=0,
        seed=task.seed,
    )
    responses, drawn = [], {}
    for number, one in enumerate(task.annotations):
        known = {frame: labels[frame] for frame in one["annotated"]}
        times, masks = _fit_and_predict(forest, box, boxed, known, visible=one["visible"], seed=task.seed)
        responses.append(times)
        drawn[f"masks{number}"] = masks
    np.savez(Path(task.output_file), **drawn)  # type: ignore[arg-type]
    return {"responses": responses}


def _fit_and_predict(
    forest: Forest,
    box: Letterbox,
    boxed: NDArray[np.uint8],
    labels: dict[int, NDArray[np.uint8]],
    *,
    visible: int,
    seed: int,
) -> tuple[dict[str, float], NDArray[np.uint8]]:
    """Return times in seconds and the masks (T, h, w) of the region."""
    started = time.perf_counter()
    targets = np.stack([box.apply_labels(label) for label in labels.values()])
    model = forest.fit(boxed[list(labels)], targets, seed=seed)
    fit_s = time.perf_counter() - started
    masks = np.zeros((len(boxed), box.height, box.width), np.uint8)
    preview_s = 0.0
    for frame in sorted(range(len(boxed)), key=lambda frame: abs(frame - visible)):
        square = model.predict(boxed[frame][None])[0]
        shares = np.stack([square == value for value in range(model.outputs)]).astype(np.float32)
        masks[frame] = box.invert(shares).argmax(0)
        preview_s = preview_s or time.perf_counter() - started
    return {"fit_s": fit_s, "preview_s": preview_s, "whole_s": time.perf_counter() - started}, masks


def main() -> int:
    """Write `{"result": ...}` and return 0, or write `{"error": message}` and return 2."""
    raw = json.loads(sys.argv[1])
    folders, annotations = tuple(raw["encoder_folders"]), tuple(raw["annotations"])
    task = Task(**{**raw, "encoder_folders": folders, "annotations": annotations})
    output: dict[str, Any]
    with contextlib.redirect_stdout(sys.stderr):  # libraries may print to stdout
        try:
            output = {"result": measure(task)}
        except CoreError as error:
            output = {"error": str(error)}
    sys.stdout.write(json.dumps(output) + "\n")
    return 2 if "error" in output else 0


if __name__ == "__main__":
    sys.exit(main())
