"""Comparison of encoders on the labels of a user.

Each labelled frame in turn is predicted by a head fitted to the other labelled frames of its cine. All
encoders get the same frames, steps and seed, and the fit is that of the window, but starts from an
untrained head: the starter head exists for one encoder only and was fitted to many patients, so that the
scores would depend more on that head than on the encoder.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vjepa_core.encoder.catalogue import EncoderCard
from vjepa_core.encoder.loaded import LoadedEncoder, resolve_encoder
from vjepa_core.fewshot.feature_cache import FeatureCache
from vjepa_core.fewshot.fit import FitConfig
from vjepa_core.fewshot.held_out import Target
from vjepa_core.fewshot.overlap import dice
from vjepa_core.fewshot.pipeline import CinePipeline, Progress, ignore_progress, never

# 97.5 % points of Student's t by degrees of freedom, from 1; for more, the normal distribution is used.
_T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13, 2.12)


@dataclass(frozen=True, eq=False)
class LabelledCine:
    """A cine with label images.

    Attributes
    ----------
    frames : array
        (T, h, w) uint8, limited to the ultrasound region.
    fps : float
        Frame rate, Hz; 0 if unknown.
    labels : mapping
        Frame number to label image (h, w) uint8: 0 is background, 255 unlabelled. Scribbled frames are used
        in fits; they should not be targets.
    pixel_aspect : float
        Height of a pixel divided by its width.
    """

    frames: NDArray[np.uint8]
    fps: float
    labels: Mapping[int, NDArray[np.uint8]]
    pixel_aspect: float = field(default=1.0, kw_only=True)


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predicted mask (h, w) uint8 of a target, and its Dice by label value."""

    target: Target
    mask: NDArray[np.uint8]
    dice: Mapping[int, float]

    @property
    def mean(self) -> float:
        """Mean Dice of the scored classes; NaN if there are none."""
        return statistics.fmean(self.dice.values()) if self.dice else math.nan


@dataclass(frozen=True, eq=False)
class EncoderResult:
    """Predictions with one encoder, in the order of the targets, and their time in seconds."""

    card: EncoderCard
    predictions: Sequence[Prediction]
    seconds: float

    @property
    def scores(self) -> list[float]:
        """Mean Dice of each scored frame."""
        return [prediction.mean for prediction in self.predictions if prediction.dice]

    @property
    def mean_dice(self) -> float | None:
        """Mean Dice over frames; None if no frame was scored."""
        return statistics.fmean(self.scores) if self.scores else None

    @property
    def per_class(self) -> dict[int, float]:
        """Mean Dice by label value, over the frames on which the class was scored."""
        values = sorted({value for prediction in self.predictions for value in prediction.dice})
        return {v: statistics.fmean(p.dice[v] for p in self.predictions if v in p.dice) for v in values}


def compare(
    cines: Mapping[int, LabelledCine],
    classes: tuple[int, ...],
    encoders: Sequence[EncoderCard | LoadedEncoder],
    targets: Sequence[Target],
    *,
    cache: FeatureCache | None = None,
    seed: int = 0,
    config: FitConfig | None = None,
    on_progress: Progress = ignore_progress,
    should_stop: Callable[[], bool] = never,
) -> list[EncoderResult]:
    """Predict the targets with a head on the features of each encoder.

    Parameters
    ----------
    cines : mapping
        Labelled cines by the cine number of the targets.
    classes : tuple of int
        Label values.
    encoders : sequence
        Encoders or their cards. Cards are loaded one after the other, so that only one is in memory.
    targets : sequence of Target
        See `vjepa_core.fewshot.held_out.choose_targets`.
    cache : FeatureCache, optional
        Cache of features on disk.
    seed : int
        Seed of heads and fits, the same for all encoders.
    config : FitConfig, optional
        Settings of a fit to up to four labels; its seed is replaced by `seed`.
    on_progress : callable
        Called with (stage, done, total).
    should_stop : callable
        Called between pairs of frames, clips and steps.

    Returns
    -------
    list of EncoderResult

    Raises
    ------
    EncoderError
        If an encoder cannot be loaded.
    Cancelled
        If `should_stop` returned True.
    """
    settings = replace(config or FitConfig(), seed=seed)
    comparison = _Comparison(cines, classes, targets, cache, settings, on_progress, should_stop)
    comparison.prepare()
    return [comparison.result(encoder) for encoder in encoders]


@dataclass(eq=False)
class _Comparison:
    """Settings and prepared cines, shared by all encoders."""

    cines: Mapping[int, LabelledCine]
    classes: tuple[int, ...]
    targets: Sequence[Target]
    cache: FeatureCache | None
    config: FitConfig
    on_progress: Progress
    should_stop: Callable[[], bool]
    pipelines: dict[int, CinePipeline] = field(default_factory=dict)

    def prepare(self) -> None:
        """Compute the motion of all cines, which does not depend on the encoder."""
        used = sorted({target.cine for target in self.targets})
        for i in used:
            self.on_progress("motion", len(self.pipelines), len(used))
            cine = self.cines[i]
            pipeline = CinePipeline.of_region(
                cine.frames, self.classes, fps=cine.fps, pixel_aspect=cine.pixel_aspect, cine_id=i
            )
            pipeline.prepare_motion(should_stop=self.should_stop)
            for frame in cine.labels:
                # Positions depend on the frames from which labels were carried earlier. They are computed
                # here, so that they are the same for every encoder.
                pipeline.prepared.motion.positions(frame)
            self.pipelines[i] = pipeline
        self.on_progress("motion", len(used), len(used))

    def result(self, encoder: EncoderCard | LoadedEncoder) -> EncoderResult:
        """Predict every target with this encoder."""
        started = time.monotonic()
        loaded = resolve_encoder(encoder)
        for i in self.pipelines:
            self._compute_features(i, loaded)
        card = loaded[1]
        predictions: dict[Target, Prediction] = {}
        fits = self._fits()
        done, total = 0, sum(self.config.for_labels(len(frames)).steps for _, frames in fits)

        def on_step(step: int, _: int) -> None:
            self.on_progress(f"{card.name}: fits", done + step, total)

        for (i, frames), targets in fits.items():
            pipeline, labels = self.pipelines[i], self.cines[i].labels
            pipeline.set_labels({frame: labels[frame] for frame in frames})
            fitted = pipeline.fit(card, self.config, on_step=on_step, should_stop=self.should_stop)
            done += len(fitted.losses)
            for target in targets:
                (mask,) = pipeline.predict(fitted.head, [target.frame]).masks
                scores = {value: dice(mask, labels[target.frame], value) for value in target.scored}
                predictions[target] = Prediction(target, mask, scores)
        seconds = time.monotonic() - started
        return EncoderResult(card, [predictions[target] for target in self.targets], seconds)

    def _fits(self) -> dict[tuple[int, tuple[int, ...]], list[Target]]:
        """Group the targets by cine and frames to fit to; targets without a label share one fit."""
        fits: dict[tuple[int, tuple[int, ...]], list[Target]] = {}
        for target in self.targets:
            frames = tuple(sorted(f for f in self.cines[target.cine].labels if f != target.frame))
            fits.setdefault((target.cine, frames), []).append(target)
        return fits

    def _compute_features(self, i: int, loaded: LoadedEncoder) -> None:
        n, place = len(self.pipelines), ""
        if n > 1:
            place = f" (cine {list(self.pipelines).index(i) + 1} of {n})"
        stage = f"{loaded[1].name}: features{place}"
        self.pipelines[i].prepare_features(
            *loaded,
            cache=self.cache,
            on_progress=lambda _, done, total: self.on_progress(stage, done, total),
            should_stop=self.should_stop,
        )


def interval(one: EncoderResult, other: EncoderResult) -> tuple[float, float, float] | None:
    """Return the mean of `other` minus `one` over the same frames, with its 95 % interval.

    The interval is that of Student's t for paired differences.

    Returns
    -------
    (mean, low, high), or None
        None if fewer than two frames were scored.
    """
    differences = [b - a for a, b in zip(one.scores, other.scores, strict=True)]
    if len(differences) < 2:
        return None
    mean = statistics.fmean(differences)
    t = _T[len(differences) - 2] if len(differences) - 2 < len(_T) else 1.96
    half = t * statistics.stdev(differences) / math.sqrt(len(differences))
    return mean, mean - half, mean + half
