"""Segment all frames of a cine from a few labelled ones, in one call."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vjepa_core.encoder.catalogue import DEFAULT_ENCODER, EncoderCard
from vjepa_core.encoder.loaded import LoadedEncoder, resolve_encoder
from vjepa_core.errors import Cancelled, CoreError
from vjepa_core.fewshot.feature_cache import FeatureCache
from vjepa_core.fewshot.findings import Finding
from vjepa_core.fewshot.fit import FitConfig
from vjepa_core.fewshot.pipeline import PREDICT_FRAMES, CinePipeline, Progress, ignore_progress, never
from vjepa_core.fewshot.prepared_cine import PreparedCine
from vjepa_core.fewshot.starter import LEFT_HEART, Starter

OnPrediction = Callable[[PreparedCine, list[int], Tensor], None]
"""Called with (cine with its labels, frames, their probabilities) for every group of predicted frames."""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Masks of a cine, with details of their computation.

    Attributes
    ----------
    masks : array
        (T, h, w) uint8 label values.
    confidence : array
        (T,) float32 in 0..1, the expected mean Dice of each frame, capped if the frame has findings.
    losses : list of float
        Loss of each step.
    steps : int
        Number of steps.
    stopped_by : str
        "steps", or "budget" if the time limit ended the fit, which is then not reproducible.
    seconds : dict
        Wall-clock time of "motion", "features", "fit" and "predict".
    encoder_name, encoder_checksum, encoder_trained
        From the card of the encoder.
    findings : list of tuple of Finding
        Reasons to distrust each frame; none for annotated frames.
    structure_dice : list of dict
        For each frame, the Dice of each structure expected from the softmax, by label value.
    """

    masks: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    losses: list[float]
    steps: int
    stopped_by: str
    seconds: dict[str, float]
    encoder_name: str
    encoder_checksum: str
    encoder_trained: bool
    findings: list[tuple[Finding, ...]] = field(default_factory=list)
    structure_dice: list[dict[int, float]] = field(default_factory=list)


def segment(
    frames: NDArray[np.uint8],
    labels: Mapping[int, NDArray[np.uint8]],
    classes: tuple[int, ...],
    *,
    fps: float,
    pixel_aspect: float = 1.0,
    damaged: Collection[int] = (),
    encoder: str | EncoderCard | LoadedEncoder | None = None,
    start: Starter | None = None,
    cache: FeatureCache | None = None,
    seed: int = 0,
    budget_s: float | None = None,
    config: FitConfig | None = None,
    on_progress: Progress = ignore_progress,
    on_prediction: OnPrediction | None = None,
    should_stop: Callable[[], bool] = never,
) -> Segmentation:
    """Fit a head to a few labelled frames of a cine and predict all frames.

    Parameters
    ----------
    frames : array
        (T, h, w) uint8, limited to the ultrasound region.
    labels : mapping
        Frame number to label image (h, w) uint8: 0 is background, 255 unlabelled.
    classes : tuple of int
        Label values of the structures.
    fps : float
        Frame rate, Hz; 0 if unknown.
    pixel_aspect : float
        Height of a pixel divided by its width.
    damaged : collection of int
        Frames that could not be decoded, see `CinePipeline`.
    encoder : str, EncoderCard or (module, card), optional
        Name of a shipped encoder, a card, or a loaded encoder. Default: `DEFAULT_ENCODER`.
    start : Starter, optional
        Head from which the fit starts and whose draft is used where it applies; it must be for this encoder
        and these classes. Default: a new head.
    cache : FeatureCache, optional
        Cache of features on disk.
    seed : int
        The same seed gives the same masks on the same machine.
    budget_s : float, optional
        Time limit in seconds from the call until the end of the fit; at least one step is done.
    config : FitConfig, optional
        Settings of the fit; its seed is replaced by `seed`.
    on_progress : callable
        Called with (stage, done, total).
    on_prediction : callable, optional
        Receives every group of predicted frames.
    should_stop : callable
        Called between pairs of frames, clips, steps and groups of frames.

    Returns
    -------
    Segmentation

    Raises
    ------
    CoreError
        If frames, labels, classes or start are invalid.
    Cancelled
        If `should_stop` returned True.
    """
    started = time.monotonic()
    _check(frames, labels, classes)
    seconds: dict[str, float] = {}
    with _timed(seconds, "features"):
        module, card = resolve_encoder(DEFAULT_ENCODER if encoder is None else encoder)
    _check_start(start, card, classes)
    pipeline = CinePipeline.of_region(
        frames,
        classes,
        fps=fps,
        pixel_aspect=pixel_aspect,
        left_heart=start is not None and classes == LEFT_HEART,
        damaged=damaged,
    )
    with _timed(seconds, "motion"):
        pipeline.prepare_motion(on_progress=on_progress, should_stop=should_stop)
    with _timed(seconds, "features"):
        pipeline.prepare_features(module, card, cache=cache, on_progress=on_progress, should_stop=should_stop)
    pipeline.set_labels(labels)
    with _timed(seconds, "fit"):
        fitted = pipeline.fit(
            card,
            replace(config or FitConfig(), seed=seed),
            start,
            ends_at=math.inf if budget_s is None else started + budget_s,
            on_step=lambda done, total: on_progress("fit", done, total),
            should_stop=should_stop,
        )
    masks = np.empty(frames.shape, np.uint8)
    with _timed(seconds, "predict"):
        for first in range(0, len(frames), PREDICT_FRAMES):
            if should_stop():
                raise Cancelled
            on_progress("predict", first, len(frames))
            group = list(range(first, min(first + PREDICT_FRAMES, len(frames))))
            predicted = pipeline.predict(fitted.head, group)
            masks[group] = predicted.masks
            if on_prediction is not None:
                on_prediction(pipeline.prepared, group, predicted.probabilities)
        on_progress("predict", len(frames), len(frames))
    assessment = pipeline.assessment
    return Segmentation(
        masks,
        np.array([assessment.expected_dice(frame) for frame in range(len(frames))], np.float32),
        fitted.losses,
        len(fitted.losses),
        "steps" if fitted.is_complete else "budget",
        seconds,
        card.name,
        card.checksum,
        card.trained,
        [assessment.findings(frame) for frame in range(len(frames))],
        [assessment.structure_dice(frame) for frame in range(len(frames))],
    )


@contextlib.contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.monotonic() - started


def _check_start(start: Starter | None, card: EncoderCard, classes: tuple[int, ...]) -> None:
    if start is None:
        return
    config = start.head.config
    if (config.encoder_checksum, config.classes) != (card.checksum, classes):
        raise CoreError(
            f"The starter head is for {config.encoder} and the classes {config.classes}: "
            f"choose one for {card.name} and the classes {classes}, or none."
        )


def _check(
    frames: NDArray[np.uint8], labels: Mapping[int, NDArray[np.uint8]], classes: tuple[int, ...]
) -> None:
    if frames.dtype != np.uint8 or frames.ndim != 3 or 0 in frames.shape:
        raise CoreError(f"Frames must be grey and 8 bits deep, not {frames.dtype} of shape {frames.shape}.")
    if not labels:
        raise CoreError("There is no labelled frame: outline at least one.")
    if not classes or len(set(classes)) < len(classes) or not all(0 < value < 255 for value in classes):
        raise CoreError(f"Label values must be different numbers from 1 to 254, not {classes}.")
    for frame, label in labels.items():
        if not 0 <= frame < len(frames):
            raise CoreError(
                f"There is a label for frame {frame}, but the cine has frames 0 to {len(frames) - 1}."
            )
        if label.shape != frames.shape[1:]:
            raise CoreError(
                f"The label of frame {frame} is {label.shape[1]} x {label.shape[0]} pixels, "
                f"the frames {frames.shape[2]} x {frames.shape[1]}."
            )
    if not any(np.isin(label, classes).any() for label in labels.values()):
        raise CoreError("No structure is outlined on the labelled frames: outline at least one.")
