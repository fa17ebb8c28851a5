"""Benchmark of uncertainty: expected Dice and error probability compared with true errors.

The program's values are compared with those of the head's softmax for the same predictions.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vjepa_core.bench.camus import CLASSES, Stills, dice
from vjepa_core.bench.frozen_features import as_prepared_cines, features
from vjepa_core.bench.reliability import Observation, reliability
from vjepa_core.bench.scored_cines import ScoredCine, annotated_frames
from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.errors import Cancelled
from vjepa_core.fewshot.assessment import label_image
from vjepa_core.fewshot.confidence import (
    SOFTMAX_FLOOR,
    estimate_errors,
    frame_confidence,
    frame_indicators,
    pixel_indicators,
    situation,
)
from vjepa_core.fewshot.dice_calibration import Calibration
from vjepa_core.fewshot.feature_cache import FeatureCache
from vjepa_core.fewshot.fit import predict
from vjepa_core.fewshot.head import GRID_SIZE, Head
from vjepa_core.fewshot.pipeline import PREDICT_FRAMES, prepare_cine
from vjepa_core.fewshot.prepared_cine import PreparedCine, frame_label
from vjepa_core.fewshot.segmenter import segment
from vjepa_core.fewshot.starter import Starter
from vjepa_core.label_image import UNLABELLED
from vjepa_core.letterbox import Letterbox

BORDER = 3
"""Maximum distance from a predicted or true border, in pixels of the head's grid, that counts as near."""

SOFTMAX_EDGES = np.linspace(0.0, -np.log(SOFTMAX_FLOOR), 24)
CARRIED_EDGES = np.array([0.0, 0.05, 0.35, 0.65, 0.95, 1.0])

_CACHE_BYTES = 8 << 30
OnProgress = Callable[[str, int, int], None]


def observe(
    prepared: PreparedCine,
    frames: Sequence[int],
    probabilities: Tensor,
    truth: Sequence[NDArray[np.uint8]],
    *,
    carried: bool = False,
    calibration: Calibration | None = None,
    **where: Any,
) -> Iterator[Observation]:
    """Compare predictions of some frames with their labels; frames without structures are ignored.

    Parameters
    ----------
    prepared : PreparedCine
        Cine with the labels of other frames.
    frames : sequence of int
        Frame numbers.
    probabilities : Tensor
        Predictions, shape (len(frames), K, grid, grid).
    truth : sequence of ndarray
        Label images (h, w) of the frames.
    carried, calibration
        As for `estimate_errors`.
    **where
        `kind`, `cine` and `annotated` of the observations.
    """
    classes = tuple(CLASSES)
    prior = prepared.prior(frames, probabilities.shape[1])
    indicators = frame_indicators(prepared, frames, probabilities, prior)
    errors = estimate_errors(prepared, frames, probabilities, carried=carried, calibration=calibration)
    of_pixels = pixel_indicators(probabilities, prior, errors.dice.numpy())
    softmax = probabilities.float().amax(1).numpy()
    plain = frame_confidence(probabilities)
    inside = _inside(prepared.box)
    for i, image in enumerate(truth):
        label = frame_label(image, prepared.box, classes)
        drawn, true = probabilities[i].argmax(0).numpy(), label.target.argmax(-1)
        known = (label.weight > 0.5) & inside
        mask = label_image(probabilities[i], prepared.box, classes)
        unlabelled = image == UNLABELLED
        true_dice = dice(np.where(unlabelled, 0, mask)[None], np.where(unlabelled, 0, image)[None])["mean"]
        if np.isnan(true_dice):
            continue
        correct = drawn == true
        near = known & _near_border(drawn, true)
        both = {"ours": 1.0 - errors.doubt[i].numpy(), "softmax": softmax[i]}
        yield Observation(
            situation=situation(prepared, carried=carried),
            dice=true_dice,
            indicators=indicators[i],
            cells=_cells(of_pixels[i][known], correct[known]),
            expected={"ours": float(errors.dice[i]), "softmax": float(plain[i])},
            pixels={
                **{
                    what: reliability(correct_probability[known], correct[known])
                    for what, correct_probability in both.items()
                },
                **{
                    f"{what} near borders": reliability(correct_probability[near], correct[near])
                    for what, correct_probability in both.items()
                },
            },
            **where,
        )


def observe_cines(
    cines: Sequence[ScoredCine],
    encoder: LoadedEncoder,
    *,
    start: Starter | None,
    counts: Sequence[int] = (1, 2, 3),
    seed: int = 0,
    carried: bool = False,
    on_progress: OnProgress = lambda _stage, _done, _total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Observation]:
    """Annotate a few frames of each cine, fit as in the program, and compare all other frames.

    Parameters
    ----------
    cines : sequence of ScoredCine
        The cines.
    encoder : LoadedEncoder
        Encoder and card.
    start : Starter, optional
        Starter of fits; with a count of 0, its draft is evaluated. Without it, a count of 0 is ignored.
    counts : sequence of int
        Numbers of annotated frames; see `annotated_frames`.
    seed : int
        Seed of fits.
    carried : bool
        Evaluate labels carried by motion too, which the window shows until a head is fitted.
    on_progress : callable
        Called with (stage, done, total).
    should_stop : callable
        If it returns True, the iteration ends.
    """
    cases = [(i, count) for i in range(len(cines)) for count in counts if count < len(cines[i].labels)]
    cases = [(i, count) for i, count in cases if count or start is not None]
    with tempfile.TemporaryDirectory(prefix="apical-") as folder:
        cache = FeatureCache(Path(folder), _CACHE_BYTES)
        for done, (i, count) in enumerate(cases):
            cine = cines[i]
            on_progress(f"cine {i + 1} of {len(cines)}, {count} annotated", done, len(cases))
            case = _ObservedCine(cine, i, annotated_frames(cine.labels, count) if count else [], carried)
            try:
                if count:
                    segment(
                        cine.frames,
                        {frame: cine.labels[frame] for frame in case.annotated},
                        tuple(CLASSES),
                        fps=cine.fps,
                        pixel_aspect=cine.pixel_aspect,
                        encoder=encoder,
                        start=start,
                        cache=cache,
                        seed=seed,
                        on_prediction=case.watch,
                        should_stop=should_stop,
                    )
                elif start is not None:
                    prepared = prepare_cine(
                        i,
                        cine.frames,
                        *encoder,
                        fps=cine.fps,
                        pixel_aspect=cine.pixel_aspect,
                        cache=cache,
                        should_stop=should_stop,
                    )
                    case.draft(start.head, prepared, should_stop)
            except Cancelled:
                return
            yield from case.observations
        on_progress("cines", len(cases), len(cases))


class _ObservedCine:
    """Cine with annotated frames, and the observations on its other frames."""

    def __init__(self, cine: ScoredCine, number: int, annotated: list[int], carried: bool) -> None:
        self.annotated = annotated
        self.observations: list[Observation] = []
        self._cine, self._carried = cine, carried
        self._where: dict[str, Any] = {"kind": cine.kind, "cine": number, "annotated": len(annotated)}

    def watch(self, prepared: PreparedCine, frames: Sequence[int], probabilities: Tensor) -> None:
        """Compare predictions of some frames with their labels."""
        scored_rows = [k for k, f in enumerate(frames) if f in self._cine.labels and f not in self.annotated]
        if not scored_rows:
            return
        scored = [frames[k] for k in scored_rows]
        truth = [self._cine.labels[frame] for frame in scored]
        self.observations += observe(prepared, scored, probabilities[scored_rows], truth, **self._where)
        if self._carried and self.annotated:
            carried_labels = prepared.prior(scored, probabilities.shape[1])
            self.observations += observe(prepared, scored, carried_labels, truth, carried=True, **self._where)

    def draft(self, head: Head, prepared: PreparedCine, should_stop: Callable[[], bool]) -> None:
        """Predict all labelled frames with a head and compare them."""
        order = sorted(self._cine.labels)
        for first in range(0, len(order), PREDICT_FRAMES):
            if should_stop():
                raise Cancelled
            chosen = order[first : first + PREDICT_FRAMES]
            self.watch(prepared, chosen, predict(head, prepared, chosen))


def split_by_patient(stills: Stills) -> tuple[Stills, Stills]:
    """Split images by patient, alternately, into those for calibration of drafts and those for scoring."""
    patients = np.unique(stills.patients)
    return stills.of(patients[::2]), stills.of(patients[1::2])


def observe_stills(
    stills: Stills,
    encoder: LoadedEncoder,
    head: Head,
    *,
    on_progress: OnProgress = lambda _stage, _done, _total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Observation]:
    """Predict still images with a head that was not fitted to them, and compare the predictions.

    Parameters
    ----------
    stills : Stills
        Labelled images.
    encoder : LoadedEncoder
        Encoder and card.
    head : Head
        The head.
    on_progress : callable
        Called with (stage, done, total).
    should_stop : callable
        If it returns True, the iteration ends.
    """
    group = 16
    for first in range(0, len(stills), group):
        if should_stop():
            return
        on_progress("stills", first, len(stills))
        part = stills.images[first : first + group]
        for k, prepared in enumerate(as_prepared_cines(part, features(encoder[0], part))):
            predicted, truth = predict(head, prepared, [0]), stills.masks[first + k]
            yield from observe(prepared, [0], predicted, [truth], kind="still", cine=first + k, annotated=0)
    on_progress("stills", len(stills), len(stills))


def _cells(indicators: NDArray[np.float64], correct: NDArray[np.bool_]) -> NDArray[np.float64]:
    cell, size = np.zeros(len(indicators), np.intp), 1
    for indicator, edges in zip(indicators.T, (SOFTMAX_EDGES, CARRIED_EDGES), strict=False):
        n = len(edges) - 1
        cell = cell * n + np.clip(np.searchsorted(edges, indicator, side="right") - 1, 0, n - 1)
        size *= n
    counts = [np.bincount(cell, weights, size) for weights in (None, ~correct)]
    shape = (len(SOFTMAX_EDGES) - 1, len(CARRIED_EDGES) - 1, 2)
    return np.stack(counts, -1).reshape(shape).astype(np.float64)


def _near_border(drawn: NDArray[Any], true: NDArray[Any]) -> NDArray[np.bool_]:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * BORDER + 1, 2 * BORDER + 1))
    near = [cv2.morphologyEx(label.astype(np.uint8), cv2.MORPH_GRADIENT, disc) > 0 for label in (drawn, true)]
    return np.asarray(near[0] | near[1])


def _inside(box: Letterbox) -> NDArray[np.bool_]:
    """Return the pixels of the head's grid inside the image, without the letterbox bars."""
    mask = np.zeros((box.size, box.size), np.uint8)
    mask[box.inner] = 255
    return np.asarray(cv2.resize(mask, (GRID_SIZE, GRID_SIZE), interpolation=cv2.INTER_AREA) > 127)
