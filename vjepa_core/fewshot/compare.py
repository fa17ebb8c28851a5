"""Encoders side by side on somebody's own labels.

Each labelled frame in turn is drawn by a head that was fitted to the other labelled frames of its cine. All
encoders get the same frames, steps and seed, and fit as the window does, but from an untrained head: the one
that ships reads the features of one encoder alone and was fitted to many patients, so that scores of fits
from it would tell of that head more than of its encoder.
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
from vjepa_core.fewshot.feature_cache import FeatureCache, cached_features
from vjepa_core.fewshot.features import CineFeatures
from vjepa_core.fewshot.fit import FitConfig
from vjepa_core.fewshot.head import GRID_SIZE
from vjepa_core.fewshot.left_out import Target
from vjepa_core.fewshot.motion import Motion
from vjepa_core.fewshot.overlap import dice
from vjepa_core.fewshot.prepared_cine import PreparedCine, frame_label
from vjepa_core.fewshot.segmenter import LoadedEncoder, Progress, fitted, label_image, loaded_encoder
from vjepa_core.preprocessing import Letterbox

# 97.5 % points of Student's t by degrees of freedom, from 1 on; the normal distribution's is close beyond.
_T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13, 2.12)


@dataclass(frozen=True, eq=False)
class LabelledCine:
    """A cine with what was drawn on it.

    Attributes
    ----------
    frames : array
        (T, h, w) uint8, the ultrasound region alone.
    fps : float
        Frame rate, Hz; 0 if unknown.
    labels : mapping
        Frame number to label image (h, w) uint8: 0 is background, 255 not labelled. Scribbles among them are
        learnt from; they should be no targets.
    pixel_aspect : float
        Height of a pixel divided by its width.
    """

    frames: NDArray[np.uint8]
    fps: float
    labels: Mapping[int, NDArray[np.uint8]]
    pixel_aspect: float = field(default=1.0, kw_only=True)


@dataclass(frozen=True, eq=False)
class Drawing:
    """What a head drew: the mask (h, w) uint8 of the target, and Dice by label value."""

    target: Target
    mask: NDArray[np.uint8]
    dice: Mapping[int, float]

    @property
    def mean(self) -> float:
        """Mean Dice of the scored classes; NaN where there is none."""
        return statistics.fmean(self.dice.values()) if self.dice else math.nan


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the heads over one encoder drew, in the order of the targets, and how long that took."""

    card: EncoderCard
    drawings: Sequence[Drawing]
    seconds: float

    @property
    def scores(self) -> list[float]:
        """Mean Dice of each scored frame."""
        return [drawing.mean for drawing in self.drawings if drawing.dice]

    @property
    def mean_dice(self) -> float | None:
        """Mean over frames; None where none was scored."""
        return statistics.fmean(self.scores) if self.scores else None

    @property
    def per_class(self) -> dict[int, float]:
        """Mean Dice by label value, over the frames on which the class was scored."""
        values = sorted({value for drawing in self.drawings for value in drawing.dice})
        return {v: statistics.fmean(d.dice[v] for d in self.drawings if v in d.dice) for v in values}


def compare(
    cines: Mapping[int, LabelledCine],
    classes: tuple[int, ...],
    encoders: Sequence[EncoderCard | LoadedEncoder],
    targets: Sequence[Target],
    *,
    cache: FeatureCache | None = None,
    seed: int = 0,
    config: FitConfig | None = None,
    on_progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[Outcome]:
    """Let a head over each encoder draw the targets.

    Parameters
    ----------
    cines : mapping
        LabelledCine by the number that the targets call it by.
    classes : tuple of int
        Label values.
    encoders : sequence
        Loaded one after the other, so that only one is in memory.
    targets : sequence of Target
        See `vjepa_core.fewshot.left_out.choose_targets`.
    cache : FeatureCache, optional
        Where features are looked up and left.
    seed : int
        Of heads and fits, the same for all.
    config : FitConfig, optional
        Length and strength of a fit to up to four labels; `seed` overrides its own.
    on_progress : callable, optional
        Told (stage, done, total).
    should_stop : callable
        Asked between clips, flows and steps.

    Raises
    ------
    EncoderError
        If an encoder cannot be loaded.
    Cancelled
        If `should_stop` said yes.
    """
    settings = replace(config or FitConfig(), seed=seed)
    tell = on_progress or (lambda _stage, _done, _total: None)
    bench = _Bench(cines, classes, targets, cache, settings, tell, should_stop)
    bench.prepare()
    return [bench.outcome(encoder) for encoder in encoders]


@dataclass(eq=False)
class _Bench:
    """What is the same for all encoders."""

    cines: Mapping[int, LabelledCine]
    classes: tuple[int, ...]
    targets: Sequence[Target]
    cache: FeatureCache | None
    config: FitConfig
    tell: Progress
    should_stop: Callable[[], bool]
    known: dict[int, PreparedCine] = field(default_factory=dict)

    def prepare(self) -> None:
        """All about the cines that no encoder has a part in."""
        used = sorted({target.cine for target in self.targets})
        for i in used:
            self.tell("motion", len(self.known), len(used))
            frames = self.cines[i].frames
            box = Letterbox.fit(*frames.shape[1:], pixel_aspect=self.cines[i].pixel_aspect)
            boxed = box.apply(frames)
            motion = Motion(boxed, grid_size=GRID_SIZE, should_stop=self.should_stop)
            for frame in self.cines[i].labels:
                # Motion answers from what it was asked before: now, so that no encoder has another answer.
                motion.positions(frame)
            self.known[i] = PreparedCine(i, box, boxed, None, motion)
        self.tell("motion", len(used), len(used))

    def outcome(self, encoder: EncoderCard | LoadedEncoder) -> Outcome:
        """Every target, drawn over this encoder."""
        started = time.monotonic()
        loaded = loaded_encoder(encoder)
        studies = {i: replace(known, features=self._features(i, loaded)) for i, known in self.known.items()}
        card = loaded[1]
        drawn: dict[Target, Drawing] = {}
        lessons = self._lessons()
        done, total = 0, sum(self.config.for_labels(len(taught)).steps for _, taught in lessons)

        def on_step(step: int, _: int) -> None:
            self.tell(f"{card.name}: fits", done + step, total)

        for (i, taught), targets in lessons.items():
            study, labels = studies[i], self.cines[i].labels
            study.labels = {frame: frame_label(labels[frame], study.box, self.classes) for frame in taught}
            found = fitted(
                study, card, self.classes, self.config, on_step=on_step, should_stop=self.should_stop
            )
            done += len(found.losses)
            for target in targets:
                answer = found.predict(study, [target.frame])[0]
                mask = label_image(answer, study.box, self.classes, study.inside)
                scores = {value: dice(mask, labels[target.frame], value) for value in target.scored}
                drawn[target] = Drawing(target, mask, scores)
        return Outcome(card, [drawn[target] for target in self.targets], time.monotonic() - started)

    def _lessons(self) -> dict[tuple[int, tuple[int, ...]], list[Target]]:
        """Targets by cine and the frames to learn from: one fit each; those without a label share one."""
        found: dict[tuple[int, tuple[int, ...]], list[Target]] = {}
        for target in self.targets:
            taught = tuple(sorted(f for f in self.cines[target.cine].labels if f != target.frame))
            found.setdefault((target.cine, taught), []).append(target)
        return found

    def _features(self, i: int, loaded: LoadedEncoder) -> CineFeatures:
        place = f" (cine {list(self.known).index(i) + 1} of {len(self.known)})" if len(self.known) > 1 else ""
        stage = f"{loaded[1].name}: features{place}"
        return cached_features(
            self.known[i].frames,
            *loaded,
            fps=self.cines[i].fps,
            cache=self.cache,
            on_progress=lambda done, total: self.tell(stage, done, total),
            should_stop=self.should_stop,
        )


def interval(one: Outcome, other: Outcome) -> tuple[float, float, float] | None:
    """Mean difference of `other` to `one` over the same frames, with its 95 % interval (Student's t, paired).

    Returns
    -------
    (mean, low, high), or None
        None with fewer than two scored frames, which say nothing of chance.
    """
    differences = [b - a for a, b in zip(one.scores, other.scores, strict=True)]
    if len(differences) < 2:
        return None
    mean = statistics.fmean(differences)
    t = _T[len(differences) - 2] if len(differences) - 2 < len(_T) else 1.96
    half = t * statistics.stdev(differences) / math.sqrt(len(differences))
    return mean, mean - half, mean + half
