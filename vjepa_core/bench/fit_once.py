"""The forest over cached features of a cine, as convpaint has it, in a process of its own."""

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

from vjepa_core.bench.rivals.forest import TREES, Forest, upsampled
from vjepa_core.encoder.load import load_encoder
from vjepa_core.encoder.precision import inference_device, inference_dtype
from vjepa_core.errors import CoreError
from vjepa_core.fewshot.feature_cache import FeatureCache, cached_features
from vjepa_core.fewshot.features import CineFeatures
from vjepa_core.preprocessing import Letterbox


@dataclass(frozen=True)
class Task:
    """What one process measures.

    Attributes
    ----------
    given : str
        File (.npz) with `frames` (T, h, w) uint8, `annotated` (N,) and their `labels` (N, h, w).
    drawn : str
        File (.npz) for the masks (T, h, w) of every answer: `masks0`, `masks1`...
    features : str
        Folder of the feature cache.
    encoder : str
    encoder_folders : tuple of str
    fps : float
        Hz.
    annotations : tuple of dict
        ``annotated`` frames and the ``visible`` one.
    seed, trees : int
    pixel_aspect : float
        Height of a pixel divided by its width.
    """

    given: str
    drawn: str
    features: str
    encoder: str
    encoder_folders: tuple[str, ...]
    fps: float
    annotations: tuple[dict[str, Any], ...]
    seed: int = 0
    trees: int = TREES
    pixel_aspect: float = 1.0

    def to_json(self) -> str:
        """The process's argument."""
        return json.dumps(asdict(self))


class _Tokens:
    """Letterboxed frames of a cine to their tokens (N, depths, h, w, dim), known by their pixels."""

    def __init__(self, frames: NDArray[np.uint8], features: CineFeatures) -> None:
        self._at = {frame.tobytes(): index for index, frame in enumerate(frames)}
        self._features = features

    def __call__(self, images: NDArray[np.uint8]) -> Tensor:
        return self._features.at_many([self._at[image.tobytes()] for image in images])


def measure(task: Task) -> dict[str, Any]:
    """Have the features ready, then grow and draw, annotation after annotation.

    Returns
    -------
    dict
        `answers`: ``fit_s, preview_s, whole_s`` each, from the labels on.

    Raises
    ------
    BenchError
        If scikit-learn is not installed.
    """
    with np.load(task.given) as arrays:
        frames = arrays["frames"]
        labels = dict(zip(arrays["annotated"].tolist(), arrays["labels"], strict=True))
    box = Letterbox.fit(*frames.shape[1:], pixel_aspect=task.pixel_aspect)
    boxed = box.apply(frames)
    device = inference_device()
    module, card = load_encoder(
        task.encoder,
        device,
        [Path(folder) for folder in task.encoder_folders],
        matrices=inference_dtype(device),
    )
    features = cached_features(boxed, module, card, fps=task.fps, cache=FeatureCache(Path(task.features)))
    forest = Forest("forest", upsampled(_Tokens(boxed, features)), task.trees)
    # What is loaded and made at first use counts for nobody.
    _answer(
        replace(forest, trees=1),
        box,
        boxed[:1],
        {0: np.eye(*frames.shape[1:], dtype=np.uint8)},
        visible=0,
        seed=task.seed,
    )
    answers, drawn = [], {}
    for number, one in enumerate(task.annotations):
        known = {frame: labels[frame] for frame in one["annotated"]}
        told, masks = _answer(forest, box, boxed, known, visible=one["visible"], seed=task.seed)
        answers.append(told)
        drawn[f"masks{number}"] = masks
    np.savez(Path(task.drawn), **drawn)  # type: ignore[arg-type]
    return {"answers": answers}


def _answer(
    forest: Forest,
    box: Letterbox,
    boxed: NDArray[np.uint8],
    labels: dict[int, NDArray[np.uint8]],
    *,
    visible: int,
    seed: int,
) -> tuple[dict[str, float], NDArray[np.uint8]]:
    """Seconds, and masks (T, h, w) of the region."""
    began = time.perf_counter()
    targets = np.stack([box.apply_labels(label) for label in labels.values()])
    model = forest.fit(boxed[list(labels)], targets, seed=seed)
    fit_s = time.perf_counter() - began
    masks = np.zeros((len(boxed), box.height, box.width), np.uint8)
    preview_s = 0.0
    for frame in sorted(range(len(boxed)), key=lambda frame: abs(frame - visible)):
        square = model.predict(boxed[frame][None])[0]
        shares = np.stack([square == value for value in range(model.outputs)]).astype(np.float32)
        masks[frame] = box.invert(shares).argmax(0)
        preview_s = preview_s or time.perf_counter() - began
    return {"fit_s": fit_s, "preview_s": preview_s, "whole_s": time.perf_counter() - began}, masks


def main() -> int:
    """Write `{"result": ...}`, or `{"error": sentence}` and exit code 2."""
    raw = json.loads(sys.argv[1])
    folders, annotations = tuple(raw["encoder_folders"]), tuple(raw["annotations"])
    task = Task(**{**raw, "encoder_folders": folders, "annotations": annotations})
    told: dict[str, Any]
    with contextlib.redirect_stdout(sys.stderr):  # whatever a library says
        try:
            told = {"result": measure(task)}
        except CoreError as error:
            told = {"error": str(error)}
    sys.stdout.write(json.dumps(told) + "\n")
    return 2 if "error" in told else 0


if __name__ == "__main__":
    sys.exit(main())
